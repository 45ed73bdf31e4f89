"""``holdout``: a test set out of images that are not labelled yet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labelwise.cli import console, options
from labelwise.cli.progress import Stages


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(holdout)


def holdout(
    number: Annotated[
        int, typer.Option("-n", "--number", metavar="N", help="Images to hold out.", show_default=False)
    ] = 50,
    stratified: Annotated[
        bool,
        options.flag("--stratified", help="Of each cluster of frozen features its share, not plainly at random."),
    ] = False,
    active: Annotated[
        bool,
        options.flag("--active", help="By the model's doubt: more is known from as many labels; metrics are weighted."),
    ] = False,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions",
            metavar="FILE",
            help="Of somebody else's model, whose doubt --active goes by.",
            show_default=False,
        ),
    ] = None,
    format_: options.FormatName = None,
    names: options.NameList = None,
    image_list: options.ImageList = None,
    ignore_unknown: options.IgnoreUnknown = False,
    project: options.ProjectFolder = None,
    seed: options.Seed = None,
    json: options.Json = False,
) -> None:
    """Draw a test set from what is not labelled yet, and ask for its labels like any round.

    No model is trained on these images and no strategy chooses among them; fit, evaluate and report then say how good
    the model is, with an interval. Best done before the first round, while everything is unlabelled; with --active
    once there is a model.
    """
    with Stages() as stages:
        opened = options.open_project(project, stages, seed=seed)
        wishes = options.wishes(format_, names, image_list, None, ignore_unknown=ignore_unknown)
        found = opened.holdout(number, stratified=stratified, active=active, predictions=predictions, wishes=wishes)
    if json:
        console.print_json({"picks": [pick.id for pick in found], "round": found.number, "notes": found.notes})
        return
    console.out(f"round {found.number}: {console.counted(len(found), 'image')} held out for testing")
    console.notes(found.notes)
    console.next_steps(opened.next_steps(), project)
