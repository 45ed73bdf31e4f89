"""The application: which commands there are, and how each of them ends."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import labelwise
from labelwise.cli import (
    advising,
    checking,
    comparing,
    console,
    demonstrating,
    evaluating,
    holding_out,
    labelling,
    listing,
    looking,
    loop,
    options,
    predicting,
    pretraining,
    relabelling,
    reporting,
    selecting,
    serving,
    starting,
    tagging,
    taking_back,
    training,
)
from labelwise.errors import LabelwiseError, Terminated, code_of_ones_own

#: what the command line library raises for usage errors and endings; it prints those itself
_USAGE: type[Exception] = next(cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException")
_OWN: tuple[type[Exception], ...] = (typer.Exit, typer.Abort, _USAGE)

#: what a shell reports of a program whose reader went away
BROKEN_PIPE = 128 + 13
INTERRUPTED, TERMINATED = 130, 143


class Guarded(TyperGroup):
    """Commands whose errors are one line on standard error: exit 1 for what a user can mend, 130 for Ctrl-C."""

    def invoke(self, ctx: Any) -> Any:
        """Runs a command; ``LABELWISE_DEBUG=1`` shows the traceback, too."""
        try:
            return super().invoke(ctx)
        except _OWN:
            raise
        except (Exception, KeyboardInterrupt) as error:
            if os.environ.get("LABELWISE_DEBUG"):
                traceback.print_exc()
            raise typer.Exit(explain(error)) from None


def explain(error: BaseException) -> int:
    """Says in one line what went wrong; returns the exit code."""
    if isinstance(error, KeyboardInterrupt):
        console.err("interrupted: what was finished is kept, the same command goes on from there")
        return TERMINATED if isinstance(error, Terminated) else INTERRUPTED
    if isinstance(error, BrokenPipeError):
        # nobody reads any more, and Python would complain again when it closes the streams
        devnull = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(devnull, stream.fileno())
        return BROKEN_PIPE
    console.error(_in_words(error))
    return 1


def _in_words(error: BaseException) -> str:
    if isinstance(error, LabelwiseError):
        return str(error)
    kind, place = type(error), code_of_ones_own(error)
    if place is not None and not isinstance(error, MemoryError) and kind.__name__ != "OutOfMemoryError":
        return f"{place}: {kind.__name__}: {_last_words(error):.160}. This is code of your own: mend it there"
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"the disk is full{where}: make room and run the command again, what was finished is kept"
        return f"{error.strerror or error}{where}: check that the place exists and can be written, then run it again"
    if isinstance(error, MemoryError) or kind.__name__ == "OutOfMemoryError":
        return "out of memory: lower batch_size in the configuration, or choose a smaller model or image size"
    if kind.__module__.startswith("sqlalchemy"):
        return (
            f"the project state cannot be read ({_first_line(getattr(error, 'orig', error))}): restore it from a backup"
        )
    return (
        f"{kind.__name__}: {_first_line(error)}. This is a bug in labelwise {labelwise.__version__}, please report it; "
        "LABELWISE_DEBUG=1 shows where it happened"
    )


def _last_words(error: BaseException) -> str:
    """The message; of an error from another process, without the way that it brings along."""
    text = str(error).strip()
    return _first_line(text.splitlines()[-1] if "Traceback (most recent call last)" in text else error)


def _first_line(error: object) -> str:
    return next(iter(str(error).strip().splitlines()), "no message").rstrip(".")


app = typer.Typer(
    cls=Guarded,
    name="labelwise",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"labelwise {labelwise.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, options.flag("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Which images to label next, and what that saved.

    A first look: [bold]labelwise demo[/]

    Your own images: [bold]labelwise init FOLDER[/], then [bold]labelwise suggest[/]

    Which method to use: [bold]labelwise compare LABELLED_FOLDER[/]
    """


for _group in (
    *(
        demonstrating,
        starting,
        loop,
        serving,
        labelling,
        tagging,
        taking_back,
        holding_out,
        training,
        predicting,
        evaluating,
    ),
    *(advising, looking, relabelling, pretraining, selecting, comparing, reporting, listing, checking),
):
    _group.register(app)
