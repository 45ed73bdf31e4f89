"""``similar``, ``duplicates``, ``outliers``: images by what they look like, in a project or in any folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelwise.cli import console, options, pages, selecting
from labelwise.cli.progress import Stages
from labelwise.errors import ConfigError

if TYPE_CHECKING:
    from labelwise.project.looking import Found, Looked


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(similar)
    app.command()(duplicates)
    app.command()(outliers)


Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="SOURCE",
        help="Look among these images and not those of a project: a folder, an .npz, a list.",
        show_default=False,
    ),
]
Number = Annotated[int, typer.Option("-n", "--number", metavar="N", min=1, help="How many.")]
Folder = Annotated[
    str | None,
    typer.Argument(
        metavar="[SOURCE]",
        help="A folder, an .npz, a list of images. [dim]default: the images of the project[/]",
        show_default=False,
    ),
]


def similar(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...",
            help="Examples: ids or files, or a box of one in pixels as IMAGE@x1,y1,x2,y2.",
            show_default=False,
        ),
    ],
    number: Number = 50,
    data: Data = None,
    export: pages.Page = None,
    features: selecting.Features = None,
    weights: selecting.Weights = None,
    size: selecting.InputSize = None,
    cache: selecting.Cache = None,
    project: options.ProjectFolder = None,
    json: options.Json = False,
) -> None:
    """Find more like these: the images most like any of the examples, by frozen features."""
    from labelwise.project.looking import similar as find

    pages.refuse_other(export)
    with Stages() as stages:
        looked = _look(data, project, stages, _given(features, weights, size, cache))
        found = find(looked, images, number)
        written = [found.gallery(path) for path in export or ()]
    if json:
        _print_json(found, written, parts=False)
        return
    console.out(f"{console.counted(len(found), 'image')} like {console.counted(len(images), 'example')}")
    _print(found, written, "similarity", "like")


def duplicates(
    data: Folder = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="T",
            help="Smallest cosine of two near-duplicates, above 0 and at most 1. [dim]default: 0.95[/]",
            show_default=False,
        ),
    ] = None,
    export: pages.Page = None,
    features: selecting.Features = None,
    weights: selecting.Weights = None,
    size: selecting.InputSize = None,
    cache: selecting.Cache = None,
    project: options.ProjectFolder = None,
    json: options.Json = False,
) -> None:
    """List groups of near-duplicates, by frozen features. A group may be a chain: each is like another of it.

    Nothing is left out or deleted: suggest --distinct asks about one image of each group.
    """
    from labelwise.project.looking import THRESHOLD
    from labelwise.project.looking import duplicates as find

    pages.refuse_other(export)
    with Stages() as stages:
        looked = _look(data, project, stages, _given(features, weights, size, cache))
        found = find(looked, THRESHOLD if threshold is None else threshold)
        written = [found.gallery(path) for path in export or ()]
    if json:
        _print_json(found, written, parts=True)
        return
    groups = console.counted(len(found.parts), "group")
    spare = console.counted(len(found) - len(found.parts), "image")
    of = console.counted(len(looked.ids), "image")
    console.out(f"{groups} of near-duplicates among {of}: {spare} could go without losing a group")
    _print(found, written, "similarity", "group")


def outliers(
    data: Folder = None,
    number: Number = 50,
    export: pages.Page = None,
    features: selecting.Features = None,
    weights: selecting.Weights = None,
    size: selecting.InputSize = None,
    cache: selecting.Cache = None,
    project: options.ProjectFolder = None,
    json: options.Json = False,
) -> None:
    """List the images least like any other, by frozen features: broken, foreign, or rare and worth a label."""
    from labelwise.project.looking import outliers as find

    pages.refuse_other(export)
    with Stages() as stages:
        looked = _look(data, project, stages, _given(features, weights, size, cache))
        found = find(looked, number)
        written = [found.gallery(path) for path in export or ()]
    if json:
        _print_json(found, written, parts=False)
        return
    console.out(f"{len(found):,} of {console.counted(len(looked.ids), 'image')}, those least like the others")
    _print(found, written, "distance", None)


def _given(features: str | None, weights: str | None, size: int | None, cache: Path | None) -> dict[str, Any]:
    given: dict[str, Any] = {"backbone": features, "weights": weights, "size": size, "cache": cache}
    return {key: value for key, value in given.items() if value is not None}


def _look(data: str | None, project: Path | None, stages: Stages, given: dict[str, Any]) -> Looked:
    """Images with their features, of the data that were named or of a project.

    Raises:
        ConfigError: both were named.
    """
    from labelwise.project.looking import look

    if data is not None and project is not None:
        raise ConfigError(f"{data!r:.80} and a project were named: give the one whose images are meant")
    return look(options.open_project(project, stages) if data is None else data, progress=stages, **given)


def _print_json(found: Found, written: list[Path], *, parts: bool) -> None:
    """One list of images, or of groups of images."""
    named = [
        [{"id": one.id, "path": one.path, "score": one.score, "like": one.predicted} for one in part.picks]
        for part in found.parts
    ]
    if parts:
        named = [[{key: one[key] for key in ("id", "path", "score")} for one in part] for part in named]
    images = {"groups": named} if parts else {"images": [one for part in named for one in part]}
    console.print_json({**images, "among": len(found.among.ids), "notes": found.notes, "exported": written})


def _print(found: Found, written: list[Path], number: str, last: str | None) -> None:
    """A table of the first images, with what is known of each."""
    rows = [
        [pick.id, console.number(pick.score), (part.name if last == "group" else pick.predicted) or "-"]
        for part in found.parts
        for pick in part.picks
    ]
    told = last is not None and any(row[2] != "-" for row in rows)
    heads = ["image", number, *([last] if told and last is not None else [])]
    pages.show(heads, [row[: len(heads)] for row in rows], number, found.notes, written)
