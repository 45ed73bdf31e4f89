"""``serve``: a project, or a study, in the browser."""

from __future__ import annotations

import contextlib
import secrets
import threading
import webbrowser
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from labelwise.cli import console, options
from labelwise.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(serve)


def serve(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="PROJECT|STUDY",
            help="Folder of a project or a study. [dim]default: the project from here upwards[/]",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            metavar="N",
            min=0,
            max=65535,
            help="Port. [dim]default: 8421, or a free one[/]",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Who reaches it: this machine alone, unless you say more.")
    ] = "127.0.0.1",
    token: Annotated[
        str,
        typer.Option("--token", metavar="TEXT", help="Instead of a new one at each start.", show_default=False),
    ] = "",
    no_open: Annotated[bool, options.flag("--no-open", help="Do not open a browser.")] = False,
) -> None:
    """Label, look and train in the browser: what is asked and why, all images, a map of them, and the next round.

    Runs until Ctrl-C. Everything that is said there is in the project at once, as if it had come from a file.

    Of a study: its curves for the seeds and the cost of your choice, and the pictures that each run picked.
    """
    from labelwise.cli.studies import study_file
    from labelwise.project.setup import find_project
    from labelwise.serve.run import bound, is_loopback, names_of
    from labelwise.serve.run import serve as run

    served = None if folder is None else study_file(folder)
    served = served or find_project(folder)
    if not is_loopback(host) and len(token) < 12:
        raise ConfigError(
            f"--host {host} lets other machines in, and whoever has the token reads the images and answers: give "
            "one of 12 characters or more with --token"
        )

    secret = token or secrets.token_urlsafe(24)
    with contextlib.closing(bound(host, port)) as listening:
        number = listening.getsockname()[1]
        shown = "127.0.0.1" if is_loopback(host) or host == "0.0.0.0" else host
        address = f"http://{shown}:{number}/?token={quote(secret)}"

        def ready() -> None:
            console.out(f"serving {served.resolve()} at {address}")
            if not is_loopback(host):
                console.err("note: other machines reach it, without encryption: use it in a network that you trust")
            console.err("note: Ctrl-C ends it; nothing is lost")
            if not no_open:
                threading.Timer(0.5, webbrowser.open, [address]).start()

        run(served, listening, names_of(host, number), secret, ready=ready, log=console.err)
