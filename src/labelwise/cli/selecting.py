"""``select``: selections by size from frozen features, as index files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelwise.cli import console, options, studies
from labelwise.cli.progress import Stages
from labelwise.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labelwise.contracts.source import Source
    from labelwise.contracts.strategy import Strategy
    from labelwise.few_labels.frozen import FrozenImages
    from labelwise.few_labels.selector import Subset
    from labelwise.learners.features import FeatureSource


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(select)


Data = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A folder, an .npz, a .csv, a list of images (.txt), or torchvision:NAME.",
        show_default=False,
    ),
]
Features = Annotated[
    str | None,
    typer.Option(
        "--features",
        metavar="NAME",
        help="Backbone of the frozen features: pixels, lite0, or a timm or torchvision network. "
        "[dim]default: lite0 where installed[/]",
        show_default=False,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option("--weights", metavar="FILE", help="Weights of the backbone, from a file.", show_default=False),
]
InputSize = Annotated[
    int | None,
    typer.Option("--size", metavar="PIXELS", help="Side of the backbone's input.", show_default=False),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        help="Where features are kept. [dim]default: in the user's cache folder[/]",
        show_default=False,
    ),
]
TestShare = Annotated[
    float | None,
    typer.Option(
        "--test-share",
        metavar="SHARE",
        help="Hold out this share for testing, where the data have no split; the same for select and evaluate.",
        show_default=False,
    ),
]
Splits = Annotated[
    str,
    typer.Option(
        "--splits",
        metavar="N,N,...",
        help="Numbers of labels: totals for kmeans, random and uniform, increments for all others.",
        show_default=False,
    ),
]
Strategies = Annotated[
    list[str],
    typer.Option("--strategy", "-s", metavar="NAME", help="May be repeated.", show_default=False),
]
Indices = Annotated[
    Path, typer.Option("--indices", metavar="DIR", help="Where the index files go.", show_default=False)
]
StrategySettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="[NAME.]KEY=VALUE", help="An option of a strategy.", show_default=False),
]
Resumed = Annotated[
    Path | None,
    typer.Option(
        "--resume-indices", metavar="FILE", help="Labels that are there already; they count.", show_default=False
    ),
]
PresetName = Annotated[
    str,
    typer.Option(
        "--preset", metavar="default|faithful", help="faithful: the constants of the published k-means and entropy."
    ),
]
DatasetName = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        help="Name of the data set in file names. [dim]default: by SOURCE[/]",
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Of every random choice.")]


def select(
    data: Data,
    splits: Splits,
    strategy: Strategies,
    indices: Indices,
    set_: StrategySettings = None,
    resume_indices: Resumed = None,
    preset: PresetName = "default",
    dataset: DatasetName = None,
    features: Features = None,
    weights: Weights = None,
    size: InputSize = None,
    cache: Cache = None,
    data_root: options.DataRoot = None,
    test_share: TestShare = None,
    seed: Seed = 0,
    json: options.Json = False,
) -> None:
    """Choose what to label in one go, by size, from frozen features; writes {strategy}_{data}_{n}.npy.

    kmeans chooses every size anew; all others go on from the size before. Nothing is trained but a linear head, for
    strategies that ask one.
    """
    from labelwise.assemble import make_strategy, parse_strategy
    from labelwise.few_labels.frozen import frozen_images
    from labelwise.few_labels.selector import Selector, totals
    from labelwise.formats.indices_npy import dataset_name, index_name, read_indices, write_indices

    sizes = _numbers(splits)
    wanted = [parse_strategy(entry) for entry in studies.strategies(strategy, options.settings(set_))]
    made = {config.name: make_strategy(config) for config in wanted}
    if len(made) < len(wanted):
        raise ConfigError(f"a strategy is given twice, and its files would have one name: {', '.join(strategy)}")
    name = dataset or dataset_name(data)
    index_name("x", name, 1)
    with Stages() as stages:
        source, backbone = open_features(
            data, features, weights, size, cache=cache, root=data_root, test_share=test_share
        )
        order = source.native_order()
        images = frozen_images(source, backbone, progress=stages)
        before = [] if resume_indices is None else read_indices(resume_indices, order, allowed=images.ids)
        selector = Selector(images, seed, preset, progress=stages)  # type: ignore[arg-type]
        plan = {key: totals(one, sizes, before=len(before)) for key, one in made.items()}
        for key, one in made.items():
            selector.check(one, plan[key], before=before)
        rows = []
        for key, one in made.items():
            for total, chosen in zip(plan[key], selector.choose(one, plan[key], before=before), strict=True):
                file = write_indices(indices, chosen.ids, order, name=key, dataset=name)
                rows.append(_row(key, one, total, chosen, file))
    if json:
        console.print_json({"images": len(images), "dataset": name, "preset": preset, "selections": rows})
        return
    _print(rows, images, made, sizes, resumed=bool(before))


def open_features(
    data: str,
    features: str | None,
    weights: str | None,
    size: int | None,
    *,
    cache: Path | None,
    root: Path | None,
    test_share: float | None,
) -> tuple[Source, FeatureSource]:
    """The images that a command names, and their frozen features."""
    from labelwise.assemble import open_features as opened

    given = {"backbone": features, "weights": weights, "size": size}
    source, backbone, notes = opened(data, root, cache, given, test_share=test_share)
    for note in notes:
        console.err(f"note: {note}")
    return source, backbone


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no list of numbers, for example 10,20,50", param_hint="--splits"
        ) from None


def _row(name: str, strategy: Strategy, total: int, chosen: Subset, file: Path) -> dict[str, Any]:
    from labelwise.few_labels.selector import counting_of

    return {
        "strategy": name,
        "oracle": strategy.oracle,
        "labels": total,
        "split_is": counting_of(strategy),
        "nested": chosen.nested,
        "coverage": chosen.coverage,
        "seconds": chosen.seconds,
        "notes": list(chosen.notes),
        "file": str(file),
    }


def _print(
    rows: Sequence[dict[str, Any]],
    images: FrozenImages,
    made: dict[str, Strategy],
    sizes: Sequence[int],
    *,
    resumed: bool,
) -> None:
    heads = ["strategy", "labels", "splits are", "holds the one before", "classes", "seconds", "file"]
    table = [
        [
            f"{row['strategy']} (oracle)" if row["oracle"] else row["strategy"],
            f"{row['labels']:,}",
            f"{row['split_is']}s",
            {True: "yes", False: "no", None: ""}[row["nested"]],
            "?" if math.isnan(row["coverage"]) else f"{row['coverage']:.0f} %",
            f"{row['seconds']:.1f}",
            row["file"],
        ]
        for row in rows
    ]
    console.show(console.table(heads, table, right=("labels", "classes", "seconds")))
    console.notes(dict.fromkeys(note for row in rows for note in row["notes"]))
    if any(one.oracle for one in made.values()):
        console.notes(["an oracle reads the labels of all images: a reference, no way to save labels"])
    if images.failed:
        first, why = next(iter(images.failed.items()))
        counted = console.counted(len(images.failed), "image")
        console.notes([f"left out, because unreadable: {counted} (first: {first}, {why})"])
    if not resumed and len(sizes) > 0:
        console.notes([f"the first labels of {' and '.join(names)} were chosen by {by}" for by, names in _firsts(made)])


def _firsts(made: dict[str, Strategy]) -> list[tuple[str, list[str]]]:
    """Who chooses the first labels for which others."""
    from labelwise.few_labels.selector import first_of

    found: dict[str, list[str]] = {}
    for name, one in made.items():
        if (first := first_of(one)) != one.name:
            found.setdefault(first, []).append(name)
    return list(found.items())
