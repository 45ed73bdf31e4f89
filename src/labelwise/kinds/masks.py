"""The class of every pixel; the raw label is ``{"size": [width, height], "png": TEXT, "at": [x, y]}``.

Shape letters: H x W pixels.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from labelwise.contracts.kind import PLAIN, Kind, Look, Naming, Panel, Raw
from labelwise.contracts.record import IGNORE, Mask, Polygon, Record, Seen, Where
from labelwise.errors import DataError, FormatError, brief
from labelwise.formats.coco_shapes import decode_segmentation
from labelwise.formats.index_png import mask_text, text_mask
from labelwise.formats.shapes import in_pixels
from labelwise.kinds import shapes
from labelwise.kinds.clicks import polygon_clicks

if TYPE_CHECKING:
    from PIL.Image import Image

#: the class of pixels of no object, in projects that have one of this name
BACKGROUND = "background"
#: pixels that a corner may lie outside the picture: tools round, and some count from one
SLACK = 1.0
#: most pixels that are painted for a picture which cannot be read and whose size is therefore only claimed
MOST = 100_000_000
#: added to the area of a group that was outlined as a whole: it lies below all objects
_BELOW = 1 << 31
#: clicks by what a mask holds: outlines take a tenth of a second, and every run of a study counts the same labels
_CLICKS: dict[bytes, int] = {}
_HEAD = 24


@dataclass(frozen=True)
class Masks(Kind):
    """Class indices of pixels as a PNG, 255 where a pixel has none; a smaller one is a window of the picture.

    Example:
        >>> kind = Masks()
        >>> raw = raw_mask(np.array([[1, 1, 255], [0, 0, 0]], np.uint8), (3, 2))
        >>> kind.objects(raw, ("road", "sky")), kind.cost(raw)["pixels"], window(raw)[0].tolist()
        (['road', 'sky'], 5.0, [[1, 1, 255], [0, 0, 0]])
    """

    name: ClassVar[str] = "masks"
    noun: ClassVar[str] = "mask"
    task: ClassVar[str] = "segmentation"
    fewest: ClassVar[int] = 2
    heavy: ClassVar[bool] = True
    parted: ClassVar[bool] = True
    filled: ClassVar[str] = " --format masks"
    kept: ClassVar[str] = " --format masks"
    written: ClassVar[tuple[str, ...]] = ("coco",)

    def from_record(self, record: Record, naming: Naming, size: tuple[int, int] | None) -> Raw:
        """The mask of a picture, or of a region of it.

        Pixels are taken as they are where the record has them. Objects are painted: which one is seen where several
        overlap, and what pixels of no object are, ``Head`` says. One class for a region fills it.

        Raises:
            FormatError: labels drawn at another size, an object without outline, or one that leaves the picture.

        Cost:
            Six bytes a pixel while objects are painted.
        """
        if record.pixels is not None:
            return self._of_pixels(record, record.pixels, naming, size)
        picture = shapes.agreed_size(record, size)
        if record.outline is not None and record.objects and all(seen.whole for seen in record.objects):
            window_HW, at = _filled(record, record.outline, naming), record.outline.at
        else:
            if size is None and picture[0] * picture[1] > MOST:
                raise FormatError(
                    f"{record.where}: {shapes.shown(record)} cannot be read, and {picture[0]} x {picture[1]} pixels "
                    f"are more than are painted unseen ({MOST:,}): put the picture back, or correct its size"
                )
            window_HW, at = _painted_classes(record, naming, picture), (0, 0)
        return raw_mask(window_HW, picture, at)

    def _of_pixels(self, record: Record, pixels: Mask, naming: Naming, size: tuple[int, int] | None) -> Raw:
        of_region = record.region is not None or record.outline is not None
        picture = (
            (size or record.size or pixels.size) if of_region else shapes.agreed_size(_sized(record, pixels), size)
        )
        _check_window(record, pixels, picture)
        table = _table(record, naming)
        if isinstance(pixels.raw, Mapping) and "png" in pixels.raw and table is None:
            return _raw(pixels.raw["png"], pixels.size, picture, pixels.at)
        indices_HW = pixels.read()
        if indices_HW.shape != pixels.size[::-1]:
            raise FormatError(f"{record.where}: the mask has other sides than its file says; save it again")
        if table is not None:
            indices_HW = _renamed(indices_HW, table, naming, f"{record.where}")
        return raw_mask(indices_HW, picture, pixels.at)

    def to_record(self, item: str, raw: Raw, classes: tuple[str, ...]) -> Record:
        """A record of pixels, decoded when they are asked for."""
        text, size = raw["png"], (raw["size"][0], raw["size"][1])
        at = (raw["at"][0], raw["at"][1]) if "at" in raw else (0, 0)
        sides = png_size(text) if "at" in raw else size
        mask = Mask(sides, lambda: text_mask(text, f"the mask of {item!r}"), at, {"png": text})
        return Record(Where(item), item, size=size, pixels=mask)

    def check(self, raw: Raw, classes: tuple[str, ...], size: tuple[int, int] | None) -> None:
        """Refuses what is no mask, leaves its picture, or holds values that are no class.

        Raises:
            DataError: in one line.
        """
        self.checked(raw, classes, size)

    def checked(self, raw: Raw, classes: tuple[str, ...], size: tuple[int, int] | None = None) -> np.ndarray:
        """uint8 (H, W) class indices of a mask or of its window, once it is known to be one.

        Raises:
            DataError: in one line.
        """
        if not isinstance(raw, Mapping) or not isinstance(raw.get("png"), str):
            raise DataError(
                f'{brief(raw, 80)} is no label of pixels: give {{"size": [width, height], "png": base64 text of a PNG}}'
            )
        picture = _pair(raw.get("size"), "size of the image", 1)
        x, y = _pair(raw.get("at", (0, 0)), "place of the mask", 0)
        if size is not None:
            shapes.refuse_size(picture, size, "the image", DataError)
        width, height = png_size(raw["png"])
        if "at" not in raw and (width, height) != picture:
            raise DataError(
                f"the mask has {width} x {height} pixels and its image {picture[0]} x {picture[1]}: give one of the "
                'same size, or say where it lies ("at": [x, y])'
            )
        if x + width > picture[0] or y + height > picture[1]:
            raise DataError(
                f"a window of {width} x {height} pixels at {(x, y)} leaves the image ({picture[0]} x {picture[1]}): "
                "move it, or cut it off"
            )
        indices_HW = text_mask(raw["png"])
        check_values(indices_HW, len(classes))
        return indices_HW

    def objects(self, raw: Raw, classes: tuple[str, ...] = ()) -> list[str]:
        """Each class that occurs, once."""
        if not classes:
            return []
        counts = np.bincount(text_mask(raw["png"]).ravel(), minlength=IGNORE + 1)[: len(classes)]
        return [classes[index] for index in np.flatnonzero(counts).tolist()]

    def merge(self, raws: Sequence[Raw]) -> Raw:
        """What masks of parts of one picture say together, of the whole of it; the last one where they contradict.

        Raises:
            DataError: pictures of different sizes.
        """
        if len(raws) == 1:
            return raws[0]
        sizes = sorted({tuple(raw["size"]) for raw in raws})
        if len(sizes) != 1:
            raise DataError(f"masks of images of sizes {sizes} cannot be joined: give those of one image")
        (width, height) = sizes[0]
        joined_HW = np.full((height, width), IGNORE, np.uint8)
        for raw in raws:
            indices_HW, (x, y) = window(raw)
            there = joined_HW[y : y + indices_HW.shape[0], x : x + indices_HW.shape[1]]
            np.copyto(there, indices_HW, where=indices_HW != IGNORE)
        return raw_mask(joined_HW, (width, height))

    def parts(self, raw: Raw, outlines: Mapping[str, tuple[np.ndarray, tuple[int, int]]]) -> dict[str, Raw]:
        """The windows of a partial mask that answer regions; {} for a mask in which every pixel has a class.

        Raises:
            FormatError: pixels outside the regions have a class.
        """
        rest_HW, size = whole(raw).copy(), (raw["size"][0], raw["size"][1])
        if not outlines or not (rest_HW == IGNORE).any():
            return {}
        found: dict[str, Raw] = {}
        for region, (inside, (x, y)) in outlines.items():
            there = rest_HW[y : y + inside.shape[0], x : x + inside.shape[1]]
            part = np.where(inside, there, IGNORE).astype(np.uint8)
            there[inside] = IGNORE
            if (part != IGNORE).any():
                found[region] = raw_mask(part, size, (x, y))
        if strange := int((rest_HW != IGNORE).sum()):
            raise FormatError(
                f"{strange:,} pixel(s) outside the asked regions of the image have a class: leave them {IGNORE}, or "
                "give every pixel of the image one"
            )
        return found

    def cost(self, raw: Raw) -> dict[str, float]:
        """One image, its pixels with a class, and an estimate of the clicks that draw them as polygons."""
        indices_HW = text_mask(raw["png"])
        key = blake2b(raw["png"].encode(), digest_size=16).digest()
        if key not in _CLICKS:
            _CLICKS[key] = polygon_clicks(indices_HW)
        pixels = float((indices_HW != IGNORE).sum())
        return {"images": 1.0, "pixels": pixels, "clicks": float(_CLICKS[key])}

    def same(self, one: Raw, other: Raw) -> bool:
        """Whether every pixel has the same class."""
        return bool(one == other or (one["size"] == other["size"] and np.array_equal(whole(one), whole(other))))

    def blank(self, raw: Raw) -> bool:
        """Whether no pixel has a class: nobody has drawn yet."""
        return bool((text_mask(raw["png"]) == IGNORE).all())

    def owns(self, raw: Raw) -> bool:
        """Whether it holds a PNG."""
        return isinstance(raw, Mapping) and "png" in raw

    def instances(self, record: Record, size: tuple[int, int]) -> np.ndarray | None:
        """int32 (H, W) numbers of objects: the file's own, or those of the objects that are painted, from 1.

        Raises:
            FormatError: as for ``from_record``.
        """
        if record.instances is not None:
            return record.instances.read()
        if record.pixels is not None or not record.objects:
            return None
        covers = ((number, *cover) for number, cover in enumerate(_covers(record, size), 1))
        return _painted(covers, np.zeros(size[::-1], np.int32), smallest=True)

    def short(self, raw: Raw) -> str:
        """A mask."""
        return "a mask"

    def draw(self, image: Image, panels: Sequence[Panel], classes: tuple[str, ...], look: Look = PLAIN) -> Image:
        """Panels two by two: the picture, the picture below each mask, a map of doubt; a legend below."""
        from labelwise.drawing.masks import SIDE, border_of, masked, overlaid

        masks = {panel.title: whole(panel.label) for panel in panels if panel.label is not None}
        if list(masks) == [""]:
            return overlaid(image, classes, masks[""], look.palette)
        doubt_HW = next((panel.doubt for panel in panels if panel.doubt is not None), None)
        border_HW = None if look.region is None else border_of(*look.region)
        if not masks and doubt_HW is None and border_HW is None:
            return image
        side = look.side or SIDE
        return masked(
            image, classes, masks, palette=look.palette, uncertainty_HW=doubt_HW, outline_HW=border_HW, side=side
        )


# ---- raw labels -----------------------------------------------------------------------------------------------------


def raw_mask(indices_HW: np.ndarray, size: tuple[int, int], at: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    """The raw label of a mask, or of a window of it.

    Args:
        indices_HW: uint8 class indices, 255 where a pixel has none.
        size: (width, height) of the picture.
        at: (x, y) of the window's upper left pixel.
    """
    sides = (indices_HW.shape[1], indices_HW.shape[0])
    return _raw(mask_text(indices_HW), sides, size, at)


def _raw(text: str, sides: tuple[int, int], size: tuple[int, int], at: tuple[int, int]) -> dict[str, Any]:
    raw: dict[str, Any] = {"size": list(size), "png": text}
    return raw if sides == size else raw | {"at": list(at)}


def window(raw: Raw) -> tuple[np.ndarray, tuple[int, int]]:
    """uint8 (H, W) class indices of the window of a raw label that was checked, and (x, y) of it in the picture."""
    x, y = raw.get("at", (0, 0))
    return text_mask(raw["png"]), (x, y)


def whole(raw: Raw) -> np.ndarray:
    """uint8 (H, W) class indices of the whole picture."""
    (indices_HW, (x, y)), (width, height) = window(raw), raw["size"]
    if indices_HW.shape == (height, width):
        return indices_HW
    full_HW = np.full((height, width), IGNORE, np.uint8)
    full_HW[y : y + indices_HW.shape[0], x : x + indices_HW.shape[1]] = indices_HW
    return full_HW


def png_size(text: str) -> tuple[int, int]:
    """Width and height of a PNG that is written as base64 text, without decoding its pixels.

    Raises:
        FormatError: no base64, or no PNG.
    """
    try:
        head = base64.b64decode(text[: -(-_HEAD // 3) * 4].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise FormatError(f"the mask is no base64 text: {text[:40]!r}; give that of a PNG") from error
    if len(head) < _HEAD or head[12:16] != b"IHDR":
        raise FormatError("the mask cannot be read as PNG: it is no PNG; write it again")
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def check_values(indices_HW: np.ndarray, classes: int) -> None:
    """Refuses values that stand for no class.

    Raises:
        DataError: with the first of them and how many pixels have it.
    """
    counts = np.bincount(indices_HW.ravel(), minlength=IGNORE + 1)
    strange = np.flatnonzero(counts[classes:IGNORE])
    if len(strange):
        value = int(strange[0]) + classes
        raise DataError(
            f"the mask holds the value {value} in {int(counts[value])} pixel(s), and there are {classes} classes: "
            f"allowed are 0 to {classes - 1}, and {IGNORE} for pixels without a class"
        )


def _pair(value: Any, what: str, least: int) -> tuple[int, int]:
    pair = list(value) if isinstance(value, list | tuple) else []
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in pair)
    if len(pair) != 2 or not whole or not all(least <= number <= shapes.LONGEST for number in pair):
        names = "width, height" if least else "x, y"
        raise DataError(f"the {what} is {brief(value, 60)}: give [{names}] in whole pixels from {least}")
    return pair[0], pair[1]


# ---- pixels of records ----------------------------------------------------------------------------------------------


def _sized(record: Record, pixels: Mask) -> Record:
    """The record with the size of its mask, where the file says no other."""
    return record if record.size is not None else replace(record, size=pixels.size)


def _check_window(record: Record, pixels: Mask, picture: tuple[int, int]) -> None:
    """Refuses a mask that is neither of its picture's size nor a window of it."""
    (width, height), (x, y) = pixels.size, pixels.at
    outline = record.outline
    if pixels.size == picture and pixels.at == (0, 0):
        return
    if outline is not None and (pixels.size, pixels.at) != (outline.size, outline.at):
        raise FormatError(
            f"{record.where}: the mask has {width} x {height} pixels; give {shapes.shown(record)} at the size of its "
            f"image ({picture[0]} x {picture[1]}) or of its box ({outline.size[0]} x {outline.size[1]})"
        )
    if x < 0 or y < 0 or x + width > picture[0] or y + height > picture[1]:
        raise FormatError(
            f"{record.where}: a mask of {width} x {height} pixels at {(x, y)} leaves {shapes.shown(record)} "
            f"({picture[0]} x {picture[1]}): save it at the size of the image"
        )


