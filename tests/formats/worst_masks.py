"""The dearest masks of CVAT and labelme, for a process of its own."""

from __future__ import annotations

import base64
import struct
import zlib
from collections import Counter

from labelwise.contracts.record import Mask
from labelwise.formats.cvat_shapes import LONGEST, seen_of
from labelwise.formats.labelme_shapes import objects_of
from labelwise.formats.xml_tree import Element

#: about the most pixels that a picture may have
SIDE = 13_377


def cvat() -> int:
    """As many runs as there may be, over as many pixels as there may be."""
    text = "10," * (LONGEST // 3 - 10)
    text += str(SIDE * SIDE - 10 * (LONGEST // 3 - 10))
    place = {"left": "0", "top": "0", "width": str(SIDE), "height": str(SIDE)}
    seen = seen_of(Element("mask", 1, {"label": "a", "rle": text, **place}), None, "a.xml", Counter())
    assert seen is not None
    assert isinstance(seen.outline, Mask)
    return int(seen.outline.read().sum())


def labelme() -> int:
    """A PNG of half a megabyte that unpacks to all pixels that a picture may have."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(b"\0" * (SIDE + 1)) for _ in range(SIDE)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    points = [[0, 0], [SIDE - 1, SIDE - 1]]
    shape = {"label": "a", "shape_type": "mask", "points": points, "mask": base64.b64encode(png).decode()}
    [seen] = objects_of([shape], "a.json", Counter())
    assert isinstance(seen.outline, Mask)
    return int(seen.outline.read().sum())
