"""``tag``: words of one's own on images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from labelwise.cli import console, options
from labelwise.cli.progress import Stages


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(tag)


def tag(
    name: Annotated[
        str | None, typer.Argument(metavar="[TAG]", help="The tag. Without one, all tags.", show_default=False)
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE]...", help="Ids. Without any, the images that have it.", show_default=False),
    ] = None,
    remove: Annotated[bool, options.flag("--remove", help="Take it off instead.")] = False,
    project: options.ProjectFolder = None,
    json: options.Json = False,
) -> None:
    """Tag images, to find them again on the page and to choose among them with suggest --tagged.

    A tag changes nothing else: a tagged image is asked, trained on and counted as before.
    """
    from labelwise.project.tagging import tag as put
    from labelwise.project.tagging import tagged

    with Stages() as stages:
        opened = options.open_project(project, stages)
        if name is None:
            _list(opened.pool.tags.counts(), json=json)
            return
        if not images:
            found = tagged(opened, [name])
            if json:
                console.print_json({"tag": name, "images": found})
            else:
                _lines(found)
            return
        with opened.changing():
            changed = put(opened, name, images, on=not remove)
    if json:
        console.print_json({"tag": name, "changed": changed, "unchanged": len(set(images)) - changed})
        return
    did = "took the tag off" if remove else "tagged"
    rest = (
        f"; {same:,} {'did not have it' if remove else 'had it already'}"
        if (same := len(set(images)) - changed)
        else ""
    )
    console.out(f"{did} {console.counted(changed, 'image')}{rest}")


def _list(counts: dict[str, int], *, json: bool) -> None:
    if json:
        console.print_json({"tags": counts})
        return
    _lines([f"{count:>8,}  {tag}" for tag, count in counts.items()] or ["no image has a tag"])


def _lines(lines: Sequence[str]) -> None:
    for line in lines:
        console.out(line)