def _table(record: Record, naming: Naming) -> np.ndarray | None:
    """int16 (256): what each value means in the project, -1 where that is not known yet; None where all stay."""
    own = naming.head.classes
    if own == naming.classes:
        return None
    return np.full(IGNORE + 1, -1, np.int16)


def _renamed(indices_HW: np.ndarray, table: np.ndarray, naming: Naming, where: str) -> np.ndarray:
    """Class indices in the project's order; only values that occur need a name."""
    own, index_of = naming.head.classes, {name: n for n, name in enumerate(naming.classes)}
    table[IGNORE] = IGNORE
    for value in np.flatnonzero(np.bincount(indices_HW.ravel(), minlength=IGNORE + 1)[:IGNORE]).tolist():
        if own and value >= len(own):
            raise FormatError(
                f"{where}: the mask holds the value {value}, and its classes are 0 to {len(own) - 1}; correct the list"
            )
        name = naming.of(own[value] if own else value)
        table[value] = index_of[name] if name else IGNORE
    renamed_HW: np.ndarray = table[indices_HW].astype(np.uint8)
    return renamed_HW


# ---- painting -------------------------------------------------------------------------------------------------------


def _filled(record: Record, outline: Mask, naming: Naming) -> np.ndarray:
    """A region of one class."""
    names = list(dict.fromkeys(name for seen in record.objects if (name := naming.of(seen.cls))))
    if len(names) > 1:
        raise FormatError(f"{record.where}: the classes {names[0]!r} and {names[1]!r} for one region; keep one")
    value = naming.classes.index(names[0]) if names else IGNORE
    return np.where(outline.read(), value, IGNORE).astype(np.uint8)


