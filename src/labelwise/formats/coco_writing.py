"""Records as COCO files: what is asked, what is labelled."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwise.contracts.format import Writing
from labelwise.contracts.record import IGNORE, Box, Head, Mask, Polygon, Record, Seen
from labelwise.errors import FormatError, StateError, unknown
from labelwise.formats.coco_file import Id
from labelwise.formats.coco_head import UNANNOTATED
from labelwise.formats.coco_shapes import bbox_of, key, outlines, read_bbox, run_lengths
from labelwise.formats.files import write_whole
from labelwise.formats.json_file import dump_json
from labelwise.formats.numbers import number
from labelwise.formats.pictures import check_fresh, place_pictures
from labelwise.formats.shapes import DIGITS, extent, in_pixels

if TYPE_CHECKING:
    import numpy as np


def write_set(path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
    """See :meth:`labelwise.formats.coco.Coco.write`."""
    numbered = _Numbered(head, how.options.get("outlines") == "polygons")
    entries = list(_joined(records))
    if how.use == "labelled" and (waiting := sum(record.state == "untouched" for record in entries)):
        numbered.left["{n} image(s) that nobody has answered are marked so"] += waiting
    if path.suffix.lower() == ".json":
        files = {path: entries}
        folder = path.parent
    else:
        folder = path
        files = _by_split(folder, entries)
        check_fresh(folder, ("annotations",), [file.relative_to(folder).as_posix() for file in files])
    notes: tuple[str, ...] = ()
    if how.images != "list":
        wanted = {record.image: f"images/{record.image}" for record in entries if record.image is not None}
        notes = place_pictures(folder, wanted, how).notes
    done = 0
    for file, part in zip(files, numbered.parts(list(files.values())), strict=True):
        _make_folder(file.parent)
        write_whole(file, dump_json(part, repr(str(file))))
        how.progress("writing labels", done := done + 1, len(files))
    return [*(text.format(n=f"{count:,}") for text, count in numbered.left.items() if count), *notes]


def write_file(path: Path, head: Head, records: Sequence[Record]) -> None:
    """One file with these records, without their images."""
    (part,) = _Numbered(head).parts([records])
    write_whole(path, dump_json(part, repr(str(path))))


def _by_split(folder: Path, entries: Sequence[Record]) -> dict[Path, list[Record]]:
    found: dict[Path, list[Record]] = defaultdict(list)
    for record in entries:
        name = "instances" if record.split is None else f"instances_{record.split}"
        found[folder / "annotations" / f"{name}.json"].append(record)
    return dict(found) or {folder / "annotations" / "instances.json": []}


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(f"cannot make the folder {str(folder)!r:.160}: {error.strerror}; choose another") from None


def _joined(records: Iterable[Record]) -> Iterator[Record]:
    """Records of regions of one picture as one record of it, which names the regions."""
    found: dict[str, Record] = {}
    regions: dict[str, list[str]] = defaultdict(list)
    for record in records:
        name = record.image or ""
        if not name:
            raise FormatError(f"{record.where}: the image has no name, and COCO lists images by name")
        if record.region is not None:
            regions[name].append(f"{name}#{record.region}")
        before = found.setdefault(name, record)
        if before is not record:
            pixels = before.pixels if record.pixels is None else record.pixels
            found[name] = replace(before, objects=(*before.objects, *record.objects), pixels=_both(before, pixels))
    for name, record in found.items():
        marks = {"regions": regions[name]} if regions[name] else {}
        yield replace(record, region=None, outline=None, extra={**record.extra, **marks})


def _both(before: Record, pixels: Mask | None) -> Mask | None:
    """The pixels of two regions of one picture in one mask."""
    one, size = before.pixels, before.size
    if one is None or pixels is None or one is pixels:
        return one if pixels is None else pixels
    if size is None:
        raise FormatError(
            f"{before.where}: the size of {before.image!r:.80} is not known, so its regions have no place"
        )

    def read() -> np.ndarray:
        whole_HW = _canvas(one, size)
        other_HW = _canvas(pixels, size)
        whole_HW[other_HW != IGNORE] = other_HW[other_HW != IGNORE]
        return whole_HW

    return Mask(size, read)


def _size(record: Record) -> tuple[int, int]:
    if record.size is None:
        raise FormatError(f"{record.where}: the size of {record.image!r:.80} is not known, so its shapes have no place")
    return record.size


def _canvas(mask: Mask, size: tuple[int, int]) -> np.ndarray:
    """uint8 (H, W) the pixels of a window in the whole picture."""
    import numpy as np

    canvas_HW = np.full((size[1], size[0]), IGNORE, np.uint8)
    found, (x, y) = mask.read(), mask.at
    canvas_HW[y : y + found.shape[0], x : x + found.shape[1]] = found
    return canvas_HW


# ---- numbers --------------------------------------------------------------------------------------------------------


@dataclass
class _Numbered:
    """Gives ids to images, annotations and categories, over all files of a set.

    Args:
        head: what the set says once.
        polygons: pixels become polygons where these are exact.
        left: what was left out or changed, and how often.
    """

    head: Head
    polygons: bool = False
    left: Counter[str] = field(default_factory=Counter)
    _limbs: Sequence[Sequence[int]] = ()

    def parts(self, files: Sequence[Sequence[Record]]) -> list[dict[str, Any]]:
        """The content of each file."""
        records = [record for part in files for record in part]
        of_records = (record.extra["skeleton"] for record in records if record.extra.get("skeleton"))
        self._limbs = self.head.skeleton[1] if self.head.skeleton is not None else next(of_records, ())
        things = [list(self._things(record)) for record in records]
        image_ids = numbered(_first(record.number, record.extra.get("id")) for record in records)
        own_ids = iter(numbered(extra.get("id") for found in things for _, extra in found))
        categories = self._categories([seen for found in things for seen, _ in found])
        number_of = {category["name"]: category["id"] for category in categories}
        rest = {k: value for k, value in self.head.extra.items() if k not in ("images", "annotations", "categories")}
        if any(record.pixels is not None for record in records):
            info = rest.get("info")
            rest["info"] = {**(info if isinstance(info, Mapping) else {}), UNANNOTATED: "ignore"}
        contents, place = [], 0
        for part in files:
            images, annotations = [], []
            for record in part:
                images.append(_image(record, image_ids[place]))
                for seen, extra in things[place]:
                    named = {"image_id": image_ids[place], "category_id": number_of[self._name(seen, record)]}
                    annotations.append(_annotation(seen, {**extra, "id": next(own_ids), **named}))
                place += 1
            contents.append({**rest, "images": images, "annotations": annotations, "categories": categories})
        unsized = sum(record.size is None for record in records)
        self.left["{n} image(s) are written without width and height: their size is not known"] += unsized
        return contents

    def _name(self, seen: Seen, record: Record) -> str:
        name = seen.cls
        if isinstance(name, int):
            count = len(self.head.classes)
            name = self.head.numbers.get(name) or (self.head.classes[name] if 0 <= name < count else str(name))
        if name not in self.head.classes:
            raise FormatError(f"{record.where}: {unknown('class', str(name), self.head.classes)}")
        return name

    def _categories(self, things: Sequence[Seen]) -> list[dict[str, Any]]:
        """Those of the file that was read, in its order, and new ones for classes it had not."""
        kept: dict[str, dict[str, Any]] = {}
        known = {name: own for own, name in self.head.numbers.items()}
        entries = self.head.extra.get("categories", ())
        for entry in entries if isinstance(entries, list | tuple) else ():
            if isinstance(entry, Mapping) and (name := entry.get("name")) in self.head.classes:
                own = key(entry.get("id"))
                if own is not None and name not in kept and known.get(name, own) == own:
                    kept[name] = {**entry, "id": own}
        taken = {entry["id"] for entry in kept.values()}
        for name in self.head.classes:
            if name not in kept and name in known and known[name] not in taken:
                kept[name] = {"id": known[name], "name": name, "supercategory": ""}
        first = max((own for entry in kept.values() if isinstance(own := entry["id"], int)), default=0) + 1
        new = [name for name in self.head.classes if name not in kept]
        found = [*kept.values(), *({"id": first + n, "name": name, "supercategory": ""} for n, name in enumerate(new))]
        return [self._with_points(entry, things) for entry in found]

    def _with_points(self, entry: dict[str, Any], things: Sequence[Seen]) -> dict[str, Any]:
        """The names of key points, where the objects of a category have some and the category does not say so."""
        if "keypoints" in entry:
            return entry
        of = (seen.points.names for seen in things if seen.cls == entry["name"] and seen.points is not None)
        names = next(filter(None, of), ())
        if not names and self.head.skeleton is not None and len(self.head.classes) == 1:
            names = self.head.skeleton[0]  # asked without guesses: people have to know what to place
        if not names:
            return entry
        pairs = [[one + 1, other + 1] for one, other in self._limbs if max(one, other) < len(names)]
        return {**entry, "keypoints": list(names), "skeleton": pairs}

    # ---- objects ----------------------------------------------------------------------------------------------------

    def _things(self, record: Record) -> Iterator[tuple[Seen, dict[str, Any]]]:
        """Objects in pixels, with what else their annotations say."""
        if record.pixels is not None:
            yield from self._of_pixels(record, record.pixels)
        for seen in record.objects:
            if seen.cls is None:
                self.left["{n} object(s) without class"] += 1
                continue
            plain = in_pixels(seen, _size(record)) if record.fractions else seen
            yield plain, self._extra(plain, record)

    def _of_pixels(self, record: Record, pixels: Mask) -> Iterator[tuple[Seen, dict[str, Any]]]:
        import numpy as np

        indices_HW = _canvas(pixels, record.size or pixels.size)
        for index in np.unique(indices_HW[indices_HW != IGNORE]).tolist():
            if index >= len(self.head.classes):
                raise FormatError(f"{record.where}: a pixel has the class {index}, of {len(self.head.classes)}")
            cover_HW = indices_HW == index
            rows, columns = np.flatnonzero(cover_HW.any(1)), np.flatnonzero(cover_HW.any(0))
            box = Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
            outline = outlines(cover_HW) if self.polygons else None
            self.left["{n} mask(s) are written as run lengths: polygons would not give back every pixel"] += (
                self.polygons and outline is None
            )
            extra = {"area": int(cover_HW.sum()), "segmentation": outline or run_lengths(cover_HW)}
            yield Seen(self.head.classes[index], box), extra | {"bbox": bbox_of((box.x1, box.y1, box.x2, box.y2))}

    def _extra(self, seen: Seen, record: Record) -> dict[str, Any]:
        extra = dict(seen.attributes)
        if seen.outline is not None:
            extra.setdefault("segmentation", _segmentation(seen.outline, record))
        if seen.points is not None:
            extra["keypoints"] = [value for point in seen.points.points for value in point]
            extra.setdefault("num_keypoints", sum(visible > 0 for _, _, visible in seen.points.points))
            extra |= {"keypoint_scores": list(seen.points.scores)} if seen.points.scores else {}
        if (bbox := self._bbox(seen, extra)) is not None:
            extra["bbox"] = bbox
        if "area" not in extra and bbox is not None:
            extra = {"area": _area(seen, extra, bbox), **extra}
        return extra

    def _bbox(self, seen: Seen, extra: dict[str, Any]) -> list[float] | None:
        """The box as it was read, as long as it says the same; else out of corners, outline or points."""
        box, bbox = seen.box, extra.pop("bbox", None)
        if box is not None and box.rotation:
            self.left["{n} turned box(es) are written upright: the angle stands under 'rotated'"] += 1
            extra["rotated"] = [box.x1, box.y1, box.x2, box.y2, box.rotation]
        corners = extent(seen, "an outline") if box is not None or _has_pixels(seen.outline) else None
        if corners is None and seen.points is not None:
            placed = [point for point in seen.points.points if point[2] > 0]
            x, y = [point[0] for point in placed], [point[1] for point in placed]
            corners = [min(x), min(y), max(x), max(y)] if placed else None
        if corners is None:
            return None
        return bbox if bbox is not None and read_bbox(bbox, "bbox") == corners else bbox_of(corners)


def _has_pixels(outline: Polygon | Mask | None) -> bool:
    return any(outline.parts) if isinstance(outline, Polygon) else outline is not None


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def numbered(wanted: Iterable[Any]) -> list[Id]:
    """The wanted ids where they are ids and free, else the next whole numbers above them all."""
    wishes = [key(wish) for wish in wanted]
    following = max((wish for wish in wishes if isinstance(wish, int)), default=0) + 1
    taken: set[Id] = set()
    ids: list[Id] = []
    for wish in wishes:
        if wish is not None and wish not in taken:
            ids.append(wish)
        else:
            ids.append(following)
            following += 1
        taken.add(ids[-1])
    return ids


# ---- entries --------------------------------------------------------------------------------------------------------


def _image(record: Record, own: Id) -> dict[str, Any]:
    extra = {k: value for k, value in record.extra.items() if k not in ("id", "skeleton")}
    entry = {**extra, "id": own, "file_name": record.image}
    if record.size is not None:
        entry |= {"width": record.size[0], "height": record.size[1]}
    if record.state == "untouched":
        entry["answered"] = False
    elif record.state == "empty":
        entry["answered"] = True
    elif record.state == "skipped":
        entry |= {"skipped": True} | ({"reason": record.reason} if record.reason else {})
    for name in ("split", "group", "seconds"):
        if (value := getattr(record, name)) is not None:
            entry[name] = value
    return entry | dict(record.cost)


def _annotation(seen: Seen, extra: dict[str, Any]) -> dict[str, Any]:
    entry = {**extra, "iscrowd": int(seen.crowd)} | ({"difficult": 1} if seen.difficult else {})
    if seen.score is not None:
        entry["score"] = number(seen.score, f"the score of {seen.cls!r:.60}", "it")
    if seen.origin is not None:
        entry["origin"] = seen.origin
    return entry


def _segmentation(outline: Polygon | Mask, record: Record) -> Any:
    if isinstance(outline, Polygon):
        return [list(part) for part in outline.parts]
    if isinstance(outline.raw, Mapping) and {"size", "counts"} <= outline.raw.keys():
        return outline.raw
    return run_lengths(_canvas(outline, record.size or outline.size) == 1)


def _area(seen: Seen, extra: Mapping[str, Any], bbox: Sequence[float]) -> float:
    """Of the outline where there is one, else of the box."""
    if isinstance(seen.outline, Polygon) and seen.outline.parts:
        return round(sum(abs(_shoelace(part)) for part in seen.outline.parts), DIGITS)
    if isinstance(seen.outline, Mask):
        return int(seen.outline.read().sum())
    return math.prod(bbox[2:])


def _shoelace(part: Sequence[float]) -> float:
    x, y = part[0::2], part[1::2]
    return sum(x[n - 1] * y[n] - x[n] * y[n - 1] for n in range(len(x))) / 2
