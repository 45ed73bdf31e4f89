"""The images of a project: opened as its configuration says, and registered as events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from labelwise.campaign.events import Event, Labelled, added
from labelwise.config import ProjectConfig, options_apart
from labelwise.contracts.source import Source
from labelwise.data.open import open_in, task_of
from labelwise.data.subjects import with_subjects
from labelwise.data.twins import without_twins
from labelwise.data.videos import with_videos
from labelwise.kinds import kind_of

CONFIG_NAME = "labelwise.yaml"
STATE_NAME = ".labelwise"


def open_images(
    config: ProjectConfig, folder: Path, *, ids: Sequence[str] | None = None, known: Collection[str] = ()
) -> Source:
    """The images of a project.

    Args:
        config: names them.
        folder: that its paths are relative to.
        ids: the images, where they are known: neither the folder nor labels are read again.
        known: items that are in the project, whatever is left out of those that join it.
    """
    source = open_in(
        folder,
        config.images,
        root=config.root,
        ids=ids,
        labels=config.labels,
        task=config.task.name,
        names=config.names,
        untouched=config.untouched,
        classes=config.classes,
    ).in_range(config.input.range)
    if config.video is not None or config.every > 1:
        source = with_videos(source, config.video or "auto", config.every if ids is None else 1, known=known)
    if ids is not None:
        return source
    source = without_twins(source) if config.drop_twins else source
    kind = kind_of(config.task.name)
    return with_subjects(source, config.subjects, kind, base=folder, aspect=aspect_of(config))


def aspect_of(config: ProjectConfig) -> Callable[[], float]:
    """Gives the width of the network's input over its height."""

    def found() -> float:
        if isinstance(config.input.size, int):
            return 1.0
        from labelwise.assemble import input_aspect  # loads torch, and only who looks at a subject asks

        return input_aspect(config.task, config.input)

    return found


def registration(source: Source, *, known: Container[str] = ()) -> Iterator[Event]:
    """Events that add the images of a source, with the labels that lie on disk."""
    new = [item for item in source.ids if item not in known]
    for item in new:
        yield added(source, item)
    for item in new:
        if item in source.truth:
            yield Labelled(item, source.truth[item])


def with_task(images: str | Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the task that the labels beside the images speak of, where they name none.

    Raises:
        ConfigError: labels of several kinds lie there.
    """
    given = options_apart(config.get("task", {}))
    if not isinstance(given, Mapping) or "name" in given:
        return {**config}
    found = task_of(str(images), labels=config.get("labels", "auto"))
    return {**config} if found is None else {**config, "task": {"name": found, **given}}


def relative(images: str, folder: Path) -> str:
    """The data as ``labelwise.yaml`` names them: relative to the project where they lie inside it, else absolute."""
    path = Path(images)
    if not path.exists():
        return images
    try:
        return path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return str(path.resolve())
