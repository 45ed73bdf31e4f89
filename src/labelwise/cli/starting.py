"""``init``: a project from a folder of images."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelwise.cli import console, options
from labelwise.cli.progress import Stages
from labelwise.errors import ConfigError, LabelwiseError, cut

if TYPE_CHECKING:
    from labelwise.project.project import Project

_ALL_LABELLED = (
    "every image was labelled by the folder it lies in. Are the folders no classes? Then delete labelwise.yaml and "
    ".labelwise, and run init again with --labels none"
)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(init)


def init(
    images: Annotated[
        str,
        typer.Argument(
            metavar="IMAGES",
            help="A folder (flat, nested, one folder per class, or a labelled set of any format), a file that lists "
            "images (CSV, COCO, Label Studio, ...), an .npz, or torchvision:NAME.",
            show_default=False,
        ),
    ],
    project: Annotated[
        Path | None,
        typer.Option(
            "--project", "-p", metavar="DIR", help="Where the project goes. [dim]default: here[/]", show_default=False
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes", metavar="A,B,C", help="Else from folder names, or from the first import.", show_default=False
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="auto|folders|none|FORMAT",
            help="Where labels come from: folder names, or a format of [bold]labelwise list formats[/].",
            show_default=False,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="NAME",
            help="See [bold]labelwise list tasks[/]. [dim]default: as the labels are[/]",
            show_default=False,
        ),
    ] = None,
    multi_label: options.MultiLabel = False,
    learner: options.LearnerKind = None,
    model: options.ModelName = None,
    backbone: options.BackboneName = None,
    size: options.ImageSize = None,
    strategy: options.StrategyName = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="An option of the strategy, or task.KEY of the task; may be repeated.",
            show_default=False,
        ),
    ] = None,
    names: options.NameList = None,
    untouched: options.Untouched = None,
    drop_twins: options.DropTwins = False,
    video: options.Video = None,
    every: options.Every = None,
    subjects: options.SubjectBoxes = None,
    data_root: options.DataRoot = None,
    seed: options.Seed = None,
    json: options.Json = False,
) -> None:
    """Make a project of your images; on a project that is there already, add its new images.

    Nothing is copied or changed: the project is the file labelwise.yaml and a folder .labelwise.
    """
    given = _given(
        labels=labels,
        seed=seed,
        root=None if data_root is None else str(data_root.resolve()),
        names=None if names is None else str(names.resolve()),
        untouched=untouched,
        drop_twins=drop_twins or None,
        video=video,
        every=every,
        subjects=None if subjects is None else str(subjects.resolve()),
    )
    given |= options.with_learner({}, learner=learner, model=model, backbone=backbone, size=size)
    of_task, of_strategy = options.of_task(options.settings(set_))
    given |= options.task_given(task, of_task, multi_label=multi_label) | _strategy(strategy, of_strategy)
    from labelwise.project.images import CONFIG_NAME, STATE_NAME, with_task
    from labelwise.project.setup import init, open_project

    folder = project or Path()
    there = (folder / CONFIG_NAME).exists() and (folder / STATE_NAME / "state.db").exists()
    known = len(open_project(folder).pool) if there else 0
    if not there:
        given = with_task(images, given)
    _check(images, given)
    with Stages() as stages:
        made = init(images, project=folder, classes=options.names(classes), progress=stages, **given)
    found = _found(made, known)
    if json:
        console.print_json(found)
    else:
        _print(found, made, project)


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _strategy(name: str | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    if name is None and settings:
        raise ConfigError("--set gives options of a strategy, and none was named: add --strategy NAME")
    return {} if name is None else {"strategy": {"name": name, "options": dict(settings)}}


def _check(images: str, given: Mapping[str, Any]) -> None:
    """Unknown names are refused before a folder is read."""
    from labelwise.assemble import check_names, make_strategy
    from labelwise.config import ProjectConfig, parse

    config = parse(ProjectConfig, {"images": images, **given}, where="init")
    make_strategy(config.strategy)
    check_names(config)


def _found(made: Project, known: int) -> dict[str, Any]:
    """What the project holds now."""
    pool = made.pool
    return {
        "project": str(made.folder.resolve()),
        "images": len(pool),
        **({"images_with_subjects": len({item.path for item in pool.items})} if pool.has_subjects else {}),
        "new": len(made.joined.new) if known else None,
        "renamed": made.joined.renamed or {},
        "gone": list(made.joined.gone),
        "task": made.config.task.name,
        "task_options": made.config.task.options,
        "classes": list(made.config.classes),
        **made.progress_counts(),
        **{role: len(pool.with_role(role, labelled=False)) for role in ("reference", "validation", "test")},
        "notes": [*made.joined.notes(), *_left_out(made), *made.told],
    }


def _left_out(made: Project) -> list[str]:
    """Files in the data that were not taken, and what is odd about labels that lie there."""
    from labelwise.data.brightness import look
    from labelwise.data.twins import said, twins

    source = made.fresh
    if source is None:
        return []
    return [*source.notes(), *look(source, source.value_range).notes(), *said(source, twins(source))]


def _print(found: Mapping[str, Any], made: Project, project: Path | None) -> None:
    new = "" if found["new"] is None else f", {found['new']:,} of them new"
    what = console.counted(found["images"], "image")
    if made.pool.has_subjects:
        images = console.counted(found["images_with_subjects"], "image")
        what = f"{console.counted(found['images'], 'subject')} of {images}"
    console.out(f"project {found['project']}: {what}{new}")
    if (task := made.config.task).label != "classification":
        console.out(f"task: {cut(task.label, 160)}")
    classes = found["classes"]
    if classes:
        shown = ", ".join(classes[:12]) + (f", ... ({len(classes)} in all)" if len(classes) > 12 else "")
        console.out(f"classes: {shown}")
    else:
        console.out("classes: not known yet; the first import says, or --classes a,b,c")
    states = [f"{found[name]:,} {name}" for name in ("labelled", "unlabelled", "pending", "skipped") if found[name]]
    roles = [f"{found[name]:,} for {name}" for name in ("reference", "validation", "test") if found[name]]
    console.out(", ".join([*states, *roles]))
    console.notes(found["notes"])
    if (
        not found["unlabelled"]
        and made.config.labels == "auto"
        and not made.kind.drawn
        and made.source.root is not None
    ):
        console.notes([_ALL_LABELLED])
    console.next_steps(_next(found, made), project)


def _task(place: Path, made: Project) -> str:
    """The option that names the task, where the labels there would be taken for those of another."""
    from labelwise.data.open import task_of

    with contextlib.suppress(LabelwiseError):
        if task_of(str(place), labels=made.config.labels) in (None, made.config.task.name):
            return ""
    return f" --task {made.config.task.name}"


def _next(found: Mapping[str, Any], made: Project) -> list[tuple[str, str]]:
    if not found["unlabelled"] and not found["pending"]:
        place = made.folder / made.config.images  # or a name, as of a data set of torchvision
        where = shlex.quote(str(place) if place.exists() else made.config.images)
        return [(f"labelwise compare {where}{_task(place, made)}", "which method would have saved labels here")]
    left = found["unlabelled"]
    count = 100 if left >= 500 else min(max(10, left // 5), left)
    return [
        (f"labelwise suggest -n {count}" if count else "labelwise suggest", "what to label first"),
        ("labelwise check", "whether all images can be read"),
    ]
