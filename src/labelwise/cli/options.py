"""Options that several commands share, and what they mean."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelwise.errors import ConfigError, FormatError, StateError, unknown

if TYPE_CHECKING:
    from labelwise.contracts.progress import Progress
    from labelwise.exchange.incoming import Wishes
    from labelwise.project.project import Project


def flag(*names: str, help: str, **how: Any) -> Any:
    """An option without a value; help pages then name no type."""
    return typer.Option(*names, help=help, metavar=" ", **how)


ProjectFolder = Annotated[
    Path | None,
    typer.Option(
        "--project",
        "-p",
        metavar="DIR",
        help="The project's folder. [dim]default: found from here upwards[/]",
        show_default=False,
    ),
]
Json = Annotated[bool, flag("--json", help="Print the result as JSON, and nothing else on standard output.")]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed", metavar="N", help="Of every random choice. [dim]default: the project's[/]", show_default=False
    ),
]
StrategyName = Annotated[
    str | None,
    typer.Option(
        "--strategy", "-s", metavar="NAME", help="See [bold]labelwise list strategies[/].", show_default=False
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="An option of the strategy; may be repeated.", show_default=False),
]
LearnerKind = Annotated[
    str | None,
    typer.Option(
        "--learner",
        metavar="KIND",
        help="features: a head on frozen features, trained in a blink. torch: a whole network.",
        show_default=False,
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="The network of a torch learner; see [bold]labelwise list models[/].",
        show_default=False,
    ),
]
BackboneName = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        metavar="NAME",
        help="Frozen features: pixels, lite0, or a timm or torchvision network. [dim]default: lite0 where installed[/]",
        show_default=False,
    ),
]
ImageSize = Annotated[
    int | None, typer.Option("--size", metavar="PIXELS", help="Side of a torch learner's input.", show_default=False)
]
FormatName = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="Where it cannot be seen; see [bold]labelwise list formats[/]. Options behind it: "
        "[bold]cvat:auto=answered[/].",
        show_default=False,
    ),
]
NameList = Annotated[
    Path | None,
    typer.Option(
        "--names",
        metavar="FILE",
        help="Which class a number is, where a file counts instead of naming: data.yaml, classes.txt or a COCO file.",
        show_default=False,
    ),
]
ImageList = Annotated[
    Path | None,
    typer.Option(
        "--images", metavar="FILE", help="Which image a number is, likewise: a COCO file.", show_default=False
    ),
]
Untouched = Annotated[
    str | None,
    typer.Option(
        "--untouched",
        metavar="empty|unanswered",
        help="Images without objects, where the file cannot tell looked at from never opened. "
        "[dim]default: unanswered[/]",
        show_default=False,
    ),
]
IgnoreUnknown = Annotated[bool, flag("--ignore-unknown", help="Leave out images that the project does not have.")]
MinScore = Annotated[
    float | None,
    typer.Option(
        "--min-score",
        metavar="SCORE",
        help="With --predictions: boxes that score less are left out. [dim]default: as of our own detectors, 0.05[/]",
        show_default=False,
    ),
]
MultiLabel = Annotated[
    bool, flag("--multi-label", help="An image may have several classes, or none: --task multi_label.")
]
DropTwins = Annotated[bool, flag("--drop-twins", help="Leave out of the pool what is held out too, byte for byte.")]
Video = Annotated[
    str | None,
    typer.Option(
        "--video",
        metavar="auto|folder|name",
        help="Images are frames: a video is a folder, or what names have before their last number; never split between "
        "training and test.",
        show_default=False,
    ),
]
Every = Annotated[
    int | None,
    typer.Option("--every", metavar="N", min=1, help="Of each video one of N frames is taken.", show_default=False),
]
SubjectBoxes = Annotated[
    Path | None,
    typer.Option(
        "--subjects",
        metavar="FILE",
        help="Key points: boxes of subjects, from a detector. [dim]default: those of the labels, where an image has "
        "several[/]",
        show_default=False,
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root", metavar="DIR", help="Where a torchvision set, or the images of a list, lie.", show_default=False
    ),
]


def settings(values: Sequence[str] | None) -> dict[str, Any]:
    """Options of a method out of ``key=value``; values are YAML, so 3 is a number and [a, b] a list.

    Raises:
        typer.BadParameter: no ``=``, or a value that is not YAML.
    """
    from labelwise.formats.yaml_text import parse_settings

    found: dict[str, Any] = {}
    for value in values or ():
        key, equals, text = value.partition("=")
        if not key.strip() or not equals:
            raise typer.BadParameter(f"{value!r} is not KEY=VALUE, for example --set pool=all", param_hint="--set")
        try:
            found[key.strip()] = parse_settings(text, f"--set {key.strip()}")
        except FormatError as error:
            raise typer.BadParameter(f"{error!s:.250}", param_hint="--set") from None
    return found


def of_task(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of the task (``task.KEY``), and those that are a strategy's.

    Example:
        >>> of_task({"task.top": 20, "pool": "all"})
        ({'top': 20}, {'pool': 'all'})
    """
    mine = {key: value for key, value in settings.items() if key.startswith("task.")}
    return (
        {key.removeprefix("task."): value for key, value in mine.items()},
        {key: value for key, value in settings.items() if key not in mine},
    )


