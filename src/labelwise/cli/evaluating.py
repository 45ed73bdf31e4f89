"""``evaluate``: the model of a project as it is, or what labels teach by a fixed protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelwise.cli import console, options, selecting, training
from labelwise.cli.progress import Stages
from labelwise.errors import ConfigError, DataError, unknown

if TYPE_CHECKING:
    from labelwise.data.source import Source
    from labelwise.frozen import FrozenImages
    from labelwise.learner import Phase, Progress
    from labelwise.learners.features import FeatureSource

Metrics = dict[str, float]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(evaluate)


def evaluate(
    protocol: Annotated[
        str | None,
        typer.Argument(
            metavar="[linear|knn|finetune|scratch]",
            help="Learn from the labels by this protocol. [dim]default: the weights trained last, as they are[/]",
            show_default=False,
        ),
    ] = None,
    indices: Annotated[
        list[Path] | None,
        typer.Option(
            "--indices",
            metavar="FILE",
            help="An index file, with --data; may be repeated. [dim]default: the labels of the project[/]",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="SOURCE", help="The labelled data of the index files.", show_default=False),
    ] = None,
    features: selecting.Features = None,
    weights: selecting.Weights = None,
    size: selecting.InputSize = None,
    cache: selecting.Cache = None,
    data_root: options.DataRoot = None,
    test_share: selecting.TestShare = None,
    views: Annotated[
        int, typer.Option("--views", metavar="V", min=1, help="linear: cached augmented views of each labelled image.")
    ] = 1,
    neighbours: Annotated[int, typer.Option("-k", metavar="K", min=1, help="knn: neighbours.")] = 1,
    model: options.ModelName = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", metavar="N", min=1, help="Instead of 100; the milestones move with it.", show_default=False
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="Trainings of each selection.")] = 1,
    project: options.ProjectFolder = None,
    json: options.Json = False,
) -> None:
    """How good the model is on the test images; or with a protocol, how good one is that learns from these labels.

    linear: a linear head on frozen features. knn: the nearest labelled image decides. finetune: the whole backbone.
    scratch: a network from random weights.
    """
    if protocol is None:
        if indices or data is not None:
            raise ConfigError("--indices and --data need a protocol: labelwise evaluate linear --indices ...")
        training.own_weights(project, json=json)
        return
    from labelwise.protocols import PROTOCOLS

    if protocol not in PROTOCOLS:
        raise unknown("protocol", protocol, PROTOCOLS)
    how = How(protocol, views, neighbours, model, size, epochs, seeds)
    if bool(indices) != (data is not None):
        raise ConfigError("index files and data belong together: give --indices FILE and --data SOURCE, or neither")
    with Stages() as stages:
        if data is not None:
            side = None if protocol == "scratch" else size
            source, backbone = selecting.open_features(
                data, features, weights, side, cache=cache, root=data_root, test_share=test_share
            )
            sets = _of_files(source, indices or (), stages)
        else:
            source, backbone, sets = _of_project(project, stages)
        rows = how.measure(source, backbone, sets, stages)
    _show(rows, how, json=json)


@dataclass(frozen=True)
class How:
    """What a command asked for.

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
        if not any(source.roles.get(item) == "test" and item in source.truth for item in source.ids):
            raise DataError(training.NO_TEST + ", or give --test-share to select and evaluate alike")
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
        from labelwise.frozen import frozen_images
        from labelwise.learners.heads import LinearProtocol
        from labelwise.protocols import cached_views, knn, labels_of, linear

        used = {item for ids in sets.values() for item in ids}
        tests = frozen_images(source, backbone, "test", progress=progress).labelled()
        images: FrozenImages = frozen_images(_only(source, used), backbone, progress=progress)
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
        from labelwise.protocols import FINETUNE, SCRATCH, finetuning, from_scratch, trained

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


def _side(source: Source) -> int:
    """Native side of small images; 224 for others, as published."""
    height, width = source.load(source.ids[0]).shape[:2]
    return max(height, width) if max(height, width) <= 64 else 224


def _only(source: Source, ids: set[str]) -> Source:
    from labelwise.data.views import View

    return View(source, ids=sorted(ids), roles=dict.fromkeys(ids, "pool"))


def _of_files(source: Source, files: Sequence[Path], progress: Progress) -> dict[str, list[str]]:
    from labelwise.formats.indices_npy import read_indices

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


def _of_project(folder: Path | None, progress: Stages) -> tuple[Source, FeatureSource, dict[str, list[str]]]:
    """The labels of a project."""
    from labelwise.data.views import View

    opened = options.open_project(folder, progress)
    pool = opened.pool
    labelled = [pool.ids[p] for p in pool.labeled]
    if not labelled:
        raise DataError("the project has no label to learn from: labelwise suggest, then import the labels")
    tests = [pool.ids[p] for p in pool.with_role("test")]
    truth = {item: pool.target(pool.position(item)) for item in [*labelled, *tests]}
    source = View(
        opened.source,
        ids=[*labelled, *tests],
        classes=opened.task.classes,
        truth=truth,
        roles=dict.fromkeys(tests, "test"),
    )
    return source, opened.features, {"labels of the project": labelled}


def _show(rows: Sequence[dict[str, Any]], how: How, *, json: bool) -> None:
    if json:
        console.print_json({"protocol": how.protocol, "selections": rows})
        return
    heads = ["selection", "labels", "classes", "accuracy", "balanced accuracy"]
    table = [
        [
            _marked(row["selection"]),
            f"{row['labels']:,}",
            f"{row['coverage']:.0f} %",
            _spread(row["accuracy"]),
            _spread(row["balanced_accuracy"]),
        ]
        for row in rows
    ]
    console.show(console.table(heads, table, right=tuple(heads[1:])))
    if how.protocol == "linear" and how.views == 1:
        console.notes(["one centre view of each labelled image; the published protocol augments: --views 10 is nearer"])
    if how.seeds > 1:
        console.notes([f"mean over {how.seeds} seeds of the training, with the 95 % t interval; one selection each"])


def _marked(selection: str) -> str:
    """The selection's name; the name of its file says where an oracle made it."""
    from labelwise.strategies import STRATEGIES

    oracles = [name for name in STRATEGIES.names() if STRATEGIES.get(name).oracle]
    return f"{selection} (oracle)" if any(selection.startswith(f"{name}_") for name in oracles) else selection


def _spread(values: Sequence[float]) -> str:
    from labelwise.report.statistics import interval

    found = interval(values)
    return f"{found.mean:.4f}" + (f" ±{found.half:.4f}" if math.isfinite(found.half) else "")
