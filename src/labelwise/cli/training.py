"""``fit``: the model of a project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from labelwise.cli import console, options
from labelwise.cli.progress import Stages

if TYPE_CHECKING:
    from labelwise.project.project import Project

NO_TEST = (
    "no test image has a label, so nothing says how good the model is: lay the images out as train/ and test/, or give "
    "a CSV with a column split"
)


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
    report = fitted.report
    skipped = dict(report.skipped)
    if json:
        known = fitted.key in before
        values = {"labels": labels, "trained": not known, "weights": fitted.key, "metrics": fitted.metrics}
        console.print_json({**values, "loss": report.loss, "seconds": report.seconds, "unreadable": skipped})
        return
    what = "trained before on the same" if fitted.key in before else "trained on"
    console.out(
        f"{what} {console.counted(labels, 'label')} ({report.seconds:.1f} s, loss {console.number(report.loss, 3)})"
    )
    console.notes(f"left out {item!r}: {why}" for item, why in list(skipped.items())[:10])
    _metrics(opened, fitted.metrics)
    console.next_steps([("labelwise suggest", "what to label next")], project)


def own_weights(project: Path | None, *, json: bool) -> None:
    """Metrics of the weights trained last on the test images."""
    with Stages() as stages:
        opened = options.open_project(project, stages)
        metrics = opened.evaluate()
    if json:
        console.print_json({"metrics": metrics, "test": len(opened.pool.with_role("test"))})
    else:
        _metrics(opened, metrics)


def _trainings(state: Path) -> set[str]:
    return {path.parent.name for path in (state / "fits").glob("*/fit.json")}


def _metrics(project: Project, metrics: Mapping[str, float]) -> None:
    if not metrics:
        console.notes([NO_TEST])
        return
    count = len(project.pool.with_role("test"))
    console.out(f"on {console.counted(count, 'test image')}:")
    rows = [(name.replace("_", " "), console.number(value)) for name, value in metrics.items()]
    console.show(console.table(["metric", "value"], rows, right=("value",)))
