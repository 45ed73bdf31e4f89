"""``fit``: the model of a project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from labelwise.cli import console, options
from labelwise.cli.progress import Stages

if TYPE_CHECKING:
    from labelwise.project.measured import Measured


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(fit)


def fit(project: options.ProjectFolder = None, seed: options.Seed = None, json: options.Json = False) -> None:
    """Train on all labels, unless exactly this was trained before. suggest does it by itself."""
    with Stages() as stages:
        opened = options.open_project(project, stages, seed=seed)
        labels = len(opened.pool.labelled)
        before = _trainings(opened.state)
        fitted = opened.fit()
        from labelwise.project.measured import measured, starving

        hungry = starving(opened)
    report = fitted.report
    skipped = dict(report.skipped)
    if json:
        known = fitted.key in before
        values = {"labels": labels, "trained": not known, "weights": fitted.key, "metrics": fitted.metrics}
        how = {"loss": report.loss, "parts": report.notes, "seconds": report.seconds, "notes": report.remarks}
        console.print_json({**values, **how, "unreadable": skipped})
        return
    what = "trained before on the same" if fitted.key in before else "trained on"
    took = f"{report.seconds:.1f} s, loss {console.number(report.loss, 3)}"
    if report.losses:  # in steps, over images that are changed each time
        took += f"; {report.steps:,} steps, augmentation {opened.task.augmentation}"
    console.out(f"{what} {console.counted(labels, 'label')} ({took})")
    console.notes([*hungry, *report.remarks])
    console.notes(f"left out {item!r}: {why}" for item, why in list(skipped.items())[:10])
    show(measured(opened, fitted.metrics, fitted.ends))
    console.next_steps([step for step in opened.next_steps() if step[0] != "labelwise fit"], project)


def _trainings(state: Path) -> set[str]:
    return {path.parent.name for path in (state / "fits").glob("*/fit.json")}


def show(found: Measured) -> None:
    """Metrics as a table, what they were measured on, and how sure that is."""
    if found.metrics:
        console.out(f"on {console.counted(found.images, found.on[:-1])}:")
        heads = ["metric", "value", *(["95 % interval"] if found.intervals else [])]
        rows = []
        for name, value in found.metrics.items():
            ends = found.intervals.get(name)
            said = "" if ends is None else f"{console.number(ends[0])} to {console.number(ends[1])}"
            rows.append([name.replace("_", " "), console.number(value), said][: len(heads)])
        console.show(console.table(heads, rows, right=("value",)))
    console.notes(found.notes)
