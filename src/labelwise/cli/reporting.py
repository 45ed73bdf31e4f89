"""``report``: one HTML page about a project or a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labelwise.cli import comparing, console, options, studies
from labelwise.cli.progress import Stages
from labelwise.errors import LabelwiseError, StateError

if TYPE_CHECKING:
    from labelwise.contracts.source import Source


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(report)


def report(
    study: Annotated[
        Path | None,
        typer.Argument(
            metavar="STUDY",
            help="A study's folder or its study.json. [dim]default: the project from here upwards[/]",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE.html", help="The page to write.", show_default=False),
    ] = None,
    project: options.ProjectFolder = None,
    json: options.Json = False,
) -> None:
    """Write one self-contained HTML page: of a study that compare ran, or of the project."""
    if study is not None:
        _study(study, out, json=json)
        return
    with Stages() as stages:
        opened = options.open_project(project, stages)
        page = opened.report(out or opened.folder / "report.html")
    if json:
        console.print_json({"report": page.resolve()})
        return
    console.out(console.standing(opened, ()))
    console.out(str(page))


def _study(where: Path, out: Path | None, *, json: bool) -> None:
    from labelwise.campaign.records import read_study
    from labelwise.recipes import STUDY

    file = studies.study_file(where)
    if file is None:
        raise StateError(f"no {STUDY} in {str(where)!r}: give the folder that 'labelwise compare' wrote, or that file")
    found = read_study(file)
    written = studies.write(found, file.parent, _source(file.parent), out=out)
    assert written.summary is not None
    if json:
        console.print_json(studies.as_json(written.summary, written))
        return
    comparing.show(written)
    console.out()
    console.out(str(written.report))


def _source(folder: Path) -> Source | None:
    """The images of a study, as its recipe names them; None where they are gone: the page then shows no pictures."""
    from labelwise.recipes import RECIPE, find

    try:
        return find(str(folder / RECIPE)).open()
    except LabelwiseError:
        return None
