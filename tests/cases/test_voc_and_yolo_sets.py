"""Sets of PASCAL VOC and YOLO as people have them: splits are kept, classes keep their names, boxes are those drawn."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from labelwise.data import open_source
from labelwise.errors import FormatError
from labelwise.exchange.incoming import Incoming, Known, Wishes
from labelwise.formats.voc import Voc
from labelwise.formats.yolo import Yolo
from labelwise.kinds import KINDS

sys.path.append(str(Path(__file__).parents[1] / "formats"))

from test_voc import annotation
from test_yolo import BOX, put

NAMES = "names: [cat, dog]\n"


def yolo_set(root: Path, names, settings: str, **lists: str) -> Path:
    """Pictures with one box each, in ``images`` and ``labels``."""
    files = {f"images/{name}": None for name in names}
    files |= {f"labels/{Path(name).with_suffix('.txt').as_posix()}": BOX for name in names}
    return put(root, files | {"data.yaml": settings + NAMES} | {f"{name}.txt": text for name, text in lists.items()})


def counts(path: Path, **options) -> dict[str, int]:
    """How many labelled images each role has, and how many the pool."""
    source = open_source(path, **options)
    assert set(source.truth) <= set(source.ids)
    return dict(Counter(source.roles.get(item, "pool") for item in source.truth))


def said(path: Path) -> str:
    return "\n".join(open_source(path).notes())


def lines(prefix: str, *numbers: int, end: str = "\n") -> str:
    return "".join(f"{prefix}{n}.jpg{end}" for n in numbers)


SIX = [f"{n}.jpg" for n in range(6)]
SPLIT = {"pool": 3, "validation": 1, "test": 2}


# ---- splits as lists of files ---------------------------------------------------------------------------------------


def test_lists_of_files_are_splits(tmp_path):
    lists = {"train": lines("./images/", 0, 1, 2), "val": lines("./images/", 3), "test": lines("./images/", 4, 5)}
    root = yolo_set(tmp_path, SIX, "path: .\ntrain: train.txt\nval: val.txt\ntest: test.txt\n", **lists)
    assert counts(root) == SPLIT


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("/content/drive/MyDrive/cats/images/", "\n"),
        ("C:\\Users\\me\\cats\\images\\", "\r\n"),
        ("images/", " \n\n"),
        ("../cats/images/", "\n"),
    ],
)
def test_lists_of_other_machines(tmp_path, prefix, end):
    lists = {f"autosplit_{word}": lines(prefix, *numbers, end=end) for word, numbers in
             (("train", (0, 1, 2)), ("val", (3,)), ("test", (4, 5)))}  # fmt: skip
    settings = "".join(f"{word}: autosplit_{word}.txt\n" for word in ("train", "val", "test"))
    assert counts(yolo_set(tmp_path, SIX, settings, **lists)) == SPLIT


def test_lists_of_coco_and_lists_of_lists(tmp_path):
    names = [*(f"train2017/{n}.jpg" for n in range(4)), "val2017/4.jpg", "val2017/5.jpg"]
    lists = {
        "first": lines("./images/train2017/", 0, 1),
        "second": lines("./images/train2017/", 2, 3),
        "val2017": lines("./images/val2017/", 4, 5),
    }
    root = yolo_set(tmp_path, names, "train: [first.txt, second.txt]\nval: val2017.txt\n", **lists)
    assert counts(root) == {"pool": 4, "validation": 2}


def test_what_lists_name_and_is_not_there_is_said(tmp_path):
    lists = {"train": lines("./images/", 0, 1, 2, 3), "val": lines("./images/", 5, 77)}
    root = yolo_set(tmp_path, SIX, "train: train.txt\nval: val.txt\ntest: test.txt\n", **lists)
    assert counts(root) == {"pool": 5, "validation": 1}
    assert "2 name(s) in lists of the set are not there: './images/77.jpg (val.txt)', 'test.txt (test" in said(root)


# ---- a path from elsewhere ------------------------------------------------------------------------------------------

NIGHT_AND_DAY = [f"{part}/{part}{n}.jpg" for part in ("night", "day") for n in range(3)]


@pytest.mark.parametrize(
    "settings",
    [
        "path: ../datasets/cats\ntrain: images/night\nval: images/day\n",
        "path: /home/somebody/cats\ntrain: images/night\nval: images/day\n",
        "path: C:\\cats\ntrain: images/night\nval: images/day\n",
        "train: ../images/night\nval: ../images/day\n",
        "train: /content/cats/images/night\nval: /content/cats/images/day\n",
        "path: .\ntrain: images/night/\nvalidation: ./images/day\n",
        "train: [images/night]\nvalid: [images/day, images/dusk]\n",
    ],
)
def test_a_path_of_another_machine_keeps_the_splits(tmp_path, settings):
    root = yolo_set(tmp_path, NIGHT_AND_DAY, settings)
    assert counts(root) == {"pool": 3, "validation": 3}
    assert ("dusk" in said(root)) is ("dusk" in settings)


def test_a_split_that_is_nowhere_is_said(tmp_path):
    root = yolo_set(tmp_path, NIGHT_AND_DAY, "path: ../datasets/cats\ntrain: images/night\nval: images/dusk\n")
    assert counts(root) == {"pool": 6}
    assert "not there: 'images/dusk (val of data.yaml)'" in said(root)


# ---- lists with blanks in file names --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("a\nphoto 1\n", "photo 2\n"),
        ("a  1\nphoto 1 -1\n", "photo 2 0\n"),
        ("a.jpg\nphoto 1.jpg\n", "photo 2.jpg\n"),
        ("a\tphoto\n", "photo 2\n"),
        ("JPEGImages/a.jpg\nphoto 1\n", "  photo 2\r\n"),
        ("a\nphoto 1\nnot there\n", "photo 2\n"),
    ],
)
def test_names_with_blanks_in_lists_of_voc(tmp_path, train, test):
    names = ("a", "photo 1", "photo 2")
    files = {f"JPEGImages/{name}.jpg": None for name in names} | {
        f"Annotations/{name}.xml": annotation(f"{name}.jpg") for name in names
    }
    root = put(tmp_path, files | {"ImageSets/Main/train.txt": train, "ImageSets/Main/test.txt": test})
    assert counts(root) == {"pool": 2, "test": 1}
    assert open_source(root).roles == {"photo 2.jpg": "test"}
    assert ("not there" in said(root)) is any(odd in train for odd in ("\t", "not there", "JPEGImages"))


# ---- CVAT and darknet -----------------------------------------------------------------------------------------------


def test_cvat_yolo(tmp_path):
    files = {f"obj_train_data/{n}.jpg": None for n in range(3)} | {f"obj_train_data/{n}.txt": BOX for n in range(3)}
    lists = {"train.txt": lines("data/obj_train_data/", 0, 1, 2), "obj.names": "cat\ndog\n"}
    data = {"obj.data": "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n"}
    source = open_source(put(tmp_path, files | lists | data))
    assert (source.classes, len(source.truth)) == (("cat", "dog"), 3)
    assert source.notes() == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("obj_Train_data", "obj_Validation_data", "obj_Test_data"), {"pool": 1, "validation": 1, "test": 1}),
        (("obj_train_data/cam 1", "obj_train_data/cam 2"), {"pool": 2}),
        (("obj", "obj/more"), {"pool": 2}),
        (("train", "valid", "test"), {"pool": 1, "validation": 1, "test": 1}),
        (("data/obj_train_data", "data/obj_valid_data"), {"pool": 1, "validation": 1}),
    ],
)
def test_folders_of_darknet(tmp_path, files, expected):
    pictures = {f"{folder}/{n}.jpg": None for n, folder in enumerate(files)}
    texts = {f"{folder}/{n}.txt": BOX for n, folder in enumerate(files)}
    assert counts(put(tmp_path, pictures | texts | {"obj.names": "cat\ndog\n"})) == expected


def test_lists_of_darknet(tmp_path):
    pictures = {f"obj/{n}.jpg": None for n in range(4)} | {f"obj/{n}.txt": BOX for n in range(4)}
    lists = {"train.txt": lines("build/darknet/x64/data/obj/", 0, 1), "test.txt": lines("data/obj/", 2, 3)}
    data = {"obj.data": "classes = 2\ntrain = data/train.txt\ntest = data/test.txt\nnames = data/obj.names"}
    assert counts(put(tmp_path, pictures | lists | data | {"obj.names": "cat\ndog"})) == {"pool": 2, "test": 2}


def test_frames_that_cvat_lists_are_not_empty_images(tmp_path):
    files = {f"obj_train_data/{n}.jpg": None for n in range(3)}
    texts = {"obj_train_data/0.txt": BOX, "obj_train_data/1.txt": "", "obj_train_data/2.txt": ""}
    root = put(tmp_path, files | texts | {"obj.names": "cat\n"})
    assert counts(root) == {"pool": 1}
    assert "2 image(s) without any object may never have been opened" in said(root)
    assert counts(root, untouched="empty") == {"pool": 3}


def test_roboflow_darknet_has_a_class_list_in_each_folder(tmp_path):
    files = {f"{split}/a_{split}.jpg": None for split in ("train", "valid")}
    files |= {f"{split}/a_{split}.txt": BOX for split in ("train", "valid")}
    lists = {f"{split}/_darknet.labels": "cat\ndog\n" for split in ("train", "valid")}
    source = open_source(put(tmp_path, files | lists))
    assert (source.classes, dict(source.roles)) == (("cat", "dog"), {"valid/a_valid.jpg": "validation"})


# ---- labelImg -------------------------------------------------------------------------------------------------------


def test_texts_beside_the_images(tmp_path):
    files = {f"{n}.jpg": None for n in range(3)} | {f"{n}.txt": BOX for n in range(3)}
    assert counts(put(tmp_path, files | {"classes.txt": "cat\ndog\n"})) == {"pool": 3}


@pytest.mark.parametrize(
    "files",
    [
        {"0.JPG": None, "0.txt": BOX, "classes.txt": "cat"},
        {"cam 1/0.jpg": None, "cam 1/0.txt": BOX, "cam 1/classes.txt": "cat\n", "classes.txt": "cat\r\n"},
        {"0.jpg": None, "0.txt": BOX, "1.jpg": None, "README.md": "x", "notes.txt": "two cats", "obj.names": "cat"},
        {"0.b.jpg": None, "0.b.txt": BOX.replace(" ", "\t"), "predefined_classes.txt": "cat"},
        {"ü 1.png": None, "ü 1.txt": f"\ufeff{BOX}", "classes.txt": "\ufeffcat\n\n"},
    ],
)  # fmt: skip
def test_folders_of_labelimg(tmp_path, files):
    source = open_source(put(tmp_path, files))
    assert (source.classes, len(source.truth)) == (("cat",), 1)


def test_numbers_without_a_class_list_are_refused(tmp_path):
    root = put(tmp_path, {"0.jpg": None, "0.txt": BOX})
    with pytest.raises(FormatError, match="no list says which is which"):
        open_source(root)
    assert open_source(root, names={0: "cat"}).classes == ("cat",)


# ---- Roboflow and kin: XML beside the images ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        ("{split}/{split}{n}.xml", "{split}/{split}{n}.jpg"),
        ("{split}/Annotations/{n}.xml", "{split}/JPEGImages/{n}.jpg"),
        ("{split}/annotations/{n}.xml", "{split}/images/{n}.png"),
        ("Annotations/{split}/{n}.xml", "JPEGImages/{split}/{n}.jpg"),
        ("annotations/{split}/{n}.xml", "images/{split}/{n}.jpg"),
        ("data/{split}/{n}.xml", "data/{split}/{n}.JPG"),
    ],
)
@pytest.mark.parametrize("splits", [("train", "valid", "test"), ("Train", "Val", "Testing")])
def test_annotations_in_folders_of_splits(tmp_path, place, splits):
    files = {}
    for split in splits:
        for n in range(2):
            xml, picture = (text.format(split=split, n=n) for text in place)
            files |= {picture: None, xml: annotation(Path(picture).name)}
    assert counts(put(tmp_path, files)) == {"pool": 2, "validation": 2, "test": 2}


def test_frames_that_cvat_annotates_are_not_empty_images(tmp_path):
    bare = "<annotation><filename>{}.jpg</filename><size><width>8</width><height>6</height></size></annotation>"
    files = {f"JPEGImages/{n}.jpg": None for n in range(3)}
    files |= {"Annotations/0.xml": annotation("0.jpg"), "Annotations/1.xml": bare.format(1)}
    root = put(
        tmp_path, files | {"Annotations/2.xml": bare.format(2), "labelmap.txt": "background:0,0,0::\ncat:1,2,3::"}
    )
    assert counts(root) == {"pool": 1}
    (root / "labelmap.txt").unlink()
    assert counts(root) == {"pool": 3}  # labelImg writes a file only for what somebody saved


# ---- class names ----------------------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize(
    "names",
    [("no", "yes"), ("on", "off"), ("null", "~"), ("1.0", "2"), ("2001-12-14", "12:30"), ("0x1f", "1e3"), ("y", "n")],
)
@pytest.mark.parametrize(
    "form", ["names: [{}, {}]\n", "names:\n  0: {}\n  1: {}\n", "names: {{1: {1}, 0: {0}}}\nnc: 2\n"]
)
def test_class_names_are_what_is_written(tmp_path, names, form):
    root = put(tmp_path, {"images/0.jpg": None, "labels/0.txt": f"{BOX}1 0.5 0.5 0.1 0.1\n"})
    put(root, {"data.yaml": form.format(*names)})
    source = open_source(root)
    assert source.classes == names
    assert [thing["class"] for thing in source.truth["0.jpg"]["objects"]] == list(names)


# ---- key points and polygons ----------------------------------------------------------------------------------------

POSE = "0 0.2 0.2 0.1 0.1 0.18 0.18 0.22 0.22\n"


def _boxes(tmp_path, text: str, settings: str = "") -> list[list[float]]:
    root = put(tmp_path, {f"images/{n}.jpg": (100, 100) for n in range(2)})
    put(root, {f"labels/{n}.txt": text for n in range(2)} | {"data.yaml": f"{settings}names: [cat]\n"})
    return [thing["box"] for thing in open_source(root).truth["0.jpg"]["objects"]]


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        (POSE, "kpt_shape: [2, 2]\n"),
        ("0 0.2 0.2 0.1 0.1 0.18 0.18 2 0.22 0.22 1\n", "kpt_shape: [2, 3]\n"),
        ("0 0.2 0.2 0.1 0.1 0.18 0.18 2 0.22 0.22 1\n", ""),
        ("0 0.2 0.2 0.1 0.1 0.18 0.18 1\n", ""),
        ("0 0.2 0.2 0.1 0.1 0 0 -1 -1\n", "kpt_shape: [2, 2]\n"),
        ("0 0.2 0.2 0.1 0.1\n", "kpt_shape: [2, 2]\n"),
    ],
)
def test_the_box_of_key_points_is_the_box(tmp_path, text, settings):
    assert _boxes(tmp_path, text, settings) == [[15, 15, 25, 25]]


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        (POSE, ""),
        ("0 0.2 0.2 0.1 0.1 0.18 0.18\n", ""),
        (POSE, "kpt_shape: [3, 2]\n"),
        (POSE, "kpt_shape: [2, 3]\n"),
        ("0 0.2 0.2 0.1 0.1 0.18 0.18 0.22 0.22 0.2 0.2 0.19 0.21\n", ""),
        ("0 0.2 0.2 0.1 0.1 0.18 0.18 3 0.22 0.22 1\n", "kpt_shape: [2, 3]\n"),
    ],
)
def test_key_points_that_may_be_corners_are_refused(tmp_path, text, settings):
    with pytest.raises(FormatError, match=r"kpt_shape|flag of a key point"):
        _boxes(tmp_path, text, settings)


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("0 -0.002 0.1 0.4 0.1 0.4 0.5 -0.002 0.5\n", [-0.2, 10, 40, 50]),
        ("0 0.199 0.3 0.402 0.4\n", [-0.2, 10, 40, 50]),
        ("0 1.002 0.5 0.1 0.1\n", [95.2, 45, 105.2, 55]),
        ("0 0.9 0.1 1.003 0.1 1.003 0.3 0.95 0.35 0.9 0.3\n", [90, 10, 100.3, 35]),
        ("0 0.4 -0.005 0.6 0.2 0.4 0.4 0.2 0.195\n", [20, -0.5, 60, 40]),
    ],
)
def test_corners_a_little_outside_are_cut_off_and_counted(tmp_path, text, box):
    assert _boxes(tmp_path, text) == [[pytest.approx(value) for value in box]]
    assert "2 box(es) that leave the image: cut off at its border" in said(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["0 50 50 20 20\n", "0 10 10 40 10 40 50 10 50\n", "0 1.2 0.5 0.1 0.1\n", "0 1.1 0.1 1.3 0.1 1.3 0.3 1.1 0.3\n"],
)
def test_what_lies_outside_altogether_is_refused(tmp_path, text):
    with pytest.raises(FormatError, match="no fractions of the image's sides"):
        _boxes(tmp_path, text)


# ---- answers from another folder ------------------------------------------------------------------------------------


def _answers(form, path: Path, *ids: str) -> Incoming:
    known = Known(KINDS.create("boxes"), frozenset(ids), ("cat", "dog"), size_of=lambda item: (8, 6))
    return Incoming(path, form, "answers", known, Wishes(names={0: "cat", 1: "dog"}))


@pytest.mark.parametrize(
    ("form", "text", "ending"), [(Voc(), annotation("0000.jpg"), "xml"), (Yolo(), BOX, "txt")], ids=["voc", "yolo"]
)
@pytest.mark.parametrize("number", range(3))
def test_labels_of_another_folder_are_refused(tmp_path, form, text, ending, number):
    folders = {"xml": ("", "Annotations/", "train/Annotations/"), "txt": ("", "labels/", "obj_train_data/")}
    root = put(tmp_path, {f"{folders[ending][number]}tuesday/0000.{ending}": text})
    incoming = _answers(form, root, "monday/0000.jpg", "monday/0001.jpg")
    assert list(incoming.rows()) == []
    with pytest.raises(FormatError, match=r"monday/0000\.jpg' lies in another folder"):
        incoming.refuse_unknown()
    incoming = _answers(form, root, "tuesday/0000.jpg", "monday/0000.jpg")
    assert [row.item for row in incoming.rows()] == ["tuesday/0000.jpg"]
    # a text that names no folder means the only image of its name
    root = put(tmp_path / "flat", {f"0001.{ending}": text})
    assert [row.item for row in _answers(form, root, "monday/0001.jpg", "monday/0000.jpg").rows()] == [
        "monday/0001.jpg"
    ]
