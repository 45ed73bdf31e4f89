import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

import bounded
import pictures
from labelwise.contracts.picture import picture
from labelwise.data.images import decode, numbers, read_size, to_array
from labelwise.errors import DataError
from labelwise.formats import headers
from pictures import encoded


def png_header(width, height):
    return pictures.png((width, height), zlib.compress(b"\0" * 100))


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
    data = encoded(Image.fromarray(pixels), "JPEG", quality=95, exif=pictures.turned(orientation))
    found = decode(data, max_side=max_side)
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


@pytest.mark.heavy
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


# ---- one size everywhere --------------------------------------------------------------------------------------------


def xmp(orientation):
    text = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{}"/></x:xmpmeta>'
    return text.format(orientation).encode()


def with_late_exif(image, orientation):
    """A PNG whose EXIF chunk follows its pixels, as exiftool writes it."""
    data = encoded(image)
    chunk = pictures.png_chunk(b"eXIf", pictures.turned(orientation).tobytes()[6:])
    return data[:-12] + chunk + data[-12:]


def with_xmp(image, orientation):
    data = encoded(image)
    chunk = pictures.png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(orientation))
    return data[:33] + chunk + data[33:]


WAYS = {
    "jpeg": lambda image, n: encoded(image, "JPEG", quality=95, exif=pictures.turned(n)),
    "jpeg by xmp": lambda image, n: encoded(image, "JPEG", quality=95, xmp=xmp(n)),
    "png": lambda image, n: encoded(image, exif=pictures.turned(n)),
    "png, after its pixels": with_late_exif,
    "png by xmp": with_xmp,
    "webp": lambda image, n: encoded(image, "WEBP", lossless=True, exif=pictures.turned(n)),
    "avif": lambda image, n: encoded(image, "AVIF", quality=95, exif=pictures.turned(n)),
    "tiff": lambda image, n: encoded(image, "TIFF", exif=pictures.turned(n)),
    "tiff, packed": lambda image, n: encoded(image, "TIFF", compression="tiff_lzw", exif=pictures.turned(n)),
    "tiff, big-endian": lambda image, n: pictures.array_tiff(np.asarray(image), order=">", orientation=n),
    "tiff, 16 bits": lambda image, n: pictures.array_tiff(
        np.asarray(image.convert("L")).astype("u2") << 8, orientation=n
    ),
    "tiff, colours of 16 bits": lambda image, n: pictures.array_tiff(
        np.asarray(image).astype("u2") << 8, orientation=n, packed=True
    ),
}


def seen(pixels, orientation):
    """As EXIF defines the eight orientations: which side of the picture the first row and the first column are."""
    return {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1],
        5: pixels.swapaxes(0, 1), 6: np.rot90(pixels, -1), 7: pixels[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(pixels),
    }[orientation]  # fmt: skip


@pytest.mark.heavy
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_and_pixels_are_turned_alike(tmp_path, way, orientation):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :16] = 255  # bright top left, grey top right: no two orientations look alike
    pixels[:8, 16:] = 128
    (tmp_path / "a").write_bytes(WAYS[way](Image.fromarray(pixels), orientation))
    expected = seen(pixels, orientation)
    for extra in ({}, {"max_side": 1000}, {"value_range": (0, 65_280)}):
        found = decode(tmp_path / "a", channels=3, **extra)
        assert found.shape == expected.shape
        assert np.abs(found.astype(int) - expected)[2:-2, 2:-2].mean() < 12
    assert read_size(tmp_path / "a") == found.shape[1::-1]
    assert decode(tmp_path / "a", max_side=8).shape[:2] == ((8, 4) if orientation > 4 else (4, 8))


