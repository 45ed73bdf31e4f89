"""A project as it lies on disk, opened: what every command reads, and how a command holds it while it changes it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from labelwise.campaign.events import Event, Item
from labelwise.campaign.pool import Pool
from labelwise.campaign.records import RoundRecord
from labelwise.campaign.store import Store
from labelwise.config import ProjectConfig, parse, read_yaml, with_flags
from labelwise.contracts.kind import Kind
from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.source import Role, Source
from labelwise.data.remembered import Remembered
from labelwise.data.subjects import Subjects, points_of
from labelwise.errors import ConfigError, DataError, StateError
from labelwise.exchange.incoming import Known
from labelwise.kinds import kind_of
from labelwise.kinds.subjects import Subject
from labelwise.processes import drop_drafts
from labelwise.project.classes import colours
from labelwise.project.images import CONFIG_NAME, STATE_NAME, aspect_of, open_images
from labelwise.project.told import skeleton


@dataclass
class Opened:
    """One project on disk, as it is read: its settings, images and events.

    Args:
        folder: holds ``labelwise.yaml`` and ``.labelwise``.
        progress: told on long work.
        say: told in words what the project waits for.
        seed: instead of the one in the file.

    Raises:
        StateError: no project there, or it cannot be opened.
    """

    folder: Path
    progress: Progress = silent
    say: Callable[[str], None] = field(default=lambda message: None)
    seed: int | None = None
    #: the images as the data have them now, where they were read for the project in this process: with their notes
    fresh: Source | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.config = self._read_config()
        self.store = Store(self.state)

    def _read_config(self) -> ProjectConfig:
        config = parse(ProjectConfig, read_yaml(self.folder / CONFIG_NAME), where=CONFIG_NAME)
        return with_flags(config, seed=self.seed)

    # ---- parts ------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> Path:
        """The ``.labelwise`` folder."""
        return self.folder / STATE_NAME

    @cached_property
    def pool(self) -> Pool:
        """The pool as it was when it was first asked for in this process."""
        return self.store.pool()

    @cached_property
    def source(self) -> Source:
        """The images, those the project knows of, and their regions where the project asks for regions."""
        images = sorted({item.path for item in self.pool.items})
        try:
            found = open_images(self.config, self.folder, ids=images)
        except DataError as error:
            place = self.folder / self.config.images  # an absolute path stays as it is
            if self.config.images.startswith("torchvision:") or place.exists():
                raise
            raise StateError(
                f"the images of this project lie in {str(place)!r:.150}, which is not there: is the disk mounted? If "
                f"they moved, correct 'images' in {CONFIG_NAME}"
            ) from error
        if self.pool.has_subjects:
            subjects = {item.id: Subject.at(item.path, item.region or "") for item in self.pool.items}
            aspect = aspect_of(self.config)
            found = Subjects(found, subjects, aspect=aspect, points=lambda: points_of(self.labels().values()))
        opened = Remembered(found, self.store.content)
        if self.config.regions is None:
            return opened
        from labelwise.assemble import cut_into_regions

        maps = self.state / "regions"
        return cut_into_regions(self.config.regions, opened, self.config.task.name, folder=maps, progress=self.progress)

    @cached_property
    def kind(self) -> Kind:
        """The kind of label.

        Raises:
            ConfigError: the task has none.
        """
        if (kind := kind_of(self.config.task.name)) is None:
            raise ConfigError(
                f"task {self.config.task.name!r} says of no kind of label that it is its own: set Task.kind"
            )
        return kind

    def known(self, names: tuple[str, ...]) -> Known:
        """What files are held against; with these classes."""

        def numbers() -> tuple[Mapping[int | str, str], Mapping[int, str]]:
            data = open_images(self.config, self.folder)
            return data.numbers, data.categories

        regions = frozenset(item.id for item in self.pool.items if item.is_region)
        ids = frozenset(item.path if item.region is not None else item.id for item in self.pool.items)
        source = self.source
        outline = source.outline if regions else None
        palette = colours(self.config, names)
        known = Known(
            self.kind, ids, names, source.root, source.size, numbers, regions, outline, self.progress, palette
        )
        bones = skeleton(self.config)
        return known if bones is None else replace(known, points=bones[0])

    def labels(self, roles: Sequence[Role] = ("pool",)) -> dict[str, Any]:
        """Raw label of every labelled item of these roles."""
        pool = self.pool
        return {pool.ids[p]: pool.target(p) for role in roles for p in pool.with_role(role)}

    def roles(self) -> dict[str, Role]:
        """Role of every item outside the pool."""
        pool = self.pool
        others: tuple[Role, ...] = ("validation", "test", "reference")
        return {pool.ids[p]: role for role in others for p in pool.with_role(role, labelled=False)}

    def palette(self) -> tuple[tuple[int, int, int], ...] | None:
        """Colours of the classes, as the file of the project has them."""
        return colours(self.config, self.config.classes)

    def waiting_regions(self) -> dict[str, list[str]]:
        """Image -> its regions that wait for an answer."""
        waiting: dict[str, list[str]] = {}
        for item in (self.pool.items[p] for p in self.pool.pending):
            if item.is_region:
                waiting.setdefault(item.path, []).append(item.id)
        return waiting

    def forget(self) -> None:
        """What was read of the state is read again when it is asked for."""
        self.__dict__.pop("pool", None)

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Holds the project while a command changes it; what was read before may be old."""
        with self.store.lock(waiting=self.say):
            self.forget()
            self._sweep()
            if (config := self._read_config()) != self.config:  # another process has named the classes, say
                self.config = config
                self.__dict__.pop("source", None)
                self.__dict__.pop("kind", None)
            yield
            self.forget()

    def _sweep(self) -> None:
        """Deletes drafts of files whose writers were killed; those of other commands that still run are kept."""
        drop_drafts([*self.state.rglob("*.tmp"), *self.folder.glob(f"{CONFIG_NAME}*.tmp")])

    def write(self, events: Sequence[Event]) -> None:
        """Appends events and applies them.

        Raises:
            PoolError: an event contradicts the state; nothing is written.
        """
        after = self.pool.copy()
        for event in events:
            after.apply(event)
        self.store.append(events)
        self.__dict__["pool"] = after

    def records(self) -> list[RoundRecord]:
        """The record of each round."""
        return [RoundRecord.from_json(record) for record in self.store.rounds()]

    def progress_counts(self, noun: Literal["image", "region"] | None = None) -> dict[str, int]:
        """Items of the pool by state; of images or of regions alone where they are to be told apart.

        Unlabelled are items that may be asked now; of images alone those that have no label of their own, of regions
        those that no label covers.
        """
        pool = self.pool
        states: list[Iterable[int]] = [pool.labelled, pool.pending, pool.skipped, pool.candidates]
        if noun is not None:
            states[3] = pool.unlabelled if noun == "region" else [p for p in range(len(pool)) if pool.is_free(p)]
        counts = [sum(noun in (None, _noun(pool.items[p])) for p in state) for state in states]
        return dict(zip(("labelled", "pending", "skipped", "unlabelled"), counts, strict=True))


def _noun(item: Item) -> Literal["image", "region"]:
    return "region" if item.is_region else "image"
