"""Pictures of a page: each in four renderings, of which the reader's screen takes one."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from PIL import Image

from labelwise.report.curves import Look
from labelwise.report.thumbs import data_uri

LOOKS = {
    "wide": Look(transparent=True),
    "wide_dark": Look(dark=True, transparent=True),
    "narrow": Look(width=4.0, height=3.3, dpi=190, transparent=True),
    "narrow_dark": Look(dark=True, width=4.0, height=3.3, dpi=190, transparent=True),
}


def picture(draw: Callable[[Look], bytes], alt: str) -> dict[str, Any]:
    """One picture in four renderings: wide and narrow, light and dark."""
    out: dict[str, Any] = {"alt": alt}
    for name, look in LOOKS.items():
        data = draw(look)
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
        out[name] = {"uri": data_uri(data, "image/png"), "width": width, "height": height}
    return out