def test_orientations_that_are_none_and_damaged_blocks(tmp_path):
    for n in (0, 9, 65_535):
        (tmp_path / "a").write_bytes(encoded(Image.new("RGB", (8, 4)), "JPEG", exif=pictures.turned(n)))
        assert read_size(tmp_path / "a") == (8, 4) == decode(tmp_path / "a").shape[1::-1]
    data = encoded(Image.new("RGB", (8, 4)), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xffgarbage")
    (tmp_path / "a").write_bytes(data)
    assert read_size(tmp_path / "a") == (8, 4)


# ---- every kind of number -------------------------------------------------------------------------------------------

DEEP = {
    "u2": (0, 65_535), "i2": (-32_768, 32_767), "u4": (0, 2**32 - 1), "i4": (-(2**31), 2**31 - 1), "f4": (-1.5, 2.5),
    "i1": (-128, 127),
}  # fmt: skip


@pytest.mark.parametrize("kind", DEEP)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
def test_deep_tiffs_of_either_byte_order(kind, order, packed):
    """Packed big-endian TIFFs of signed or float numbers come out of Pillow with their bytes swapped."""
    low, high = DEEP[kind]
    values = np.random.default_rng(0).uniform(low, high, (20, 30)).astype(kind)
    data = pictures.array_tiff(values, order=order, packed=packed)
    if (kind, order) == ("u4", ">"):
        with pytest.raises(DataError, match="not an image that can be read"):
            decode(data)
        return
    expected = np.rint((values.astype(float) - low) * (255 / (high - low)))
    assert np.abs(decode(data, value_range=(low, high))[..., 0] - expected).max() <= 1
    if kind != "u2":
        with pytest.raises(DataError, match="which of them are black and white is not in the file"):
            decode(data)
    assert np.array_equal(np.sort(numbers(data, most=10_000)), np.sort(values.reshape(-1)))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["png", "tiff", "tiff, big-endian", "tiff, packed"])
def test_colours_of_sixteen_bits_are_read_in_a_range(kind, channels):
    """Pillow keeps the high byte of each colour: a camera of 12 bits would come out nearly black."""
    if kind != "png" and channels < 3:
        pytest.skip("grey is tested above; grey with alpha is no TIFF that Pillow reads")
    values = np.random.default_rng(0).integers(0, 4096, (20, 30, channels)).astype(np.uint16)
    if channels in (2, 4):
        values[..., -1] = 65_535
    make = {
        "png": pictures.deep_png,
        "tiff": pictures.array_tiff,
        "tiff, big-endian": lambda v: pictures.array_tiff(v, order=">"),
        "tiff, packed": lambda v: pictures.array_tiff(v, packed=True),
    }[kind]
    found = decode(make(values), value_range=(0, 4095), channels=3)
    colour = values[..., :3] if channels > 2 else values[..., :1]
    assert np.abs(found - np.rint(colour * (255 / 4095))).max() <= 1
    assert decode(make(values)).max() <= 16, "the whole range where none is given"


def test_alpha_of_sixteen_bits_is_laid_on_white_and_not_scaled():
    values = np.zeros((1, 2, 4), np.uint16)
    values[0, 1] = (4095, 0, 0, 65_535)
    assert decode(pictures.deep_png(values), value_range=(0, 4095)).tolist() == [[[255, 255, 255], [255, 0, 0]]]
    grey = np.array([[[0, 0], [2048, 65_535]]], np.uint16)
    assert decode(pictures.deep_png(grey), value_range=(0, 4095), channels=1)[..., 0].tolist() == [[255, 128]]


def test_colours_of_sixteen_bits_in_planes_are_refused():
    """Pillow reads them as noise."""
    values = np.random.default_rng(0).integers(0, 65_536, (3, 20, 30)).astype(np.uint16)
    size = 20 * 30 * 2
    tags = {
        258: (16, 16, 16),
        262: 2,
        277: 3,
        284: 2,
        339: (1, 1, 1),
        273: (8, 8 + size, 8 + 2 * size),
        279: (size,) * 3,
    }
    with pytest.raises(DataError, match="separate planes") as error:
        decode(pictures.tiff((30, 20), values.tobytes(), tags))
    one_line(error)


