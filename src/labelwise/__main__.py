"""The command line: ``labelwise`` and ``python -m labelwise``. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings

from labelwise.errors import Terminated

_STARTED = os.getpid()


def main() -> None:
    """Runs the command line; every ending is one line and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        # a file name that the terminal cannot show is no reason to fail
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if not os.environ.get("LABELWISE_DEBUG"):
        warnings.simplefilter("ignore")  # other packages' notes to programmers; ours to people are printed as such
    # package.module:name is looked for in the folder one stands in, too; behind all else, so that a file there that is
    # called like a library stands in nobody's way
    if "" not in sys.path and os.getcwd() not in sys.path:  # noqa: PTH109
        sys.path.append("")
    signal.signal(signal.SIGTERM, _terminated)
    try:
        from labelwise.cli.app import app

        app(prog_name="labelwise")
    except KeyboardInterrupt as error:  # before any command ran
        sys.exit(143 if isinstance(error, Terminated) else 130)


def _terminated(number: int, frame: object) -> None:
    """A polite end of the whole command: as Ctrl-C in the process that people started, at once in its helpers."""
    if os.getpid() != _STARTED:
        os._exit(143)
    raise Terminated


if __name__ == "__main__":
    main()
