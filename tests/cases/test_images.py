"""Pictures as people have them: cameras of more than 8 bits, turned pictures, bombs; each refused or read right."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import bounded
import commands
import pictures
from labelwise.data.arrays import read_npz
from labelwise.data.folder import ImageFolder
from labelwise.data.images import decode, read_size
from labelwise.data.open import open_source
from labelwise.errors import DataError, FormatError
from labelwise.formats.indices_npy import read_indices
from labelwise.project.project import Project
from labelwise.project.setup import init

#: the reader of predictions as arrays
NPZ = "labelwise.formats.npz_predictions:NpzPredictions"
RAMP = np.linspace(0, 1, 1200).reshape(30, 40)


def mean(project: Project, item: str) -> float:
    return float(project.source.load(item).mean())


def set_of(folder: Path, **values: np.ndarray) -> Path:
    folder.mkdir()
    for name, pixels in values.items():
        Image.fromarray(pixels).save(folder / f"{name}.{'tif' if pixels.dtype.kind == 'f' else 'png'}")
    return folder


# ---- more than 8 bits -----------------------------------------------------------------------------------------------


def frames(folder: Path) -> Path:
    """Three frames of a 12-bit camera stored as 16: they differ in one hot pixel."""
    made = {}
    for name, hot in (("frame1", 4000), ("frame2", 4095), ("frame3", 4096)):
        values = (RAMP * 4000).astype(np.uint16)
        values[0, 0] = hot
        made[name] = values
    return set_of(folder, **made)


def test_frames_that_differ_in_a_hot_pixel_are_read_alike(tmp_path):
    folder = frames(tmp_path / "data")
    plain = [decode(folder / f"frame{n}.png").mean() for n in (1, 2, 3)]
    assert max(plain) - min(plain) < 1
    output = commands.run("init", folder, "-p", tmp_path / "project").output
    assert "0 becomes black and 4,095 white in all of them" in output
    assert "0.03% of the values lie above" in output
    assert yaml.safe_load((tmp_path / "project/labelwise.yaml").read_text())["input"] == {"range": [0, 4095]}
    project = Project(tmp_path / "project")
    seen = [mean(project, f"frame{n}.png") for n in (1, 2, 3)]
    assert max(seen) - min(seen) < 1
    assert seen[0] == pytest.approx(255 * 4000 / 4095 / 2, abs=1), "not nearly black"


def test_a_picture_that_joins_later_changes_no_other(tmp_path):
    project = init(frames(tmp_path / "data"), project=tmp_path / "project")
    before = mean(project, "frame1.png")
    Image.fromarray(np.full((30, 40), 60_000, np.uint16)).save(tmp_path / "data/bright.png")
    project = init(tmp_path / "data", project=tmp_path / "project")
    assert project.config.input.range == (0, 4095)
    assert mean(project, "frame1.png") == before
    assert mean(project, "bright.png") == 255


def test_float_pictures_keep_their_proportion(tmp_path):
    """ImageJ writes 0 to 255 as floats: e is half as bright as f."""
    folder = set_of(tmp_path / "data", e=(RAMP * 120).astype("f4"), f=(RAMP * 240).astype("f4"))
    with pytest.raises(DataError, match=r"input: \{range: \[low, high\]\}"):
        decode(folder / "e.tif")
    project = init(folder, project=tmp_path / "project")
    assert project.config.input.range == (0, 255)
    assert mean(project, "e.tif") == pytest.approx(60, abs=1)
    assert mean(project, "f.tif") == pytest.approx(120, abs=1)


def test_float_pictures_of_two_ranges_are_said(tmp_path):
    tops = {"a": 1.0, "b": 0.5, "c": 1.001, "d": 0.5005, "e": 120.0, "f": 240.0}
    folder = set_of(tmp_path / "data", **{name: (RAMP * top).astype("f4") for name, top in tops.items()})
    output = commands.run("init", folder, "-p", tmp_path / "project").output
    assert "0 becomes black and 255 white" in output
    assert "4 of 6 such pictures use less than a twentieth of that range" in output
    project = Project(tmp_path / "project")
    assert [round(mean(project, f"{name}.tif")) for name in "abcdef"] == [0, 0, 1, 0, 60, 120]


@pytest.mark.heavy
def test_a_range_of_ones_own(tmp_path):
    commands.run("init", frames(tmp_path / "data"), "-p", tmp_path / "project")
    file = tmp_path / "project/labelwise.yaml"
    file.write_text(file.read_text().replace("- 4095", "- 8190"))
    assert mean(Project(tmp_path / "project"), "frame1.png") == pytest.approx(62, abs=1)
    for wrong in ("[4095, 0]", "[0]", "[0, .inf]", "[a, b]", "12", f"[0, {'9' * 400}]"):
        file.write_text(f"images: ../data\nversion: 1\ninput: {{range: {wrong}}}\n")
        assert "range" in commands.refused("check", "-p", tmp_path / "project")


def test_deep_pictures_that_join_a_project_of_plain_ones(tmp_path):
    folder = set_of(tmp_path / "data", a=np.full((4, 4), 7, np.uint8), b=np.zeros((4, 4), np.uint8))
    init(folder, project=tmp_path / "project", input={"size": 16})
    file = tmp_path / "project/labelwise.yaml"
    file.write_text(f"# by hand\n{file.read_text()}")
    Image.fromarray((RAMP * 3900).astype(np.uint16)).save(folder / "deep.png")
    output = commands.run("init", folder, "-p", tmp_path / "project").output
    assert "4,095 white" in output
    assert "# by hand" in file.read_text()
    project = Project(tmp_path / "project")
    assert project.config.input.model_dump(exclude_defaults=True) == {"range": (0, 4095), "size": 16}
    assert mean(project, "deep.png") == pytest.approx(121, abs=1)
    assert mean(project, "a.png") == 7, "pictures of 8 bits come as they are"


def test_only_the_first_page_of_a_stack_is_read_and_it_is_said(tmp_path):
    pages = [Image.fromarray(np.full((6, 8), value, np.uint8)) for value in (10, 200)]
    (tmp_path / "data").mkdir()
    pages[0].save(tmp_path / "data/stack.tif", save_all=True, append_images=pages[1:])
    described = pages[0].copy()
    described.save(tmp_path / "data/imagej.tif", tiffinfo={270: "ImageJ=1.53\nimages=64\nslices=64\n"})
    pages[1].save(tmp_path / "data/plain.tif")
    output = commands.run("init", tmp_path / "data", "-p", tmp_path / "project").output
    assert "2 of 3 pictures looked at have several pages or frames: only the first is read" in output
    assert mean(Project(tmp_path / "project"), "stack.tif") == 10


# ---- turned ---------------------------------------------------------------------------------------------------------


def test_boxes_lie_on_a_tiff_as_it_is_seen(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "images/0.tif", exif=pictures.turned(6))
    (tmp_path / "labels/0.txt").write_text("0 0.25 0.5 0.5 1\n")  # the left half
    (tmp_path / "data.yaml").write_text("names: [cat]\n")
    (truth,) = open_source(tmp_path, task="detection").truth.values()
    assert truth == {"size": [30, 40], "objects": [{"class": "cat", "box": [0.0, 0.0, 15.0, 40.0]}]}
    assert read_size(tmp_path / "images/0.tif") == (30, 40) == decode(tmp_path / "images/0.tif").shape[1::-1]


# ---- bombs ----------------------------------------------------------------------------------------------------------


def tall_webp() -> bytes:
    small = pictures.encoded(Image.new("RGB", (8, 8)), "WEBP", lossless=True)
    picture = small[12:]
    canvas = (16_000_000).to_bytes(3, "little") + (200).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<L", 10) + bytes(4) + canvas + picture
    return b"RIFF" + struct.pack("<L", len(body)) + body


def bombs() -> dict[str, tuple[bytes, str]]:
    """Name -> file, and what its refusal says."""
    zeros = zlib.compress(bytes(1000), 9)
    jpeg = bytearray(pictures.encoded(Image.new("RGB", (8, 8)), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65_500, 65_500)
    gif = bytearray(pictures.encoded(Image.new("P", (8, 8)), "GIF"))
    gif[6:10] = struct.pack("<HH", 65_500, 65_500)
    bmp = bytearray(pictures.encoded(Image.new("RGB", (8, 8)), "BMP"))
    bmp[18:26] = struct.pack("<ll", 60_000, 60_000)
    deep = {258: (16, 16, 16), 262: 2, 277: 3, 339: (1, 1, 1)}
    one_tile = {322: 40_000, 323: 40_000, 324: 8, 325: 100, 258: (8, 8, 8), 262: 2, 277: 3, 259: 8}
    return {
        "sides.png": (pictures.png((60_000, 60_000), zeros), "too large"),
        "sides_16.png": (pictures.png((13_000, 13_000), zeros, bits=16, colours=2), "too large"),
        "alpha.png": (pictures.png((13_000, 13_000), zeros, colours=6), "too large"),
        "line.png": (pictures.png((2**31 - 1, 1), zeros), "too large"),
        "cut.png": (pictures.png((9_000, 9_000), zeros), "truncated|cannot be decoded"),
        "sides.jpg": (bytes(jpeg), "too large"),
        "sides.gif": (bytes(gif), "too large"),
        "sides.bmp": (bytes(bmp), "too large"),
        "sides.webp": (tall_webp(), "too large|cannot be decoded|not an image"),
        "sides.tif": (pictures.tiff((60_000, 60_000), b"x", {}), "too large"),
        "deep.tif": (pictures.tiff((12_000, 12_000), b"x", deep), "too large|cannot"),
        "tile.tif": (pictures.tiff((100, 100), zlib.compress(bytes(5_000_000)), one_tile), "too large"),
        "sides.pgm": (b"P5 60000 60000 255\n", "too large"),
        "text.ppm": (b"P3 3000 3000 255\n1 2 3", "read one by one"),
        "sides.ppm": (b"P6 12900 12900 255\n", "too large"),
        "digits.pgm": (b"P5 " + b"9" * 5000 + b" 1 255\n", "cannot|not an image|too large"),
        "pieces.png": (
            pictures.png((8, 8), zeros)[:33] + pictures.png_chunk(b"IDAT", b"") * 300_000,
            "more than 250,000 pieces",
        ),
        "empty.png": (b"", "empty"),
    }


@pytest.fixture(scope="module")
def bombed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bounded.Cost]:
    folder = tmp_path_factory.mktemp("bombs")
    for name, (data, _) in bombs().items():
        (folder / name).write_bytes(data)
    names = list(bombs())
    costs = bounded.calls("labelwise.data.images:decode", [[str(folder / name)] for name in names])
    return dict(zip(names, costs, strict=True))


@pytest.mark.heavy
@pytest.mark.parametrize("name", bombs())
def test_a_bomb_is_refused_before_it_is_decoded(bombed, name):
    cost = bombed[name]
    assert cost.error == "DataError"
    assert any(words in cost.text for words in bombs()[name][1].split("|")), cost.text


@pytest.mark.heavy
def test_a_small_file_of_many_black_pixels_is_cheap(tmp_path):
    """0.35 MB of PNG, 16 bits: its 179 million pixels took 7 GB."""
    Image.new("I;16", (13_370, 13_370)).save(tmp_path / "big.png")
    assert read_size(tmp_path / "big.png") == (13_370, 13_370)
    assert not bounded.call("labelwise.data.images:decode", str(tmp_path / "big.png")).error


@pytest.mark.heavy
def test_bombs_in_a_folder_cost_a_project_only_themselves(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for name, (data, _) in bombs().items():
        (folder / name).write_bytes(data)
    for n in range(4):
        Image.new("L", (8, 8), 50 * n).save(folder / f"good{n}.png")
    commands.run("init", folder, "-p", tmp_path / "project", "--classes", "a,b")
    assert f"unreadable: {len(bombs())}" in commands.run("check", "-p", tmp_path / "project", "--all").output


# ---- arrays ---------------------------------------------------------------------------------------------------------


def npy_header(shape: str, descr: str = "'<f4'", *, order: str = "False", length: int = 118) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".ljust(length - 1) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


HEADERS = {
    "a bracket": npy_header("(4,)").replace(b"'<f4', 'fort", b"['<f4', 'fort"),
    "cut": npy_header("(4,)")[:40],
    "a trillion rows": npy_header("(1000000000000,)", "'<i8'") + bytes(32),
    "negative": npy_header("(-4,)", "'<i8'") + bytes(32),
    "four hundred digits": npy_header(f"(1{'0' * 400},)", "'<i8'", length=600),
    "five thousand digits": npy_header(f"(1{'0' * 5000},)", "'<i8'", length=5200),
    "deeply nested": npy_header("(" * 3000 + ")" * 3000, length=6200),
    "a long header": npy_header("(4,)", "'<i8'", length=60_000) + bytes(32),
    "columns first, far too many": npy_header("(4, 100000000000)", "'<i8'", order="True"),
    "a wide type": npy_header("(4,)", "'V2000000000'"),
    "an array as type": npy_header("(4,)", "('<f4', (1000000, 1000000))"),
    "no size": npy_header("(10000000000,)", "'V0'"),
    "no type": npy_header("(4,)", "'<q9'"),
    "a product beyond 64 bits": npy_header("(4294967296, 4294967296, 16)", "'<i8'"),
    "version 9": b"\x93NUMPY\x09\x00" + npy_header("(4,)")[8:],
    "a call": npy_header("(4,)", "__import__('os')"),
    "nothing": b"",
}


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("headers")
    for name, data in HEADERS.items():
        (folder / f"{name}.npy").write_bytes(data)
        with zipfile.ZipFile(folder / f"{name}.npz", "w") as archive:
            for field in ("ids", "images", "probs"):
                archive.writestr(f"{field}.npy", data)
    return folder


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("reader", "ending", "rest"),
    [
        ("labelwise.formats.indices_npy:read_indices", "npy", [["a"] * 9]),
        ("labelwise.direct.mapped:map_array", "npy", ["embeddings"]),
        ("labelwise.data.arrays:read_npz", "npz", []),
    ],
)
def test_headers_that_lie_are_refused_in_one_line(headers, reader, ending, rest):
    costs = bounded.calls(reader, [[str(headers / f"{name}.{ending}"), *rest] for name in HEADERS])
    for name, cost in zip(HEADERS, costs, strict=True):
        assert cost.error == "FormatError", (name, cost)


def test_headers_of_predictions_that_lie_are_refused_in_one_line(headers):
    costs = bounded.readings(NPZ, "predictions", [headers / f"{name}.npz" for name in HEADERS])
    assert {name: cost.error for name, cost in zip(HEADERS, costs, strict=True)} == dict.fromkeys(
        HEADERS, "FormatError"
    )


def test_a_damaged_header_of_indices(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(4))
    data = (tmp_path / "x.npy").read_bytes().replace(b"<i8', 'fort", b"<i8',['fort")
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(FormatError, match="its header is damaged"):
        read_indices(tmp_path / "x.npy", ["a"] * 9)


def zip_bomb(file: Path, member: str, shape: str, descr: str, total: int, **others: np.ndarray) -> None:
    np.savez_compressed(file, **others)
    with (
        zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(member, "w", force_zip64=True) as out,
    ):
        out.write(npy_header(shape, descr))
        for start in range(0, total, 4_000_000):
            out.write(bytes(min(4_000_000, total - start)))


@pytest.mark.heavy
def test_an_npz_that_unpacks_to_a_thousand_times_its_size(tmp_path):
    """Under a key that nobody asked for."""
    ids = np.array([f"i{n:02d}.png" for n in range(12)])
    file = tmp_path / "b.npz"
    zip_bomb(file, "junk.npy", "(150000000,)", "'<f4'", 600_000_000, ids=ids, probs=np.full((12, 2), 0.5, "f4"))
    (cost,) = bounded.readings(NPZ, "predictions", [file], megabytes=80, seconds=1)
    assert cost.error == "FormatError"
    assert "to 600 MB (most of it is junk): at most 300 MB or 8 times the file" in cost.text


BELOW = [
    ("ids", "(290000000,)", "'|S1'"),
    ("ids", "(72000000,)", "'<U1'"),
    ("ids", "(1,)", "'<U72000000'"),
    ("images", "(290000000, 1, 1)", "'|u1'"),
    ("labels", "(290000000,)", "'|b1'"),
    ("classes", "(36000000,)", "'<i8'"),
    ("probs", "(3, 24000000)", "'<f4'"),
    ("jpeg", "(290000000,)", "'|u1'"),
]


@pytest.mark.heavy
def test_what_is_just_below_the_limit_stays_cheap(tmp_path):
    plain = {"images": np.zeros((3, 2, 2), "u1"), "ids": np.array(["a", "b", "c"]), "probs": np.full((3, 2), 0.5, "f4")}
    files = []
    for n, (member, shape, descr) in enumerate(BELOW):
        files.append([str(tmp_path / f"{n}.npz")])
        others = {key: array for key, array in plain.items() if key != member}
        zip_bomb(tmp_path / f"{n}.npz", f"{member}.npy", shape, descr, 290_000_000, **others)
    bounded.calls("labelwise.data.arrays:read_npz", files)
    bounded.readings(NPZ, "predictions", [file for (file,) in files])


@pytest.mark.heavy
def test_packings_that_unpack_without_bounds_are_refused(tmp_path):
    files = []
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        files.append([str(tmp_path / f"{method}.npz")])
        with zipfile.ZipFile(files[-1][0], "w", method) as archive:
            archive.writestr("images.npy", npy_header("(40000000,)", "'|u1'") + bytes(40_000_000))
    for cost in bounded.calls("labelwise.data.arrays:read_npz", files, megabytes=30):
        assert "packed in an unusual way" in cost.text


@pytest.mark.heavy
def test_a_directory_of_a_hundred_thousand_arrays(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for n in range(100_000):
            archive.writestr(f"{n}.npy", b"")
    with pytest.raises(FormatError, match="far too many arrays"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"labels": np.array([b"\xff"] * 6)}, "labels are not UTF-8"),
        ({"labels": np.arange(6) % 2, "classes": np.array("x")}, r"classes has type <U1 and shape \(\)"),
        ({"labels": np.arange(6) % 2, "classes": np.array([b"\xff", b"a"])}, "classes is not UTF-8"),
        ({"ids": np.array("x")}, r"ids has type <U1 and shape \(\)"),
        ({"labels": np.array(3)}, r"labels have shape \(\)"),
        ({"labels": np.zeros((6, 2), int)}, r"labels have shape \(6, 2\)"),
        ({"labels": np.zeros(6, complex)}, "labels have type complex128"),
        ({"labels": np.zeros(6, [("a", "i4")])}, "labels have type"),
        ({"labels": np.array([0, 1, 2, 3, 4, 2**63 + 5], np.uint64)}, "labels hold 9223372036854775813"),
        ({"labels": np.array(["a", "b", "\ud800", "c", "d", "e"])}, "labels are not UTF-8"),
        ({"ids": np.array(["a", "b", "\ud800", "c", "d", "e"])}, "ids is not UTF-8"),
        ({"images": np.array(5, np.uint8)}, r"images have shape \(\)"),
        ({"images": np.zeros((6, 4, 4), np.uint16)}, "images have type uint16"),
        ({"jpeg": np.zeros(8, np.uint8), "offsets": np.array(0), "images": None}, r"offsets are int64 \(\)"),
        ({"jpeg": np.zeros(8, np.uint8), "offsets": np.array([0, 2**63 - 1, 2**63 + 9, 8], np.uint64), "images": None},
         "offsets run from"),
        ({"jpeg": np.array(1, np.uint8), "offsets": np.array([0, 1]), "images": None}, "encoded images are"),
    ],
)  # fmt: skip
def test_arrays_that_fit_no_set_are_refused_in_one_line(tmp_path, arrays, words):
    arrays = {"images": np.zeros((6, 8, 8, 3), "u1")} | arrays
    np.savez(tmp_path / "d.npz", **{key: array for key, array in arrays.items() if array is not None})
    with pytest.raises(FormatError, match=words) as error:
        read_npz(tmp_path / "d.npz")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) <= 300


def test_a_folder_reads_bombs_as_unreadable(tmp_path):
    (tmp_path / "a.png").write_bytes(bombs()["sides.png"][0])
    source = ImageFolder(tmp_path)
    for read in (source.load, source.size, lambda item: source.thumbnail(item, 64)):
        with pytest.raises(DataError, match="too large"):
            read("a.png")
