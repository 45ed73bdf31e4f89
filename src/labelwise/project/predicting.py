"""What a project's model says of pictures, those of the project or any others: labels, doubt, and both as a picture."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from labelwise.assemble import make_strategy
from labelwise.campaign.fits import Fits
from labelwise.config import StrategyConfig
from labelwise.contracts.kind import Look, Panel
from labelwise.contracts.learner import Examples, Learner
from labelwise.contracts.picture import as_image
from labelwise.data.folder import ImageFolder
from labelwise.data.loader import blocks
from labelwise.drawing.classes import barred
from labelwise.errors import DataError, LabelwiseError, StateError, few
from labelwise.exchange.pictures import DOUBT, PREDICTED
from labelwise.learners.saved import NAME, trained_from
from labelwise.project.learning import Learning
from labelwise.rng import seed_of
from labelwise.signals.plain import Probs

if TYPE_CHECKING:
    from labelwise.campaign.loop import Campaign
    from labelwise.contracts.learner import LearnerData
    from labelwise.contracts.signal import Signal, SignalTable
    from labelwise.contracts.source import Source
    from labelwise.contracts.strategy import Strategy
    from labelwise.project.project import Project

#: what says how unsure the model is where the project's strategy has no score of one image alone
PLAIN = "entropy"
#: pictures in memory together
_CHUNK = 32
#: longest side of a picture that is drawn: as the image has it, within these
_SMALLEST, _LARGEST = 400, 1000


@dataclass(frozen=True)
class Predicted:
    """What the model says of one picture.

    Args:
        image: its path.
        label: raw label with scores, as it would be offered to people.
        probabilities: of each class, where an image as a whole has some; None elsewhere.
        by: what says how unsure the model is, in words: the score of the project's strategy, or the entropy.
        uncertainty: that number, higher = less sure; None where nothing was found that one could be unsure of.
        map_HW: the same at each place, of any size; None where it speaks of whole images.
        draw: gives the picture with the label and the map.
    """

    image: str
    label: Any
    probabilities: Mapping[str, float] | None
    by: str
    uncertainty: float | None
    map_HW: np.ndarray | None = field(repr=False)
    draw: Callable[[], Image.Image] = field(repr=False, compare=False)


@dataclass
class Predictor:
    """What a trained model says of some pictures, one by one, and how unsure it is.

    Args:
        source: the pictures.
        shown: id of each -> its path as it was given.
        learner: with weights.
        score: one number an image.
        palette: colours of classes, where the data have some.
        data: what a probe is prepared from.
        seed: of stochastic passes.
        notes: what people should know, one line each; of pictures that could not be read after they were reached.
    """

    source: Source
    shown: Mapping[str, str]
    learner: Learner
    score: Signal
    palette: tuple[tuple[int, int, int], ...] | None
    data: LearnerData
    seed: int
    notes: list[str]

    def __iter__(self) -> Iterator[Predicted]:
        """In their order; those that cannot be read are left out, with a note.

        Raises:
            DataError: none of the pictures can be read.
            UnmetNeed: the model says nothing that could be told of.
        """
        ids, failed = list(self.shown), dict[str, str]()
        for rows in blocks(len(ids), _CHUNK):
            yield from self._some([ids[row] for row in rows], failed)
        if not failed:
            return
        first = next(iter(failed.values()))
        if len(failed) == len(ids):
            raise DataError(f"{first}; nor can {len(ids) - 1:,} more be read" if len(ids) > 1 else first)
        self.notes.append(f"{len(failed):,} of {len(ids):,} cannot be read: {few(list(failed))} ({first:.120})")

    def _some(self, ids: Sequence[str], failed: dict[str, str]) -> Iterator[Predicted]:
        learner, task = self.learner, self.learner.task
        places = self.score.of_places
        more = {one for one in (Probs(), places) if one is not None and one.fields <= learner.provides}
        wanted = more | {self.score}  # what it needs, heads included, was asked for before
        view = Examples(self.source, tuple(ids))
        table = learner.collect(view, frozenset(wanted), data=self.data, seed=self.seed)
        failed |= table.failed
        labels = dict(task.guesses(learner, self.source, table.ids))
        values = self._values(table)
        for row, item in enumerate(table.ids):
            probs = None
            if Probs() in wanted:
                probs = dict(zip(task.classes, table[Probs()][row].tolist(), strict=True))
            map_HW = None
            if places is not None and places in wanted:
                found = table[places][row]
                map_HW = found.reshape(task.input.size) if found.ndim == 1 else found
            if (label := labels.get(item)) is None:
                raise DataError(
                    f"the model says nothing finite of {self.shown[item]!r:.150}: did it diverge? Fit it again"
                )
            draw = partial(self._picture, item, label, probs, map_HW)
            yield Predicted(self.shown[item], label, probs, self.score.words, values[row], map_HW, draw)

    def _values(self, table: SignalTable) -> list[float | None]:
        """None where there was no object: what stands for that is settled over a pool, and there is none."""
        found = table[self.score].tolist()
        return [None if value == -math.inf else value for value in found]

    def _picture(
        self, item: str, label: Any, probs: Mapping[str, float] | None, map_HW: np.ndarray | None
    ) -> Image.Image:
        side = min(_LARGEST, max(_SMALLEST, *self.source.size(item)))
        image = as_image(self.source.thumbnail(item, side))
        task = self.learner.task
        if not task.kind.drawn:
            return barred(image, probs or {}, side=side)
        panels = [Panel(PREDICTED, label), *([] if map_HW is None else [Panel(DOUBT, doubt=map_HW)])]
        return task.kind.draw(image, panels, task.classes, Look(self.palette, side=side))


def predict(project: Project, images: Sequence[str | Path], weights: str | Path | None = None) -> Predictor:
    """What the model trained last, or these weights of it, say of pictures.

    Args:
        project: says which network and which classes.
        images: pictures, of the project or not, and folders of them.
        weights: a ``weights.safetensors`` that was trained with the project's settings; None: those trained last.

    Raises:
        StateError: nothing has been trained yet, or it does not fit the settings as they are now.
        DataError: there is no such picture; weights that are none, or of another task, network or number of classes.

    Example:
        >>> said = predict(labelwise.open("cells"), ["new/a.png"])          # doctest: +SKIP
        >>> for one in said:                                                # doctest: +SKIP
        ...     print(one.label, one.by, one.uncertainty)
        ...     one.draw().save("a-said.png")
    """
    source, shown, read = _opened(images)
    fits = Fits(project.state / "fits")
    if weights is None and fits.newest() is None:
        raise StateError(f"nothing has been trained yet in {str(project.folder)!r:.150}: run 'labelwise fit' first")
    learning = Learning(project)
    learning.named_task  # noqa: B018 (refuses a project without classes)
    campaign = learning.campaign()
    chosen = learning.strategy().informed()
    notes = list(read)
    if (why := _unscored(campaign, chosen)) is None:
        try:
            _take(learning, campaign, weights, chosen)
        except StateError as error:  # it was trained without the head that the strategy reads
            if not chosen.auxiliaries():
                raise
            why = str(error)
    if why is not None:
        notes.append(f"the uncertainty is the {PLAIN}: {why}")
        chosen = make_strategy(StrategyConfig(name=PLAIN))
        _take(learning, campaign, weights, chosen)
    score = chosen.scored_by
    assert score is not None, "entropy has a score"
    if project.pool.has_subjects:
        notes.append("the model has learnt from subjects cut out of images: a whole picture is read as one subject")
    source = source.in_range(project.config.input.range)
    data, seed = campaign.examples.data(), seed_of(project.config.seed, "draw")
    return Predictor(source, shown, campaign.setting.learner, score, project.palette(), data, seed, notes)


def _unscored(campaign: Campaign, strategy: Strategy) -> str | None:
    """Why a strategy scores no image by itself, or not with this model; None where it does."""
    if strategy.scored_by is None:
        return f"{strategy.name!r}, the project's strategy, has no score of one image alone"
    try:
        campaign.offer.check([strategy])
    except LabelwiseError as error:
        return str(error)
    return None


def _take(learning: Learning, campaign: Campaign, weights: str | Path | None, strategy: Strategy) -> None:
    if weights is None:
        learning.last_fit(campaign, strategy)
        return
    file = Path(weights)
    if file.is_dir():
        file = file / NAME
    if file.name != NAME:
        raise DataError(f"weights are read as labelwise keeps them, in a file {NAME}, and {file.name!r:.80} was given")
    key = trained_from(file)
    project, learner = learning.project, campaign.setting.learner
    try:
        learner.load(file.parent, key, auxiliaries=strategy.auxiliaries())
    except (DataError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split()).replace(str(file), "it")
        task = project.config.task.name
        raise StateError(
            f"the weights do not fit {str(project.folder)!r:.60}, {task} of {len(learner.task.classes)} class(es) "
            f"({reason:.90}): name the project they are of with --project"
        ) from error


def _opened(images: Sequence[str | Path]) -> tuple[Source, dict[str, str], list[str]]:
    """Pictures, and those in folders, as one source; id of each -> its path as it was given; notes."""
    given: dict[str, str] = {}
    notes: list[str] = []
    for image in images:
        if (path := Path(image)).is_dir():
            folder = ImageFolder(path, labels="none", roles="none")
            notes += folder.notes()
            given |= {folder.path(item): str(path / item) for item in folder.ids}
        elif path.exists():
            given[os.path.abspath(path)] = str(path)  # noqa: PTH100  (a link is read under its own name)
        else:
            raise DataError(f"{str(path)!r:.200} does not exist: give pictures, or a folder of them")
    if not given:
        raise DataError("no picture was given: name some, or a folder of them")
    root = Path(os.path.commonpath([os.path.dirname(path) for path in given]))  # noqa: PTH120
    shown = {Path(path).relative_to(root).as_posix(): name for path, name in given.items()}
    return ImageFolder(root, labels="none", roles="none", ids=list(shown)), shown, notes


def targets(images: Sequence[str | Path], out: Path) -> Callable[[str], Path]:
    """Where the picture of each image goes: ``out`` itself for one image, else a file each in a folder of that name.

    Raises:
        DataError: a folder where a file is to be, or a file where a folder is.
    """
    if len(images) == 1 and not Path(images[0]).is_dir():
        if out.is_dir():
            name = f"{Path(images[0]).stem}.png"
            raise DataError(f"{str(out)!r:.200} is a folder, and one picture is written: name it, {out / name}")
        if out.suffix.lower() not in _ENDINGS:
            raise DataError(f"{out.name!r:.100} names no picture: let it end with {' or '.join(_ENDINGS)}")
        if out.exists() and out.samefile(images[0]):
            raise DataError(f"{str(out)!r:.200} is the image itself, and would be lost: write to another file")
        return lambda image: out
    if out.is_file() or out.suffix.lower() in _ENDINGS:
        raise DataError(f"{str(out)!r:.200} names one file, and several pictures are written: give a folder")
    whole = out.resolve()
    for path in (Path(image).resolve() for image in images):
        if whole == path.parent if path.is_file() else path in (whole, *whole.parents):
            raise DataError(f"{str(out)!r:.200} is where the images lie, and would hold pictures of them: name another")
    return _Names(out)


#: pictures that are written
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")


class _Names:
    """A name for each picture in one folder; the second of one name has a number."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.taken = folder, set[str]()

    def __call__(self, image: str) -> Path:
        path = Path(image)
        name, number = path.stem, 1
        while name.casefold() in self.taken:
            number += 1
            name = f"{path.stem}-{number}"
        self.taken.add(name.casefold())
        return self.folder / f"{name}.png"
