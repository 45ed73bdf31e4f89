"""Projects are made, found and opened."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from labelwise.campaign.store import Store
from labelwise.config import ProjectConfig, SubjectsConfig, options_apart, parse, read_yaml, write_yaml
from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.source import Source, is_subject
from labelwise.data.videos import rule_of
from labelwise.data.views import View
from labelwise.errors import ConfigError, DataError, StateError
from labelwise.kinds import check_labels, kind_of
from labelwise.project.classes import check as check_classes
from labelwise.project.classes import with_colours
from labelwise.project.images import CONFIG_NAME, STATE_NAME, open_images, registration, relative, with_task
from labelwise.project.project import Project
from labelwise.project.reading import in_one_range
from labelwise.project.told import settled


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
        images: a folder (flat, nested, one folder per class, or a labelled set of any format), a file that lists
            images with their labels, an .npz, or ``torchvision:NAME``.
        project: where ``labelwise.yaml`` and ``.labelwise`` go.
        classes: names of the classes; else they come from the data or from the first import.
        progress: told on long work.
        config: any further key of ``labelwise.yaml``; without ``task`` labels beside the images say what it is.

    Raises:
        ConfigError: labels of several kinds lie beside the images, and no task is named; labels of another kind than
            the task's, or other classes.
        DataError: no such folder, or no image in it; nothing is made.
        StateError: there is another project already, or the folder cannot be written.
    """
    folder = Path(project)
    file, resolved = folder / CONFIG_NAME, relative(str(images), folder)
    if file.exists() and (folder / STATE_NAME / "state.db").exists():
        return _joined(folder, resolved, classes, config, progress)
    kept = parse(ProjectConfig, read_yaml(file), where=CONFIG_NAME) if file.exists() else None
    if kept is not None:  # the settings came without the state, as out of version control
        _same_project(kept, folder, resolved, classes, config)
        settings, source = _opened(kept, folder, ())
    else:
        values = {"images": resolved, "classes": tuple(classes), **with_task(images, config)}
        settings, source = _opened(parse(ProjectConfig, values, where="init"), folder, classes)
    notes: list[str] = []
    if settings.classes:
        if (kind := kind_of(settings.task.name)) is not None:
            check_classes(kind, settings.classes)
            check_labels(source, settings.task.name, kind)
        _check_classes(source, settings)
        # made once: a mask is decoded each time it is asked for
        source = View(source, truth=dict(_checked(source, settings, progress)))
        settings, notes = settled(settings, source.truth.values())
    _check_options(settings)
    if _register(settings, folder, source, kept):
        made = Project(folder, progress=progress)
        made.fresh, made.told = source, tuple(notes)
        return made
    return _joined(folder, resolved, classes, config, progress)


def _joined(
    folder: Path, resolved: str, classes: Sequence[str], config: Mapping[str, Any], progress: Progress
) -> Project:
    """The project that is there already, with its new images."""
    existing = Project(folder, progress=progress)
    _same_project(existing.config, folder, resolved, classes, config)
    existing.name_classes(classes)
    existing.joined = existing.add_new_images()
    return existing


def _opened(settings: ProjectConfig, folder: Path, classes: Sequence[str]) -> tuple[ProjectConfig, Source]:
    """The images, and the settings with what they say: where labels come from, and the classes."""
    source = open_images(settings, folder)
    folders = settings.labels == "auto" and source.kind == "classes" and source.format is None
    if folders and classes and not set(classes) & set(source.classes or classes):
        # folders of dates or cameras, not of classes
        settings = settings.model_copy(update={"labels": "none"})
        source = open_images(settings, folder)
    settings, source = in_one_range(settings, source)
    if settings.labels == "auto" and source.format is not None:
        # what was found once is not looked for again: files that join the folder change nothing
        settings = settings.model_copy(update={"labels": source.format})
    if settings.subjects is None and any(is_subject(source.within(item)[1]) for item in source.ids[:1]):
        settings = settings.model_copy(update={"subjects": SubjectsConfig(boxes="labels")})
    if (rule := rule_of(source)) is not None:  # nor is what a video is
        settings = settings.model_copy(update={"video": rule})
    names = settings.classes or tuple(source.classes or ())
    kind = kind_of(settings.task.name)
    palette = source.palette if kind is not None and kind.heavy and names == source.classes else None
    settings = settings.model_copy(update=with_colours(settings, names, palette))
    return settings, source


