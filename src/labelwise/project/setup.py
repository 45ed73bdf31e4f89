"""How a project begins, and how it is found again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from labelwise.assemble import check_kind, make_strategy, make_task
from labelwise.campaign.store import Store
from labelwise.config import ProjectConfig, parse, write_yaml
from labelwise.contracts.learner import Progress, silent
from labelwise.data.views import View
from labelwise.errors import StateError
from labelwise.project.images import (
    CONFIG_NAME,
    STATE_NAME,
    as_written,
    checked,
    open_images,
    registration,
    same_classes,
    with_task,
)
from labelwise.project.project import Project
from labelwise.project.reading import in_one_range


def init(
    images: str | Path,
    *,
    project: str | Path = ".",
    classes: Sequence[str] = (),
    progress: Progress = silent,
    **config: Any,
) -> Project:
    """Makes a project from a folder of images, or of a project that is there already, adds its new images.

    Args:
        images: a folder (flat, nested, or one folder per class), an .npz, a CSV, or ``torchvision:NAME``.
        project: where ``labelwise.yaml`` and ``.labelwise`` go.
        classes: names of the classes; else they come from folder names or from the first import.
        progress: told on long work.
        config: any further key of ``labelwise.yaml``; without ``task`` labels beside the images say what it is.

    Raises:
        ConfigError: boxes and masks lie beside the images, and no task is named.
        DataError: no such folder, or no image in it; nothing is made.
        StateError: there is another project already, or the folder cannot be written.
    """
    folder = Path(project)
    resolved = as_written(str(images), folder)
    if (folder / CONFIG_NAME).exists() and (folder / STATE_NAME / "state.db").exists():
        existing = Project(folder, progress=progress)
        if existing.config.images != resolved:
            raise StateError(
                f"{folder / CONFIG_NAME} is about {existing.config.images!r} already: choose another --project folder"
            )
        _same_settings(existing.config, {"classes": existing.config.classes and tuple(classes), **config})
        existing.name_classes(classes)
        existing.add_new_images()
        return existing
    values = {"images": resolved, "classes": tuple(classes), **with_task(images, config)}
    settings = parse(ProjectConfig, values, where="init")
    source = open_images(settings, folder)
    boxed = any(isinstance(label, Mapping) for label in source.truth.values())
    if settings.labels == "auto" and classes and not boxed and not set(classes) & set(source.classes or classes):
        # folders of dates or cameras, not of classes
        settings = settings.model_copy(update={"labels": "none"})
        source = open_images(settings, folder)
    settings, source = in_one_range(settings, source)
    if not settings.classes and source.classes:
        settings = settings.model_copy(update={"classes": tuple(source.classes)})
    if settings.classes:
        task = make_task(settings.task, settings.classes, settings.input)
        check_kind(source, task)
        same_classes(source, settings)
        # read once: a mask is decoded each time it is asked for
        source = View(source, truth=dict(checked(source.truth, task, progress)))
    make_strategy(settings.strategy)
    store = Store(folder / STATE_NAME, create=True)
    with store.lock():
        registered = store.pool().ids
        if not registered:
            store.append(list(registration(source)))
        elif registered != tuple(source.ids):
            raise StateError(
                f"{folder / STATE_NAME} holds the state of other images, and its {CONFIG_NAME} is missing: put that "
                "back, or choose another --project folder"
            )
        try:
            write_yaml(settings, folder / CONFIG_NAME)
        except OSError as error:
            raise StateError(
                f"cannot write {folder / CONFIG_NAME}: {error.strerror}. Choose a writable --project folder"
            ) from error
    store.close()
    return Project(folder, progress=progress)


def _same_settings(config: ProjectConfig, given: Mapping[str, Any]) -> None:
    """Refuses settings that differ from those of a project that is there already: its file decides."""
    wanted = parse(ProjectConfig, {"images": config.images, **given}, where="init")
    for key in given:
        value, present = getattr(wanted, key), getattr(config, key)
        if value not in ((), present):
            raise StateError(
                f"the project is there already with {key}: {_short(present)}, and {_short(value)} was asked for: "
                f"change it in {CONFIG_NAME}, or choose another --project folder"
            )


def _short(value: Any) -> str:
    if isinstance(value, pydantic.BaseModel):
        value = value.model_dump(mode="json", exclude_defaults=True) or "the defaults"
    elif isinstance(value, tuple):
        value = ", ".join(map(str, value)) or "none"
    return str(value)


def find_project(start: Path | None = None) -> Path:
    """The project folder at or above ``start``, as git finds a repository.

    Raises:
        StateError: there is none up to the root.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / CONFIG_NAME).is_file():
            return folder
    raise StateError(
        f"no {CONFIG_NAME} in {here} or above: run 'labelwise init IMAGES' first, or name a folder with --project"
    )


def open_project(folder: str | Path | None = None, *, progress: Progress = silent) -> Project:
    """Opens the project at or above a folder (the present one by default)."""
    return Project(find_project(None if folder is None else Path(folder)), progress=progress)
