"""Frames of videos: those of one video are a group, and of each video perhaps every so many frames alone."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from labelwise.contracts.source import Source, VideoRule
from labelwise.data.views import View
from labelwise.errors import DataError, few

_LAST_NUMBER = re.compile(r"^(.*?)(\d+)(\D*)$")
#: frames of a video, at least, where folders tell: a folder of one picture is none
_FRAMES = 2


class Frames(View):
    """A source whose frames of one video are a group.

    Args:
        source: the frames.
        groups: frame -> its video.
        ids: frames that are kept.
        rule: what told the videos.
        said: what people should know of it, one line each.
    """

    def __init__(
        self, source: Source, groups: Mapping[str, str], ids: Sequence[str], *, rule: VideoRule, said: Sequence[str]
    ) -> None:
        super().__init__(source, groups=groups, ids=ids)
        self.rule = rule
        self._said = tuple(said)

    def notes(self) -> list[str]:
        """Those of the source, and how many videos there are."""
        return [*super().notes(), *self._said]


def with_videos(source: Source, rule: VideoRule = "auto", every: int = 1, *, known: Collection[str] = ()) -> Frames:
    """The source with the frames of each video as a group, and of each video every so many frames alone.

    Groups that the data name stay as they are. Frames count from the first of their video, by the last number in their
    names; what has another role than the pool counts as well.

    Args:
        source: the frames.
        rule: what tells a video; ``auto``: the folder where there are several and each has two frames or more (unless
            folders are classes), else the name before its last number.
        every: one of how many frames is kept.
        known: frames that are kept whatever their number: a project has them already.

    Raises:
        DataError: frames of one video are to be trained on and tested by, as the data have it.

    Example:
        >>> import numpy as np
        >>> from labelwise.data import ArraySource
        >>> names = ["a_01.png", "a_02.png", "a_10.png", "b_1.png"]
        >>> found = with_videos(ArraySource(np.zeros((4, 4, 4), np.uint8), ids=names), "name", every=2)
        >>> dict(found.groups), found.notes()[-1]
        ({'a_01.png': 'a_', 'a_10.png': 'a_', 'b_1.png': 'b_'}, '1 frame(s) left out: one of 2 of each video is kept')
    """
    chosen = _guessed(source) if rule == "auto" else rule
    of = {item: source.groups[item] if item in source.groups else _video(item, chosen) for item in source.ids}
    groups = {item: video for item, video in of.items() if video is not None}
    _refuse_split(source, groups)
    said = [_described(source, groups, chosen, guessed=rule == "auto")]
    if loose := [item for item in source.ids if item not in groups]:
        said.append(f"{len(loose):,} image(s) without a number in their name are no frames of a video: {few(loose)}")
    kept = source.ids if every == 1 else _thinned(source, groups, every, known)
    if dropped := frozenset(source.ids).difference(kept):
        labelled = sum(item in source.truth for item in dropped)
        more = f"; {labelled:,} of these have a label" if labelled else ""
        said.append(f"{len(dropped):,} frame(s) left out: one of {every} of each video is kept{more}")
    return Frames(source, groups, kept, rule=chosen, said=said)


def rule_of(source: Any) -> VideoRule | None:
    """What told the videos of a source, whatever lies around its frames; None where they are no frames."""
    while source is not None and not isinstance(source, Frames):
        source = getattr(source, "source", None)
    return None if source is None else source.rule


def _video(item: str, rule: str) -> str | None:
    """The video of a frame; None where its name has no number."""
    folder, slash, name = item.rpartition("/")
    if rule == "folder":
        return folder or "."
    found = _LAST_NUMBER.match(name.rpartition(".")[0] or name)
    return None if found is None else f"{folder}{slash}{found[1]}" or "."


def _guessed(source: Source) -> VideoRule:
    counts = Counter(item.rpartition("/")[0] for item in source.ids)
    classes = source.format is None and source.kind in (None, "classes") and bool(source.truth)
    return "folder" if len(counts) > 1 and min(counts.values()) >= _FRAMES and not classes else "name"


def _described(source: Source, groups: Mapping[str, str], rule: str, *, guessed: bool) -> str:
    videos = Counter(groups.values())
    given = sum(item in source.groups for item in source.ids)
    how = "the folder they lie in" if rule == "folder" else "their name before its last number"
    how = "the data" if given == len(source.ids) else how + (f", {given:,} of them by the data" if given else "")
    shown = ", ".join(f"{video or '.'!s:.40} ({count:,})" for video, count in videos.most_common(3))
    other = "" if not guessed or given == len(source.ids) else _otherwise(rule)
    return (
        f"{len(groups):,} frame(s) of {len(videos):,} video(s), told by {how}: {shown}"
        f"{', ...' if len(videos) > 3 else ''}. No video is both trained on and tested by{other}"
    )


def _otherwise(rule: str) -> str:
    return f"; a guess, --video {'name' if rule == 'folder' else 'folder'} is the other one"


def _thinned(source: Source, groups: Mapping[str, str], every: int, known: Collection[str]) -> list[str]:
    """Every so many frames of each video, and those that are in no video or known."""
    frames: dict[str, list[str]] = defaultdict(list)
    for item in source.ids:
        if item in groups:
            frames[groups[item]].append(item)
    kept = {item for those in frames.values() for item in sorted(those, key=_in_time)[::every]}
    return [item for item in source.ids if item in kept or item not in groups or item in known]


def _in_time(item: str) -> tuple[str, int, str]:
    """Frames in the order of their last numbers."""
    folder, slash, name = item.rpartition("/")
    found = _LAST_NUMBER.match(name.rpartition(".")[0] or name)
    return (item, 0, "") if found is None else (f"{folder}{slash}{found[1]}", int(found[2]), found[3])


def _refuse_split(source: Source, groups: Mapping[str, str]) -> None:
    first: dict[str, tuple[bool, str]] = {}
    for item, video in groups.items():
        held = source.roles.get(item, "pool") in ("validation", "test")
        before, other = first.setdefault(video, (held, item))
        if before != held:
            raise DataError(
                f"video {video!r:.50} is split between training and test by the data ({other!r:.60}, {item!r:.60}): "
                "give all its frames one side, or say what a video is by --video folder or name"
            )