def test_twelve_bits_packed():
    values = np.arange(0, 4080, 17).reshape(10, 24)
    bits = "".join(f"{value:012b}" for value in values.reshape(-1))
    data = pictures.tiff((24, 10), int(bits, 2).to_bytes(len(bits) // 8, "big"), {258: 12})
    assert np.array_equal(decode(data)[..., 0], np.rint(values * (255 / 4095)))


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("largest", [1000, 4095, 65_535])
def test_pgm_values_are_those_of_the_file(largest, text):
    values = np.array([[0, 1, 500], [999, largest // 2, largest]])
    body = " ".join(map(str, values.reshape(-1))).encode() if text else values.astype(">u2").tobytes()
    data = f"P{2 if text else 5}\n3 2\n{largest}\n".encode() + body
    assert np.array_equal(decode(data)[..., 0], np.rint(values * (255 / largest)))
    assert decode(data, value_range=(0, 1000))[0].tolist() == [[0], [0], [128]]
    assert numbers(data, most=100).tolist() == values.reshape(-1).tolist()
    colour = np.stack([values] * 3, 2)
    body = " ".join(map(str, colour.reshape(-1))).encode() if text else colour.astype(">u2").tobytes()
    found = decode(f"P{3 if text else 6}\n3 2\n{largest}\n".encode() + body)
    assert np.abs(found[..., 0] - values * (255 / largest)).max() <= 1


def test_white_is_zero():
    values = np.array([[0, 65_535, 16_384]], np.uint16)
    assert decode(pictures.array_tiff(values, photometric=0))[..., 0].tolist() == [[255, 0, 191]]
    assert decode(pictures.array_tiff(values, photometric=0), value_range=(0, 16_384))[..., 0].tolist() == [[255, 0, 0]]
    assert decode(pictures.array_tiff((values >> 8).astype("u1"), photometric=0))[..., 0].tolist() == [[255, 0, 191]]


@pytest.mark.heavy
def test_large_deep_pictures_are_converted_strip_by_strip():
    values = np.random.default_rng(0).integers(0, 65_536, (1500, 1400)).astype(np.uint16)
    expected = np.rint(values * (255 / 50_000)).clip(0, 255)
    for data in (
        encoded(values),
        pictures.array_tiff(values.astype("f4")),
        pictures.array_tiff(np.stack([values] * 3, 2)),
        pictures.deep_png(np.stack([values] * 3, 2)),
    ):
        assert np.array_equal(decode(data, value_range=(0, 50_000))[..., 0], expected)


# ---- what decoding costs --------------------------------------------------------------------------------------------

SIDE = 2500


def costly(image):
    """Files of every format, as large as the picture."""
    grey16 = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 200)
    one_strip = {"compression": "tiff_lzw", "strip_size": 1 << 30}
    return {
        "a.png": encoded(image, compress_level=1),
        "alpha.png": encoded(image.convert("RGBA"), compress_level=1),
        "palette.png": encoded(image.quantize(16), compress_level=1),
        "16.png": encoded(grey16, compress_level=1),
        "16.tif": encoded(grey16, "TIFF"),
        "colour16.tif": pictures.array_tiff(np.asarray(image).astype(np.uint16) * 16),
        "turned.tif": encoded(image, "TIFF", exif=pictures.turned(6)),
        "strip.tif": encoded(image, "TIFF", **one_strip),
        "a.jpg": encoded(image, "JPEG", quality=60),
        "turned.jpg": encoded(image, "JPEG", quality=60, exif=pictures.turned(5)),
        "scans.jpg": encoded(image, "JPEG", quality=60, progressive=True, subsampling=0),
        "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG", quality=60),
        "a.webp": encoded(image, "WEBP", quality=30, method=0),
        "a.jp2": encoded(image, "JPEG2000", quality_mode="rates", quality_layers=[40]),
        "16.jp2": encoded(grey16, "JPEG2000", quality_mode="rates", quality_layers=[40]),
        "a.avif": encoded(image, "AVIF", quality=30, speed=10),
        "a.gif": encoded(image.quantize(16), "GIF"),
        "a.bmp": encoded(image, "BMP"),
        "a.ppm": encoded(image, "PPM"),
    }


@pytest.mark.heavy
def test_no_format_takes_more_memory_than_was_reckoned(tmp_path):
    image = Image.linear_gradient("L").resize((SIDE, SIDE)).convert("RGB")
    files = costly(image)
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    orders = [[str(tmp_path / name), {"value_range": (0, 4095)}] for name in files]
    costs = bounded.calls("labelwise.data.images:decode", orders)
    for name, cost in zip(files, costs, strict=True):
        with headers.opened(tmp_path / name) as (picture, file):
            reckoned = headers.memory_needed(picture, file) / 1e6
        assert cost.megabytes <= reckoned + 45, (name, reckoned)
        assert cost.megabytes >= reckoned / 4, (name, reckoned, "reckoned far too high")
