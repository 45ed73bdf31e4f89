"""``evaluate``: the model of a project as it is, or what labels teach by a fixed protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelwise.cli import console, options, selecting, training
from labelwise.cli.progress import Stages
from labelwise.errors import ConfigError, DataError, unknown

if TYPE_CHECKING:
    from labelwise.contracts.source import Source
    from labelwise.exchange.incoming import Wishes
    from labelwise.few_labels.evaluations import Evaluation
    from labelwise.learners.features import FeatureSource


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
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions",
            metavar="FILE",
            help="Of somebody else's model, in its place: accuracy, mAP or mIoU on the images that have a label.",
            show_default=False,
        ),
    ] = None,
    format_: options.FormatName = None,
    names: options.NameList = None,
    image_list: options.ImageList = None,
    ignore_unknown: options.IgnoreUnknown = False,
    min_score: options.MinScore = None,
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
        wishes = options.wishes(format_, names, image_list, None, ignore_unknown=ignore_unknown, min_score=min_score)
        options.refuse_without("--predictions", predictions, {"--min-score": min_score})
        _of_model(project, predictions, wishes, json=json)
        return
    if predictions is not None:
        raise ConfigError("--predictions are what a model says; a protocol trains one: give one of the two")
    from labelwise.few_labels.evaluations import Evaluation, of_files
    from labelwise.few_labels.protocols import PROTOCOLS
    from labelwise.project.measured import NO_TEST

    if protocol not in PROTOCOLS:
        raise unknown("protocol", protocol, PROTOCOLS)
    how = Evaluation(protocol, views, neighbours, model, size, epochs, seeds)
    if bool(indices) != (data is not None):
        raise ConfigError("index files and data belong together: give --indices FILE and --data SOURCE, or neither")
    with Stages() as stages:
        if data is not None:
            side = None if protocol == "scratch" else size
            source, backbone = selecting.open_features(
                data, features, weights, side, cache=cache, root=data_root, test_share=test_share
            )
            sets = of_files(source, indices or ())
        else:
            source, backbone, sets = _of_project(project, stages)
        if not any(source.roles.get(item) == "test" and item in source.truth for item in source.ids):
            raise DataError(f"{NO_TEST}; or give --test-share to select and evaluate alike")
        rows = how.measure(source, backbone, sets, stages)
    _show(rows, how, json=json)


def _of_model(folder: Path | None, predictions: Path | None, wishes: Wishes, *, json: bool) -> None:
    """The weights trained last, or what a file says, as they are."""
    with Stages() as stages:
        found = options.open_project(folder, stages).evaluate(predictions, wishes)
    if json:
        tests = found.images if found.on == "test images" else 0
        on = {"test": tests, "images": found.images, "on": found.on, "intervals": found.intervals, "notes": found.notes}
        console.print_json({"metrics": found.metrics, **on})
    else:
        training.show(found)


def _of_project(folder: Path | None, progress: Stages) -> tuple[Source, FeatureSource, dict[str, list[str]]]:
    """The labels of a project."""
    from labelwise.data.views import View
    from labelwise.project.learning import Learning

    opened = options.open_project(folder, progress)
    pool = opened.pool
    labelled = [pool.ids[p] for p in pool.labelled]
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
    return source, Learning(opened).features, {"labels of the project": labelled}


def _show(rows: Sequence[dict[str, Any]], how: Evaluation, *, json: bool) -> None:
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
