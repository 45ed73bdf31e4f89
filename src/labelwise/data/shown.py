"""Pictures that somebody shows as examples: images of a source, files from elsewhere, and boxes of either."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labelwise.contracts.source import Source
from labelwise.data.folder import ImageFolder
from labelwise.errors import ConfigError, DataError
from labelwise.rng import digest

#: corners of a box in pixels, as left, top, right, bottom
Corners = tuple[float, float, float, float]

_BOX = re.compile(r"(?P<image>.+)@(?P<box>[-+.\d]+(?:,[-+.\d]+)*)", re.S)


@dataclass(frozen=True)
class Example:
    """One picture that is shown.

    Args:
        name: what people called it.
        source: reads the image.
        item: its id there.
        box: the part that is meant; None: all of it.
    """

    name: str
    source: Source
    item: str
    box: Corners | None = None


def example(text: str, source: Source, *, above: Path | None = None) -> Example:
    """The picture that a text names: ``IMAGE`` or ``IMAGE@x1,y1,x2,y2``.

    Args:
        text: an id of the source or its end, the path of an image of the source or of any other file; perhaps with the
            corners of a box in pixels.
        source: the images among which it is looked for first.
        above: what a path is relative to; where one stands by default.

    Raises:
        ConfigError: corners that are none, or an end that several images have.
        DataError: no such image.
    """
    if (where := _where(text, source, above)) is not None:
        return Example(text, *where)
    found = _BOX.fullmatch(text)
    if found is None:
        raise DataError(_unknown(text))
    if (where := _where(found["image"], source, above)) is None:
        raise DataError(_unknown(found["image"]))
    return Example(text, *where, _corners(found["box"], text))


def _unknown(name: str) -> str:
    return f"{name!r:.150} is no image of these data and no file: give an id, a path, or IMAGE@x1,y1,x2,y2 for a box"


def _where(text: str, source: Source, above: Path | None) -> tuple[Source, str] | None:
    ids = set(source.ids)
    if text in ids:
        return source, text
    path = Path(text) if above is None else above / text
    if path.is_file():
        if source.root is not None and path.resolve().is_relative_to(source.root.resolve()):
            inside = path.resolve().relative_to(source.root.resolve()).as_posix()
            if inside in ids:
                return source, inside
        folder = ImageFolder(path.parent, labels="none", roles="none", ids=[path.name])
        return folder.in_range(source.value_range), path.name
    ends = [item for item in source.ids if item.endswith("/" + text)]
    if len(ends) > 1:
        raise ConfigError(
            f"{text!r:.80} may be {len(ends):,} images ({ends[0]!r:.60}, {ends[1]!r:.60}): say more of it"
        )
    return (source, ends[0]) if ends else None


def _corners(text: str, whole: str) -> Corners:
    try:
        x1, y1, x2, y2 = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{whole!r:.150} names no box: give four corners in pixels, IMAGE@x1,y1,x2,y2") from None
    if not (x1 < x2 and y1 < y2):
        raise ConfigError(f"the box of {whole!r:.150} is empty: give left, top, right, bottom, in this order")
    return x1, y1, x2, y2


class Shown(Source):
    """The pictures that are shown, each under a number; a box is cut out, grown to whole pixels.

    Args:
        examples: what is shown.

    Raises:
        DataError: from ``load``: a box beyond its image.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples: Mapping[str, Example] = {f"{number:06d}": one for number, one in enumerate(examples)}
        self.ids = tuple(self.examples)

    def load(self, item_id: str) -> np.ndarray:
        """The image, or the part of it."""
        shown = self.examples[item_id]
        image = shown.source.load(shown.item)
        if shown.box is None:
            return image  # type: ignore[return-value]
        # float images come as tensors (C, H, W), all others as arrays (H, W, C)
        tall = not isinstance(image, np.ndarray)
        height, width = image.shape[-2:] if tall else image.shape[:2]
        x1, y1, x2, y2 = shown.box
        left, top = int(np.floor(x1)), int(np.floor(y1))
        right, bottom = int(np.ceil(x2)), int(np.ceil(y2))
        if left < 0 or top < 0 or right > width or bottom > height:
            raise DataError(f"the box goes beyond the image, which has {width} x {height} pixels: keep within it")
        rows, columns = slice(top, bottom), slice(left, right)
        return image[..., rows, columns] if tall else image[rows, columns]  # type: ignore[return-value]

    def content(self, item_ids: Sequence[str]) -> list[str]:
        """Digests of the images, each with its box."""
        found = []
        for item in item_ids:
            shown = self.examples[item]
            whole = shown.source.content([shown.item])[0]
            found.append(whole if shown.box is None or not whole else digest(whole, shown.box))
        return found

    def path(self, item_id: str) -> str:
        """As people called it."""
        return self.examples[item_id].name
