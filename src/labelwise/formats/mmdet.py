"""What mmdet's ``DetInferencer`` saves: ``preds/*.json``, one file for each image, called as the image.

A file holds ``labels``, ``scores`` and ``bboxes`` (x1, y1, x2, y2; of mmrotate centre, sides and radians), and perhaps
``masks`` as COCO's run lengths, all of one length. Labels are numbers, from 0, and nothing says what they mean: a list
of names has to come from elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff
from labelwise.contracts.record import Box, Head, Record, Seen, Where
from labelwise.errors import FormatError
from labelwise.formats.by_stem import json_files
from labelwise.formats.coco_shapes import read_segmentation, whole
from labelwise.formats.columns import is_picture
from labelwise.formats.glance import some_files
from labelwise.formats.json_file import read_json, start_of_json
from labelwise.formats.numbers import corners, is_finite, number

_PARTS = ("labels", "scores", "bboxes")
#: how far beyond one a score may be by rounding
_ROUNDED = 1e-6


@dataclass(frozen=True)
class MMDet(Format):
    """Predictions of mmdet, a JSON file for each image.

    Cost:
        Memory: that of one file.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "a.json").write_text('{"labels": [1], "scores": [0.5], "bboxes": [[1, 2, 3, 4]]}')
        >>> record = next(MMDet().read(folder, "predictions", Hints())[1])
        >>> record.image, record.bare, record.objects[0].cls, record.objects[0].score
        ('a', True, 1, 0.5)
    """

    name: ClassVar[str] = "mmdet"
    title: ClassVar[str] = "mmdet predictions: preds/*.json, one file for each image"
    kinds: ClassVar[frozenset[str]] = frozenset({"boxes", "masks"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"predictions"})

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """By the keys of some files."""
        files = some_files(_place(path), (".json",)) if path.is_dir() else [path]
        starts = [start_of_json(file) for file in files]
        fits = [start for start in starts if all(isinstance(start.get(part), list) for part in _PARTS)]
        if any(isinstance(start.get("predictions"), list) and "predictions[].bboxes" in start for start in starts):
            return Sniff(0.3, "mmdet's one file for all images, which names none of them: save preds/*.json")
        if not fits or len(fits) < 0.8 * len(starts):
            return Sniff(0.0, "no JSON files with labels, scores and bboxes")
        masks = any("masks" in start for start in fits)
        return Sniff(0.95, "labels, scores and bboxes of one image a file", ("boxes", "masks") if masks else ("boxes",))

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """A record for each file.

        Raises:
            FormatError: no such files; while records are drawn: a file of something else, lists of different lengths,
                a box, score or mask that is none; with file and object.
        """
        if not path.is_dir():
            name = path.name.removesuffix(".json")
            return Head(), iter([_record(path, name, not is_picture(name))])
        files = list(json_files(_place(path)))
        if not files:
            raise FormatError(f"{str(path)!r} holds no JSON file: give the folder preds that mmdet wrote")
        return Head(), _records(files, hints)


def _place(path: Path) -> Path:
    return path / "preds" if (path / "preds").is_dir() else path


def _records(files: list[tuple[Path, str, bool]], hints: Hints) -> Iterator[Record]:
    for done, (path, name, bare) in enumerate(files, 1):
        yield _record(path, name, bare)
        if done % 100 == 0 or done == len(files):
            hints.progress("reading predictions", done, len(files))


def _record(path: Path, name: str, bare: bool) -> Record:
    data = read_json(path)
    missing = [part for part in _PARTS if not isinstance(data, dict) or not isinstance(data.get(part), list)]
    if missing:
        raise FormatError(f"{str(path)!r} is no prediction of mmdet: it has no list {' or '.join(missing)}")
    masks = data.get("masks")
    lists = [data[part] for part in _PARTS] + ([masks] if isinstance(masks, list) else [])
    if len({len(each) for each in lists}) > 1:
        counts = ", ".join(f"{len(data[part])} {part}" for part in _PARTS)
        raise FormatError(f"{str(path)!r} has {counts}{f', {len(masks)} masks' if masks else ''}; give as many of each")
    objects = tuple(_seen(data, row, f"{str(path)!r}, object {row + 1}") for row in range(len(data["labels"])))
    return Record(Where(str(path)), name, bare=bare, objects=objects, state="answered" if objects else "empty")


def _seen(data: Mapping[str, Any], row: int, where: str) -> Seen:
    cls = whole(data["labels"][row])
    if cls is None:
        raise FormatError(f"{where}: its label is {data['labels'][row]!r:.60}; give a whole number")
    score = number(data["scores"][row], where, "its score")
    if not 0 <= score <= 1 + _ROUNDED:
        raise FormatError(f"{where}: its score is {score!r:.60}; give a probability from 0 to 1")
    mask = data["masks"][row] if isinstance(data.get("masks"), list) else None
    return Seen(
        cls,
        _box(data["bboxes"][row], where),
        read_segmentation(mask, None, where),
        score=min(score, 1.0) if score > 1 else score,
    )


def _box(values: Any, where: str) -> Box:
    if not isinstance(values, list) or len(values) not in (4, 5) or not all(map(is_finite, values)):
        raise FormatError(f"{where}: its box is {values!r:.60}; give x1, y1, x2, y2")
    if len(values) == 4:
        return Box(*corners(values, where))
    x, y, width, height, angle = values
    if width < 0 or height < 0:
        raise FormatError(f"{where}: its box is {values!r:.60}, and a side is negative")
    return Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2, math.degrees(angle))
