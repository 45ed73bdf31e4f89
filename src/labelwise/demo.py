"""The demonstration: handwritten digits as a user's own folder of images, and the labels held back.

The digits are those that scikit-learn ships (UCI, Optical Recognition of Handwritten Digits): 1,797 images of 8 x 8
pixels, so that nothing has to be downloaded.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwise.errors import StateError
from labelwise.formats.files import write_whole

if TYPE_CHECKING:
    import numpy as np

    from labelwise.config import RecipeConfig
    from labelwise.contracts.oracle import Round
    from labelwise.contracts.progress import Progress
    from labelwise.data.arrays import ArraySource
    from labelwise.project.project import Project
    from labelwise.report.summary import Row, Summary

CLASSES = tuple("0123456789")
#: images asked for first, and next
ASKED = 20


def _digits() -> tuple[np.ndarray, list[int]]:
    """(N, 8, 8) uint8 and the digit of each."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return (data.images * (255 / 16)).round().astype("uint8"), data.target.tolist()


def digits() -> ArraySource:
    """The digits as arrays with their labels: ``data: {source: "labelwise.demo:digits"}`` in a recipe."""
    from labelwise.data.arrays import ArraySource

    images, labels = _digits()
    return ArraySource(images, labels, classes=CLASSES, ids=[f"{number:04d}.png" for number in range(len(images))])


@dataclass(frozen=True)
class Demo:
    """One demonstration in a folder; what is done already is not done again.

    Args:
        folder: gets ``images/``, ``held-back/labels.csv``, a project, and ``study/``.
    """

    folder: Path

    @property
    def images(self) -> Path:
        """A flat folder: what a user has."""
        return self.folder / "images"

    @property
    def labels(self) -> Path:
        """What people would say of each image."""
        return self.folder / "held-back" / "labels.csv"

    @property
    def study(self) -> Path:
        """Where the simulated campaigns run."""
        return self.folder / "study"

    def write(self, progress: Progress) -> int:
        """Writes images and labels, unless they are there; returns how many images there are.

        Raises:
            StateError: the folder holds something else, or cannot be written.
        """
        from PIL import Image

        images, labels = _digits()
        names = [f"{number:04d}.png" for number in range(len(images))]
        rows = [("id", "label"), *((name, CLASSES[label]) for name, label in zip(names, labels, strict=True))]
        try:
            # the labels come first: a folder that has them is ours
            others = self.folder.exists() and {path.name for path in self.folder.iterdir()} - {self.labels.parent.name}
            if others and not self.labels.is_file():
                raise StateError(f"{str(self.folder)!r} holds other files: choose a new folder with --out")
            self.labels.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.labels, "".join(f"{item},{label}\n" for item, label in rows).encode())
            self.images.mkdir(exist_ok=True)
        except OSError as error:
            raise StateError(
                f"cannot write {str(self.folder)!r}: {error.strerror}. Choose another --out folder"
            ) from error
        there = {path.name for path in self.images.iterdir()}
        for done, (name, image) in enumerate(zip(names, images, strict=True), 1):
            if name not in there:
                part = self.images / f".{name}.part"  # a killed demo leaves no half of an image
                Image.fromarray(image).save(part, "PNG")
                part.replace(self.images / name)
            progress("writing images", done, len(names))
        return len(names)

    def recipe(self) -> RecipeConfig:
        """The shipped recipe, on the images that lie here."""
        from labelwise.config import RecipeConfig
        from labelwise.recipes import shipped_plan

        flags = {"data": {"source": str(self.labels.resolve()), "root": str(self.images.resolve())}}
        recipe = shipped_plan("digits", flags).recipe
        assert isinstance(recipe, RecipeConfig)
        return recipe

    def start(self, progress: Progress) -> tuple[Project, Round | None]:
        """The project, and its first picks, chosen without any label; None where these were answered before."""
        from labelwise.project.setup import init

        recipe = self.recipe()
        features = recipe.features.model_dump(exclude_none=True)
        project = init(self.images, project=self.folder, features=features, progress=progress)
        if len(project.pool.labelled):
            return project, None
        return project, project.suggest(ASKED)

    def answer(self, project: Project) -> int:
        """Imports what people would say of the first picks; returns how many labels there are now."""
        file = self.folder / "labels-so-far.csv"
        if not len(project.pool.labelled):
            with self.labels.open(newline="") as opened:
                truth = {row["id"]: row["label"] for row in csv.DictReader(opened)}
            asked = [project.pool.ids[p] for p in project.pool.pending]
            write_whole(file, "".join(["id,label\n", *(f"{item},{truth[item]}\n" for item in asked)]).encode())
            project.import_labels(file, classes=CLASSES)
        return len(project.pool.labelled)


def closing(summary: Summary, name: str) -> str:
    """Whether a strategy is ahead of the baseline, as the statistics have it.

    Args:
        summary: of the study.
        name: a strategy in it.
    """
    from labelwise.report import wording
    from labelwise.report.summary import verdict

    row = next((row for row in summary.rows if row.strategy == name), None)
    if row is None or row.against is None or not row.against.difference.n:
        return f"{name} was not compared."
    metric, difference = wording.metric_name(summary.study.primary), row.against.difference
    numbers = (
        f"{wording.signed(difference.mean)} mean {metric} over the curve, 95 % interval {wording.limits(difference)}, "
        f"corrected p {wording.p_value(row.against.p_holm)}"
    )
    judged, gain = verdict(summary, row), summary.curves.sign * difference.mean
    if judged > 0:
        words = f"{name} is ahead of {summary.baseline}"
    elif gain > 0:
        seeds = wording.count(difference.n, "seed")
        words = f"{name} is ahead of {summary.baseline} in the mean, but not reliably with {seeds}"
    elif judged < 0:
        words = f"{name} is behind {summary.baseline}"
    else:
        words = f"{name} is not ahead of {summary.baseline}"
    return f"{words} ({numbers}){_at_end(summary, row)}."


def _at_end(summary: Summary, row: Row) -> str:
    from labelwise.report import wording

    base: Any = next((other for other in summary.rows if other.strategy == summary.baseline), None)
    if base is None or not summary.curves.labels_B.size:
        return ""
    labels = wording.count(summary.curves.labels_B[-1], "label")
    return f"; at {labels} it has {wording.value(row.final.mean)}, {base.strategy} {wording.value(base.final.mean)}"
