"""A detector's results as COCO's JSON: what Detectron2, mmdet (``*.bbox.json``) and Ultralytics (``val``) write.

A result is ``{"image_id", "category_id", "bbox": [x, y, width, height], "score"}``, with ``segmentation`` or
``keypoints`` too, or in its place. Two keys may be added to every row: ``probs``, one number for each class in the
project's order (in that of ``categories``, where the file has them), and ``embedding``, the object as a vector. Where
each row of ``probs`` sums to one, classes exclude each other (softmax; a last number may stand for the background),
else each is a yes or no of its own (sigmoid). Without ``probs`` the score of the top class is all that is known: it
counts as a yes or no, (p, 1 - p), and the other classes as ruled out.

The rows stand in a list, or under ``annotations`` beside ``images`` and ``categories`` as in an annotation file; an
image there may have an ``embedding`` too. A list does not say which images the detector looked at: those without a row
count as images in which it found nothing. Nor does it say what its numbers mean: programs count categories from 0 or
from 1, and images by whatever list they were given, so numbers are only ever read through a list.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff, Writes, Writing
from labelwise.contracts.record import Box, Head, Polygon, Record, Seen, State, Where
from labelwise.errors import FormatError
from labelwise.formats import coco_file
from labelwise.formats.coco_shapes import key
from labelwise.formats.coco_writing import write_file
from labelwise.formats.columns import is_picture
from labelwise.formats.glance import some_files
from labelwise.formats.json_file import read_json, start_of_json
from labelwise.formats.marks import finite_only
from labelwise.formats.numbers import is_finite


@dataclass(frozen=True)
class CocoResults(Format):
    """Results in COCO's JSON: a list, or annotations with scores beside their images and categories.

    Cost:
        Memory: about ten times the size of the file, refused where that is more than is free.

    Example:
        >>> import json, tempfile
        >>> file = Path(tempfile.mkdtemp()) / "predictions.json"
        >>> row = {"image_id": "a", "category_id": 0, "bbox": [1, 2, 10, 20], "score": 0.5}
        >>> _ = file.write_text(json.dumps([row]))
        >>> head, records = CocoResults().read(file, "predictions", Hints())
        >>> record = next(records)
        >>> record.image, record.bare, record.objects[0].cls, record.objects[0].score
        ('a', True, 0, 0.5)
    """

    name: ClassVar[str] = "coco_results"
    title: ClassVar[str] = "COCO results of a detector: a list of boxes with scores, JSON"
    kinds: ClassVar[frozenset[str]] = frozenset({"boxes", "masks", "points"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"predictions"})
    writes: ClassVar[frozenset[Writes]] = frozenset({"predictions"})
    ending: ClassVar[str] = ".json"

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """By the keys of the first results."""
        if not path.is_dir():
            return _sniffed(path)
        found = _in_folder(path)
        if len(found) > 1:
            return Sniff(0.4, f"{len(found)} files of results: name one of them, such as {found[0].name!r:.60}")
        return _sniffed(found[0]) if found else Sniff(0.0, "no file of results in the folder")

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """A record for each image that has results, and for each that the file lists.

        Raises:
            FormatError: no such file, no results, a list that contradicts itself; while records are drawn: a box or a
                score that is none; with file and row.
        """
        if path.is_dir():
            found = _in_folder(path)
            if len(found) != 1:
                raise FormatError(f"{str(path)!r} holds {len(found) or 'no'} file(s) of results: name the one to read")
            path = found[0]
        shown = repr(str(path))
        data = read_json(path)
        rows = data.get("annotations") if isinstance(data, dict) else data
        if not isinstance(rows, list):
            raise FormatError(
                f'{shown} is no COCO results file: give a list of {{"image_id", "category_id", "bbox", "score"}}'
            )
        own = data if isinstance(data, dict) else {}
        listed = own.get("categories")
        categories = coco_file.read_categories(listed, shown) if isinstance(listed, list) else {}
        images = coco_file.read_images(own["images"], shown) if isinstance(own.get("images"), list) else None
        classes = tuple(dict.fromkeys(category.name for category in categories.values()))
        head = Head(
            classes=classes,
            numbers={number: one.name for number, one in categories.items() if isinstance(number, int)},
            images={} if images is None else {image.id: image.name for image in images},
            omits_empty=images is None,
            notes=(*_of_order(rows, classes, hints.classes), *_of_first(rows, {} if listed else hints.names or {})),
        )
        return head, _Results(path, categories, hints.kind).records(rows, images)

    def write(self, path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
        """Annotations with scores beside their images and categories, so that no number needs a list elsewhere.

        Raises:
            FormatError: a class that ``head`` does not list, a number that is not finite.
            StateError: the file cannot be written.
        """
        entries = []
        for record in records:
            whole = [seen for seen in record.objects if seen.embedding is not None and _is_bare(seen)]
            extra = {**record.extra} | ({"embedding": _floats(whole[0].embedding)} if whole else {})
            objects = tuple(_with_vectors(seen, head) for seen in record.objects if not _is_bare(seen))
            entries.append(replace(record, objects=objects, extra=extra, state="answered"))
        write_file(path, head, entries)
        return []


def _of_order(rows: Sequence[Any], own: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Says so where probabilities are in another order than the project's."""
    if not own or not wanted or own == wanted[: len(own)]:
        return ()
    if not any(isinstance(row, dict) and row.get("probs") is not None for row in rows):
        return ()
    return (f"probs are taken in the order of the file's categories ({', '.join(own):.120}), not in the project's",)