#: an object, the bool pixels of a window, and (x, y) of that in the picture
_Cover = tuple[Seen, np.ndarray, tuple[int, int]]


def _painted_classes(record: Record, naming: Naming, size: tuple[int, int]) -> np.ndarray:
    """uint8 (H, W): each object in its class, one upon the other."""
    painted_HW = np.full(size[::-1], _bare(record, naming), np.uint8)
    named = ((naming.of(cover[0].cls), cover) for cover in _covers(record, size))
    covers = ((naming.classes.index(name), *cover) for name, cover in named if name)
    return _painted(covers, painted_HW, smallest=naming.head.overlap == "smallest")


def _painted(
    covers: Iterable[tuple[int, Seen, np.ndarray, tuple[int, int]]], onto_HW: np.ndarray, *, smallest: bool
) -> np.ndarray:
    """Each object in its value, one upon the other; one of them in memory at a time."""
    area_HW = np.full(onto_HW.shape, np.iinfo(np.uint32).max, np.uint32) if smallest else None
    for value, seen, cover, (x, y) in covers:
        window = np.s_[y : y + cover.shape[0], x : x + cover.shape[1]]
        if area_HW is not None:
            area = int(cover.sum()) + (_BELOW if seen.crowd else 0)
            cover = cover & (area_HW[window] >= area)
            area_HW[window][cover] = area
        onto_HW[window][cover] = value
    return onto_HW


