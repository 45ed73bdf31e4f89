"""One COCO file: its lists checked as a whole, and a record for each of its images."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

from labelwise.contracts.format import Reads
from labelwise.contracts.record import Box, Origin, Points, Record, Seen, Where
from labelwise.errors import FormatError
from labelwise.formats.coco_shapes import bbox_of, key, read_bbox, read_keypoints, read_segmentation, whole
from labelwise.formats.json_file import read_json
from labelwise.formats.marks import Told, finite_only
from labelwise.formats.numbers import is_finite, number
from labelwise.formats.shapes import upright
from labelwise.formats.splits import role_of

PARTS = ("images", "annotations", "categories")
#: ids as files write them: 1, 1.0 and "1" are the same
Id = int | str
#: keys of an annotation that have a place in ``Seen``
_OWN = frozenset({"image_id", "category_id", "bbox", "iscrowd", "difficult", "score", "segmentation", "keypoints"})
_ORIGINS = get_args(Origin)
#: categories that a message lists
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Category:
    """A category of a file.

    Args:
        id: as objects name it.
        name: as written.
        above: the name of what it is a kind of; "" where the file says none.
        points: names of its key points.
        raw: the whole entry, to be written again.
    """

    id: Id
    name: str
    above: str
    points: tuple[str, ...]
    raw: Mapping[str, Any]

    @property
    def plain(self) -> str:
        """The name as names are compared."""
        return unicodedata.normalize("NFC", self.name.strip())


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a file.

    Args:
        id: as annotations name it.
        row: counted from 1.
        name: ``file_name``.
        size: (width, height); None where the file gives none.
        extra: what else the file says of it.
    """

    id: Id
    row: int
    name: str
    size: tuple[int, int] | None
    extra: dict[str, Any]


@dataclass
class CocoFile:
    """A file whose lists fit each other; annotations themselves are read when records are drawn.

    Args:
        path: of the file.
        categories: all that it lists, by id.
        images: id -> name.
        used: category -> how many objects it has.
        rest: what the file says of itself beside images and annotations.
        marked: whether images say if they are answered.
        odd: what is left out, and how often.
    """

    path: Path
    categories: Mapping[Id, Category]
    images: Mapping[Id, str]
    used: Counter[Id]
    rest: Mapping[str, Any]
    marked: bool
    odd: Counter[str] = field(default_factory=Counter)
    _images: list[Image] = field(default_factory=list)
    #: image -> its annotations with their rows
    _objects: dict[Id, list[tuple[int, dict[str, Any]]]] = field(default_factory=dict)

    @property
    def boxed(self) -> bool:
        """Whether annotations have places; without any they say the class of whole images."""
        return any(_placed(one) for rows in self._objects.values() for _, one in rows)

    def has_points(self) -> bool:
        """Whether some annotation has key points."""
        return any(one.get("keypoints") for rows in self._objects.values() for _, one in rows)

    def drawn(self, name: str) -> bool:
        """Whether some object is of a category of this name."""
        return any(self.used[id_] for id_, category in self.categories.items() if category.plain == name)

    def records(self, use: Reads, kind: str | None, split: str | None) -> Iterator[Record]:
        """A record for each image, in the file's order; each can be drawn once.

        Args:
            use: what they are for.
            kind: of label that is wanted.
            split: word for the file's split; images may say their own.

        Raises:
            FormatError: a broken annotation, with row and id.
        """
        placed = self.boxed
        for image in self._images:
            where = f"{str(self.path)!r}, image {image.row} ({image.name!r:.80})"
            rows = self._objects.pop(image.id, [])
            objects = tuple(self._seen(row, annotation, image.size, kind, placed) for row, annotation in rows)
            yield _record(self.path, image, objects, Told.of(image.extra, use, where), split)

    def _seen(
        self, row: int, annotation: dict[str, Any], size: tuple[int, int] | None, kind: str | None, placed: bool
    ) -> Seen:
        where = place(self.path, row, annotation)
        category = self.categories[cast("Id", key(annotation["category_id"]))]
        if placed and not _placed(annotation):
            raise FormatError(f"{where}: bbox is {annotation.get('bbox')!r:.60}; give [x, y, width, height]")
        seen = read_object(annotation, category, size, where, kind)
        rest, odd = finite_only(seen.attributes)
        return replace(seen, attributes=rest) if odd else seen