def _of_first(rows: Sequence[Any], names: Mapping[int, str]) -> tuple[str, ...]:
    """Says so where a list of names counts from 0 and nothing is of class 0: Ultralytics counts from 1 since 8.3."""
    seen = {row.get("category_id") for row in rows if isinstance(row, dict)} if 0 in names else {0}
    if 0 in seen or not seen:
        return ()
    return (
        f"nothing is of class 0 ({names[0]!r:.40}): if the file counts from 1, as Ultralytics does since 8.3, "
        "give --names a list that does so, such as lines '1 cat', '2 dog'",
    )


def _is_bare(seen: Seen) -> bool:
    return seen.box is None and seen.outline is None and seen.points is None


def _with_vectors(seen: Seen, head: Head) -> Seen:
    extra = dict(seen.attributes)
    if seen.probs is not None:
        ordered = [seen.probs[name] for name in head.classes] if isinstance(seen.probs, Mapping) else seen.probs
        extra["probs"] = _floats(ordered)
    if seen.embedding is not None:
        extra["embedding"] = _floats(seen.embedding)
    return replace(seen, attributes=extra)


def _floats(values: Iterable[Any]) -> list[float]:
    return [float(value) for value in values]


def _in_folder(folder: Path) -> list[Path]:
    """Files of results at the top of a folder, as a run of a detector leaves them."""
    return [path for path in some_files(folder, (".json",), 40) if path.parent == folder and _sniffed(path).sure >= 0.9]


def _sniffed(path: Path) -> Sniff:
    start = start_of_json(path)
    if not start:
        return Sniff(0.0, "no JSON file")
    embedded = "images[].embedding[]" in start and isinstance(start.get("annotations"), list)
    if isinstance(start[""], dict):
        start = start if "annotations[]" in start else start_of_json(path, "annotations")
    prefix = "[]." if isinstance(start.get(""), list) else "annotations[]."
    keys = {place.removeprefix(prefix) for place in start if place.startswith(prefix)}
    if start.get("") == [] and len(start) == 1:
        return Sniff(0.5, "an empty list: no result at all")
    if embedded and not keys:
        return Sniff(0.9, "embeddings of images, and no result")
    if not keys & {"image_id", "file_name"}:
        return Sniff(0.0, "no results with image_id")
    shapes = {"boxes": "bbox", "masks": "segmentation", "points": "keypoints"}
    kinds = tuple(kind for kind, name in shapes.items() if name in keys or (kind == "boxes" and "rbox" in keys))
    if "score" not in keys or not kinds:
        return Sniff(0.3, "results without score" if kinds else "results without bbox")
    return Sniff(0.95, "a list of results with scores" if prefix == "[]." else "annotations with scores", kinds)