def _bare(record: Record, naming: Naming) -> int:
    """What pixels of no object are."""
    if naming.head.bare == "nothing" or BACKGROUND not in naming.classes:
        return IGNORE
    drawn = any(naming.of(seen.cls) == BACKGROUND for seen in record.objects)
    return IGNORE if drawn else naming.classes.index(BACKGROUND)


def _covers(record: Record, size: tuple[int, int]) -> Iterator[_Cover]:
    """The objects of a record in pixels of its picture, painted when asked for."""
    for number, seen in enumerate(record.objects, 1):
        where = f"{record.where}, object {number}"
        plain = in_pixels(seen, size) if record.fractions else seen
        if plain.outline is None:
            has = "a box and no mask" if seen.box is not None else "neither polygon nor mask"
            raise FormatError(f"{where}: it has {has}; give polygons or run lengths, or a mask of the whole image")
        yield seen, *_cover(plain.outline, size, where)


def _cover(outline: Polygon | Mask, size: tuple[int, int], where: str) -> tuple[np.ndarray, tuple[int, int]]:
    """Bool pixels of an object, in a window that lies in the picture."""
    if isinstance(outline, Polygon):
        _check_corners(outline, size, where)
        return decode_segmentation([list(part) for part in outline.parts], *size), (0, 0)
    (width, height), (x, y) = outline.size, outline.at
    if x < 0 or y < 0 or x + width > size[0] or y + height > size[1]:
        raise FormatError(
            f"{where}: its mask of {width} x {height} pixels at {(x, y)} leaves the image of {size[0]} x {size[1]}; "
            "was it drawn at another size?"
        )
    cover = outline.read()
    if cover.shape != (height, width):
        raise FormatError(f"{where}: its mask has other sides than it says; save it again")
    return cover.astype(bool, copy=False), (x, y)


def _check_corners(outline: Polygon, size: tuple[int, int], where: str) -> None:
    for part in outline.parts:
        for corners, side, what in ((part[0::2], size[0], "x"), (part[1::2], size[1], "y")):
            if min(corners) < -SLACK or max(corners) > side + SLACK:
                strange = min(corners) if min(corners) < -SLACK else max(corners)
                raise FormatError(
                    f"{where}: a polygon has a corner at {what} = {strange:g}, outside the image of {size[0]} x "
                    f"{size[1]} pixels; was it drawn at another size?"
                )
