"""What became of the files of a project since it was made: images that joined, were renamed, or are gone."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labelwise.campaign.events import Added, Event, HeldOut, Renamed
from labelwise.contracts.source import Source, is_subject
from labelwise.errors import few
from labelwise.project.images import CONFIG_NAME, open_images, registration
from labelwise.project.reading import keep_range

if TYPE_CHECKING:
    from labelwise.project.opened import Opened


@dataclass(frozen=True)
class Joined:
    """What the data have that the project did not know, and what they have no longer.

    Args:
        new: images that joined.
        renamed: old id -> new id of images whose file has another name now, byte for byte.
        gone: ids whose file is gone.
        held: images that joined a group (a video, a patient) that is held out.
        moved: subjects that have another box in the data now.
    """

    new: tuple[str, ...] = ()
    renamed: Mapping[str, str] | None = None
    gone: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """One line for what was renamed, and one for what is gone."""
        lines = []
        if self.renamed:
            pairs = [f"{old} -> {new}" for old, new in self.renamed.items()]
            lines.append(f"{len(pairs):,} renamed, recognised by content, with their labels: {few(pairs)}")
        if self.gone:
            lines.append(
                f"{len(self.gone):,} image(s) of the project are gone from the data: {few(self.gone)}; their labels "
                "are kept, nobody is asked about them, and no model trains on them"
            )
        if self.held:
            lines.append(
                f"{len(self.held):,} new image(s) are of videos or groups that are held out: {few(self.held)}; no "
                "model trains on them, and nobody is asked about them"
            )
        if self.moved:
            lines.append(
                f"{len(self.moved):,} subject(s) have other boxes in the data than in the project, which keeps its "
                f"own: {few(self.moved)}. In a new project they are as the data have them"
            )
        return lines


def join(project: Opened) -> Joined:
    """Adds what is new in the data, and gives images whose file was renamed their new id.

    Args:
        project: held by the caller.
    """
    pool = project.pool
    source = open_images(project.config, project.folder, known=frozenset(pool.ids))
    project.config = keep_range(project.config, source, project.folder / CONFIG_NAME)
    project.fresh = source.in_range(project.config.input.range)
    present = set(source.ids)
    images = [item.id for item in pool.items if not item.is_region]
    missing = [item for item in images if item not in present]
    new = [item for item in source.ids if item not in pool]
    renamed = _renamed(project, source, missing, new)
    known = {*images, *renamed.values()}
    events: list[Event] = [event for old, to in renamed.items() for event in _rename(project, source, old, to)]
    held = {item.group for p, item in enumerate(pool.items) if pool.role(p) in ("test", "validation")} - {None}
    late: list[str] = []
    for event in registration(source, known=known):
        events.append(event)
        if isinstance(event, Added) and event.item.group in held and event.role == "pool":
            # nobody trains on frames of a video that is tested by
            late.append(event.item.id)
            events.append(HeldOut(event.item.id, pool.round))
    project.store.append(events)
    project.forget()
    project.__dict__.pop("source", None)
    taken = set(renamed.values())
    gone = tuple(item for item in missing if item not in renamed)
    moved = tuple(
        item.id
        for item in pool.items
        if is_subject(item.region) and item.id in present
        if source.within(item.id)[1] != item.region
    )
    return Joined(tuple(item for item in new if item not in taken), renamed, gone, tuple(late), moved)


def news(project: Opened) -> list[str]:
    """One line where a plain folder of images has images now that the project does not know.

    Sets whose labels lie in files of a format are not read again for this. Cost: a listing of the folder.
    """
    config = project.config
    place = project.folder / config.images
    if config.labels not in ("auto", "folders", "none") or config.drop_twins or not place.is_dir():
        return []
    new = [item for item in open_images(config, project.folder).ids if item not in project.pool]
    if not new:
        return []
    return [f"{len(new):,} image(s) not in the project yet: labelwise init {shlex.quote(config.images)} adds them"]


def _renamed(project: Opened, source: Source, missing: Sequence[str], new: Sequence[str]) -> dict[str, str]:
    """Old id -> new id, where one missing image and one new file have the same content.

    Only files of the size of a missing image are read; images that were never read before are not known again.
    """
    known = project.store.remembered(missing)
    stats = source.stat_key(list(new)) if known else None
    if stats is None:
        return {}
    sizes = {_size(stat) for stat, _ in known.values()}
    alike = [item for item, stat in zip(new, stats, strict=True) if stat and _size(stat) in sizes]
    old_of, new_of = defaultdict(list), defaultdict(list)
    for item, (_, digest) in known.items():
        old_of[digest].append(item)
    for item, digest in zip(alike, source.content(alike), strict=True):
        new_of[digest].append(item)
    return {old_of[d][0]: found[0] for d, found in new_of.items() if len(found) == len(old_of.get(d, ())) == 1}


def _size(stat: str) -> str:
    return stat.partition(":")[0]


def _rename(project: Opened, source: Source, old: str, new: str) -> list[Event]:
    """The image and its regions."""
    path = source.within(new)[0]
    regions = [item.id for item in project.pool.items if item.is_region and item.path == old]
    return [Renamed(item, f"{new}{item[len(old) :]}", path) for item in (old, *regions)]
