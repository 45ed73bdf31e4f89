"""Lists with pictures: a page beside the table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from labelwise.cli import console
from labelwise.errors import ConfigError

#: rows shown in the terminal
SHOWN = 20

Page = Annotated[
    list[Path] | None,
    typer.Option("--export", "-o", metavar="FILE.html", help="Also write the pictures as a page.", show_default=False),
]


def refuse_other(export: Sequence[Path] | None) -> None:
    """Refuses a name that is no page, before anything long is begun.

    Raises:
        ConfigError: another ending.
    """
    for path in export or ():
        if path.suffix.lower() not in (".html", ".htm"):
            raise ConfigError(f"{str(path)!r:.120}: the pictures are written as a page: give a name that ends in .html")


def show(
    heads: Sequence[str], rows: Sequence[Sequence[str]], number: str, notes: Sequence[str], written: Sequence[Path]
) -> None:
    """The first rows as a table, what people should know, and where the pages lie.

    Args:
        heads: of the columns.
        rows: all of them.
        number: head of the column of numbers.
        notes: one line each.
        written: pages.
    """
    console.show(console.table(heads, rows[:SHOWN], right=(number,)))
    if len(rows) > SHOWN:
        console.out(f"... and {len(rows) - SHOWN:,} more")
    console.notes(notes)
    for path in written:
        console.out(f"wrote {path}")
