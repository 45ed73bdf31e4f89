"""What ``Results.to_json()`` of Ultralytics gives for an image, saved by one's own few lines of code.

That is a list of ``{"name", "class", "confidence", "box": {"x1", "y1", "x2", "y2"}}``, with ``segments`` or
``keypoints`` too, four corners for turned boxes, and no box for a classifier. It does not name its image, so people
save it as a file called as the image, as one file ``{image: results}`` (or the text of the results), or as a list of
``{"path": image, "results": results}``. Corners are pixels, or fractions with ``normalize=True``: where no number of
all images is larger than one, they are taken as fractions, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff
from labelwise.contracts.record import Box, Head, Points, Polygon, Record, Seen, Where
from labelwise.errors import FormatError
from labelwise.formats.by_stem import json_files
from labelwise.formats.coco_shapes import whole
from labelwise.formats.columns import is_picture
from labelwise.formats.glance import some_files
from labelwise.formats.json_file import parse_json, read_json, start_of_json
from labelwise.formats.numbers import corners, is_finite, number

#: what people call the image of an entry, and its results
_IMAGE = ("path", "image", "image_path", "im_file", "file", "file_name", "filename")
_RESULTS = ("results", "predictions", "detections", "boxes", "objects")
#: keys of a result that have a place in ``Seen``
_OWN = frozenset({"name", "class", "confidence", "box", "segments", "keypoints", *_IMAGE})
#: the largest number of a set in fractions: turned boxes reach beyond the image
_LARGEST = 1.5
_SIDES = ("x1", "y1", "x2", "y2")


@dataclass(frozen=True, slots=True)
class _Results:
    """The results of one image, as they stand.

    Args:
        where: of the entry.
        image: its name.
        rows: the results.
    """

    where: Where
    image: str
    rows: Any


@dataclass(frozen=True)
class UltralyticsJson(Format):
    """Results of Ultralytics' ``to_json()``, in one file or a file for each image.

    Cost:
        Memory: about ten times the size of a file; a folder is read twice, file by file.

    Example:
        >>> import json, tempfile
        >>> file = Path(tempfile.mkdtemp()) / "all.json"
        >>> box = {"x1": 1, "y1": 2, "x2": 30, "y2": 40}
        >>> _ = file.write_text(json.dumps({"a.jpg": [{"name": "cat", "class": 15, "confidence": 0.5, "box": box}]}))
        >>> record = next(UltralyticsJson().read(file, "predictions", Hints())[1])
        >>> record.image, record.objects[0].cls, record.objects[0].box
        ('a.jpg', 'cat', Box(x1=1, y1=2, x2=30, y2=40, rotation=0.0))
    """

    name: ClassVar[str] = "ultralytics_json"
    title: ClassVar[str] = "Ultralytics results.to_json(), in one file or one for each image"
    kinds: ClassVar[frozenset[str]] = frozenset({"boxes", "masks", "points", "classes"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"predictions"})

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """By the keys of the first results."""
        files = some_files(path, (".json",)) if path.is_dir() else [path]
        told = [_sniffed(file) for file in files]
        if not told:
            return Sniff(0.0, "no JSON file in the folder")
        best = max(told, key=lambda sniff: sniff.sure)
        # files of images without any result tell nothing
        if any(0 < sniff.sure < best.sure or (sniff.sure == 0 and sniff.why != _NOTHING) for sniff in told):
            return Sniff(0.0, "not all JSON files hold results of Ultralytics")
        kinds = tuple(dict.fromkeys(kind for sniff in told for kind in sniff.kinds))
        return Sniff(best.sure, best.why, kinds)

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """A record for each image.

        Raises:
            FormatError: no results; while records are drawn: a result that is none; with file and row.
        """
        entries = _Folder(path) if path.is_dir() else list(_entries(path, read_json(path)))
        fractions = _all_fractions(entries)
        note = "no number of a shape is larger than one: taken as fractions of the sides (to_json(normalize=True))"
        return Head(notes=(note,) if fractions else ()), _records(entries, fractions)


_NOTHING = "an empty list"


def _sniffed(path: Path) -> Sniff:
    start = start_of_json(path)
    if start == {"": []}:
        return Sniff(0.0, _NOTHING)
    heads = {place.removesuffix(".confidence") for place in start if place.endswith("[].confidence")}
    heads = {head for head in heads if f"{head}.class" in start or f"{head}.name" in start}
    if not heads:
        texts = [value for value in start.values() if isinstance(value, str) and value.startswith('[{"name":')]
        if any('"confidence":' in text and '"class":' in text for text in texts):
            return Sniff(0.9, "texts of results of Ultralytics, by image")
        return Sniff(0.0, "no results with class and confidence")
    parts = {"box": "boxes", "segments": "masks", "keypoints": "points"}
    kinds = tuple(kind for part, kind in parts.items() if any(f"{head}.{part}" in start for head in heads))
    return Sniff(0.95, "results of Ultralytics with class and confidence", kinds or ("classes",))


@dataclass(frozen=True)
class _Folder:
    """The files of a folder, read again whenever they are asked for."""

    path: Path

    def __iter__(self) -> Iterator[_Results]:
        found = False
        for file, image, _ in json_files(self.path):
            found = True
            yield _Results(Where(str(file)), image, read_json(file))
        if not found:
            raise FormatError(f"{str(self.path)!r} holds no JSON file: save the results of each image there")


def _entries(path: Path, data: Any) -> Iterator[_Results]:
    """The images of one file with their results."""
    if isinstance(data, dict):
        for row, (image, rows) in enumerate(data.items(), 1):
            yield _Results(Where(str(path), "image", row), image, rows)
        return
    if not isinstance(data, list):
        raise FormatError(
            f"{str(path)!r} holds {data!r:.60}; give {{image: results}}, as to_json() of Ultralytics has them"
        )
    if not any(isinstance(entry, dict) and any(name in entry for name in _IMAGE) for entry in data):
        yield _Results(Where(str(path)), path.name.removesuffix(".json"), data)
        return
    by_image: dict[str, tuple[int, list[Any]]] = {}
    for row, entry in enumerate(data, 1):
        where = Where(str(path), "entry", row)
        image = next((entry[n] for n in _IMAGE if n in entry), None) if isinstance(entry, dict) else None
        if not isinstance(image, str) or not image.strip():
            raise FormatError(f"{where}: {entry!r:.60} does not name its image; give every entry a path")
        held = next((entry[n] for n in _RESULTS if isinstance(entry.get(n), list | str)), None)
        if held is None and "confidence" not in entry:
            raise FormatError(f"{where}: {entry!r:.60} has no results; give a list of them under 'results'")
        rows = by_image.setdefault(image, (row, []))[1]
        rows.extend([entry] if held is None else _rows(held, where))
    for image, (row, rows) in by_image.items():
        yield _Results(Where(str(path), "entry", row), image, rows)


def _rows(rows: Any, where: Where) -> list[Any]:
    """Results, also where their text was saved instead of what it means."""
    if isinstance(rows, str):
        rows = parse_json(rows.encode("utf-8", "replace"), f"{where}")
    if not isinstance(rows, list):
        raise FormatError(f"{where}: {rows!r:.60} are no results; give the list that to_json() of Ultralytics gives")
    return rows


# ---- records --------------------------------------------------------------------------------------------------------


def _all_fractions(entries: Iterable[_Results]) -> bool:
    """Whether no number of any shape is larger than one."""
    some = False
    for entry in entries:
        for row in _rows(entry.rows, entry.where):
            for values in _numbers(row):
                some = some or bool(values)
                if any(is_finite(value) and abs(value) > _LARGEST for value in values):
                    return False
    return some


def _numbers(row: Any) -> Iterator[Iterable[Any]]:
    for part in ("box", "segments"):
        shape = row.get(part) if isinstance(row, dict) else None
        if isinstance(shape, dict):
            yield from (values if isinstance(values, list) else (values,) for values in shape.values())


def _records(entries: Iterable[_Results], fractions: bool) -> Iterator[Record]:
    for entry in entries:
        rows = _rows(entry.rows, entry.where)
        places = [f"{entry.where}, result {row}" for row in range(1, len(rows) + 1)]
        for row, where in zip(rows, places, strict=True):
            if not isinstance(row, dict):
                raise FormatError(f"{where}: {row!r:.60} is no object with name, class, confidence and box")
        if rows and not any(isinstance(row.get("box"), dict) for row in rows):
            objects: tuple[Seen, ...] = (_of_image(rows, places),)
        else:
            objects = tuple(_seen(row, where) for row, where in zip(rows, places, strict=True))
        yield Record(
            entry.where,
            entry.image,
            bare=not is_picture(entry.image),
            fractions=fractions,
            objects=objects,
            state="answered" if rows else "empty",
        )


def _of_image(rows: Sequence[Mapping[str, Any]], places: Sequence[str]) -> Seen:
    """The most likely classes of an image, the likeliest of which is its own."""
    found = [(_class(row, where), _score(row, where)) for row, where in zip(rows, places, strict=True)]
    best = max(found, key=lambda pair: pair[1])
    return Seen(best[0], score=best[1], probs=dict(found))


def _class(row: Mapping[str, Any], where: str) -> str | int:
    """The name, or the number where a model has no names and calls classes by their number."""
    name, index = row.get("name"), whole(row.get("class"))
    if isinstance(name, str) and name.strip() and (index is None or name != str(index)):
        return name
    if index is None:
        raise FormatError(f"{where}: it has neither a name nor a class ({name!r:.40}, {row.get('class')!r:.40})")
    return index


def _score(row: Mapping[str, Any], where: str) -> float:
    score = number(row.get("confidence"), where, "confidence")
    if not 0 <= score <= 1:
        raise FormatError(f"{where}: confidence is {score!r:.60}; give a probability from 0 to 1")
    return score


def _seen(row: Mapping[str, Any], where: str) -> Seen:
    box, outline = _box(row.get("box"), where)
    keypoints = row.get("keypoints")
    rest = {key: value for key, value in row.items() if key not in _OWN}
    return Seen(
        _class(row, where),
        box,
        _outline(row["segments"], where) if row.get("segments") else outline,
        None if keypoints is None else _points(keypoints, where),
        _score(row, where),
        attributes=rest,
    )


def _box(values: Any, where: str) -> tuple[Box | None, Polygon | None]:
    """A box, or the four corners of a turned one."""
    if not isinstance(values, dict) or not all(side in values for side in _SIDES):
        raise FormatError(f"{where}: box is {values!r:.60}; give x1, y1, x2 and y2")
    if "x4" not in values:
        return Box(*corners([values[side] for side in _SIDES], where)), None
    places = [values.get(f"{axis}{n}") for n in range(1, 5) for axis in "xy"]
    return None, Polygon((tuple(number(value, where, "a corner of the box") for value in places),))


def _pairs(values: Any, where: str, what: str) -> list[tuple[float, float]]:
    xs, ys = (values.get("x"), values.get("y")) if isinstance(values, dict) else (None, None)
    if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys):
        raise FormatError(f"{where}: {what} is {values!r:.60}; give lists x and y of one length")
    return [(number(x, where, f"x of {what}"), number(y, where, f"y of {what}")) for x, y in zip(xs, ys, strict=True)]


def _outline(values: Any, where: str) -> Polygon | None:
    places = _pairs(values, where, "segments")
    return Polygon((tuple(value for pair in places for value in pair),)) if len(places) >= 3 else None


def _points(values: Any, where: str) -> Points:
    """Key points with the confidences that stand under ``visible``; one at (0, 0) is one that was not found."""
    pairs, visible = _pairs(values, where, "keypoints"), values.get("visible")
    if visible is not None and (not isinstance(visible, list) or len(visible) != len(pairs)):
        raise FormatError(f"{where}: visible of keypoints is {visible!r:.60}; give a probability for each point")
    sure = [number(value, where, "visible of keypoints") for value in visible or ()]
    if not all(0 <= value <= 1 for value in sure):
        raise FormatError(f"{where}: visible of keypoints is {visible!r:.60}; give probabilities from 0 to 1")
    return Points(tuple((x, y, 2 if x or y else 0) for x, y in pairs), scores=tuple(sure))
