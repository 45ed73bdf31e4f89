"""``advise``: how many labels more, and whether to stop."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelwise.cli import console, options
from labelwise.cli.progress import Stages

if TYPE_CHECKING:
    from labelwise.report.forecast import Told


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(advise)


def advise(
    number: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--number",
            metavar="N",
            min=1,
            help="Labels of the next round. [dim]default: as many as the last had[/]",
            show_default=False,
        ),
    ] = None,
    worth: Annotated[
        float, typer.Option("--worth", metavar="POINTS", help="What a round has to bring: hundredths of the metric.")
    ] = 0.5,
    target: Annotated[
        float | None,
        typer.Option("--target", metavar="VALUE", help="When the metric is reached: 0.9 for 90 %.", show_default=False),
    ] = None,
    horizon: Annotated[int, typer.Option("--horizon", metavar="N", help="Most labels that there could be.")] = 10_000,
    project: options.ProjectFolder = None,
    json: options.Json = False,
) -> None:
    """What more labels are likely to bring, with intervals, and whether to stop.

    Learning curves are fitted to the rounds so far and carried on. That takes a test set (labelwise holdout) and four
    rounds with a model; models of rounds before the test set are measured on it, too.
    """
    with Stages() as stages:
        told = options.open_project(project, stages).advise(number, worth=worth, target=target, horizon=horizon)
    if json:
        console.print_json(_as_json(told))
        return
    for line in told.lines:
        console.out(line)
    heads, rows = told.table
    console.out()
    console.show(console.table(heads, rows, right=tuple(heads[:3])))
    from labelwise.report.forecast import MEASURED

    console.notes([*told.notes, MEASURED])


def _as_json(told: Told) -> dict[str, Any]:
    advice, curve = told.advice, told.advice.curve
    rounds = [
        {"labels": int(labels), told.metric: value, "standard_error": error}
        for labels, value, error in zip(
            curve.labels_B.tolist(), curve.values_B.tolist(), curve.error_B.tolist(), strict=True
        )
    ]
    return {
        "metric": told.metric,
        "test": told.images,
        "rounds": rounds,
        "ahead": [asdict(one) for one in advice.ahead],
        **asdict(advice.wish),
        "likely": advice.likely,
        "reached": None if advice.reached is None else asdict(advice.reached),
        "within_horizon": advice.within,
        "reached_already": advice.there,
        "stop": advice.stop,
        "families": advice.families,
        "lines": told.lines,
        "notes": told.notes,
    }