# ---- the file as a whole --------------------------------------------------------------------------------------------


def open_file(path: Path) -> CocoFile:
    """Reads a file and holds its lists against each other.

    Raises:
        FormatError: no COCO; ids given twice; an annotation of an unknown image or category; with row and id.
    """
    shown = repr(str(path))
    data = read_json(path)
    missing = [part for part in PARTS if not isinstance(data, dict) or not isinstance(data.get(part), list)]
    if missing:
        raise FormatError(f"{shown} is no COCO instances file: it has no list {' or '.join(map(repr, missing))}")
    categories = read_categories(data["categories"], shown)
    images = read_images(data.pop("images"), shown)
    objects, used = _objects(data.pop("annotations"), {image.id for image in images}, categories, path)
    marked = any("answered" in image.extra for image in images)
    names = {image.id: image.name for image in images}
    odd = _odd([image.extra for image in images], [one for rows in objects.values() for _, one in rows])
    return CocoFile(path, categories, names, used, data, marked, odd, _images=images, _objects=objects)


def _odd(images: Sequence[Mapping[str, Any]], annotations: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """What is left out, counted."""
    values = sum(finite_only(entry)[1] for entry in images)
    values += sum(finite_only({k: v for k, v in entry.items() if k not in _OWN | {"area"}})[1] for entry in annotations)
    thin = sum(map(_is_thin, annotations))
    return Counter(
        {
            "{n} value(s) that are no finite numbers are left out of further keys": values,
            "{n} outline(s) have parts of fewer than three corners, which cover nothing": thin,
            "{n} box(es) are turned (attributes.rotation): the upright box around each counts": sum(
                bool(_angle(entry)) for entry in annotations if entry.get("bbox")
            ),
        }
    )


def read_categories(entries: Sequence[Any], shown: str) -> dict[Id, Category]:
    """Categories by id, ascending.

    Raises:
        FormatError: one without id or name, or an id that stands twice.
    """
    found: dict[Id, Category] = {}
    for row, entry in enumerate(entries, 1):
        where = f"{shown}, category {row}"
        own = key(entry.get("id")) if isinstance(entry, dict) else None
        if own is None or not isinstance(entry.get("name"), str) or not entry["name"].strip():
            raise FormatError(f"{where}: {entry!r:.80} has no whole number as id, or no name; give both")
        if own in found:
            raise FormatError(f"{where}: id {own!r:.40} is given twice; give every category its own")
        above, points = entry.get("supercategory"), entry.get("keypoints")
        named = isinstance(points, list) and all(isinstance(name, str) for name in points)
        found[own] = Category(
            own, entry["name"], above if isinstance(above, str) else "", tuple(points) if named else (), entry
        )
    return dict(sorted(found.items(), key=lambda pair: (isinstance(pair[0], str), pair[0])))


def read_images(entries: Sequence[Any], shown: str) -> list[Image]:
    """The images of a file, in its order.

    Raises:
        FormatError: one without id or name, or one of them twice; a size that is none.
    """
    found: list[Image] = []
    ids: set[Id] = set()
    names: set[str] = set()
    for row, entry in enumerate(entries, 1):
        where = f"{shown}, image {row}"
        own = key(entry.get("id")) if isinstance(entry, dict) else None
        name = entry.get("file_name") if isinstance(entry, dict) else None
        if own is None or not isinstance(name, str) or not name.strip():
            raise FormatError(f"{where}: {entry!r:.80} has no id or no file_name; give both")
        if own in ids:
            raise FormatError(f"{where}: id {own!r:.40} is given twice; give every image its own")
        if name in names:
            raise FormatError(f"{where}: file_name {name!r:.80} is given twice; keep one of the two")
        ids.add(own)
        names.add(name)
        size = read_size(entry, f"{where} ({name!r:.80})")
        extra = {k: value for k, value in entry.items() if k not in ("file_name", "width", "height")}
        found.append(Image(own, row, name, size, extra | {"id": own}))
    return found


def read_size(entry: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    """Width and height of an image; None where the file gives neither.

    Raises:
        FormatError: one of them is missing, or no whole number above zero.
    """
    sides = entry.get("width"), entry.get("height")
    if sides == (None, None):
        return None
    width, height = map(whole, sides)
    for what, value, written in (("width", width, sides[0]), ("height", height, sides[1])):
        if value is None or not 0 < value < 1 << 31:
            raise FormatError(f"{where}: {what} is {written!r:.60}; give the image's size in whole pixels")
    return cast("int", width), cast("int", height)


def _objects(
    entries: Sequence[Any], images: set[Id], categories: Mapping[Id, Category], path: Path
) -> tuple[dict[Id, list[tuple[int, dict[str, Any]]]], Counter[Id]]:
    found: dict[Id, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    used: Counter[Id] = Counter()
    seen: set[Id] = set()
    bare: list[dict[str, Any]] = []
    highest = 0
    for row, annotation in enumerate(entries, 1):
        if not isinstance(annotation, dict):
            raise FormatError(
                f"{str(path)!r}, annotation {row}: {annotation!r:.80} is no object with image_id, category_id and bbox"
            )
        own = key(annotation.get("id"))
        if own is None and annotation.get("id") is not None:
            raise FormatError(f"{str(path)!r}, annotation {row}: id is {annotation['id']!r:.60}; give a whole number")
        if own is None:
            bare.append(annotation)
        elif own in seen:
            raise FormatError(f"{place(path, row, annotation)}: this id is given twice; give every annotation its own")
        else:
            seen.add(own)
            annotation["id"] = own
            highest = max(highest, own) if isinstance(own, int) else highest
        image, category = key(annotation.get("image_id")), key(annotation.get("category_id"))
        if image is None or image not in images:
            raise FormatError(
                f"{place(path, row, annotation)}: image_id {annotation.get('image_id')!r:.60} is not among the file's "
                f"{len(images)} images"
            )
        if category is None or category not in categories:
            raise FormatError(
                f"{place(path, row, annotation)}: category_id {annotation.get('category_id')!r:.60} is not among the "
                f"file's categories ({listed(categories)})"
            )
        used[category] += 1
        found[image].append((row, annotation))
    for own, annotation in enumerate(bare, highest + 1):  # the id that it would be written with
        annotation["id"] = own
    return dict(found), used


def listed(categories: Mapping[Id, Category]) -> str:
    """Some categories, for messages."""
    more = f", ... ({len(categories)} in all)" if len(categories) > _SHOWN else ""
    return ", ".join(f"{own!s:.20} {one.name:.20}" for own, one in list(categories.items())[:_SHOWN]) + more


def place(path: Path, row: int, annotation: Mapping[str, Any]) -> str:
    """Where an annotation stands, for messages."""
    own = annotation.get("id")
    return f"{str(path)!r}, annotation {row}" + ("" if own is None else f" (id {own!r:.40})")


# ---- one annotation -------------------------------------------------------------------------------------------------


def _placed(annotation: Mapping[str, Any]) -> bool:
    return bool(annotation.get("bbox") or annotation.get("segmentation") or annotation.get("keypoints"))


def read_object(
    annotation: Mapping[str, Any],
    category: Category,
    size: tuple[int, int] | None,
    where: str,
    kind: str | None,
    *,
    scored: bool = False,
) -> Seen:
    """One object, whatever of box, outline and key points it has.

    What has no place in ``Seen``, or would lose digits there, is kept among its attributes.

    Raises:
        FormatError: a box that is not four finite numbers, an outline that does not decode, a flag that is neither 0
            nor 1, key points that are none (where they are wanted).
    """
    rest = {k: value for k, value in annotation.items() if k not in _OWN}
    bbox, box = annotation.get("bbox"), None
    if bbox or (bbox is not None and not annotation.get("segmentation") and not annotation.get("keypoints")):
        corners = read_bbox(bbox, where)
        box = _turned(corners, rest) or Box(*corners)
        if bbox_of(corners) != bbox:
            rest["bbox"] = bbox  # more digits than corners keep
        rest.setdefault("area", math.prod(bbox[2:]))
    if rest.get("area") is not None:
        number(rest["area"], where, "area")
    outline = read_segmentation(annotation.get("segmentation"), size, where)
    if _kept_apart(annotation, outline):
        rest["segmentation"] = annotation["segmentation"]
    points = _points(annotation, category.points, where, kind, scored)
    if points is None and "keypoints" in annotation:
        rest["keypoints"] = annotation["keypoints"]
    elif points is not None and _is_sure(rest.get("keypoint_scores"), len(points.points)):
        points = replace(points, scores=tuple(rest.pop("keypoint_scores")))
    flags = {flag: _flag(annotation, name, where) for flag, name in (("crowd", "iscrowd"), ("difficult", "difficult"))}
    score = annotation.get("score")
    return Seen(
        category.name,
        box,
        outline,
        points,
        None if score is None else number(score, where, "score"),
        origin=rest.pop("origin") if rest.get("origin") in _ORIGINS else None,
        attributes=rest,
        **flags,
    )


def _turned(corners: Sequence[float], rest: dict[str, Any]) -> Box | None:
    """A box that is turned: as an export writes it under ``rotated``, or as CVAT does (``attributes.rotation``)."""
    values = rest.get("rotated")
    told = Box(*values) if isinstance(values, list) and len(values) == 5 and all(map(is_finite, values)) else None
    if told is not None and upright(told) == list(corners):
        del rest["rotated"]
        return told
    angle = _angle(rest)
    return Box(corners[0], corners[1], corners[2], corners[3], angle) if angle else None


def _angle(annotation: Mapping[str, Any]) -> float:
    attributes = annotation.get("attributes")
    angle = attributes.get("rotation") if isinstance(attributes, Mapping) else None
    return angle % 360 if isinstance(angle, int | float) and is_finite(angle) else 0.0


def _kept_apart(annotation: Mapping[str, Any], outline: Any) -> bool:
    """Whether an outline has to be kept as it was written, as it would be written otherwise."""
    if "segmentation" not in annotation:
        return False
    written = annotation["segmentation"]
    if isinstance(written, list):
        return outline is None or [list(part) for part in outline.parts] != written
    return outline is None


def _is_thin(annotation: Mapping[str, Any]) -> bool:
    mask = annotation.get("segmentation")
    return isinstance(mask, list) and any(isinstance(part, list) and len(part) == 4 for part in mask)


def _points(
    annotation: Mapping[str, Any], names: Sequence[str], where: str, kind: str | None, scored: bool
) -> Points | None:
    try:
        return read_keypoints(annotation.get("keypoints"), names, where, scored=scored)
    except FormatError:
        if kind == "points":
            raise
        return None  # of no use for other kinds, and kept as they are


def _is_sure(values: Any, count: int) -> bool:
    """Whether a list has a probability for each key point."""
    whole = isinstance(values, list) and len(values) == count
    return whole and all(is_finite(value) and 0 <= value <= 1 for value in values)


def _flag(annotation: Mapping[str, Any], name: str, where: str) -> bool:
    value = annotation.get(name, 0)
    found = int(value) if isinstance(value, bool) else whole(value)
    if found not in (0, 1):
        raise FormatError(f"{where}: {name} is {value!r:.60}; give 0 or 1")
    return bool(found)


# ---- one image ------------------------------------------------------------------------------------------------------


def _record(path: Path, image: Image, objects: tuple[Seen, ...], told: Told, split: str | None) -> Record:
    extra, own, group = dict(told.extra), told.extra.get("split"), told.extra.get("group")
    if isinstance(own, str) and role_of(own) is not None:
        split = own
        del extra["split"]
    if isinstance(group, str) and group:
        del extra["group"]
    return Record(
        Where(str(path), "image", image.row),
        image.name,
        number=image.id,
        aka=_further_names(image),
        size=image.size,
        objects=objects,
        state=told.state or ("answered" if objects else "empty"),
        split=split,
        group=group if isinstance(group, str) and group else None,
        seconds=told.seconds,
        cost=told.cost,
        reason=told.reason,
        extra=extra,
    )


def _further_names(image: Image) -> tuple[str, ...]:
    """What else an image may be called: a path out of Label Studio's folder, its name before Roboflow took it in."""
    plain, names = image.name.replace("\\", "/"), []
    if plain.startswith("../"):
        names.append(re.sub(r"^(\.\./)+", "", plain))
    true_name = image.extra["extra"].get("name") if isinstance(image.extra.get("extra"), Mapping) else None
    if isinstance(true_name, str) and true_name.strip():
        names.append(true_name)
    return tuple(names)
