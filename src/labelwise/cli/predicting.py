"""``predict``: what the model of a project says of any pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelwise.cli import console, options
from labelwise.cli.progress import Stages

if TYPE_CHECKING:
    from labelwise.contracts.task import Task
    from labelwise.project.predicting import Predicted


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(predict)


def predict(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Pictures, of the project or not, or a folder of them.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="PICTURE",
            help="Draw what the model says into this file, .png or .jpg; of several images a folder.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="A weights.safetensors; network and classes are those of --project, or of the labelwise.yaml above "
            "the file. [dim]default: the weights trained last[/]",
            show_default=False,
        ),
    ] = None,
    project: options.ProjectFolder = None,
    json: options.Json = False,
) -> None:
    """What the model says of pictures: labels, and how unsure it is, by the score of the project's strategy.

    Drawn are boxes, masks, points or class probabilities; beside them where the model is unsure, if the score is one of
    places.
    """
    from labelwise.errors import StateError
    from labelwise.project.predicting import predict as predicted
    from labelwise.project.predicting import targets
    from labelwise.project.setup import find_project

    if project is None and weights is not None:
        try:
            project = find_project(weights.absolute().parent)
        except StateError:
            raise StateError(
                f"no labelwise.yaml above {str(weights)!r:.150} says which network and classes the weights are of: "
                "name the folder of the project with --project"
            ) from None
    with Stages() as stages:
        place = None if out is None else targets(images, out)
        opened = options.open_project(project, stages)
        asked = predicted(opened, images, weights)
        told = []
        for one in asked:
            picture = None if place is None else place(one.image)
            if picture is not None:
                picture.parent.mkdir(parents=True, exist_ok=True)
                one.draw().save(picture)
            told.append(_as_json(one, picture) | {"says": _in_words(opened.task, one)})
    if json:
        console.print_json({"images": told, "notes": asked.notes})
        return
    _show(told, drawn=out is not None)
    console.notes(asked.notes)


def _as_json(one: Predicted, picture: Path | None) -> dict[str, Any]:
    return {
        "image": one.image,
        "label": one.label,
        "probabilities": one.probabilities,
        "uncertainty": {"name": one.by, "value": one.uncertainty},
        "picture": picture,
    }


def _in_words(task: Task[Any], one: Predicted) -> str:
    """The likeliest class with its probability, or what is there of which classes."""
    if one.probabilities is not None:
        name, share = task.said(list(one.probabilities.values()))
        return f"{name} ({share:.3f})"
    counts = task.kind.counts([one.label], task.classes)
    found = ", ".join(name if count == 1 else f"{count} {name}" for name, count in counts.items() if count)
    return f"{task.kind.short(one.label)}{f': {found}' if found else ''}"


def _show(told: list[dict[str, Any]], *, drawn: bool) -> None:
    by = told[0]["uncertainty"]["name"]
    heads = ["image", "what the model says", f"uncertainty ({by})", *(["picture"] if drawn else [])]
    rows = [
        [one["image"], one["says"], console.number(one["uncertainty"]["value"], 6), str(one["picture"])][: len(heads)]
        for one in told
    ]
    console.show(console.table(heads, rows, right=(heads[2],)))
