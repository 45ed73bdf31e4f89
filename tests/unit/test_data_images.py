import io
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from labelwise.contracts.picture import picture
from labelwise.data.images import decode, read_size, to_array
from labelwise.errors import DataError


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width, height):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + rows + chunk(b"IEND", b"")


def noise(height=20, width=30, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(np.uint8)


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


def test_rgb_png_comes_back_exactly(tmp_path):
    pixels = noise()
    path = tmp_path / "a b,'\"\n\xe9.png"
    Image.fromarray(pixels).save(path)
    found = decode(path)
    assert np.array_equal(found, pixels)
    assert found.flags.writeable
    assert np.array_equal(decode(path.read_bytes()), pixels)


def test_grey_keeps_one_channel_unless_three_are_asked_for():
    data = encoded(Image.fromarray(noise(channels=1)[..., 0]))
    assert decode(data).shape == (20, 30, 1)
    assert decode(data, channels=3).shape == (20, 30, 3)
    assert decode(encoded(Image.fromarray(noise())), channels=1).shape == (20, 30, 1)


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [(1, "as is"), (3, "rot180"), (6, "clockwise"), (8, "counter-clockwise")],
)
@pytest.mark.parametrize("max_side", [None, 100])
def test_exif_orientation_is_applied(orientation, expected, max_side):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :16] = 255  # bright top left
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode(encoded(Image.fromarray(pixels), "JPEG", quality=95, exif=exif), max_side=max_side)
    bright = {"as is": (0, 0), "rot180": (-1, -1), "clockwise": (0, -1), "counter-clockwise": (-1, 0)}[expected]
    assert found.shape[:2] == ((16, 32) if orientation in (1, 3) else (32, 16))
    assert found[bright].min() > 200
    corners = [found[y, x].max() for y in (0, -1) for x in (0, -1) if (y, x) != bright]
    assert max(corners) < 60


def test_damaged_exif_does_not_lose_the_image():
    data = encoded(Image.fromarray(noise()), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xffgarbage")
    assert decode(data).shape == (20, 30, 3)


def test_palette_with_and_without_transparency():
    palette = Image.fromarray(noise()).quantize(16)
    assert np.array_equal(decode(encoded(palette)), np.asarray(palette.convert("RGB")))
    clear = Image.new("P", (4, 4), 0)
    clear.putpalette([255, 0, 0, 0, 255, 0])
    assert decode(encoded(clear, transparency=bytes([0, 255])))[0, 0].tolist() == [255, 255, 255]


def test_alpha_is_laid_on_white():
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (200, 100, 50, 255))
    assert decode(encoded(image)).tolist() == [[[255, 255, 255], [200, 100, 50]]]
    grey = Image.new("LA", (2, 1), (0, 0))
    grey.putpixel((1, 0), (70, 255))
    assert decode(encoded(grey)).tolist() == [[[255], [70]]]


@pytest.mark.parametrize(
    ("high", "value_range", "shown"),
    [(200, None, 1), (65535, None, 255), (200, (0, 255), 200), (2000, (0, 4095), 125), (9999, (0, 4095), 255),
     (2000, (2000, 3000), 0), (2500, (2000, 3000), 128)],
)  # fmt: skip
def test_sixteen_bits_become_eight_by_one_range(high, value_range, shown):
    values = np.array([[0, high], [0, 0]], np.uint16)
    for kind in ("PNG", "TIFF", "PPM"):
        data = encoded(Image.fromarray(values), kind)
        assert decode(data, value_range=value_range)[..., 0].tolist() == [[0, shown], [0, 0]], kind
        assert decode(data, value_range=value_range, max_side=100)[0, 1, 0] == shown


def test_float_and_integer_tiffs_need_a_range():
    values = np.array([[0.0, 1.0], [0.5, np.nan]], np.float32)
    data = encoded(Image.fromarray(values), "TIFF")
    with pytest.raises(DataError, match=r"input: \{range: \[low, high\]\}") as error:
        decode(data, name="f.tif")
    assert "f.tif" in one_line(error)
    assert decode(data, value_range=(0, 1))[..., 0].tolist() == [[0, 255], [128, 0]]
    data = encoded(Image.fromarray(values * 510 - 255), "TIFF")
    assert decode(data, value_range=(-255, 255))[..., 0].tolist() == [[0, 255], [128, 0]]
    odd = np.array([[np.inf, -np.inf, np.nan, 3e38]], np.float32)
    assert decode(encoded(Image.fromarray(odd), "TIFF"), value_range=(0, 1))[..., 0].tolist() == [[255, 0, 0, 255]]
    whole = encoded(Image.fromarray(np.array([[0, 1 << 20]], np.int32)), "TIFF")
    assert decode(whole, value_range=(0, 1 << 20))[0, 1, 0] == 255
    with pytest.raises(DataError, match="32-bit"):
        decode(whole)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_other_colour_spaces_become_rgb(mode):
    found = decode(encoded(Image.new("RGB", (8, 8), (255, 0, 0)).convert(mode), "JPEG", quality=95))
    assert found.shape == (8, 8, 3)
    assert found[4, 4, 0] > 240
    assert found[4, 4, 1:].max() < 15


