"""Thumbnails as data URIs: small JPEGs inside the page, a placeholder where an image cannot be decoded."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable

from PIL import Image, ImageOps

ImageOf = Callable[[str], Image.Image | None]
ENLARGE_BELOW = 48


def thumbnail(image: Image.Image, *, size: int = 160, quality: int = 80) -> bytes:
    r"""``image`` as a JPEG of at most ``size`` pixels a side.

    Transparent parts become white, 16-bit and float values are stretched to 8 bits, the camera's orientation is
    applied. Very small images are enlarged in whole pixels, so that a browser does not blur them.

    Raises:
        OSError: the pixels cannot be decoded.

    Example:
        >>> thumbnail(Image.new("RGB", (400, 200)))[:3]
        b'\xff\xd8\xff'
    """
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        image.draft("RGB", (2 * size, 2 * size))  # an unread JPEG is decoded at a fraction of its size
    picture = _eight_bit(ImageOps.exif_transpose(image))
    picture.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=2.0)
    times = min(size // max(picture.size), 8) if max(picture.size) < ENLARGE_BELOW else 1
    if times > 1:
        picture = picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()


class Thumbnails:
    """Data URIs by item id, each made once; ``total`` counts their bytes in the page.

    Args:
        image_of: gives the image of an id, or None. What it raises counts as None: one bad file never costs a report.
        size: longest side, pixels.
        quality: JPEG quality.
    """

    def __init__(self, image_of: ImageOf, *, size: int = 160, quality: int = 80) -> None:
        self.image_of, self.size, self.quality = image_of, size, quality
        self.total = 0
        self.failed: list[str] = []
        self._made: dict[str, str | None] = {}

    def uri(self, item: str) -> str | None:
        """The thumbnail of ``item`` as a data URI; None where there is no image or it cannot be decoded."""
        if item not in self._made:
            self._made[item] = self._make(item)
            if self._made[item] is None:
                self.failed.append(item)
        return self._made[item]

    def _make(self, item: str) -> str | None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns of odd metadata that a thumbnail does not need
                image = self.image_of(item)
                data = thumbnail(image, size=self.size, quality=self.quality) if image is not None else None
        except Exception:  # the caller's function and Pillow's decoders raise anything on a broken file
            return None
        if data is None:
            return None
        self.total += len(data) * 4 // 3
        return data_uri(data, "image/jpeg")


def data_uri(data: bytes, kind: str) -> str:
    """``data`` as an address that needs no network."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        numbers = image.convert("F")
        low, high = (float(v) for v in numbers.getextrema())  # type: ignore[arg-type]
        scale = 255 / (high - low) if high > low else 0.0
        return numbers.point(lambda v: v * scale - low * scale).convert("L")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        clear = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    return image.convert("RGB" if image.mode != "L" else "L")