def _register(settings: ProjectConfig, folder: Path, source: Source, kept: ProjectConfig | None) -> bool:
    """Writes configuration and events, unless the folder holds the state of other images.

    Returns:
        False where another command has made the project meanwhile.
    """
    file = folder / CONFIG_NAME
    store = Store(folder / STATE_NAME, create=True)
    with contextlib.closing(store), store.lock():
        registered = store.pool().ids
        if registered and file.exists():
            return False
        if registered and registered != tuple(source.ids):
            raise StateError(
                f"{folder / STATE_NAME} holds the state of other images, and its {CONFIG_NAME} is missing: put that "
                "back, or choose another --project folder"
            )
        if not registered:
            store.append(registration(source))
        if settings != kept:
            try:
                write_yaml(settings, file)
            except OSError as error:
                raise StateError(
                    f"cannot write {file}: {error.strerror}. Choose a writable --project folder"
                ) from error
    return True


def _check_options(settings: ProjectConfig) -> None:
    """Refuses a strategy or a task that cannot be made, before anything is written."""
    if "strategy" in settings.model_fields_set:
        from labelwise.assemble import make_strategy

        make_strategy(settings.strategy)
    if settings.task.options:
        from labelwise.assemble import make_task
        from labelwise.project.learning import UNKNOWN

        make_task(settings.task, settings.classes or UNKNOWN, settings.input)


def _check_classes(source: Source, settings: ProjectConfig) -> None:
    """Refuses labels whose classes the project does not have.

    Raises:
        ConfigError: says which.
    """
    strange = [name for name in source.classes or () if name not in settings.classes]
    if strange and source.truth and source.format is not None:
        raise ConfigError(
            f"the labels come with the class {strange[0]!r}, and the project has {', '.join(settings.classes[:12])}: "
            "leave --classes out, or bring the class list beside the labels and the project into line"
        )


def _checked(source: Source, settings: ProjectConfig, progress: Progress) -> Iterator[tuple[str, Any]]:
    """Labels that have the form of their kind."""
    kind = kind_of(settings.task.name)
    for done, (item, label) in enumerate(source.truth.items(), 1):
        if kind is not None:
            with _naming(item):
                kind.check(label, settings.classes, None)
        progress("reading labels", done, len(source.truth))
        yield item, label


def _same_project(
    config: ProjectConfig, folder: Path, resolved: str, classes: Sequence[str], given: Mapping[str, Any]
) -> None:
    """Refuses other images and other settings than those of a project that is there already: its file decides."""
    if config.images != resolved:
        raise StateError(f"{folder / CONFIG_NAME} is about {config.images!r} already: choose another --project folder")
    _same_settings(config, {"classes": config.classes and tuple(classes), **given})


def _same_settings(config: ProjectConfig, given: Mapping[str, Any]) -> None:
    """Refuses settings that differ from those of a project that is there already: its file decides."""
    task = options_apart(given.get("task", {}))
    named = {"task": {"name": config.task.name, **task}} if isinstance(task, Mapping) and task else {}
    wanted = parse(ProjectConfig, {"images": config.images, **given, **named}, where="init")
    for key in given:
        value, present = getattr(wanted, key), getattr(config, key)
        if value not in ((), "auto", present):
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


@contextlib.contextmanager
def _naming(item: str) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(f"label of {item!r}: {error}") from None


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
