"""Labelling on a server of others: ``connect``, ``push``, ``pull``, ``sync``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelwise.cli import console, options
from labelwise.cli.loop import print_import
from labelwise.cli.progress import Stages
from labelwise.errors import ConfigError

if TYPE_CHECKING:
    from labelwise.contracts.tool import Sent
    from labelwise.project.labelling import Step
    from labelwise.project.project import Project


#: the command that goes on alone, and what it does
_BY_ITSELF = ("labelwise sync", "pull, train, choose and push by itself")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (connect, push, pull, sync):
        app.command()(command)


def connect(
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="label-studio or cvat.", show_default=False)],
    url: Annotated[str, typer.Option("--url", metavar="URL", help="Address of the server.", show_default=False)],
    number: Annotated[
        int | None,
        typer.Option(
            "--number",
            "-n",
            metavar="N",
            help="A project that is there, by the number in its address.",
            show_default=False,
        ),
    ] = None,
    title: Annotated[
        str, typer.Option("--title", help="Of the project that is made there; the folder's by default.")
    ] = "",
    files: Annotated[
        Any,
        typer.Option(
            "--files", metavar="upload|local", help="Upload images, or let the server read them on this machine."
        ),
    ] = "upload",
    control: Annotated[
        list[str] | None,
        typer.Option(
            "--control",
            metavar="KIND=NAME",
            show_default=False,
            help="Which control is meant where the project there has several: choice, box, outline, brush or point.",
        ),
    ] = None,
    longest: Annotated[
        float, typer.Option("--longest", metavar="SECONDS", help="What a label can cost; more is idle time.")
    ] = 300.0,
    insecure: Annotated[bool, options.flag("--insecure", help="Do not check the certificate of the server.")] = False,
    project: options.ProjectFolder = None,
    json: options.Json = False,
) -> None:
    """Say where people label: makes a project on a server, or takes one into use. The token is never written down."""
    from labelwise.contracts.tool import Place
    from labelwise.project.labelling import variable

    if number is not None and title:
        raise ConfigError("--title names a project that is made, --number one that is there: leave one out")
    place = Place(
        url.rstrip("/"), number=number, title=title, files=files, controls=_pairs(control or ()), longest=longest,
        verify=not insecure,
    )  # fmt: skip
    with Stages() as stages:
        opened = options.open_project(project, stages)
        notes = opened.server(options.token(variable(opened, tool))).connect(tool, place)
    found = opened.config.tool
    assert found is not None, "it was just written"
    if json:
        console.print_json({**found.model_dump(mode="json"), "notes": notes})
        return
    console.out(f"rounds go to {found.title!r}, {found.url}/projects/{found.number}")
    console.notes(notes)
    console.next_steps([*opened.next_steps(), _BY_ITSELF], project)


def _pairs(given: Any) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    ours = ("choice", "box", "outline", "brush", "point")
    if odd := [text for text, (name, _, value) in zip(given, pairs, strict=True) if name not in ours or not value]:
        raise ConfigError(
            f"--control {odd[0]:.60} says nothing: write it as KIND=NAME, where KIND is {', '.join(ours)}"
        )
    return {name: value for name, _, value in pairs}


def push(
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions", metavar="FILE", help="Your own model's labels, as a start for people.", show_default=False
        ),
    ] = None,
    project: options.ProjectFolder = None,
    json: options.Json = False,
) -> None:
    """Send the open round to the server, in its order, with what the model would say. Run again, it changes nothing."""
    from labelwise.project.labelling import variable

    with Stages() as stages:
        opened = options.open_project(project, stages)
        done = opened.server(options.token(variable(opened))).push(predictions)
    if json:
        console.print_json(asdict(done))
        return
    _print_sent(done)
    console.next_steps([("labelwise pull", "take the answers back"), _BY_ITSELF], project)


def _print_sent(done: Sent) -> None:
    said = [f"{done.sent:,} sent"]
    said += [f"{done.there:,} were there"] if done.there else []
    said += [f"{done.withdrawn:,} that nobody asks for any more withdrawn"] if done.withdrawn else []
    console.out(f"{', '.join(said)}: {done.where}")
    console.notes(done.notes)


def pull(
    add_classes: Annotated[
        bool, options.flag("--add-classes", help="Classes that the project does not have join it, at the end.")
    ] = False,
    project: options.ProjectFolder = None,
    json: options.Json = False,
) -> None:
    """Take the answers that are new on the server. Run again, it changes nothing."""
    from labelwise.project.labelling import variable

    with Stages() as stages:
        opened = options.open_project(project, stages)
        done = opened.server(options.token(variable(opened))).pull(add_classes=add_classes)
    if json:
        console.print_json(None if done is None else asdict(done))
    elif done is None:
        console.out("nothing new")
    else:
        print_import(done, opened, project)


def sync(
    every: Annotated[float, typer.Option("--every", metavar="SECONDS", help="How often to look.")] = 60.0,
    when: Annotated[
        str, typer.Option("--when", metavar="SHARE", help="How much of a round is answered when the next one begins.")
    ] = "90%",
    project: options.ProjectFolder = None,
) -> None:
    """Fetch answers again and again; train, choose and send the next round when enough is answered. Ctrl-C stops it."""
    from labelwise.project.labelling import variable

    share = _share(when)
    with Stages() as stages:
        opened = options.open_project(project, stages)
        for step in opened.server(options.token(variable(opened))).sync(every=every, when=share):
            _print_step(step, opened)


def _share(text: str) -> float:
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise ConfigError(f"--when is {text!r:.30}: give a share such as 90% or 0.9") from None


def _print_step(step: Step, opened: Project) -> None:
    if step.failed:
        console.notes([f"{step.failed}; trying again"])
        return
    if step.imported is not None:
        console.out(f"{step.imported.labelled:,} labelled, {step.imported.corrected:,} corrected, "
                    f"{step.imported.skipped:,} skipped; {step.open:,} wait")  # fmt: skip
        console.notes(step.imported.notes)
    if step.sent is not None:
        console.out(f"round {opened.pool.round - 1}")
        _print_sent(step.sent)