def task_given(name: str | None, given: Mapping[str, Any], *, multi_label: bool = False) -> dict[str, Any]:
    """The key ``task`` of a configuration out of ``--task`` and ``--set task.KEY``; nothing where neither is there.

    Args:
        name: what ``--task`` says.
        given: options of the task.
        multi_label: ``--multi-label``, the task of that name.

    Raises:
        typer.BadParameter: both, and they differ.
    """
    if multi_label and name not in (None, "multi_label"):
        raise typer.BadParameter(
            f"it is --task multi_label, and --task {name} is given: say one", param_hint="--multi-label"
        )
    name = "multi_label" if multi_label else name
    named = {} if name is None else {"name": name}
    return {"task": {**named, "options": dict(given)}} if named or given else {}


def names(text: str | None) -> tuple[str, ...]:
    """Names out of ``a,b,c``."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def wishes(
    format_: str | None,
    names_file: Path | None,
    images_file: Path | None,
    untouched: str | None,
    *,
    ignore_unknown: bool,
    min_score: float | None = None,
) -> Wishes:
    """What the flags say about reading a file.

    Raises:
        ConfigError: an unknown format or word.
        FormatError: a list that is none.
    """
    from labelwise.exchange.incoming import Wishes
    from labelwise.exchange.lists import read_images, read_names
    from labelwise.exchange.sniffing import named

    if untouched not in (None, "empty", "unanswered"):
        raise unknown("value of --untouched", str(untouched), ("empty", "unanswered"))
    if format_ is not None:
        named(format_)
    return Wishes(
        format_,
        None if names_file is None else read_names(names_file),
        None if images_file is None else read_images(images_file),
        "empty" if untouched == "empty" else "unanswered",
        ignore_unknown,
        min_score=min_score,
    )


def refuse_without(needed: str, given: object, others: Mapping[str, object]) -> None:
    """Refuses options that would do nothing without another.

    Raises:
        ConfigError: names them.
    """
    idle = [name for name, value in others.items() if value is not None]
    if given is None and idle:
        raise ConfigError(f"{' and '.join(idle)} says how {needed} is read: give {needed} too, or leave it out")


def open_project(folder: Path | None, progress: Progress, *, seed: int | None = None) -> Project:
    """The project in a folder, or the one found from here upwards.

    Raises:
        StateError: there is none.
    """
    from labelwise.cli import console
    from labelwise.project.images import CONFIG_NAME
    from labelwise.project.project import Project
    from labelwise.project.setup import find_project

    if folder is not None and not (folder / CONFIG_NAME).is_file():
        raise StateError(
            f"no {CONFIG_NAME} in {str(folder)!r}: make a project with 'labelwise init IMAGES --project {folder}'"
        )
    return Project(find_project() if folder is None else folder, progress=progress, say=console.err, seed=seed)


def with_learner(
    base: Mapping[str, Any], *, learner: str | None, model: str | None, backbone: str | None, size: int | None
) -> dict[str, Any]:
    """Changes to a configuration that flags about the learner ask for; nothing that no flag names.

    Args:
        base: the configuration below the flags, as plain values.
        learner: its kind.
        model: a network, which means a torch learner.
        backbone: of the frozen features.
        size: side of the network's input.

    Raises:
        ConfigError: a model for a learner that has none, or an unknown name.
    """
    kind = learner or ("torch" if model is not None else None)
    if model is not None and kind == "features":
        raise ConfigError(
            "--model names the network of a torch learner, and --learner features was given: leave one out"
        )
    changed: dict[str, Any] = {}
    if kind is not None or model is not None:
        flags = {key: value for key, value in (("kind", kind), ("model", model)) if value is not None}
        changed["learner"] = {**base.get("learner", {}), **flags}
    if backbone is not None:
        changed["features"] = {**base.get("features", {}), "backbone": backbone}
    if size is not None:
        changed["input"] = {**base.get("input", {}), "size": size}
    return changed


def token(variable: str) -> str:
    """The token of the user on the server: out of the environment, else typed in unseen.

    Raises:
        ConfigError: it is in neither.
    """
    if found := os.environ.get(variable, "").strip():
        return found
    from labelwise.cli import console

    if not console.interactive():
        raise ConfigError(f"the server wants a token: put the one of your account page there into {variable}")
    typed: str = typer.prompt(f"token of your account there ({variable} is not set)", hide_input=True, err=True)
    return typed.strip()
