"""Masks that are asked, given back in every form, and written as a labelled set that reads back equal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.record import IGNORE, Head, Mask, Record, Where
from labelwise.errors import FormatError, StateError
from labelwise.formats.class_colours import colours
from labelwise.formats.index_png import encode_mask
from labelwise.formats.mask_files import read_stored
from labelwise.formats.png_masks import PngMasks
from labelwise.formats.voc_masks import VocMasks
from masks_on_disk import records

WIDTH, HEIGHT = 9, 7
SIZE = (WIDTH, HEIGHT)
CLASSES = ("road", "car", "sky")
FORM = PngMasks()


def drawn(seed: int, classes: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, classes, (HEIGHT, WIDTH)).astype(np.uint8)


def save(file: Path, values: np.ndarray, palette=None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(encode_mask(values, palette)) if palette else Image.fromarray(values).save(file)
    return file


def read(folder: Path, form=FORM, **hints) -> tuple[Head, list[Record]]:
    head, found = form.read(folder, "answers", Hints(**{"classes": CLASSES, **hints}))
    return head, list(found)


def pick(image: str, rank: int, *, region: int | None = None, guess: np.ndarray | None = None, **extra) -> Record:
    """What the door hands on for a pick: a region is the window (2, 1) to (6, 4) without its corner."""
    inside = np.ones((3, 4), bool)
    inside[0, 0] = False
    outline, pixels = None, None
    if region is not None:
        outline = Mask((4, 3), lambda: inside, (2, 1))
        if guess is not None:
            part = np.where(inside, guess[1:4, 2:6], IGNORE).astype(np.uint8)
            pixels = Mask((4, 3), lambda: part, (2, 1))
    elif guess is not None:
        pixels = Mask(SIZE, lambda: guess)
    return Record(
        Where(image),
        image,
        size=SIZE,
        pixels=pixels,
        state="untouched",
        region=None if region is None else str(region),
        outline=outline,
        extra={"answered": False, "path": f"/data/{image}" + (f"#{region}" if region else ""), "rank": rank, **extra},
    )


def ask(folder: Path, *picks: Record) -> dict:
    assert FORM.write(folder, Head(classes=CLASSES), picks, Writing("asked", "masks")) == []
    return json.loads((folder / "asked.json").read_text())


# ---- asked ----------------------------------------------------------------------------------------------------------


def test_images_are_asked_with_what_the_model_would_draw(tmp_path):
    about = ask(tmp_path, pick("a/x.jpg", 0, guess=drawn(0), strategy_score=0.5), pick("y.png", 1))
    assert (about["format"], about["version"], about["ignore"]) == ("labelwise-asked-masks", 1, 255)
    assert about["classes"] == list(CLASSES)
    assert about["palette"] == [list(colour) for colour in colours(3)]
    assert about["items"][0] == {
        "id": "a/x.jpg",
        "path": "/data/a/x.jpg",
        "size": list(SIZE),
        "rank": 0,
        "score": 0.5,
        "answer": "masks/a/x.png",
        "suggested": "suggested/a/x.png",
    }
    assert about["items"][1]["score"] is None
    assert "suggested" not in about["items"][1]
    np.testing.assert_array_equal(read_stored(tmp_path / "suggested/a/x.png").values, drawn(0))
    assert (tmp_path / "images.txt").read_text() == "/data/a/x.jpg\n/data/y.png\n"
    assert (tmp_path / "classes.txt").read_text() == "road\ncar\nsky\n"
    assert list((tmp_path / "masks").iterdir()) == []
    assert not (tmp_path / "regions.csv").exists()
    # nothing was drawn yet
    assert FORM.sniff(tmp_path, "answers").sure == 1
    with pytest.raises(FormatError, match="holds no PNG file: save the finished masks there"):
        read(tmp_path)


def test_regions_are_asked_with_their_pixels(tmp_path):
    guess = drawn(1)
    about = ask(
        tmp_path, pick("x.jpg", 0, region=3, guess=guess), pick("x.jpg", 1, region=12), pick("y.jpg", 2, region=1)
    )
    first, _, third = about["items"]
    assert (first["id"], first["path"]) == ("x.jpg#3", "/data/x.jpg")
    assert (first["box"], first["pixels"]) == ([2, 1, 4, 3], 11)
    assert (first["answer"], first["region"]) == ("masks/x.jpg#3.png", "regions/x.jpg#3.png")
    inside = read_stored(tmp_path / first["region"]).values
    assert (inside.shape, int((inside == 255).sum())) == ((3, 4), 11)
    values = guess[1:4, 2:6][inside == 255]
    assert first["predicted"] == CLASSES[int(np.bincount(values).argmax())]
    assert "predicted" not in third
    suggested = read_stored(tmp_path / first["suggested"]).values
    assert suggested.shape == (HEIGHT, WIDTH)
    assert (suggested != IGNORE).sum() == 11
    lines = (tmp_path / "regions.csv").read_text().splitlines()
    assert lines == ["id,label,predicted", f"x.jpg#3,,{first['predicted']}", "x.jpg#12,,", "y.jpg#1,,"]


def test_images_of_one_stem_get_masks_of_their_own(tmp_path):
    about = ask(tmp_path, pick("x.jpg", 0), pick("x.png", 1), pick("y.png", 2))
    assert [item["answer"] for item in about["items"]] == ["masks/x.jpg.png", "masks/x.png.png", "masks/y.png"]
    for item in about["items"]:
        save(tmp_path / item["answer"], drawn(0))
    assert [(record.image, record.bare) for record in read(tmp_path)[1]] == [
        ("x.jpg", False),
        ("x.png", False),
        ("y.png", False),
    ]


def test_names_that_would_leave_the_folder_and_classes_that_read_otherwise(tmp_path):
    with pytest.raises(FormatError, match="outside the folder"):
        ask(tmp_path / "out", pick("../x.jpg", 0))
    for names in (("Void", "car"), ("0 road", "1 car"), ("road ", "car"), ("a\nb", "c")):
        with pytest.raises(FormatError, match=r"rename"):
            FORM.write(tmp_path / "out", Head(classes=names), [], Writing("asked", "masks"))


# ---- given back -----------------------------------------------------------------------------------------------------


def test_filled_in_folders_name_their_items(tmp_path):
    about = ask(
        tmp_path, pick("a/x.jpg", 0), pick("y.jpg", 1, region=3), pick("y.jpg", 2, region=4), pick("gas_mask.png", 3)
    )
    whole, box = drawn(0), drawn(1)[:3, :4]
    for item, values in zip(about["items"], (whole, box, whole, whole), strict=True):
        save(tmp_path / item["answer"], values)
    head, found = read(tmp_path)
    assert head.classes == CLASSES
    by_item = {(record.image, record.region): record for record in found}
    assert set(by_item) == {("a/x.jpg", None), ("y.jpg", "3"), ("y.jpg", "4"), ("gas_mask.png", None)}
    assert not any(record.bare or record.aka for record in found)
    small, large = by_item["y.jpg", "3"].pixels, by_item["y.jpg", "4"].pixels
    assert ((small.size, small.at), (large.size, large.at)) == (((4, 3), (2, 1)), (SIZE, (0, 0)))
    np.testing.assert_array_equal(small.read(), box)
    # the folder of the masks alone says the same
    again = read(tmp_path / "masks")[1]
    told = [(one.where, one.image, one.region, one.pixels.size, one.pixels.at) for one in (*found, *again)]
    assert told[: len(found)] == told[len(found) :]


def test_a_mask_of_the_whole_image_beside_those_of_its_regions(tmp_path):
    ask(tmp_path, pick("y.jpg", 0, region=3))
    save(tmp_path / "masks/y.png", drawn(0))
    (record,) = read(tmp_path)[1]
    assert (record.image, record.bare, record.region) == ("y", True, None)


def test_folders_of_any_tool(tmp_path):
    save(tmp_path / "m/a/x.png", drawn(0))
    save(tmp_path / "m/y.jpg.png", drawn(1))
    save(tmp_path / "m/z.bmp", drawn(2))
    save(tmp_path / "m/w#7.png", drawn(2))
    save(tmp_path / "m/v.jpg#8.png", drawn(2))
    save(tmp_path / "m/u_mask.png", drawn(2))
    _, found = read(tmp_path / "m")
    assert FORM.sniff(tmp_path / "m", "answers").sure >= 0.5
    told = {record.where.file.rpartition("/")[2]: record for record in found}
    assert {name: (record.image, record.bare, record.region, record.aka) for name, record in told.items()} == {
        "x.png": ("a/x", True, None, ()),
        "y.jpg.png": ("y.jpg", False, None, ()),
        "z.bmp": ("z", True, None, ()),
        "w#7.png": ("w", True, "7", ()),
        "v.jpg#8.png": ("v.jpg", False, "8", ()),
        "u_mask.png": ("u_mask", True, None, ("u",)),
    }
    for word in ("masks", "labels", "Annotations"):
        (tmp_path / "m").rename(tmp_path / word)
        assert len(read(tmp_path)[1]) == 6
        (tmp_path / word).rename(tmp_path / "m")


def test_what_the_folder_of_the_images_tells_of_names(tmp_path):
    for name in ("gas_mask.jpg", "a#3.png"):
        save(tmp_path / "images" / name, drawn(0))
    save(tmp_path / "m/gas_mask.png", drawn(0))
    save(tmp_path / "m/a#3.png", drawn(0))
    _, found = read(tmp_path / "m", root=tmp_path / "images")
    assert [(record.image, record.region, record.aka) for record in found] == [
        ("a#3", None, ()),
        ("gas_mask", None, ()),
    ]


def test_masks_that_come_back_with_their_images(tmp_path):
    for name in ("a.jpg", "b.png"):
        save(tmp_path / "train/images" / name, drawn(0))
        save(tmp_path / "train/masks" / f"{name[0]}_mask.png", drawn(1))
    assert [record.image for record in read(tmp_path)[1]] == ["train/images/a.jpg", "train/images/b.png"]


def test_classes_of_lists_of_the_listing_and_of_the_project(tmp_path):
    values = drawn(0)
    save(tmp_path / "masks/a.png", values)
    with pytest.raises(FormatError, match="does not know its classes: list their names there"):
        read(tmp_path, classes=())
    assert read(tmp_path)[0].classes == CLASSES
    (tmp_path / "classes.txt").write_text("sky\nroad\ncar\n")
    head, (record,) = read(tmp_path)
    assert head.classes == ("sky", "road", "car")
    np.testing.assert_array_equal(record.pixels.read(), values)
    assert read(tmp_path / "masks")[0].classes == ("sky", "road", "car")
    # what was asked keeps the order in which it was asked
    ask(tmp_path / "asked", pick("a.jpg", 0))
    (tmp_path / "asked/classes.txt").unlink()
    save(tmp_path / "asked/masks/a.png", values)
    assert read(tmp_path / "asked", classes=("car", "sky", "road"))[0].classes == CLASSES


def test_colours_are_those_of_the_project(tmp_path):
    own = ((9, 9, 200), (200, 9, 9), (9, 200, 9))
    picture = np.array(own, np.uint8)[drawn(0)]
    save(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(read(tmp_path, palette=own)[1][0].pixels.read(), drawn(0))
    with pytest.raises(FormatError, match="which no class has"):
        read(tmp_path)[1][0].pixels.read()


def test_pixels_without_answer_and_masks_that_nobody_touched(tmp_path):
    ask(tmp_path, pick("a.jpg", 0), pick("b.jpg", 1))
    part = drawn(0)
    part[3:] = IGNORE
    save(tmp_path / "masks/a.png", part)
    save(tmp_path / "masks/b.png", np.full_like(part, IGNORE))
    _, found = read(tmp_path)
    np.testing.assert_array_equal(found[0].pixels.read(), part)
    assert (found[1].pixels.read() == IGNORE).all()


def test_black_and_white_masks_are_never_taken_for_unanswered_without_a_word(tmp_path):
    values = np.where(drawn(0, 2), 255, 0).astype(np.uint8)
    for n in range(25):
        save(tmp_path / f"m/{n}.png", values)
    head, found = read(tmp_path / "m")
    assert head.notes[1:] == ("the masks hold nothing but 0 and 255: 255 is taken for pixels without answer",)
    with pytest.raises(FormatError, match=r"If 255 is 'cat', save it as 1"):
        read(tmp_path / "m", classes=("bg", "cat"))
    # three ways out: another value, a list, or the colour that says "no answer"
    save(tmp_path / "m/24.png", np.minimum(values, 1))
    [note] = read(tmp_path / "m", classes=("bg", "cat"))[0].notes
    assert "0 is 'bg', and so on" in note
    save(tmp_path / "m/24.png", values)
    (tmp_path / "m/_classes.csv").write_text("Pixel Value,Class\n0,bg\n255,cat\n")
    head, found = read(tmp_path / "m", classes=("bg", "cat"))
    np.testing.assert_array_equal(found[0].pixels.read(), values // 255)
    (tmp_path / "m/_classes.csv").unlink()
    save(tmp_path / "m/24.png", values, [(0, 0, 0), (128, 0, 0)])
    _, found = read(tmp_path / "m", classes=("bg", "cat"))
    assert set(np.unique(found[0].pixels.read())) == {0, IGNORE}
    # what was exported says so itself
    ask(tmp_path / "asked", pick("0.jpg", 0))
    save(tmp_path / "asked/masks/0.png", values)
    assert "255 is taken for pixels without answer" in read(tmp_path / "asked")[0].notes[0]


def test_what_is_refused(tmp_path):
    def refused(name: str, values: np.ndarray | bytes, **hints) -> str:
        save(tmp_path / "m/a.png", drawn(0))
        if isinstance(values, bytes):
            (tmp_path / "m" / name).write_bytes(values)
        else:
            save(tmp_path / "m" / name, values)
        with pytest.raises(FormatError) as caught:
            [record.pixels.read() for record in read(tmp_path / "m", **hints)[1]]
        (tmp_path / "m" / name).unlink()
        assert len(str(caught.value)) <= 300
        return str(caught.value)

    assert "'a' has two masks" in refused("a_mask.png", drawn(0))
    assert "'a' has two masks" in refused("a.bmp", drawn(0))
    assert "is no mask: masks need a lossless format" in refused("b.jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    assert (
        "have the value 7 and 2 further value(s) that mean nothing; allowed are 0 to 2 (road to sky) and 255"
        in refused("b.png", drawn(0) + 7)
    )
    assert "cannot be read" in refused("b.png", (save(tmp_path / "x.png", drawn(0))).read_bytes()[:60])
    with pytest.raises(FormatError, match="is no folder: masks come back as a folder"):
        read(tmp_path / "m/a.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="holds no PNG file"):
        read(tmp_path / "empty")
    assert FORM.sniff(tmp_path / "empty", "answers").sure < 0.5
    assert FORM.sniff(tmp_path / "m/a.png", "answers").sure == 0


@pytest.mark.parametrize(
    "change",
    [
        {"items": None},
        {"items": [{"id": 3, "answer": "masks/a.png"}]},
        {"items": [{"id": "a.jpg#1", "answer": "masks/a.png", "box": [1, 2, "3", 4]}]},
        {"classes": [1, 2]},
        {"classes": None},
    ],
)
def test_damaged_listings_are_refused(tmp_path, change):
    about = ask(tmp_path, pick("a.jpg", 0))
    save(tmp_path / "masks/a.png", drawn(0))
    (tmp_path / "asked.json").write_text(json.dumps({**about, **change}))
    with pytest.raises(FormatError, match=r"asked.json'.*export again"):
        read(tmp_path)


# ---- VOC and CVAT ---------------------------------------------------------------------------------------------------


def test_cvat_segmentation_masks_and_frames_nobody_opened(tmp_path):
    names = ("background", "car", "sky")
    palette = ((0, 0, 0), (250, 50, 83), (51, 221, 255))
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nsky:51,221,255::\nbackground:0,0,0::\ncar:250,50,83::\n"
    )
    picture = np.array(palette, np.uint8)[drawn(0)]
    save(tmp_path / "SegmentationClass/cam/f 1.png", picture)
    save(tmp_path / "SegmentationObject/cam/f 1.png", picture)
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/default.txt").write_text("cam/f 1\ncam/f 2\n")
    form = VocMasks()
    assert form.sniff(tmp_path, "answers").sure > FORM.sniff(tmp_path, "answers").sure + 0.05
    head, found = read(tmp_path, form)
    assert head.classes == ("sky", "background", "car")
    assert [(record.image, record.bare, record.state) for record in found] == [
        ("cam/f 1", True, "answered"),
        ("cam/f 2", True, "untouched"),
    ]
    indices = found[0].pixels.read()
    assert [head.classes[n] for n in indices[0]] == [names[n] for n in drawn(0)[0]]


# ---- labelled sets --------------------------------------------------------------------------------------------------


def _source(folder: Path, *names: str) -> Writing:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE, (len(name), 2, 3)).save(folder / name)
    return Writing("labelled", "masks", path_of=lambda image: str(folder / image), images="copy")


NAMES = ("a.jpg", "b c/d.png", "ü.jpg", "e.bmp")
SPLITS = {"b c/d.png": "val", "ü.jpg": "test"}


@pytest.mark.parametrize("form", [PngMasks(), VocMasks()], ids=lambda form: form.name)
@pytest.mark.parametrize("images", ["copy", "link"])
def test_a_labelled_set_reads_back_equal(tmp_path, form, images):
    how = _source(tmp_path / "source", *NAMES)
    how = Writing("labelled", "masks", how.path_of, images)
    masks = {name: drawn(seed) for seed, name in enumerate(NAMES)}
    masks["a.jpg"][0] = IGNORE
    assert form.write(tmp_path / "out", Head(classes=CLASSES), records(masks.items(), SPLITS), how) == []
    assert form.sniff(tmp_path / "out", "data").sure >= 0.9
    head, found = form.read(tmp_path / "out", "data", Hints())
    assert (head.classes, head.palette, head.missing) == (CLASSES, colours(3), ())
    found = {record.image: record for record in found}
    assert set(found) == set(NAMES)
    for name, record in found.items():
        np.testing.assert_array_equal(record.pixels.read(), masks[name])
        assert (record.split or "train") == SPLITS.get(name, "train")
        assert (head.root / name).read_bytes() == (tmp_path / "source" / name).read_bytes()
    # and as answers, into another project
    head, back = form.read(tmp_path / "out", "answers", Hints(classes=CLASSES))
    assert len(list(back)) == len(NAMES)


def test_a_labelled_set_with_its_images_elsewhere(tmp_path):
    how = _source(tmp_path / "source", *NAMES)
    how = Writing("labelled", "masks", how.path_of, "list")
    FORM.write(tmp_path / "out", Head(classes=CLASSES), records([(n, drawn(0)) for n in NAMES], SPLITS), how)
    assert (tmp_path / "out/train.txt").read_text() == f"{tmp_path}/source/a.jpg\n{tmp_path}/source/e.bmp\n"
    assert not (tmp_path / "out/images").exists()
    assert len(read(tmp_path / "out")[1]) == 4


def test_what_was_said_of_regions_becomes_one_mask(tmp_path):
    how = _source(tmp_path / "source", "a.jpg")
    one, two = np.full((2, 3), 1, np.uint8), np.full((2, 2), 2, np.uint8)
    parts = [
        Record(Where("a"), "a.jpg", size=SIZE, pixels=Mask((3, 2), lambda: one, (0, 0)), region="1"),
        Record(Where("a"), "a.jpg", size=SIZE, pixels=Mask((2, 2), lambda: two, (2, 1)), region="2"),
    ]
    FORM.write(tmp_path / "out", Head(classes=CLASSES), parts, how)
    _, found = FORM.read(tmp_path / "out", "data", Hints())
    values = next(iter(found)).pixels.read()
    assert values[:3, :5].tolist() == [[1, 1, 1, 255, 255], [1, 1, 2, 2, 255], [255, 255, 2, 2, 255]]
    assert (values != IGNORE).sum() == 9


def test_images_of_one_stem_and_records_without_mask(tmp_path):
    how = _source(tmp_path / "source", "x.jpg", "x.png", "y.jpg")
    given = [*records([("x.jpg", drawn(0)), ("x.png", drawn(1))]), Record(Where("y"), "y.jpg", state="empty")]
    for form in (PngMasks(), VocMasks()):
        out = tmp_path / form.name
        assert form.write(out, Head(classes=CLASSES), given, how) == ["1 image(s) without mask left out"]
        found = {record.image: record for record in form.read(out, "data", Hints())[1]}
        np.testing.assert_array_equal(found["x.jpg"].pixels.read(), drawn(0))
        np.testing.assert_array_equal(found["x.png"].pixels.read(), drawn(1))


def test_older_files_and_odd_classes_are_refused(tmp_path):
    how = _source(tmp_path / "source", "a.jpg", "b.jpg")

    def write(names):
        FORM.write(tmp_path / "out", Head(classes=CLASSES), records([(n, drawn(0)) for n in names]), how)

    write(["a.jpg", "b.jpg"])
    write(["a.jpg", "b.jpg"])
    with pytest.raises(StateError, match="do not belong to this set"):
        write(["a.jpg"])
    with pytest.raises(FormatError, match=r"class 'a:b' cannot stand in labelmap\.txt"):
        VocMasks().write(tmp_path / "voc", Head(classes=("a:b", "c")), [], how)


@pytest.mark.heavy
@given(st.data())
@settings(max_examples=40, deadline=None)
def test_any_masks_there_and_back(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    names = st.sampled_from(["a b", "ü", "Ämter", "x y z", "0", "1 a", "car"])
    classes = tuple(data.draw(st.lists(names, min_size=2, max_size=4, unique=True)))
    masks, how = {}, _source(folder / "source")
    for n in range(data.draw(st.integers(2, 6))):
        width, height = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
        values, area = st.sampled_from([*range(len(classes)), IGNORE]), width * height
        cells = data.draw(st.lists(values, min_size=area, max_size=area))
        name = data.draw(st.sampled_from(["a", "b", "a/b", "a b", "c.d"])) + f"{n}.png"
        masks[name] = np.array(cells, np.uint8).reshape(height, width)
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (width, height)).save(folder / "source" / name)
    for form in (PngMasks(), VocMasks()):
        form.write(folder / form.name, Head(classes=classes), records(masks.items()), how)
        head, found = form.read(folder / form.name, "data", Hints())
        assert head.classes == classes
        back = {record.image: record.pixels.read() for record in found}
        assert back.keys() == masks.keys()
        for name, values in masks.items():
            np.testing.assert_array_equal(back[name], values)
