"""One range of values for all deep pictures of a set: how it is found, where it is written, what depends on it."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import pictures
from labelwise.config import ProjectConfig, parse
from labelwise.contracts.source import checked_range
from labelwise.data.arrays import EncodedSource
from labelwise.data.brightness import fitting, look
from labelwise.data.dataset import from_dataset
from labelwise.data.folder import ImageFolder
from labelwise.data.remembered import Remembered
from labelwise.data.views import View
from labelwise.errors import ConfigError, DataError
from labelwise.project.reading import keep_range


def folder_of(path, **values):
    path.mkdir(exist_ok=True)
    for name, pixels in values.items():
        ending = "png" if pixels.dtype in (np.uint8, np.uint16) else "tif"
        (path / f"{name}.{ending}").write_bytes(
            pictures.encoded(pixels) if ending == "png" else pictures.array_tiff(pixels)
        )
    return ImageFolder(path)


def ramp(low, high, kind, shape=(50, 60)):
    return np.linspace(low, high, shape[0] * shape[1]).reshape(shape).astype(kind)


# ---- which range ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "kind", "expected"),
    [
        (0, 4000, "u2", (0, 4095)),  # a camera of 12 bits
        (100, 600, "u2", (0, 1023)),  # weak fluorescence over a dark offset
        (0, 16_000, "u2", (0, 16_383)),  # 14 bits
        (200, 60_000, "u2", (0, 65_535)),
        (0, 250, "u2", (0, 255)),  # 8 bits that somebody saved as 16
        (7_000, 9_000, "u2", (6_790, 9_200)),  # a thermal camera: a fraction of its range
        (-1000, 3000, "i2", (-1_400, 3_400)),  # Hounsfield units
        (0, 1, "f4", (0, 1)),
        (0.0, 1.004, "f4", (0, 1)),  # rounding
        (0, 200, "f4", (0, 255)),  # ImageJ, out of 8 bits
        (18.2, 36.5, "f4", (16.3, 38.4)),  # degrees
        (-1, 1, "f4", (-1.2, 1.2)),
        (0, 100_000, "u4", (0, 131_071)),
        (3_000_000_000, 4_000_000_000, "u4", (2_900_000_000, 4_100_000_000)),
    ],
)
def test_the_range_that_a_set_is_given(tmp_path, low, high, kind, expected):
    found = look(folder_of(tmp_path / "set", a=ramp(low, high, kind), b=ramp(low, high, kind)))
    assert found.value_range == pytest.approx(expected, rel=0.02, abs=0.1)
    assert found.above < 0.005
    assert found.dark == 0
    assert all(len(note) <= 300 for note in found.notes())


def test_hot_pixels_do_not_set_the_range_and_are_said(tmp_path):
    hot = ramp(0, 4000, "u2", (100, 100))
    hot[3, :5] = 65_535
    found = look(folder_of(tmp_path / "set", a=hot, b=ramp(0, 3000, "u2")))
    assert found.value_range == (0, 4095)
    assert "0.04% of the values lie above" in found.notes()[0]


def test_colours_and_headers_that_tell(tmp_path):
    colour = np.stack([ramp(0, top, "u2") for top in (4000, 3000, 100)], 2)
    (tmp_path / "colour").mkdir()
    (tmp_path / "colour/a.png").write_bytes(pictures.deep_png(colour))
    (tmp_path / "colour/b.tif").write_bytes(pictures.array_tiff(colour))
    source = ImageFolder(tmp_path / "colour")
    assert look(source).value_range == (0, 4095)
    assert dict(look(source).deep) == {"16-bit colour": 2}
    (tmp_path / "told").mkdir()
    (tmp_path / "told/a.pgm").write_bytes(b"P5 3 1 1000\n" + np.array([0, 500, 900], ">u2").tobytes())
    assert look(ImageFolder(tmp_path / "told")).value_range == (0, 1000)


def test_plain_pictures_have_no_range_and_nothing_is_said(tmp_path):
    found = look(folder_of(tmp_path / "set", a=np.zeros((4, 4), np.uint8), b=np.ones((4, 4, 3), np.uint8)))
    assert (found.value_range, found.notes(), found.headers) == (None, [], 2)


def test_pictures_that_cannot_be_read_are_passed_over(tmp_path):
    folder_of(tmp_path / "set", a=ramp(0, 4000, "u2"))
    (tmp_path / "set/broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (tmp_path / "set/empty.tif").write_bytes(b"")
    data = pictures.encoded(ramp(0, 60_000, "u2"))
    (tmp_path / "set/cut.png").write_bytes(data[: len(data) // 2])
    found = look(ImageFolder(tmp_path / "set"))
    assert found.value_range == (0, 4095)
    assert found.decoded == 1
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut/a.png").write_bytes(data[: len(data) // 2])
    assert look(ImageFolder(tmp_path / "cut")).value_range is None


def test_what_is_looked_at_does_not_depend_on_the_order(tmp_path):
    for n in range(70):
        folder_of(tmp_path / "set", **{f"{n:02d}": ramp(0, 500 + 50 * n, "u2", (5, 6))})
    found = [look(ImageFolder(tmp_path / "set")) for _ in range(2)]
    assert found[0] == found[1]
    assert found[0].decoded == 32


@given(st.floats(-1e6, 1e6, allow_nan=False), st.floats(0, 1e6, allow_nan=False), st.booleans(), st.integers(-12, 12))
def test_a_fitting_range_holds_the_values_and_uses_a_quarter_for_them(low, span, whole, power):
    low, high = (round(low), round(low) + round(span)) if whole else (low * 10.0**power, (low + span) * 10.0**power)
    found = fitting(low, high, whole=whole)
    assert checked_range(found) == found
    slack = 0.011 * max(abs(high), abs(low))
    assert found[0] <= low + slack
    assert found[1] >= high - slack
    if high - low > 1e-6 * max(abs(low), abs(high), 1e-12):
        assert high - low >= 0.2 * (found[1] - found[0])


@pytest.mark.parametrize(
    "wrong", [[1, 0], [0, 0], [0], [0, 1, 2], [0, float("nan")], [10**400, 1], "01", [True, 2], 3, {}]
)
def test_what_is_no_range(wrong):
    with pytest.raises(ConfigError, match="is no range: give two finite numbers") as error:
        checked_range(wrong)
    assert len(str(error.value)) < 300


# ---- what depends on it ---------------------------------------------------------------------------------------------


def sources(path):
    deep = pictures.encoded(ramp(0, 4000, "u2"))
    folder = folder_of(path / "set", a=ramp(0, 4000, "u2"))
    encoded = EncodedSource(np.frombuffer(deep, np.uint8), np.array([0, len(deep)]))
    return {"folder": folder, "view": View(folder), "remembered": Remembered(folder), "encoded": encoded}


@pytest.mark.parametrize("kind", ["folder", "view", "remembered", "encoded"])
def test_every_way_to_a_picture_is_in_the_range_and_its_digest_tells(tmp_path, kind):
    source = sources(tmp_path)[kind]
    (item,) = source.ids
    seen = source.in_range((0, 4095))
    assert seen.value_range == (0, 4095)
    assert source.value_range is None
    assert seen.load(item).mean() == pytest.approx(124.5, abs=1)
    assert seen.thumbnail(item, 20).mean() == pytest.approx(124.5, abs=1)
    assert source.load(item).mean() == pytest.approx(7.8, abs=1)
    contents = {each.content([item])[0] for each in (source, seen, source.in_range((0, 4094)))}
    assert len(contents) == 3, "what was computed in one range is not found again in another"
    assert seen.content([item]) == source.in_range([0.0, 4095]).content([item])
    assert seen.in_range(None).content([item]) == source.content([item])
    stats = {tuple(each.stat_key([item]) or ("",)) for each in (source, seen)}
    assert len(stats) == (1 if kind == "encoded" else 2)


def test_a_file_that_is_gone_has_no_digest_in_any_range(tmp_path):
    source = folder_of(tmp_path / "set", a=ramp(0, 4000, "u2")).in_range((0, 4095))
    (tmp_path / "set/a.png").unlink()
    assert source.content(["a.png"]) == [""]
    assert source.stat_key(["a.png"]) == [""]


def test_pictures_of_ones_own_data_set(tmp_path):
    source = from_dataset([(Image.fromarray(ramp(0, 4000, "u2")), 0), (Image.fromarray(ramp(0, 10, "f4")), 1)])
    assert source.in_range((0, 4095)).load("0").mean() == pytest.approx(124.5, abs=1)
    with pytest.raises(DataError, match="'1': float values"):
        source.load("1")


# ---- where it is written --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("images: x\n# mine\n", "images: x\n# mine\ninput:\n  range: [0, 4095]\n"),
        ("input:  # small\n  size: 32\nimages: x\n", "input:  # small\n  range: [0, 4095]\n  size: 32\nimages: x\n"),
        ("images: x\ninput: {size: 32}\n", None),
        ("images: x\ninput:\n    size: 32\n", "images: x\ninput:\n    range: [0, 4095]\n    size: 32\n"),
    ],
)
def test_a_range_joins_what_people_wrote(tmp_path, text, expected):
    source = folder_of(tmp_path / "set", a=ramp(0, 4000, "u2"))
    path = tmp_path / "labelwise.yaml"
    path.write_text(text)
    config = parse(ProjectConfig, yaml.safe_load(text), where="it")
    found = keep_range(config, source, path)
    assert found.input.range == (0, 4095)
    assert parse(ProjectConfig, yaml.safe_load(path.read_text()), where="it") == found
    if expected is not None:
        assert path.read_text() == expected
    assert keep_range(found, source, path) == found
