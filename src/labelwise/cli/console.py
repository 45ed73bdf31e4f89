"""What every command prints with: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from labelwise.project.project import Project

#: columns where no terminal says how wide it is: for files and pipes
WIDTH = 120


def visible(text: str) -> str:
    r"""A text in one line: control, direction and undecodable characters as escapes.

    Example:
        >>> print(visible("a\nb.png"), visible("é 日本.png"))
        a\nb.png é 日本.png
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def out(text: str = "") -> None:
    """One line of a result."""
    print(visible(text), file=sys.stdout)


def err(text: str) -> None:
    """One line about what is going on."""
    print(visible(text), file=sys.stderr, flush=True)


def error(message: str) -> None:
    """The one line in which a command fails."""
    sys.stdout.flush()
    word = "\033[1;31merror:\033[0m" if sys.stderr.isatty() and not os.environ.get("NO_COLOR") else "error:"
    print(f"{word} {visible(message)}", file=sys.stderr, flush=True)


def notes(lines: Iterable[str]) -> None:
    """Remarks that people should read."""
    for line in lines:
        out(f"note: {line}")


def standing(project: Project, states: Sequence[str]) -> str:
    """How many items of a project are in which state; of images and of regions apart, where regions are asked.

    Args:
        project: whose.
        states: those that are told even where they are none; of the others those that are some.
    """

    def told(counts: dict[str, int]) -> str:
        return ", ".join(f"{count:,} {state}" for state, count in counts.items() if count or state in states)

    if not project.pool.has_regions:
        return told(project.progress_counts())
    return f"images: {told(project.progress_counts('image'))}; regions: {told(project.progress_counts('region'))}"


def print_json(value: Any) -> None:
    """A result as JSON and nothing else."""
    from labelwise.campaign.records import plain

    print(json.dumps(plain(value), ensure_ascii=False, indent=1), file=sys.stdout)


def interactive() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def show(renderable: RenderableType) -> None:
    """A table or another thing that rich draws."""
    stdout().print(renderable)


def stdout() -> Console:
    """Standard output for rich, as wide as the terminal."""
    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS") or WIDTH)
    return _console(sys.stdout, width)


def stderr() -> Console:
    """Standard error for rich."""
    return _console(sys.stderr)


def _console(file: TextIO, width: int | None = None) -> Console:
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # ends as everywhere else, and not with the exit code of a user's error

    return Plain(file=file, width=width, highlight=False)


#: characters of a name that is never broken
_NAME = 30


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> RenderableType:
    """A plain table; no cell is cut.

    Args:
        heads: titles of the columns.
        rows: cells.
        right: titles of columns that are set flush right.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    cells = [[visible(cell) for cell in row] for row in rows]
    # names stand in the first column: whoever looks for one finds it in one piece
    whole = max((len(row[0]) for row in cells if row and len(row[0]) <= _NAME), default=0)
    for place, head in enumerate(heads):
        justify: Any = "right" if head in right else "left"
        made.add_column(escape(head), justify=justify, overflow="fold", min_width=None if place else whole)
    for row in cells:
        made.add_row(*map(escape, row))
    return made


def next_steps(steps: Iterable[tuple[str, str]], project: Path | None = None) -> None:
    """Commands that make sense now, with what they do, ready to be copied.

    Args:
        steps: (command, what it does).
        project: the folder when it was named on the command line.
    """
    where = "" if project is None else f" --project {shlex.quote(str(project))}"
    lines = [(f"{command}{where if command.startswith('labelwise') else ''}", text) for command, text in steps]
    width = max((len(command) for command, _ in lines), default=0)
    out()
    out("next:")
    for command, text in lines:
        out(f"  {command:{width}}  {text}".rstrip())


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun.

    Example:
        >>> counted(1, "image"), counted(1200, "class", "classes")
        ('1 image', '1,200 classes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def number(value: float | None, digits: int = 4) -> str:
    """A score or a metric; a dash for none.

    Example:
        >>> number(0.123456), number(None), number(float("nan")), number(12345.678)
        ('0.1235', '-', '-', '12345.6780')
    """
    return "-" if value is None or value != value else f"{value:.{digits}f}"
