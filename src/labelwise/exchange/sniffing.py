"""Which format a path is of: every format that could read it is asked how sure it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelwise.contracts.format import Format, Reads, Sniff
from labelwise.errors import ConfigError, FormatError, unknown
from labelwise.formats import FORMATS
from labelwise.formats.glance import packed
from labelwise.kinds import KINDS

#: from here on a format may be taken; and how far ahead of the next it has to be
SURE, AHEAD = 0.5, 0.05
#: what people said before formats had a name each
_OLD_NAMES = {"coco_masks": "coco", "png_masks": "masks"}
#: kinds of label that such a name says, too
_OLD_KINDS: Mapping[str, tuple[str, ...]] = {"coco_masks": ("masks",)}


@dataclass(frozen=True)
class Choice:
    """A format for a path.

    Args:
        format: to read it with.
        sniff: what it said; None where the user named it.
        others: further formats that were sure enough, for notes.
    """

    format: Format
    sniff: Sniff | None = None
    others: tuple[Format, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of label that the path seems to hold, the likeliest first."""
        told = self.sniff.kinds if self.sniff is not None else ()
        return told or tuple(sorted(self.format.kinds))


def named(name: str) -> Format:
    """The format of a name, or of ``package.module:name``, perhaps with options behind it.

    Raises:
        ConfigError: for an unknown one, nearest names given; for an option that it does not have.

    Example:
        >>> named("cvat").auto, named("cvat:auto=answered").auto
        ('untouched', 'answered')
    """
    plain, options = _options(name)
    return FORMATS.create(_OLD_NAMES.get(plain, plain), **options)


def _options(name: str) -> tuple[str, dict[str, Any]]:
    """A name and the options behind it: ``label_studio:control=quality``."""
    plain, colon, told = name.rpartition(":")
    if not colon or "=" not in told:
        return name, {}
    from labelwise.formats.yaml_text import parse_settings

    pairs = [part.partition("=") for part in told.split(",")]
    if not all(key.strip() and equals for key, equals, _ in pairs):
        raise ConfigError(f"{name!r:.80} is no format with options: write NAME:option=value,option=value")
    return plain, {key.strip(): parse_settings(text, f"{plain:.40}:{key.strip():.40}") for key, _, text in pairs}


def kinds_said(name: str, path: Path) -> tuple[str, ...]:
    """The kinds of label that are meant where the user named a format for a path, the likeliest first."""
    form = named(name)
    return _OLD_KINDS.get(name) or form.sniff(path, "data").kinds or tuple(sorted(form.kinds))


def hold(kinds: Collection[str], kind: str) -> bool:
    """Whether labels of these kinds say one of this kind, too.

    Example:
        >>> hold({"boxes"}, "tags"), hold({"tags"}, "boxes")
        (True, False)
    """
    return kind in kinds or not KINDS.create(kind).said_by.isdisjoint(kinds)


def reading(use: Reads, kind: str | None = None) -> list[Format]:
    """All formats that read for this use, and this kind of label."""
    found = [FORMATS.create(name) for name in FORMATS.names()]
    # of predictions probabilities are wanted, and of boxes there are none of the picture
    fits = hold if use != "predictions" else lambda kinds, kind: kind in kinds
    return [one for one in found if use in one.reads and (kind is None or fits(one.kinds, kind))]


def sniffed(path: Path, use: Reads, kind: str | None = None) -> list[tuple[Sniff, Format]]:
    """What each format says of a path, the surest first; in ties the order of names."""
    told = [(one.sniff(path, use), one) for one in reading(use, kind)]
    told = [(sniff, one) for sniff, one in told if kind is None or not sniff.kinds or hold(sniff.kinds, kind)]
    return sorted(told, key=lambda pair: (-pair[0].sure, pair[1].name))


def choose(path: Path, use: Reads, *, kind: str | None = None, name: str | None = None) -> Choice | None:
    """The format of a path; None where none is sure.

    Args:
        path: a file or folder that is there.
        use: what it is to be read for.
        kind: of label that is wanted; None: any.
        name: the format that the user named; nothing is sniffed then.

    Raises:
        ConfigError: an unknown name, a format that is not read for this use or kind, or two that are as sure.
    """
    if name is not None:
        return Choice(_checked(named(name), use, kind))
    told = [(sniff, one) for sniff, one in sniffed(path, use, kind) if sniff.sure >= SURE]
    if not told:
        return None
    (best, chosen), rest = told[0], told[1:]
    close = [(sniff, one) for sniff, one in rest if best.sure - sniff.sure < AHEAD]
    if close:
        (second, other) = close[0]
        raise ConfigError(
            f"{str(path)!r:.120} may be {chosen.name} ({best.why}) or {other.name} ({second.why}): say which with "
            f"--format {chosen.name} or {other.name} (init: --labels)"
        )
    return Choice(chosen, best, tuple(one for _, one in rest))


def required(path: Path, use: Reads, *, kind: str | None = None, name: str | None = None) -> Choice:
    """As :func:`choose`, where something has to be read.

    Raises:
        FormatError: nothing is there, or no format is sure: the two nearest are named, and what each missed.
    """
    if not path.exists():
        raise FormatError(f"{str(path)!r} does not exist: check the path")
    found = choose(path, use, kind=kind, name=name)
    if found is None and kind is not None and (other := sniffed(path, use)) and other[0][0].sure >= SURE:
        sniff, form = other[0]
        raise FormatError(
            f"{str(path)!r:.100} is {form.name} ({sniff.why}) and holds {' or '.join(sniff.kinds or form.kinds)}, and "
            f"this project is about {kind}"
        )
    if found is None:
        refuse_packed(path)
        near = [f"{one.name}: {sniff.why:.80}" for sniff, one in sniffed(path, use, kind)[:2]]
        raise FormatError(
            f"{str(path)!r:.100} is no format that is read here ({'; '.join(near)}): say --format NAME; "
            "'labelwise list formats' has them"
        )
    return found


def refuse_packed(path: Path) -> None:
    """Refuses what has to be unpacked first.

    Raises:
        FormatError: an archive.
    """
    if path.suffix.lower() != ".npz" and (what := packed(path)) is not None:
        raise FormatError(f"{str(path)!r:.150} is {what}: unpack it, and give the folder or the file that was in it")


def _checked(one: Format, use: Reads, kind: str | None) -> Format:
    if use not in one.reads:
        raise unknown(f"format for {use}", one.name, [other.name for other in reading(use, kind)])
    if kind is not None and not hold(one.kinds, kind):
        raise ConfigError(
            f"{one.name} is a format of {' and '.join(sorted(one.kinds))}, and {kind} are wanted: use "
            f"{' or '.join(other.name for other in reading(use, kind))}"
        )
    return one
