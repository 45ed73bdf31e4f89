"""``pretrain``: features from the project's images, without any label."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelwise.cli import console, options
from labelwise.cli.progress import Stages

if TYPE_CHECKING:
    from labelwise.learners.pretraining import Pretrained

CRITERION = (
    "without labels, compare trainings of one model by effective rank (higher: the features use more directions), "
    "and of one objective and batch size by held-out loss (lower)"
)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(pretrain)


def pretrain(
    objective: Annotated[
        str | None,
        typer.Option("--objective", "-o", metavar="NAME", help="rotation, simclr or vicreg.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="NAME", help="The network; see [bold]labelwise list models[/].", show_default=False
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", "-e", metavar="N", help="Passes over the images.", show_default=False)
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", metavar="N", help="Images per step.", show_default=False)
    ] = None,
    lr: Annotated[
        float | None, typer.Option("--lr", metavar="RATE", help="Peak learning rate.", show_default=False)
    ] = None,
    size: options.ImageSize = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Of the result; objective and model.", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of the objective.", show_default=False),
    ] = None,
    project: options.ProjectFolder = None,
    seed: options.Seed = None,
    json: options.Json = False,
) -> None:
    """Train a backbone on your images, without any label. What was killed goes on."""
    given: dict[str, Any] = {"model": model, "epochs": epochs, "batch_size": batch_size, "lr": lr}
    with Stages() as stages:
        opened = options.open_project(project, stages, seed=seed)
        if settings:
            given["options"] = {**opened.config.pretrain.options, **options.settings(settings)}
        done = opened.pretrain(objective, name=name, size=size, **given)
        from labelwise.learners.pretraining import ranked

        others = ranked(done.file.parent)
    if json:
        console.print_json({**dataclasses.asdict(done), "file": str(done.file)})
        return
    what = "trained before on exactly this" if done.before else f"trained on {console.counted(done.images, 'image')}"
    console.out(f"{done.file}: {what} ({done.seconds:.0f} s)")
    _neighbours(done)
    _criteria(others, done)
    _advice(done)
    console.next_steps(opened.next_steps(), project)


def _neighbours(done: Pretrained) -> None:
    if not done.knn:
        console.notes(["no label says how good it is: with labelled and test images the same command shows it"])
        return
    rows = [(name, console.number(value)) for name, value in done.knn.items()]
    console.show(console.table(["features", "k-NN accuracy"], rows, right=("k-NN accuracy",)))


def _criteria(found: Sequence[Pretrained], done: Pretrained) -> None:
    rows = [
        (one.file.stem, one.model, f"{one.effective_rank:.1f}", "" if one.held_out is None else f"{one.held_out:.4f}")
        for one in found
    ]
    heads = ["pretrained", "model", "effective rank", "held-out loss"]
    console.show(console.table(heads, rows, right=heads[2:]))
    console.notes([CRITERION])


def _advice(done: Pretrained) -> None:
    """How to use it; features that are no better than those at hand are not recommended."""
    best = max(done.knn, key=lambda name: done.knn[name], default="pretrained")
    if best != "pretrained":
        console.notes([f"the features of {best} are better here: train longer, on more images, or another model"])
    console.out(f"to use it, write into labelwise.yaml:  features: {{backbone: 'pretrained:{done.file.stem}'}}")
