"""``relabel``: labels that are worth looking at again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from labelwise.cli import console, options, pages
from labelwise.cli.progress import Stages


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(relabel)


def relabel(
    number: Annotated[int, typer.Option("-n", "--number", metavar="N", min=1, help="How many labels to list.")] = 50,
    export: pages.Page = None,
    project: options.ProjectFolder = None,
    json: options.Json = False,
) -> None:
    """List labelled images whose label is doubtful: models that have not learnt from it say otherwise.

    Nothing is asked and nothing changed. Correct labels by importing a file, take them back with unlabel, or let people
    look again with suggest --relabel 0.2.
    """
    from labelwise.project.relabelling import relabel as find

    pages.refuse_other(export)
    with Stages() as stages:
        found = find(options.open_project(project, stages), number)
        written = [found.gallery(path) for path in export or ()]
    if json:
        labels = [asdict(one) for one in found.labels]
        counts = {"suspects": found.suspects, "judged": found.judged}
        console.print_json({"labels": labels, **counts, "notes": found.notes, "exported": written})
        return
    console.out(f"{found.suspects:,} of {console.counted(found.judged, 'label')} look wrong")
    rows = [
        (
            one.id,
            one.label,
            console.number(one.score, 3),
            "yes" if one.suspect else "",
            one.why,
            ", ".join(one.annotators),
        )
        for one in found.labels
    ]
    heads = ["image", "label", "doubt", "suspect", "why", "who"]
    told = [place for place in range(len(heads)) if place < 4 or any(row[place] for row in rows[: pages.SHOWN])]
    cells = [[row[place] for place in told] for row in rows]
    pages.show([heads[place] for place in told], cells, "doubt", found.notes, written)
