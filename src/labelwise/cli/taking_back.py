"""``unlabel`` and ``restore``: what people take back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from labelwise.cli import console, options
from labelwise.cli.progress import Stages

if TYPE_CHECKING:
    from labelwise.project.taking_back import Which

Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[IMAGE]...", help="Ids, as suggest shows them.", show_default=False)
]
File = Annotated[
    Path | None,
    typer.Option(
        "--file", metavar="FILE", help="All images that a file names: what import reads, or a list.", show_default=False
    ),
]
OfRound = Annotated[
    int | None, typer.Option("--round", metavar="N", help="All that were asked in a round, from 0.", show_default=False)
]
Every = Annotated[bool, options.flag("--all", help="All there are.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(unlabel)
    app.command()(restore)


def unlabel(
    images: Ids = None,
    file: File = None,
    round: OfRound = None,
    every: Every = False,
    format_: options.FormatName = None,
    ignore_unknown: options.IgnoreUnknown = False,
    project: options.ProjectFolder = None,
    json: options.Json = False,
) -> None:
    """Take labels back, those of all annotators: the images are unlabelled again and may be asked again."""
    _take_back(_which(images, file, round, every, format_, ignore_unknown), "labelled", project, json=json)


def restore(
    images: Ids = None,
    file: File = None,
    round: OfRound = None,
    every: Every = False,
    format_: options.FormatName = None,
    ignore_unknown: options.IgnoreUnknown = False,
    project: options.ProjectFolder = None,
    json: options.Json = False,
) -> None:
    """Take skips back: the images may be asked again."""
    _take_back(_which(images, file, round, every, format_, ignore_unknown), "skipped", project, json=json)


def _which(
    images: list[str] | None, file: Path | None, round: int | None, every: bool, format_: str | None, ignore: bool
) -> Which:
    from labelwise.project.taking_back import Which

    wishes = options.wishes(format_, None, None, None, ignore_unknown=ignore)
    return Which(tuple(images or ()), file, round, every, wishes)


def _take_back(which: Which, state: Literal["labelled", "skipped"], folder: Path | None, *, json: bool) -> None:
    with Stages() as stages:
        opened = options.open_project(folder, stages)
        items, notes = opened.unlabel(which) if state == "labelled" else opened.restore(which)
    if json:
        console.print_json({"taken_back": items, "notes": notes, "total": opened.progress_counts()})
        return
    what = "label" if state == "labelled" else "skip"
    console.out(f"took back {console.counted(len(items), what)}" if items else f"nothing {state} there to take back")
    console.notes(notes)
    console.out(f"now {console.standing(opened, ('labelled', 'unlabelled', 'skipped'))}")
    if items:
        console.next_steps(opened.next_steps(), folder)
