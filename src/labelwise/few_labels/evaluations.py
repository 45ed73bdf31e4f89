"""What selections teach, by any of the fixed protocols: selections out of index files, or any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwise.data.views import View
from labelwise.errors import DataError
from labelwise.few_labels.frozen import frozen_images
from labelwise.few_labels.protocols import (
    FINETUNE,
    SCRATCH,
    cached_views,
    finetuning,
    from_scratch,
    knn,
    labels_of,
    linear,
    trained,
)
from labelwise.formats.indices_npy import read_indices
from labelwise.learners.heads import LinearProtocol

if TYPE_CHECKING:
    from labelwise.contracts.learner import Phase
    from labelwise.contracts.progress import Progress
    from labelwise.contracts.source import Source
    from labelwise.learners.features import FeatureSource

Metrics = dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """How selections are to be measured.

    Args:
        protocol: its name.
        views: of each labelled image, for a linear head.
        neighbours: of knn.
        model: of a training from nothing.
        size: side of its input.
        epochs: instead of the published number.
        seeds: trainings of each selection.
    """

    protocol: str
    views: int = 1
    neighbours: int = 1
    model: str | None = None
    size: int | None = None
    epochs: int | None = None
    seeds: int = 1

    def measure(
        self, source: Source, backbone: FeatureSource, sets: Mapping[str, Sequence[str]], progress: Progress
    ) -> list[dict[str, Any]]:
        """One row for each selection."""
        if self.protocol in ("linear", "knn"):
            found = self._on_features(source, backbone, sets, progress)
        else:
            found = self._on_images(source, backbone, sets, progress)
        classes = source.classes or ()
        return [
            {
                "selection": name,
                "labels": len(ids),
                "coverage": 100 * len({source.truth[item] for item in ids}) / len(classes),
                "accuracy": [one["accuracy"] for one in metrics],
                "balanced_accuracy": [one["balanced_accuracy"] for one in metrics],
            }
            for (name, ids), metrics in zip(sets.items(), found, strict=True)
        ]

    def _on_features(
        self, source: Source, backbone: FeatureSource, sets: Mapping[str, Sequence[str]], progress: Progress
    ) -> list[list[Metrics]]:
        used = {item for ids in sets.values() for item in ids}
        tests = frozen_images(source, backbone, "test", progress=progress).labelled()
        images = frozen_images(_only(source, used), backbone, progress=progress)
        asked = [labels_of(images, images.rows_of(ids), seed) for ids in sets.values() for seed in range(self.seeds)]
        if self.protocol == "knn":
            flat = knn(images, tests, asked, k=self.neighbours, progress=progress)
        else:
            how = (
                LinearProtocol()
                if self.epochs is None
                else LinearProtocol(self.epochs, milestones=self._scaled(50, 75))
            )
            seen = None
            if self.views > 1:
                seen = cached_views(source, backbone.backbone, images, asked, views=self.views, progress=progress)
            flat = linear(images, tests, asked, how=how, seen=seen, progress=progress)
        return [flat[at : at + self.seeds] for at in range(0, len(flat), self.seeds)]

    def _on_images(
        self, source: Source, backbone: FeatureSource, sets: Mapping[str, Sequence[str]], progress: Progress
    ) -> list[list[Metrics]]:
        classes = tuple(source.classes or ())
        index = {name: number for number, name in enumerate(classes)}

        def pairs(ids: Sequence[str]) -> list[tuple[str, int]]:
            return [(item, index[str(source.truth[item])]) for item in ids]

        tests = pairs([i for i in source.ids if source.roles.get(i) == "test" and i in source.truth])
        found = []
        for ids in sets.values():
            runs = []
            for seed in range(self.seeds):
                if self.protocol == "finetune":
                    learner = finetuning(backbone.backbone, classes, phase=self._phase(FINETUNE))
                else:
                    side = self.size or _side(source)
                    learner = from_scratch(
                        self.model or "torchvision:resnet18", classes, side, phase=self._phase(SCRATCH)
                    )
                runs.append(trained(learner, source, pairs(ids), tests, seed=seed, progress=progress))
            found.append(runs)
        return found

    def _scaled(self, *milestones: int) -> tuple[int, ...]:
        return tuple(round(at * (self.epochs or 100) / 100) for at in milestones)

    def _phase(self, phase: Phase) -> Phase:
        if self.epochs is None:
            return phase
        return replace(phase, epochs=self.epochs, milestones=self._scaled(*phase.milestones))


def of_files(source: Source, files: Sequence[Path]) -> dict[str, list[str]]:
    """The ids that index files chose, by the name of the file.

    Raises:
        FormatError: a file that is no selection of these images.
        DataError: an image without a label, or nothing chosen.
    """
    order = source.native_order()
    allowed = frozenset(item for item in source.ids if source.roles.get(item, "pool") == "pool")
    sets: dict[str, list[str]] = {}
    for file in files:
        chosen = read_indices(file, order, allowed=allowed)
        bare = next((item for item in chosen if item not in source.truth), None)
        if bare is not None:
            raise DataError(f"{str(file)!r} chose {bare!r}, which has no label in {source!r}: give labelled data")
        if not chosen:
            raise DataError(f"{str(file)!r} chose nothing: there is nothing to learn from")
        sets[file.stem if file.stem not in sets else str(file)] = chosen
    return sets


def _side(source: Source) -> int:
    """Native side of small images; 224 for others, as published."""
    height, width = source.load(source.ids[0]).shape[:2]
    return max(height, width) if max(height, width) <= 64 else 224


def _only(source: Source, ids: set[str]) -> Source:
    return View(source, ids=sorted(ids), roles=dict.fromkeys(ids, "pool"))
