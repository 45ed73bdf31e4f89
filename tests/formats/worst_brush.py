"""The dearest brush mask there is, for a process of its own."""

from __future__ import annotations

from labelwise.formats.label_studio_brush import LONGEST, brush_mask

#: about the most pixels that a picture may have
SIDE = 13_377


def read() -> None:
    """Paints it: the most run lengths that are read, each of one value in the fewest bits there are."""
    head = f"{4 * SIDE * SIDE:032b}{7:05b}" + "0000" * 4
    bits = (head + "100000000001" * (LONGEST * 8 // 12 + 1))[: LONGEST * 8]
    runs = list(int(bits, 2).to_bytes(LONGEST, "big"))
    brush_mask(runs, (SIDE, SIDE), "a.json").read()
