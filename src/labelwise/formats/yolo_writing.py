"""Writing YOLO sets: one that Ultralytics trains on as it is, and one for people to label in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from labelwise.contracts.format import Writing
from labelwise.contracts.record import Box, Head, Polygon, Record, Seen
from labelwise.contracts.source import Role
from labelwise.errors import FormatError, StateError, unknown
from labelwise.formats.files import write_whole
from labelwise.formats.pictures import check_apart, check_fresh, place_pictures
from labelwise.formats.shapes import DIGITS, upright
from labelwise.formats.sides import mirrored
from labelwise.formats.splits import WORD_OF, role_of
from labelwise.formats.written import name_of
from labelwise.formats.yolo_layout import label_path
from labelwise.formats.yolo_lines import SLACK

#: what Ultralytics reads as pictures
_READ = frozenset({".avif", ".bmp", ".dng", ".heic", ".heif", ".jp2", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff",
                   ".webp"})  # fmt: skip
_SETTINGS = "data.yaml"
_ABOUT = "# Paths are relative to this file. For programs that start elsewhere (YOLOv5), add: path: /where/it/lies\n"


def write_labelled(folder: Path, head: Head, records: Sequence[Record], how: Writing) -> list[str]:
    """``images/train``, ``labels/train``, ... and ``data.yaml``; lists instead of ``images`` where pictures stay.

    Returns:
        What was left out or has to be known, one line each.

    Raises:
        FormatError: an unknown class, a size that is not known, pixels instead of shapes, two images in one place.
        StateError: a file cannot be written, or files of another set are in the way.
    """
    word_of = {_name(record): WORD_OF[_role(record)] for record in records}
    places = {name: f"images/{word}/{name}" for name, word in word_of.items()}
    texts = {name: label_path(place) for name, place in places.items()}
    check_apart(texts)
    lines = _lines(head, records, how)
    written = {_name(record): lines.of(record) for record in records}  # all of it, before anything is written
    check_fresh(folder, ("images", "labels"), [*places.values(), *texts.values()])
    placed = place_pictures(folder, places, how)
    for name, text in written.items():
        _write(folder / texts[name], text)
    splits = sorted(set(word_of.values()), key=list(WORD_OF.values()).index)
    if how.images == "list":
        for word in splits:
            own = [placed.paths[name] for name, other in word_of.items() if other == word]
            _write(folder / f"{word}.txt", "".join(f"{path}\n" for path in own))
    of_split = {word: f"{word}.txt" if how.images == "list" else f"images/{word}" for word in splits}
    said = [*placed.notes, *_odd(places, how), *_without(of_split)]
    _write(folder / _SETTINGS, _ABOUT + _settings(of_split, head, lines))
    return [*said, *lines.said()]


def _without(of_split: dict[str, str]) -> list[str]:
    """Names something for val, which every training asks for, and says so."""
    said = []
    if "train" not in of_split and of_split:
        said.append("no image is for training: data.yaml names none for train")
    if "val" not in of_split and "train" in of_split:
        of_split["val"] = of_split["train"]
        said.append("no image is for validation: data.yaml names those of training for val, which every training needs")
    return said


def _odd(places: Mapping[str, str], how: Writing) -> list[str]:
    endings = Counter(Path(name).suffix.lower() for name in places)
    unread = {ending: count for ending, count in endings.items() if ending not in _READ}
    said = []
    if unread and how.images != "list":
        listed = ", ".join(f"{count} {ending or 'without ending'}" for ending, count in unread.items())
        said.append(f"{sum(unread.values()):,} image(s) are of a kind that Ultralytics does not read: {listed}")
    if how.images == "list":
        said.append(
            "images stay where they are: programs that look for labels beside them (Ultralytics) find none; write them "
            "with the set (--images link)"
        )
    return said


def write_asked(folder: Path, head: Head, records: Sequence[Record], how: Writing) -> list[str]:
    """``labels`` for the answers, empty; ``suggested`` with what the model would draw; ``images.txt``; ``data.yaml``.

    YOLO labels have no place for a mark that says whether somebody has looked at them, so the guesses lie in a folder
    of their own: those that are right are to be saved in ``labels``. They have no scores: tools that draw boxes take a
    sixth number for an error.

    Raises:
        FormatError: as :func:`write_labelled`.
        StateError: a file cannot be written.
    """
    places = {_name(record): f"images/{_name(record)}" for record in records}
    texts = {name: label_path(place) for name, place in places.items()}
    check_apart(texts)
    lines = _lines(head, records, how)
    written = {_name(record): lines.of(record) for record in records}
    placed = place_pictures(folder, places, how)
    for part in ("labels", "suggested/labels"):
        _folder(folder / part)
    for name, text in written.items():
        _write(folder / "suggested" / texts[name], text)
    paths = [str(record.extra.get("path") or placed.paths[_name(record)]) for record in records]
    _write(folder / "images.txt", "".join(f"{path}\n" for path in paths))
    _write(folder / _SETTINGS, _settings({}, head, lines))
    return [*placed.notes, *lines.said()]


def _lines(head: Head, records: Sequence[Record], how: Writing) -> Lines:
    points = _key_points(records) if how.kind == "points" else 0
    return Lines(head, how.kind, _all_polygons(records), points)


def _role(record: Record) -> Role:
    role = role_of(record.split) if record.split else "pool"
    if role is None:
        raise FormatError(f"{record.where}: {record.split!r:.40} is no split: say train, val or test")
    return role


def _name(record: Record) -> str:
    if record.image is None:
        raise FormatError(f"{record.where}: an image without name has no place in a YOLO set")
    return record.image


def _write(path: Path, text: str) -> None:
    _folder(path.parent)
    write_whole(path, text.encode("utf-8", "surrogateescape"))


def _folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(f"cannot make the folder {str(path)!r:.150}: {error.strerror}; choose another place") from None


def _settings(of_split: Mapping[str, str], head: Head, lines: Lines) -> str:
    data: dict[str, Any] = {**of_split, "nc": len(head.classes), "names": dict(enumerate(head.classes))}
    if lines.points:
        data["kpt_shape"] = [lines.points, 3]
        flip = head.extra.get("flip_idx")
        if isinstance(flip, list) and sorted(map(str, flip)) == sorted(map(str, range(lines.points))):
            data["flip_idx"] = [int(place) for place in flip]
        elif len(lines.names) == lines.points:
            data["flip_idx"] = list(mirrored(lines.names))
        if lines.names:
            data["kpt_names"] = {index: list(lines.names) for index in range(len(head.classes))}
    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000))


# ---- lines ----------------------------------------------------------------------------------------------------------


def _all_polygons(records: Sequence[Record]) -> bool:
    """Whether every object is a polygon: a set is read as polygons or as boxes, and mixed files are thrown away."""
    things = [(seen, record) for record in records for seen in record.objects]
    return bool(things) and all(_polygon(seen, record) for seen, record in things)


def _polygon(seen: Seen, record: Record) -> Sequence[float]:
    """Corners in fractions, of an object that is one polygon and has no box but its extent; () for others."""
    outline, kept = seen.outline, seen.attributes.get("polygon")
    if not isinstance(outline, Polygon) or len(outline.parts) != 1 or len(outline.parts[0]) < 6:
        return ()
    corners = outline.parts[0]
    if seen.box is not None:
        x, y = corners[0::2], corners[1::2]
        if [min(x), min(y), max(x), max(y)] != [seen.box.x1, seen.box.y1, seen.box.x2, seen.box.y2]:
            return ()
    if isinstance(kept, list | tuple) and len(kept) == len(corners):
        return kept  # as the file had it, to the digit
    if record.fractions:
        return corners
    size = _size(record)
    return [round(value / size[place % 2], 12) for place, value in enumerate(corners)]


def _key_points(records: Sequence[Record]) -> int:
    """How many key points every object has; 0 where none has any.

    Raises:
        FormatError: objects with different numbers of them.
    """
    first: dict[int, Record] = {}
    for record in records:
        for seen in record.objects:
            if seen.points is not None and seen.points.points:
                first.setdefault(len(seen.points.points), record)
    if len(first) > 1:
        (one, record), (other, _) = list(first.items())[:2]
        raise FormatError(
            f"{record.where}: an object has {one} key points, others have {other}; YOLO wants as many of each, COCO "
            "does not: write that"
        )
    return next(iter(first), 0)


def _size(record: Record) -> tuple[int, int]:
    if record.size is None:
        raise FormatError(f"{record.where}: the size of {record.image!r:.80} is not known: put the image back")
    return record.size


@dataclass
class Lines:
    """Objects as lines; counts what has no place in them.

    Args:
        head: classes in index order.
        kind: of label.
        polygons: whether corners are written.
        points: how many key points every object has.
        left: what was left out or changed, and how often.
        names: of the key points.
    """

    head: Head
    kind: str
    polygons: bool = False
    points: int = 0
    left: Counter[str] = field(default_factory=Counter)
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._index = {name: index for index, name in enumerate(self.head.classes)}

    def of(self, record: Record) -> str:
        """All objects of an image.

        Raises:
            FormatError: an unknown class, pixels instead of shapes, or key points of different number.
        """
        if record.pixels is not None:
            raise FormatError(
                f"{record.where}: YOLO txt has polygons, and these labels are pixels; write masks (--format masks)"
            )
        return "".join(f"{text}\n" for seen in record.objects if (text := self._line(seen, record)))

    def _line(self, seen: Seen, record: Record) -> str:
        name = name_of(seen, self.head, record)
        if name not in self._index:
            raise unknown("class", name, self.head.classes, error=FormatError)
        values = () if seen.crowd or seen.difficult else self._shape(seen, record)
        if not values:
            self.left[_NO_PLACE] += 1
            return ""
        if self.kind == "points":
            values = [*values, *self._points(seen, record)]
        elif seen.points is not None:
            self.left["object(s) written without their key points"] += 1
        if seen.score is not None and "answered" not in record.extra:
            self.left["score(s) left out: labels have no place for them"] += 1
        return " ".join(map(plain, [self._index[name], *values]))

    def _shape(self, seen: Seen, record: Record) -> Sequence[float]:
        """Corners, or centre and sides, in fractions that Ultralytics accepts; () for what lies outside altogether."""
        if corners := _polygon(seen, record):
            if self.polygons:
                return self._cut(corners, corners)
            self.left["polygon(s) written as their boxes, since others are boxes only"] += 1
        box = _box_of(seen)
        if box is None:
            return ()
        if box.rotation:
            self.left["turned box(es) written as the upright box around them"] += 1
            box = Box(*upright(box))
        size = (1, 1) if record.fractions else _size(record)
        values = fractions_of(box, size)
        if all(map(_is_accepted, values)):
            return values
        within = self._cut(values, (box.x1 / size[0], box.y1 / size[1], box.x2 / size[0], box.y2 / size[1]))
        return fractions_of(Box(*within), (1, 1)) if within else ()

    def _cut(self, values: Sequence[float], corners: Sequence[float]) -> Sequence[float]:
        """Corners cut off at the border, where as they are they would cost the whole image."""
        x, y = corners[0::2], corners[1::2]
        sides = (min(x), max(x), max(x) - min(x), min(y), max(y), max(y) - min(y))
        if values is corners and all(map(_is_accepted, sides)):
            return corners
        cut = [min(max(value, 0.0), 1.0) for value in corners]
        if min(cut[0::2]) >= max(cut[0::2]) or min(cut[1::2]) >= max(cut[1::2]):
            return ()
        self.left["object(s) cut off at the border: Ultralytics throws away images with larger ones"] += 1
        return cut

    def _points(self, seen: Seen, record: Record) -> list[float]:
        """Key points in fractions with a flag each; zeros for an object without any."""
        found = seen.points.points if seen.points is not None else ()
        if seen.points is not None and seen.points.names:
            self.names = seen.points.names
        size = (1, 1) if record.fractions else _size(record)
        values: list[float] = []
        for x, y, flag in found:
            place = [round(x / size[0], 12), round(y / size[1], 12)]
            if flag and not all(map(_is_accepted, place)):
                self.left["key point(s) moved to the border: Ultralytics throws away images with such outside"] += 1
                place = [min(max(value, 0.0), 1.0) for value in place]
            values += [*place, flag] if flag else [0, 0, 0]
        return values or [0.0] * (3 * self.points)

    def said(self) -> list[str]:
        """What was left out, one line each."""
        return [f"{count:,} {what}" for what, count in self.left.items() if count]


_NO_PLACE = "object(s) left out that YOLO txt has no place for: crowds, difficult ones, such off the image or unshaped"


def _is_accepted(fraction: float) -> bool:
    """Whether Ultralytics takes a centre, side or point as it is."""
    return -SLACK <= fraction <= 1 + SLACK


def _box_of(seen: Seen) -> Box | None:
    """The object's box, or the extent of its polygon or of its key points."""
    if seen.box is not None:
        return seen.box
    values: Sequence[float] = ()
    if isinstance(seen.outline, Polygon):
        values = [value for part in seen.outline.parts for value in part]
    elif seen.points is not None:
        values = [value for x, y, flag in seen.points.points if flag for value in (x, y)]
    return Box(min(values[0::2]), min(values[1::2]), max(values[0::2]), max(values[1::2])) if values else None


def fractions_of(box: Box, size: tuple[int, int]) -> list[float]:
    """Centre and sides of a box as fractions: the shortest numbers that are read again as the same box.

    Example:
        >>> fractions_of(Box(10, 20, 30, 40), (100, 80))
        [0.2, 0.375, 0.2, 0.25]
    """
    x1, y1, x2, y2 = box.x1, box.y1, box.x2, box.y2
    exact = ((x1 + x2) / 2 / size[0], (y1 + y2) / 2 / size[1], (x2 - x1) / size[0], (y2 - y1) / size[1])
    wanted = [round(value, DIGITS) for value in (x1, y1, x2, y2)]
    values: list[float] = []
    for digits in (6, 8, 10, 12, 17):
        values = [round(value, digits) for value in exact]
        x, y, width, height = values
        again = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        if [round(side * value, DIGITS) for side, value in zip((*size, *size), again, strict=True)] == wanted:
            break
    return values


def plain(value: float) -> str:
    """A number without an exponent, as short as it is exact.

    Example:
        >>> plain(2.0), plain(1e-07), plain(0.25)
        ('2', '0.0000001', '0.25')
    """
    return str(int(value)) if float(value).is_integer() else format(Decimal(repr(value)), "f")
