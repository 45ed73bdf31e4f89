"""The images of a project: opened as its file says, registered with the labels that lie beside them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwise.campaign.events import Event, Labelled, added
from labelwise.data.open import open_in, task_of
from labelwise.errors import DataError, StateError
from labelwise.formats.mask_coding import check_names

if TYPE_CHECKING:
    from labelwise.campaign.pool import Pool
    from labelwise.config import ProjectConfig
    from labelwise.contracts.learner import Progress
    from labelwise.contracts.source import Source
    from labelwise.contracts.task import Task

CONFIG_NAME = "labelwise.yaml"
STATE_NAME = ".labelwise"


def open_images(config: ProjectConfig, folder: Path, *, ids: Sequence[str] | None = None) -> Source:
    """The images of a project; ``ids`` saves scanning a folder again."""
    opened = open_in(folder, config.images, root=config.root, ids=ids, labels=config.labels, task=config.task)
    return opened.in_range(config.input.range)


def registration(source: Source, *, known: Pool | None = None) -> Iterator[Event]:
    """Events that add the images of a source, with the labels that lie on disk."""
    new = [item for item in source.ids if known is None or item not in known]
    for item in new:
        yield added(source, item)
    for item in new:
        if item in source.truth:
            yield Labelled(item, source.truth[item])


def same_classes(source: Source, config: ProjectConfig) -> None:
    """Refuses masks whose pixels are indices into other classes than the project's."""
    label = next(iter(source.truth.values()), None)
    if isinstance(label, Mapping) and "png" in label and source.classes and config.classes:
        check_names(source.classes, config.classes)


def with_task(images: str | Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the task that the labels beside the images speak of, where they name none.

    Raises:
        ConfigError: there are boxes and masks.
    """
    found = None if "task" in config else task_of(str(images), labels=config.get("labels", "auto"))
    return {**config} if found is None else {**config, "task": found}


def checked(truth: Mapping[str, Any], task: Task[Any], progress: Progress) -> Iterator[tuple[str, Any]]:
    """Labels that the task can read."""
    for done, (item, label) in enumerate(truth.items(), 1):
        with _naming(item):
            task.load(label)
        progress("reading labels", done, len(truth))
        yield item, label


@contextlib.contextmanager
def _naming(item: str) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(f"label of {item!r}: {error}") from None


def as_written(images: str, folder: Path) -> str:
    """The data as ``labelwise.yaml`` names them: relative to the project where they lie inside it, else absolute."""
    path = Path(images)
    if not path.exists():
        return images
    try:
        return path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return str(path.resolve())


def regions_to_add(source: Source, pool: Pool) -> list[Event]:
    """Events that add the regions of images that have none yet.

    Raises:
        StateError: regions are known that were cut otherwise.
    """
    ids = set(source.ids)
    known = (item for item in pool.items if item.region is not None)
    if stray := next((item for item in known if item.id not in ids or source.within(item.id)[1] != item.region), None):
        raise StateError(
            f"{stray.id!r} was cut by other settings than {CONFIG_NAME} has now: put 'regions' back as it was"
        )
    return [added(source, item) for item in source.ids if item not in pool]