@dataclass(frozen=True)
class _Results:
    """Rows of a file, image by image.

    Args:
        path: of the file.
        categories: by id; {} where the file lists none.
        kind: of label that is wanted.
    """

    path: Path
    categories: Mapping[coco_file.Id, coco_file.Category]
    kind: str | None

    def records(self, rows: Sequence[Any], images: Sequence[coco_file.Image] | None) -> Iterator[Record]:
        """A record for each image; rows are held against the list of images before the first one."""
        by_image: dict[coco_file.Id, list[tuple[int, dict[str, Any]]]] = {}
        known = None if images is None else {image.id: image for image in images}
        for row, result in enumerate(rows, 1):
            where = f"{str(self.path)!r}, result {row}"
            if not isinstance(result, dict):
                raise FormatError(f"{where}: {result!r:.60} is no object with image_id, category_id, bbox and score")
            name = result.get("file_name") if known is None else None
            if name is not None and (not isinstance(name, str) or not name.strip()):
                raise FormatError(f"{where}: file_name is {name!r:.60}; give the name of the image")
            own = key(result.get("image_id"))
            if own is None and name is None:
                raise FormatError(
                    f"{where}: image_id is {result.get('image_id')!r:.60}; give the image's id, number or path"
                )
            if known is not None and own not in known:
                raise FormatError(
                    f"{where}: image_id {result.get('image_id')!r:.60} is not among the file's {len(known)} images"
                )
            of: coco_file.Id | None = name if name is not None else own
            by_image.setdefault(of if of is not None else "", []).append((row, result))
        return self._listed(by_image, images) if images is not None else self._named(by_image)

    def _listed(
        self, by_image: dict[coco_file.Id, list[tuple[int, dict[str, Any]]]], images: Sequence[coco_file.Image]
    ) -> Iterator[Record]:
        for image in images:
            where = Where(str(self.path), "image", image.row)
            extra = dict(image.extra)
            vector = _vector(extra.pop("embedding", None), "embedding", f"{where}")
            whole = () if vector is None else (Seen(embedding=vector),)
            rows = by_image.pop(image.id, [])
            objects = (*whole, *(self._seen(row, result, image.size) for row, result in rows))
            state: State = "answered" if rows else "empty"
            yield Record(where, image.name, number=image.id, size=image.size, objects=objects, state=state, extra=extra)

    def _named(self, by_image: dict[coco_file.Id, list[tuple[int, dict[str, Any]]]]) -> Iterator[Record]:
        for own in list(by_image):
            rows = by_image.pop(own)
            row, first = rows[0]
            number, name = key(first.get("image_id")), first.get("file_name")
            if name is None and isinstance(first.get("image_id"), str):
                name = first["image_id"]
            yield Record(
                Where(str(self.path), "result", row),
                name,
                number=number,
                bare=name is not None and not is_picture(name),
                objects=tuple(self._seen(row, result, None) for row, result in rows),
            )

    def _seen(self, row: int, result: Mapping[str, Any], size: tuple[int, int] | None) -> Seen:
        where = f"{str(self.path)!r}, result {row}"
        own = self._category(result.get("category_id"), where)
        category = self.categories.get(own) or coco_file.Category(own, "", "", (), {})
        turned = _turned(result, where)
        bare = turned is None and not any(result.get(name) for name in ("bbox", "segmentation", "keypoints"))
        if bare:
            raise FormatError(f"{where}: bbox is {result.get('bbox')!r:.60}; give [x, y, width, height]")
        seen = coco_file.read_object(result, category, size, where, self.kind, scored=True)
        rest = {name: value for name, value in seen.attributes.items() if name not in _OWN}
        if seen.score is None or not 0 <= seen.score <= 1 + _ROUNDED:
            raise FormatError(f"{where}: score is {result.get('score')!r:.60}; give a probability from 0 to 1")
        return replace(
            seen if turned is None else replace(seen, box=turned[0], outline=turned[1] or seen.outline),
            cls=category.name or own,
            score=min(seen.score, 1.0) if seen.score > 1 else seen.score,
            probs=_vector(result.get("probs"), "probs", where),
            embedding=_vector(result.get("embedding"), "embedding", where),
            attributes=finite_only(rest)[0],
        )

    def _category(self, written: Any, where: str) -> coco_file.Id:
        own = key(written)
        if own is None or (self.categories and own not in self.categories):
            listed = f" is none of {coco_file.listed(self.categories)}" if self.categories else "; give a number"
            raise FormatError(f"{where}: category_id {written!r:.60}{listed}: is this a file for other classes?")
        return own


#: what of a result is read apart, or says nothing of the object itself
_OWN = frozenset({"probs", "embedding", "file_name", "rbox", "poly"})
#: how far beyond one a score may be by rounding
_ROUNDED = 1e-6


def _vector(values: Any, what: str, where: str) -> list[float] | None:
    if values is None:
        return None
    if not isinstance(values, list) or not values or not all(map(is_finite, values)):
        raise FormatError(f"{where}: {what} is {values!r:.60}; give a list of finite numbers")
    return values


def _turned(result: Mapping[str, Any], where: str) -> tuple[Box | None, Polygon | None] | None:
    """A turned box as Ultralytics writes it: ``rbox`` centre, sides and radians, ``poly`` its corners."""
    rbox, poly = result.get("rbox"), result.get("poly")
    if rbox is None and poly is None:
        return None
    for values, count, what in ((rbox, 5, "rbox"), (poly, 8, "poly")):
        good = isinstance(values, list) and len(values) == count and all(map(is_finite, values))
        if values is not None and not good:
            raise FormatError(f"{where}: {what} is {values!r:.60}; give {count} finite numbers")
    box = None
    if rbox is not None:
        x, y, width, height, angle = rbox
        if width < 0 or height < 0:
            raise FormatError(f"{where}: rbox {rbox!r:.80} has a negative side")
        box = Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2, math.degrees(angle))
    return box, None if poly is None else Polygon((tuple(poly),))