def test_black_and_white_and_animations():
    assert decode(encoded(Image.new("1", (3, 2), 1))).tolist() == [[[255]] * 3] * 2
    frames = [Image.new("L", (2, 2), value) for value in (10, 200)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data, channels=1)[0, 0, 0] == 10


def test_max_side_shrinks_and_never_enlarges():
    data = encoded(Image.fromarray(noise(400, 900)), "JPEG")
    assert decode(data, max_side=90).shape == (40, 90, 3)
    assert decode(data, max_side=5000).shape == (400, 900, 3)
    assert decode(encoded(Image.fromarray(noise(400, 900))), max_side=90).shape == (40, 90, 3)


def test_every_kind_of_broken_file_is_one_line(tmp_path):
    jpeg = encoded(Image.fromarray(noise(64, 64)), "JPEG")
    png = encoded(Image.fromarray(noise(64, 64)))
    files = {
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "truncated.png": png[: len(png) // 2],
        "header.png": png[:20],
        "zero.jpg": b"",
        "text.jpg": b"not an image at all\n" * 10,
        "page.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        "nul.gif": b"\0" * 500,
        "crc.png": png[:60] + bytes([png[60] ^ 255]) + png[61:],
    }
    for name, data in files.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(DataError) as error:
            decode(path, name=name)
        assert repr(name) in one_line(error)
    with pytest.raises(DataError, match="empty"):
        decode(tmp_path / "zero.jpg")
    with pytest.raises(DataError, match="truncated"):
        decode(tmp_path / "truncated.jpg")
    with pytest.raises(DataError, match="no such file"):
        decode(tmp_path / "gone\n.jpg")
    with pytest.raises(DataError, match="directory"):
        decode(tmp_path)
    with pytest.raises(DataError, match="not an image"):
        decode(tmp_path / "page.eps")


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (178_956_971, 1), (13_378, 13_378)])
def test_decompression_bomb_is_refused_by_its_header(width, height):
    with pytest.raises(DataError, match="too large") as error:
        decode(png_header(width, height), name="bomb.png")
    assert "178,956,970" in one_line(error)


def test_large_but_allowed_header_does_not_warn():
    with pytest.raises(DataError, match=r"truncated|cannot be decoded"):
        decode(png_header(2, 60_000_000), name="tall.png")


def test_pillow_warnings_never_leak_from_threads():
    palette = Image.fromarray(noise()).quantize(4)
    good = encoded(palette, transparency=bytes([0, 255, 255, 255]))
    bad_exif = encoded(Image.fromarray(noise()), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05")
    before = list(warnings.filters)
    failures = []

    def work():
        try:
            for _ in range(20):
                decode(good)
                decode(bad_exif)
        except Exception as error:
            failures.append(error)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures
    assert list(warnings.filters) == before


def test_picture_of_a_float_tensor():
    import torch

    found = picture(torch.linspace(-2, 2, 3 * 8 * 4).reshape(3, 8, 4), 4)
    assert found.shape == (4, 2, 3)
    assert found.dtype == np.uint8
    assert picture(torch.zeros(5, 8, 4), 100).shape == (8, 4, 1)


def test_to_array_leaves_the_callers_image_alone():
    image = Image.fromarray(noise(40, 40))
    to_array(image, max_side=10)
    assert image.size == (40, 40)


@pytest.mark.parametrize("turned", [False, True])
def test_the_size_of_a_png_is_read_without_its_pixels_and_with_its_orientation(tmp_path, turned):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "a.png", **({"exif": exif} if turned else {}))
    size = (4, 8) if turned else (8, 4)
    assert read_size(tmp_path / "a.png") == size == decode(tmp_path / "a.png").shape[1::-1]
