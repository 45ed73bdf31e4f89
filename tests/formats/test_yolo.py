"""YOLO sets: every layout of its tools, what the numbers of a line mean, and sets that come back as they were."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import bounded
from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.kind import Naming
from labelwise.contracts.record import Box, Head, Points, Polygon, Record, Seen, Where
from labelwise.errors import FormatError, LabelwiseError, StateError
from labelwise.exchange.classes import ClassMap
from labelwise.formats.yolo import Yolo
from labelwise.kinds import KINDS

SIZES = {"train/a.jpg": (640, 480), "train/b.c.png": (333, 77), "val/e.jpg": (5, 5)}
LINES = """1 0.344531 0.5 0.120313 0.25

0 0.0 0.0 0.5 0.5
0 1 1 0 0
1 0.1 0.2 0.3 0.2 0.3 0.9
0 0.333333 0.4 0.1 0.2 0.875
"""
BOX = "0 0.5 0.5 0.2 0.2\n"


def put(root: Path, files: Mapping[str, str | tuple[int, int] | None]) -> Path:
    """Writes texts, and pictures of a size (None: of any)."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            Image.new("RGB", content or (8, 6)).save(path)
    return root


def read(folder: Path, use="data", **hints):
    head, records = Yolo().read(folder, use, Hints(**hints))
    return head, {record.image: record for record in records}


def boxes(record: Record) -> list[tuple]:
    return [
        (seen.cls, *(round(v, 6) for v in (seen.box.x1, seen.box.y1, seen.box.x2, seen.box.y2)))
        for seen in record.objects
    ]


def words(records) -> dict[str, str | None]:
    return {name: record.split for name, record in records.items()}


def samples(tmp_path: Path) -> list[Path]:
    """Small sets as the tools write them."""
    ultralytics = put(
        tmp_path / "ultralytics",
        {
            **dict.fromkeys(("images/train/a.jpg", "images/train/b.c.png", "images/val/e.jpg")),
            "labels/train/a.txt": LINES.replace(" 0.875", ""),
            "labels/val/e.txt": "",
            "data.yaml": "train: images/train\nval: images/val\ntest:\n\nnames:\n  0: cat\n  1: dog\n",
        },
    )
    roboflow = put(
        tmp_path / "roboflow",
        {
            **{f"{split}/images/{split}_jpg.rf.0123456789abcdef0123456789abcdef.jpg": None for split in SPLITS},
            **{f"{split}/labels/{split}_jpg.rf.0123456789abcdef0123456789abcdef.txt": BOX for split in SPLITS},
            "data.yaml": "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\n"
            "names: ['cat', 'dog']\n\nroboflow:\n  workspace: w\n  version: 1\n",
            "README.dataset.txt": "# cats > 2024\nhttps://example.org\n",
            "README.roboflow.txt": "exported 3 images\n",
        },
    )
    cvat = put(
        tmp_path / "cvat",
        {
            "obj_train_data/cam1/0.jpg": None,
            "obj_train_data/cam1/1.jpg": None,
            "obj_train_data/cam1/0.txt": "0 0.5 0.5 0.2 0.2\n",
            "obj_train_data/cam1/1.txt": "",
            "obj.names": "cat\ndog\n",
            "train.txt": "data/obj_train_data/cam1/0.jpg\ndata/obj_train_data/cam1/1.jpg\n",
            "obj.data": "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n",
        },
    )
    labelimg = put(
        tmp_path / "labelimg", {"a.jpg": None, "b.jpg": None, "a.txt": BOX, "classes.txt": "cat\ndog\n", "b.txt": ""}
    )
    pose = put(
        tmp_path / "pose",
        {
            "images/a.jpg": None,
            "labels/a.txt": "0 0.5 0.5 0.4 0.4 0.4 0.4 2 0.6 0.6 1 0 0 0\n",
            "data.yaml": "train: images\nval: images\nkpt_shape: [3, 3]\nflip_idx: [1, 0, 2]\nnames: {0: cat}\n"
            "kpt_names:\n  0: [left, right, tail]\n",
        },
    )
    return [ultralytics, roboflow, cvat, labelimg, pose]


SPLITS = ("train", "valid", "test")


def predicted_samples(tmp_path: Path) -> list[Path]:
    """What ``predict(save_txt, save_conf)`` writes."""
    return [
        put(tmp_path / "predict", {"labels/a.txt": "1 0.5 0.5 0.2 0.2 0.9\n0 0.5 0.5 0.2 0.2 0.25\n", "a.jpg": None}),
        put(tmp_path / "track", {"labels/a_1.txt": "1 0.5 0.5 0.2 0.2 0.9 1\n0 0.5 0.5 0.2 0.2 0.25 17\n"}),
    ]


# ---- layouts --------------------------------------------------------------------------------------------------------


def test_what_is_read(tmp_path):
    root = put(tmp_path, {f"images/{name}": size for name, size in SIZES.items()})
    put(root, {"labels/train/a.txt": LINES, "labels/val/e.txt": "", "classes.txt": "cat\n\ndog\n"})
    head, records = read(root)
    assert head.classes == ("cat", "dog")
    assert head.root == root / "images"
    assert head.says_empty
    things = records["train/a.jpg"].objects
    assert (things[0].cls, things[1].box) == (1, Box(-0.25, -0.25, 0.25, 0.25))
    assert things[3].outline == Polygon(((0.1, 0.2, 0.3, 0.2, 0.3, 0.9),))
    assert things[3].box is None
    assert things[4].score == 0.875
    # an empty file is an image without any object; no file is no label
    assert records["val/e.jpg"].state == "empty"
    assert records["train/b.c.png"].state == "untouched"
    assert words(records) == {"train/a.jpg": "train", "train/b.c.png": "train", "val/e.jpg": "val"}
    assert str(records["train/a.jpg"].where) == repr(f"{root}/labels/train/a.txt")
    raw = raw_of(records["train/a.jpg"], head, SIZES["train/a.jpg"])
    assert [thing["box"] for thing in raw["objects"]] == [
        [181.99968, 180, 259.0, 300],
        [-160, -120, 160, 120],
        [640, 480, 640, 480],
        [64, 96, 192, 432],
        [181.33312, 144.0, 245.33312, 240.0],
    ]
    assert raw["objects"][3]["extra"] == {"polygon": [0.1, 0.2, 0.3, 0.2, 0.3, 0.9]}
    assert any("1 line(s) have a fifth number, read as confidence" in note for note in head.notes)


def raw_of(record: Record, head: Head, size, kind="boxes"):
    kind = KINDS.create(kind)
    return kind.from_record(record, Naming(ClassMap(head, shown="x"), head.classes, head), size)


def test_layouts_of_the_tools(tmp_path):
    ultralytics, roboflow, cvat, labelimg, pose = samples(tmp_path)
    for path in (ultralytics, roboflow, cvat, labelimg):
        assert read(path)[0].classes == ("cat", "dog")
        assert read(path)[0].missing == ()
    head, records = read(roboflow)
    assert head.root == Yolo().root(roboflow) == roboflow
    assert sorted(words(records).values()) == ["test", "train", "val"]
    assert all(boxes(record) == [(0, 0.4, 0.4, 0.6, 0.6)] for record in records.values())
    assert head.notes == (
        "2 text file(s) are no labels and were not read: 'README.dataset.txt', 'README.roboflow.txt'",
    )
    assert head.extra["roboflow"] == {"workspace": "w", "version": "1"}
    head, records = read(cvat)
    assert {name: record.state for name, record in records.items()} == {
        "obj_train_data/cam1/0.jpg": "answered",
        "obj_train_data/cam1/1.jpg": "empty",
    }
    assert not head.says_empty  # all frames have a text there, looked at or not
    assert read(cvat / "obj.data")[1].keys() == records.keys()
    head, records = read(labelimg)
    assert {name: record.state for name, record in records.items()} == {"a.jpg": "answered", "b.jpg": "empty"}
    assert head.says_empty
    head, records = read(pose)
    assert head.skeleton == (("left", "right", "tail"), ())
    assert records["a.jpg"].objects[0].points.points == ((0.4, 0.4, 2), (0.6, 0.6, 1), (0, 0, 0))
    assert records["a.jpg"].objects[0].points.names == ("left", "right", "tail")


def test_answers_are_named_by_their_text(tmp_path):
    ultralytics, roboflow, cvat, labelimg, _ = samples(tmp_path)
    assert {r.image: (r.bare, r.state) for r in read(ultralytics, "answers")[1].values()} == {
        "train/a": (True, "answered"),
        "val/e": (True, "empty"),
    }
    assert set(read(roboflow, "answers")[1]) == {
        f"{split}/images/{split}_jpg.rf.0123456789abcdef0123456789abcdef" for split in SPLITS
    }
    head, records = read(cvat, "answers")
    assert {name: r.state for name, r in records.items()} == {"cam1/0": "answered", "cam1/1": "empty"}
    assert not head.says_empty
    assert head.notes == ()  # lists and class lists are not told
    assert set(read(labelimg, "answers")[1]) == {"a", "b"}
    # the folder of texts itself, and texts without any class list
    head, records = read(ultralytics / "labels", "answers")
    assert (head.classes, set(records)) == ((), {"train/a", "val/e"})
    assert read(ultralytics / "labels", "answers", names={0: "x", 1: "y"})[0].classes == ()


def test_pictures_that_lie_elsewhere(tmp_path):
    _, _, cvat, _, _ = samples(tmp_path)
    for picture in cvat.rglob("*.jpg"):
        picture.unlink()
    (cvat / "val.txt").write_text("data/obj_train_data/cam1/1.jpg\n")
    with (cvat / "obj.data").open("a") as file:
        file.write("valid = data/val.txt\n")
    (cvat / "train.txt").write_text("data/obj_train_data/cam1/0.jpg\n")
    put(tmp_path / "pictures", {"cam1/0.jpg": None, "cam1/1.jpg": None})
    head, records = read(cvat, root=tmp_path / "pictures")
    assert head.root == tmp_path / "pictures"
    assert {name: (r.bare, r.split) for name, r in records.items()} == {
        "cam1/0": (True, "train"),
        "cam1/1": (True, "valid"),
    }


def test_texts_beside_pictures_in_images_and_twins(tmp_path):
    root = put(tmp_path, {"images/a.jpg": None, "images/a.txt": BOX, "classes.txt": "cat\n"})
    assert boxes(read(root)[1]["a.jpg"])
    put(root, {"images/a.png": None})
    with pytest.raises(FormatError, match=r"'images/a.jpg' and 'images/a.png' would both lie at 'images/a.txt'"):
        read(root)


def test_texts_without_a_picture_are_handed_on(tmp_path):
    root = put(tmp_path, {"images/a.jpg": None, "labels/a.txt": BOX, "labels/z.txt": "", "classes.txt": "cat"})
    put(root, {"captions.txt": "a cat\n", "images/notes.txt": "0 cats today"})
    head, records = read(root)
    assert (records["images/z"].bare, records["images/z"].state) == (True, "empty")
    assert head.notes == ("2 text file(s) are no labels and were not read: 'captions.txt', 'images/notes.txt'",)


def test_class_names_are_text(tmp_path):
    odd = ["no", "yes", "on", "off", "null", "~", "1.0", "0x1f", "2001-12-14", "1_000", "true", "007", "=", "1e3"]
    root = put(tmp_path, {"images/a.jpg": None, "labels/a.txt": f"{len(odd) - 1} 0.5 0.5 0.1 0.1"})
    for text in (
        f"names: [{', '.join(odd)}]",
        "names:\n" + "".join(f"- {name}\n" for name in odd),
        "names:\n" + "".join(f"  {index}: {name}\n" for index, name in enumerate(odd)),
        "names:\n" + "".join(f"  '{index}': \"{name}\"\n" for index, name in reversed([*enumerate(odd)])),
        f"nc: {len(odd)}\nnames: {{{', '.join(f'{index}: {name}' for index, name in enumerate(odd))}}}",
        f"nc: {len(odd)}.0\nnames: {odd!r}",
    ):
        (root / "data.yaml").write_text(text)
        assert read(root)[0].classes == tuple(odd), text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("names: [a, b]\nnc: 3", "nc is 3, and there are 2 names"),
        ("names: [a, b]\nnc: many", "nc is many"),
        (f"names: [a, b]\nnc: {10**400}", "nc is 1000000000"),
        ("names: {0: a, 2: b}", "without a hole"),
        ("names: {a: 0, b: 1}", "without a hole"),
        ("names: {0: a, 0: b}", "'0' stands twice"),
        ("nc: 3", "no list called names"),
        ("names: cat, dog", "no list called names"),
        ("names: [a, a]", "'a' is listed twice"),
        ("names: []", "empty"),
        ("names: [a, '']", "empty"),
        ("names: [a, [b]]", "a name is"),
        ("names: [a, {}]", "a name is {}"),
        ("names: [a,\n b: {", "no valid YAML"),
        ("- 1", "no list called names"),
        ("", "no list called names"),
        ("names: [a]\nkpt_shape: [17]", "kpt_shape is"),
        ("names: [a]\nkpt_shape: [17, 4]", "kpt_shape is"),
        ("names: [a]\nkpt_shape: 17", "kpt_shape is"),
        (f"names: [a]\nkpt_shape: [{10**400}, 3]", "kpt_shape is"),
        ("names: [a]\ntask: segmentation", "task is 'segmentation'; give detect, segment"),
    ],
)  # fmt: skip
def test_broken_settings_are_refused(tmp_path, text, said):
    root = put(tmp_path, {"images/a.jpg": None, "labels/a.txt": "", "data.yaml": text})
    with pytest.raises(FormatError, match=said) as caught:
        read(root)
    assert "data.yaml" in str(caught.value)
    assert len(str(caught.value).replace(str(tmp_path), "")) < 250


def test_class_lists_that_contradict_are_refused(tmp_path):
    root = put(tmp_path, {"a.jpg": None, "a.txt": BOX, "classes.txt": "cat\ndog\n", "data.yaml": "names: [cat, dog]"})
    assert read(root)[0].classes == ("cat", "dog")
    put(root, {"classes.txt": "dog\ncat\n"})
    with pytest.raises(FormatError, match=r"list different classes \(class 0 is 'cat' and 'dog'\).*--names"):
        read(root)
    assert read(root, names={0: "cat", 1: "dog"})[0].classes == ()  # the user's list decides
    put(root, {"classes.txt": "cat\ndog\ncow\n"})
    with pytest.raises(FormatError, match=r"list different classes \(one lists more\)"):
        read(root)
    # labelImg leaves one beside the texts of every folder
    other = put(tmp_path / "two", {f"{part}/{part}.jpg": None for part in ("train", "val")})
    put(other, {"train/train.txt": BOX, "val/val.txt": BOX, "train/classes.txt": "cat", "val/classes.txt": "dog"})
    with pytest.raises(FormatError, match="list different classes"):
        read(other)
    put(other, {"val/classes.txt": "cat\n"})
    assert read(other)[0].classes == ("cat",)
    obj = put(tmp_path / "three", {"obj.names": "cat\n", "obj.data": "classes = 2\nnames = data/obj.names\n"})
    put(obj, {"obj_train_data/a.txt": BOX})
    with pytest.raises(FormatError, match=r"says classes = 2, and .*obj.names' lists 1"):
        read(obj, "answers")


def test_several_settings_ask_which(tmp_path):
    root = put(tmp_path, {"images/a.jpg": None, "labels/a.txt": BOX, "fold1.yaml": "names: [a]\nval: images\n"})
    assert read(root)[0].classes == ("a",)
    put(root, {"fold2.yaml": "names: [b]\n", "hyp.yaml": "lr0: 0.1\n"})
    with pytest.raises(FormatError, match=r"several files of settings \(fold1.yaml, fold2.yaml\)"):
        read(root)
    assert read(root / "fold2.yaml")[0].classes == ("b",)


@pytest.mark.heavy
def test_reading_class_lists_is_linear(tmp_path):
    put(tmp_path / "long", {"a.jpg": None, "a.txt": BOX, "classes.txt": "".join(f"c{n}\n" for n in range(200_000))})
    text = "names: [" + ", ".join(f"c{n}" for n in range(90_000)) + "]"
    put(tmp_path / "yaml", {"images/a.jpg": None, "labels/a.txt": BOX, "data.yaml": text})
    bounded.readings(
        "labelwise.formats.yolo:Yolo", "data", [tmp_path / "long", tmp_path / "yaml"], megabytes=300, seconds=2
    )


# ---- splits ---------------------------------------------------------------------------------------------------------


def _set(root: Path, names, text: str, **files: str) -> Path:
    put(root, {f"images/{name}": None for name in names})
    put(root, {f"labels/{Path(name).with_suffix('.txt').as_posix()}": BOX for name in names})
    return put(root, {"data.yaml": text + "\nnames: [cat, dog]\n"} | {k.replace("_", "."): v for k, v in files.items()})


SIX = [f"{n}.jpg" for n in range(6)]


@pytest.mark.parametrize(
    ("prefix", "path"),
    [("./images/", "path: .\n"), ("images/", ""), ("/content/cats/images/", "path: /content/cats\n"),
     ("C:\\\\cats\\\\images\\\\".replace("\\\\", "\\"), ""), ("../cats/images/", "")],
)  # fmt: skip
def test_lists_are_splits(tmp_path, prefix, path):
    lists = {"train_txt": range(3), "val_txt": [3], "test_txt": [4, 5]}
    lines = {name: "".join(f"{prefix}{n}.jpg\n" for n in numbers) for name, numbers in lists.items()}
    root = _set(tmp_path / "cats", SIX, f"{path}train: train.txt\nval: val.txt\ntest: test.txt", **lines)
    head, records = read(root)
    assert [records[name].split for name in SIX] == ["train"] * 3 + ["val"] + ["test"] * 2
    assert head.missing == ()
    assert not any("no labels" in note for note in head.notes)


def test_lines_and_folders_that_are_not_there_are_said(tmp_path):
    root = _set(
        tmp_path,
        SIX,
        "train: train.txt\nval: images/day\ntest: [images/9, test.txt]\nnames2: x",
        train_txt="./images/0.jpg\n./images/99.jpg\n\n",
        test_txt="./images/5.jpg\n",
    )
    (root / "images/9").mkdir()
    head, records = read(root)
    assert head.missing == (
        "./images/99.jpg (train.txt)",
        "images/day (val of data.yaml)",
        "images/9 (test of data.yaml, without images)",
    )
    assert words(records)["5.jpg"] == "test"
    assert any("4 image(s) are in no list and no folder of train, val, test" in note for note in head.notes)


@pytest.mark.parametrize("path", ["../datasets/cats", "/nowhere/cats", "cats", "", "null", "~"])
def test_a_path_elsewhere_does_not_lose_the_splits(tmp_path, path):
    names = [f"{part}/{n}.jpg" for part in ("night", "day") for n in range(3)]
    root = _set(tmp_path, names, f"path: {path}\ntrain: images/night\nval: images/day")
    head, records = read(root)
    assert sorted(words(records).values()) == ["train"] * 3 + ["val"] * 3
    assert head.missing == ()


def test_absolute_places_of_another_machine(tmp_path):
    names = [f"{part}/{n}.jpg" for part in ("night", "day") for n in range(2)]
    root = _set(tmp_path, names, "train: /content/cats/images/night\nval: /content/cats/images/day")
    head, records = read(root)
    assert sorted(filter(None, words(records).values())) == ["train", "train", "val", "val"]
    assert any("'images/day' in the set was taken for it" in note for note in head.notes)
    # one folder alone says too little: what was valid/images is not images
    root = _set(tmp_path / "two", SIX, "train: /content/train/images\nval: /content/valid/images")
    head, records = read(root)
    assert set(words(records).values()) == {None}
    assert len(head.missing) == 2


def test_folders_as_lists_and_overlaps(tmp_path):
    names = [f"{part}/{n}.jpg" for part in ("a", "b", "c") for n in range(2)]
    root = _set(tmp_path, names, "train: [images/a, images/b]\nval: [images/c]\ntest: [images/b]")
    head, records = read(root)
    assert [records[name].split for name in names] == ["train"] * 4 + ["val"] * 2
    assert any("test names" in note or "2 image(s) are in train and in test" in note for note in head.notes)
    put(root, {"data.yaml": "train: images/a\nval: [images/b, images/c]\ntest: images/c\nnames: [cat]"})
    head, records = read(root)
    assert [records[name].split for name in names] == ["train"] * 2 + ["val"] * 2 + ["test"] * 2
    assert any("2 image(s) are in two splits: taken for test" in note for note in head.notes)
    # a set without validation has to name something for val
    put(root, {"data.yaml": "train: images\nval: images\nnames: [cat]"})
    head, records = read(root)
    assert set(words(records).values()) == {None}
    assert any("val names the same images as train" in note for note in head.notes)


def test_folders_called_like_splits(tmp_path):
    root = _set(tmp_path, ["train/a.png", "train/d.png", "val/b.png", "test/c.png"], "")
    assert words(read(root)[1]) == {"train/a.png": "train", "train/d.png": "train", "val/b.png": "val",
                                    "test/c.png": "test"}  # fmt: skip
    put(root, {"data.yaml": "names: [cat]\ntrain: images/train\nval: images/test\n"})
    assert words(read(root)[1]) == {"train/a.png": "train", "train/d.png": "train", "val/b.png": None,
                                    "test/c.png": "val"}  # fmt: skip
    # no folder for training: the words say something else
    root = _set(tmp_path / "two", ["test/a.png", "cats/d.png"], "")
    assert set(words(read(root)[1]).values()) == {None}
    root = _set(tmp_path / "three", ["Train/a.png", "Dev/d.png"], "")
    assert words(read(root)[1]) == {"Train/a.png": "Train", "Dev/d.png": "Dev"}


def test_nothing_outside_the_folder_is_read(tmp_path):
    outside = put(tmp_path / "outside", {"images/x.jpg": None, "secret.txt": "images/0.jpg\n"})
    text = f"train: images\nval: {outside}/images\ntest: {outside}/secret.txt"
    head, records = read(_set(tmp_path / "set", SIX, text))
    assert len(head.missing) == 2
    assert set(words(records).values()) == {None}
    (tmp_path / "set" / "val.txt").symlink_to("/dev/zero")
    (tmp_path / "set" / "data.yaml").write_text("names: [cat]\ntrain: images\nval: val.txt\ntest: ../../../../etc\n")
    assert len(read(tmp_path / "set")[0].missing) == 2


def test_data_yaml_that_leads_to_pictures_elsewhere(tmp_path):
    root = _set(tmp_path / "datasets" / "cats", ["train/a.jpg", "val/b.jpg"], "")
    put(tmp_path / "code", {"cats.yaml": "path: ../datasets/cats\ntrain: images/train\nval: images/val\nnames: [x, y]"})
    file = tmp_path / "code" / "cats.yaml"
    head, records = read(file)
    assert head.classes == ("x", "y")
    assert head.root.resolve() == Yolo().root(file).resolve() == root / "images"
    assert words(records) == {"train/a.jpg": "train", "val/b.jpg": "val"}


# ---- lines ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 0.5 0.5 0.1", "3 numbers behind the class"),
        ("0", "0 numbers behind the class"),
        ("0 a b c d", "something else than numbers"),
        ("cat 0.5 0.5 0.1 0.1", "the class is a number"),
        ("0.93 cat", "what a classifier predicts"),
        ("2 0.5 0.5 0.1 0.1", "class 2 is not in the list, which has 0 to 1"),
        ("-1 0.5 0.5 0.1 0.1", "class -1"),
        ("0.5 0.5 0.5 0.1 0.1", "class 0.5"),
        (f"{10**400} 0.5 0.5 0.1 0.1", "a value is 1000"),
        ("0 nan 0.5 0.1 0.1", "a value is nan"),
        ("0 1e999 0.5 0.1 0.1", "a value is 1e999"),
        ("0 0.5 0.5 -0.1 0.1", "negative"),
        ("0 320 240 50 50", "no fractions of the image's sides"),
        ("0 1.2 0.5 0.1 0.1", "no fractions of the image's sides"),
        ("0 0.5 0.5 0.1 2.1", "no fractions of the image's sides"),
        ("0 0.5 0.5 0.1 0.1 1.5", "confidence is 1.5"),
        ("0 0.1 0.2 0.3 0.2 0.3 9.5", "no fractions of the image's sides"),
        ("0 10 20 30 20 30 90 12 14", "no fractions of the image's sides"),
    ],
)
def test_broken_lines_are_refused_with_their_number(tmp_path, line, said):
    root = put(tmp_path, {"images/a.jpg": None, "classes.txt": "cat\ndog\n"})
    put(root, {"labels/a.txt": f"0 0.5 0.5 0.1 0.1\n\n{line}\n"})
    with pytest.raises(FormatError, match=said) as caught:
        read(root)
    assert "a.txt', line 3" in str(caught.value)
    assert len(str(caught.value).replace(str(tmp_path), "")) < 250


def _lines(tmp_path, lines, use="answers", settings="", **hints):
    root = put(tmp_path, {f"labels/{n}.txt": f"0 {line}\n" for n, line in enumerate(lines)})
    if settings:
        put(root, {"data.yaml": f"names: [cat]\n{settings}\n"})
    head, records = read(root, use, **hints)
    return head, [record.objects[0] for record in records.values()]


POSE_2 = ["0.2 0.2 0.1 0.1 0.18 0.18 0.22 0.22", "0.7 0.3 0.2 0.2 0.68 0.28 0.72 0.32"]
POSE_3 = ["0.2 0.2 0.1 0.1 0.18 0.18 2 0.22 0.22 1", "0.7 0.3 0.2 0.2 0.68 0.28 0 0.72 0.32 2"]


def test_key_points_are_never_taken_for_polygons(tmp_path):
    with pytest.raises(FormatError, match=r"8 numbers .* may be a box with 2 key point\(s\) or a polygon of 4 corners: "
                                          r"say kpt_shape: \[2, 2\] in data.yaml"):  # fmt: skip
        _lines(tmp_path / "a", POSE_2)
    _, things = _lines(tmp_path / "b", POSE_2, settings="kpt_shape: [2, 2]")
    assert things[0].box == Box(*(pytest.approx(v) for v in (0.15, 0.15, 0.25, 0.25)))
    assert things[0].points.points == ((0.18, 0.18, 2), (0.22, 0.22, 2))
    head, things = _lines(tmp_path / "c", POSE_3)  # flags are 0, 1 or 2: it can be nothing else
    assert [thing.points.points[0][2] for thing in things] == [2, 0]
    assert "10 numbers behind the class were read as box and 2 key points with a flag each" in head.notes[0]
    head, things = _lines(tmp_path / "d", POSE_2, settings="task: segment")
    assert all(thing.outline is not None for thing in things)
    head, things = _lines(tmp_path / "e", POSE_2, kind="points")
    assert things[0].points is not None
    assert "since key points are wanted" in head.notes[0]
    _, things = _lines(tmp_path / "f", POSE_2, kind="masks")
    assert things[0].outline is not None


@pytest.mark.parametrize(("count", "each"), [(1, 2), (2, 2), (5, 2), (17, 2), (1, 3), (2, 3), (17, 3)])
@pytest.mark.parametrize("size", [1, 3, 40])
def test_key_points_of_any_number_are_never_taken_for_polygons(tmp_path, count, each, size):
    rng = random.Random(count * each * size)
    lines = []
    for _ in range(size):
        width, height = rng.uniform(0.05, 0.5), rng.uniform(0.05, 0.5)
        x, y = rng.uniform(width / 2, 1 - width / 2), rng.uniform(height / 2, 1 - height / 2)
        points = []
        for _ in range(count):
            points += [x + rng.uniform(-0.5, 0.5) * width, y + rng.uniform(-0.5, 0.5) * height]
            points += [rng.choice((1, 2))] if each == 3 else []
        lines.append(" ".join(f"{value:g}" for value in (x, y, width, height, *points)))
    try:
        _, things = _lines(tmp_path, lines)
    except FormatError as refusal:
        found = "kpt_shape" in str(refusal)
    else:
        found = all(thing.points is not None for thing in things)
    assert found


def test_what_kpt_shape_asks_for(tmp_path):
    shape = "kpt_shape: [2, 3]"
    with pytest.raises(FormatError, match=r"8 numbers behind the class; kpt_shape: \[2, 3\] asks for 10"):
        _lines(tmp_path / "a", POSE_2, settings=shape)
    _, things = _lines(tmp_path / "b", [*POSE_3, "0.5 0.5 0.1 0.1"], settings=shape)
    assert [thing.points is not None for thing in things] == [True, True, False]
    with pytest.raises(FormatError, match="flag of a key point is 3"):
        _lines(tmp_path / "c", [POSE_3[0].replace(" 2 ", " 3 ")], settings=shape)
    with pytest.raises(FormatError, match="no fraction"):
        _lines(tmp_path / "d", [POSE_3[0].replace("0.18", "18")], settings=shape)
    _, things = _lines(tmp_path / "e", ["0.5 0.5 0.4 0.4 -1 -1 0 0"], settings="kpt_shape: [2, 2]")
    assert [point[2] for point in things[0].points.points] == [0, 0]


TURNED = "0.1 0.2 0.4 0.1 0.5 0.3 0.2 0.4"


def test_polygons_and_turned_boxes(tmp_path):
    head, things = _lines(tmp_path / "a", [TURNED])
    assert things[0].outline == Polygon((tuple(map(float, TURNED.split())),))
    assert "8 numbers behind the class were read as four corners" in head.notes[0]
    varied = ["0.1 0.2 0.3 0.2 0.3 0.9", "0.1 0.1 0.2 0.1 0.2 0.2 0.15 0.3 0.1 0.2", "0.5 0.5 0.1 0.1"]
    head, things = _lines(tmp_path / "b", varied, kind="boxes")
    assert [thing.outline is not None for thing in things] == [True, True, False]
    assert head.notes == ("2 line(s) hold polygons: the box of each is its extent",)
    # corners a little outside are cut off later, as those of boxes are; none is refused
    _, things = _lines(tmp_path / "c", ["-0.002 0.1 0.4 0.1 0.4 0.5 -0.002 0.5", "1.002 0.5 0.1 0.1"])
    assert things[0].outline.parts[0][0] == -0.002
    assert things[1].box.x2 == pytest.approx(1.052)
    with pytest.raises(FormatError, match=r"9 numbers behind the class, and 8 .*: with a confidence or without one"):
        _lines(tmp_path / "d", [TURNED, f"{TURNED} 0.5"])


def test_numbers_of_tracks(tmp_path):
    box = "0.5 0.5 0.1 0.1"
    head, things = _lines(tmp_path / "a", [f"{box} 1", f"{box} 17"])
    assert [(thing.score, thing.attributes) for thing in things] == [(None, {"track": 1}), (None, {"track": 17})]
    assert "2 line(s) have a fifth number, read as number of a track" in head.notes[0]
    _, things = _lines(tmp_path / "b", [f"{box} 0.5 1", f"{box} 1 17"])
    assert [(thing.score, thing.attributes) for thing in things] == [(0.5, {"track": 1}), (1.0, {"track": 17})]


def test_predictions(tmp_path):
    plain, track = predicted_samples(tmp_path)
    head, records = read(plain, "predictions")
    assert head.classes == ()
    assert [(seen.cls, seen.score) for seen in records["a"].objects] == [(1, 0.9), (0, 0.25)]
    assert records["a"].bare
    _, records = read(track, "predictions")
    assert [(seen.score, seen.attributes["track"]) for seen in records["a_1"].objects] == [(0.9, 1), (0.25, 17)]


def test_predicted_polygons_turned_boxes_and_key_points(tmp_path):
    varied = ["0.1 0.2 0.3 0.2 0.3 0.9 0.75", "0.1 0.1 0.2 0.1 0.2 0.2 0.15 0.3 0.1 0.2 0.5"]
    _, things = _lines(tmp_path / "a", varied, "predictions")
    assert [(thing.score, len(thing.outline.parts[0])) for thing in things] == [(0.75, 6), (0.5, 10)]
    _, things = _lines(tmp_path / "b", [f"{line} 3" for line in varied], "predictions")
    assert [(thing.score, thing.attributes["track"]) for thing in things] == [(0.75, 3), (0.5, 3)]
    _, things = _lines(tmp_path / "c", [f"{TURNED} 0.5"], "predictions")
    assert (things[0].score, things[0].outline.parts[0]) == (0.5, tuple(map(float, TURNED.split())))
    # a model's turned box may leave the picture, as far as it likes; pixels are refused all the same
    _, things = _lines(tmp_path / "far", ["0.45 -8.8 5.5 0.6 0.05 7.0 -5.0 -2.4 0.01"], "predictions")
    assert things[0].score == 0.01
    with pytest.raises(FormatError, match="no fractions"):
        _lines(tmp_path / "pixels", ["10 20 30 20 30 90 10 90 0.5"], "predictions")
    points = ["0.2 0.2 0.1 0.1 0.18 0.18 0.91 0.22 0.22 0.4 0.8", "0.7 0.3 0.2 0.2 0.68 0.28 0.5 0 0 0.01 0.3"]
    with pytest.raises(FormatError, match="kpt_shape"):
        _lines(tmp_path / "d", points, "predictions")
    _, things = _lines(tmp_path / "e", points, "predictions", "kpt_shape: [2, 3]")
    assert [thing.score for thing in things] == [0.8, 0.3]
    assert [point[2] for point in things[1].points.points] == [2, 0]
    assert things[0].points.scores == (0.91, 0.4)


@pytest.mark.parametrize(
    "lines",
    [
        ["0.5 0.5 0.1 0.1"],
        ["0.5 0.5 0.1 0.1 1", "0.5 0.5 0.1 0.1 2"],
        ["0.1 0.2 0.3 0.2 0.3 0.9", "0.1 0.1 0.2 0.1 0.2 0.2 0.15 0.3"],
        [TURNED],
        ["0.5 0.5 0.1 0.1 0.5", "0.5 0.5 0.1 0.1"],
    ],
)
def test_predictions_without_confidence_are_refused(tmp_path, lines):
    with pytest.raises(FormatError, match=r"no confidence among them.*save_conf=True"):
        _lines(tmp_path, lines, "predictions")


# ---- recognising ----------------------------------------------------------------------------------------------------


def test_sets_are_recognised(tmp_path):
    for path in samples(tmp_path):
        for use in ("data", "answers"):
            assert Yolo().sniff(path, use).sure >= 0.9, (path, use)
    for path in predicted_samples(tmp_path):
        assert Yolo().sniff(path, "predictions").sure >= 0.6
    assert Yolo().sniff(tmp_path / "ultralytics" / "data.yaml", "data").sure >= 0.9
    assert Yolo().sniff(tmp_path / "cvat" / "obj.data", "data").sure >= 0.8
    assert Yolo().sniff(tmp_path / "pose", "data").kinds == ("boxes", "points")


@pytest.mark.parametrize(
    "files",
    [
        {"a.jpg": None},
        {"a.jpg": None, "a.txt": "a cat on a mat\n"},
        {"a.jpg": None, "b.jpg": None, "labels.txt": "a.jpg 0\nb.jpg 1\n"},
        {"cat/a.jpg": None, "dog/b.jpg": None, "README.txt": "2 cats\n"},
        {"train.txt": "a.jpg 0\nb.jpg 1\n"},
        {"recipe.yaml": "names: [a]\n"},
        {"cat/a.jpg": None, "dog/b.jpg": None, "classes.txt": "cat\ndog\n"},
        {"a.txt": "0 0.5 0.5\n"},
        {},
    ],
)  # fmt: skip
def test_what_is_none_of_yolo(tmp_path, files):
    put(tmp_path / "set", {"x/.keep": ""} | files)
    for use in ("data", "answers", "predictions"):
        assert Yolo().sniff(tmp_path / "set", use).sure < 0.5, use
    assert Yolo().sniff(tmp_path / "nowhere", "data").sure == 0


def test_labels_that_only_lack_a_class_list(tmp_path):
    root = put(tmp_path, {"a.jpg": None, "a.txt": BOX})
    assert 0.5 <= Yolo().sniff(root, "data").sure < 0.9
    assert read(root)[0].classes == ()
    assert Yolo().sniff(root, "predictions").sure == 0.5
    with pytest.raises(FormatError, match=r"holds no file of labels"):
        read(put(tmp_path / "empty", {"labels/.keep": ""}), "answers")


# ---- writing --------------------------------------------------------------------------------------------------------


def how(root: Path | None = None, images="list", use="labelled", kind="boxes") -> Writing:
    return Writing(use, kind, lambda name: "" if root is None else str(root / name), images)


def records_of(labels, kind="boxes", classes=("cat", "dog")):
    one = KINDS.create(kind)
    return [one.to_record(name, raw, classes) for name, raw in labels.items()]


THINGS = {
    "a.jpg": {"size": [8, 6], "objects": [{"class": "dog", "box": [1, 2, 3, 4.25]}]},
    "sub/b.png": {"size": [8, 6], "objects": []},
    "sub/c d.jpg": {"size": [8, 6], "objects": [{"class": "cat", "box": [0, 0, 8, 6]}] * 2},
}
WORDS = {"a.jpg": "train", "sub/b.png": "val", "sub/c d.jpg": "test"}


def test_a_labelled_set_comes_back_as_it_was(tmp_path):
    put(tmp_path / "pool", dict.fromkeys(THINGS))
    records = [replace(record, split=WORDS[record.image]) for record in records_of(THINGS)]
    said = Yolo().write(tmp_path / "out", Head(("cat", "dog")), records, how(tmp_path / "pool", "link"))
    assert said == []
    data = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())
    assert data == {
        "train": "images/train",
        "val": "images/val",
        "test": "images/test",
        "nc": 2,
        "names": {0: "cat", 1: "dog"},
    }
    assert (tmp_path / "out" / "images/test/sub/c d.jpg").is_symlink()
    head, back = read(tmp_path / "out")
    assert words(back) == {f"{word}/{name}": word for name, word in WORDS.items()}
    for name, raw in THINGS.items():
        assert raw_of(back[f"{WORDS[name]}/{name}"], head, (8, 6)) == raw
    # the same again changes nothing, a training's cache is no matter, another split is refused
    (tmp_path / "out" / "labels" / "train" / "sub.cache").touch()
    Yolo().write(tmp_path / "out", Head(("cat", "dog")), records, how(tmp_path / "pool", "link"))
    moved = [replace(record, split="train") for record in records[:1]] + records[2:]
    with pytest.raises(StateError, match=r"holds 2 file\(s\) that do not belong to this set"):
        Yolo().write(tmp_path / "out", Head(("cat", "dog")), moved, how(tmp_path / "pool", "link"))


def test_without_validation_images_those_of_training_are_named(tmp_path):
    put(tmp_path / "pool", dict.fromkeys(THINGS))
    said = Yolo().write(tmp_path / "out", Head(("cat", "dog")), records_of(THINGS), how(tmp_path / "pool", "copy"))
    assert said == ["no image is for validation: data.yaml names those of training for val, which every training needs"]
    data = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())
    assert (data["train"], data["val"], "test" in data) == ("images/train", "images/train", False)


def test_lists_name_the_pictures_where_they_are(tmp_path):
    put(tmp_path / "pool", dict.fromkeys(THINGS))
    records = [replace(record, split=WORDS[record.image]) for record in records_of(THINGS)]
    said = Yolo().write(tmp_path / "out", Head(("cat", "dog")), records, how(tmp_path / "pool"))
    assert said[0].startswith("images stay where they are: programs that look for labels beside them")
    assert (tmp_path / "out" / "test.txt").read_text() == f"{tmp_path}/pool/sub/c d.jpg\n"
    assert yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())["val"] == "val.txt"
    assert not (tmp_path / "out" / "images").exists()


ODD_NAMES = ["no", "1.0", "null", "a: b", "ü #1", "- x", "'q'", "007", "  in"]


def test_class_names_come_back(tmp_path):
    one = {"a.jpg": {"size": [5, 5], "objects": []}}
    Yolo().write(tmp_path / "out", Head(tuple(ODD_NAMES)), records_of(one), how())
    assert read(tmp_path / "out")[0].classes == tuple(name.strip() for name in ODD_NAMES)


def test_what_has_no_place_is_left_out_and_said(tmp_path):
    things = [
        {"class": "cat", "box": [0, 0, 2, 2], "crowd": True},
        {"class": "cat", "box": [0, 0, 2, 2], "difficult": True},
        {"class": "dog", "box": [50, 50, 60, 60]},
        {"class": "dog", "box": [1, 1, 2, 2], "extra": {"polygon": [0.2, 0.2, 0.4, 0.2, 0.4, 0.4]}},
        {"class": "dog", "box": [1, 1, 2, 2], "extra": {"keypoints": [1, 1, 2]}},
        {"class": "dog", "box": [1, 1, 3, 3], "extra": {"rotated": [1, 1, 3, 3, 90]}},
    ]
    records = records_of({"e.gif": {"size": [5, 5], "objects": things}})
    put(tmp_path / "pool", {"e.gif": (5, 5)})
    said = Yolo().write(tmp_path / "out", Head(("cat", "dog")), records, how(tmp_path / "pool", "link"))
    assert set(said[2:]) == {
        "3 object(s) left out that YOLO txt has no place for: crowds, difficult ones, such off the image or unshaped",
        "1 polygon(s) written as their boxes, since others are boxes only",
        "1 object(s) written without their key points",
        "1 turned box(es) written as the upright box around them",
    }
    assert said[0] == "1 image(s) are of a kind that Ultralytics does not read: 1 .gif"
    assert len(read(tmp_path / "out")[1]["train/e.gif"].objects) == 3


def test_what_would_cost_the_whole_image_is_cut_off_and_said(tmp_path):
    boxes_of = {
        "a.jpg": [[-4, 1, 12, 5]],
        "b.jpg": [[7, 5, 10, 6]],
        "c.jpg": [[9, 1, 11, 5]],
        "d.jpg": [[7.9, 1, 8.2, 5]],
    }
    labels = {
        name: {"size": [8, 6], "objects": [{"class": "cat", "box": box} for box in boxes]}
        for name, boxes in boxes_of.items()
    }
    said = Yolo().write(tmp_path, Head(("cat",)), records_of(labels), how())
    assert "2 object(s) cut off at the border: Ultralytics throws away images with larger ones" in said
    assert any(note.startswith("1 object(s) left out") for note in said)
    texts = {name: (tmp_path / f"labels/train/{name}.txt").read_text().split() for name in "abcd"}
    assert texts["a"] == ["0", "0.5", "0.5", "1", "0.6666666667"]
    assert texts["c"] == []
    # its centre is off the image by less than Ultralytics minds: as it is
    assert float(texts["d"][1]) > 1
    for text in texts.values():
        assert all(-0.01 <= float(value) <= 1.01 for value in text[1:])
    points = {"class": "cat", "points": [[9, 3, 2], [1, 1, 1], [0, 0, 0]], "box": [0, 0, 8, 6]}
    labels = {"a.jpg": {"size": [8, 6], "objects": [points]}}
    said = Yolo().write(tmp_path / "points", Head(("cat",)), records_of(labels, "points"), how(kind="points"))
    assert any("1 key point(s) moved to the border" in note for note in said)
    assert (
        tmp_path / "points/labels/train/a.txt"
    ).read_text() == "0 0.5 0.5 1 1 1 0.5 2 0.125 0.166666666667 1 0 0 0\n"


def test_what_cannot_be_written_is_refused(tmp_path):
    one = {"size": [5, 5], "objects": [{"class": "cat", "box": [0, 0, 1, 1]}]}
    with pytest.raises(FormatError, match="unknown class 'cat'"):
        Yolo().write(tmp_path / "a", Head(("x",)), records_of({"a.jpg": one}), how())
    with pytest.raises(FormatError, match=r"'a.jpg' and 'a.png' would both lie at 'labels/train/a.txt'"):
        Yolo().write(tmp_path / "a", Head(("cat",)), records_of({"a.jpg": one, "a.png": one}), how())
    with pytest.raises(FormatError, match="no split"):
        Yolo().write(tmp_path / "a", Head(("cat",)), [Record(Where("x"), "a.jpg", split="cats")], how())
    with pytest.raises(FormatError, match=r"size of 'a\.jpg' is not known"):
        Yolo().write(tmp_path / "a", Head(("cat",)), [replace(r, size=None) for r in records_of({"a.jpg": one})], how())
    with pytest.raises(FormatError, match="outside the folder"):
        Yolo().write(tmp_path / "a", Head(("cat",)), records_of({"../a.jpg": one}), how())
    assert not (tmp_path / "a").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == []


def test_polygons_and_key_points_come_back(tmp_path):
    ultralytics, _, _, _, pose = samples(tmp_path)
    put(ultralytics, {"labels/train/a.txt": "1 0.1 0.2 0.3 0.2 0.3 0.9\n0 0.1 0.1 0.2 0.1 0.2 0.2 0.15 0.3\n"})
    head, records = read(ultralytics)
    raw = raw_of(records["train/a.jpg"], head, (640, 480))
    again = KINDS.create("boxes").to_record("a.jpg", raw, head.classes)
    Yolo().write(tmp_path / "out", head, [again], how())
    assert (tmp_path / "out" / "labels/train/a.txt").read_text() == (ultralytics / "labels/train/a.txt").read_text()
    head, records = read(pose)
    Yolo().write(tmp_path / "pose_out", head, list(records.values()), how(kind="points"))
    assert (tmp_path / "pose_out" / "labels/train/a.txt").read_text() == (pose / "labels/a.txt").read_text()
    again, back = read(put(tmp_path / "pose_out", {"images/train/a.jpg": None}))
    assert back["train/a.jpg"].objects == records["a.jpg"].objects
    assert again.extra["flip_idx"] == ["1", "0", "2"]
    bare = [replace(record, objects=(replace(record.objects[0], points=None), *record.objects)) for record in
            records.values()]  # fmt: skip
    Yolo().write(tmp_path / "mixed", head, bare, how(kind="points"))
    assert (tmp_path / "mixed" / "labels/train/a.txt").read_text().splitlines()[0] == "0 0.5 0.5 0.4 0.4" + " 0" * 9


def test_lines_of_boxes_come_back_as_they_were_written(tmp_path):
    lines = "1 0.344531 0.5 0.120313 0.25\n0 0 0 0.5 0.5\n0 0.333333 0.4 0.1 0.2\n0 0.1234567 0.7654321 0.01 0.1\n"
    root = put(tmp_path, {"images/a.jpg": (640, 480), "labels/a.txt": lines, "classes.txt": "cat\ndog\n"})
    head, records = read(root)
    raw = raw_of(records["a.jpg"], head, (640, 480))
    Yolo().write(root / "out", head, records_of({"a.jpg": raw}), how(root / "images", "link"))
    assert (root / "out" / "labels/train/a.txt").read_text() == lines


def test_asked_images_do_not_look_answered(tmp_path):
    put(tmp_path / "pool", dict.fromkeys(THINGS))
    asked = [
        replace(record, state="untouched", extra={"answered": False, "path": f"/p/{record.image}", "rank": 1})
        for record in records_of(THINGS)
    ]
    asked[0] = replace(asked[0], objects=tuple(replace(seen, score=0.75) for seen in asked[0].objects))
    said = Yolo().write(tmp_path / "out", Head(("cat", "dog")), asked, how(tmp_path / "pool", use="asked"))
    assert said == []
    assert (tmp_path / "out" / "images.txt").read_text() == "/p/a.jpg\n/p/sub/b.png\n/p/sub/c d.jpg\n"
    # without the score, which tools that draw boxes take for an error
    assert (tmp_path / "out" / "suggested/labels/a.txt").read_text() == "1 0.25 0.5208333333 0.25 0.375\n"
    with pytest.raises(FormatError, match="holds no file of labels"):
        read(tmp_path / "out", "answers")
    assert Yolo().sniff(tmp_path / "out", "answers").sure >= 0.5
    (tmp_path / "out" / "labels/sub").mkdir()
    (tmp_path / "out" / "suggested/labels/sub/b.txt").rename(tmp_path / "out" / "labels/sub/b.txt")
    head, back = read(tmp_path / "out", "answers")
    assert head.classes == ("cat", "dog")
    assert {name: record.state for name, record in back.items()} == {"sub/b": "empty"}
    # and with their pictures
    Yolo().write(tmp_path / "two", Head(("cat", "dog")), asked, how(tmp_path / "pool", "link", "asked"))
    assert (tmp_path / "two" / "images/sub/c d.jpg").is_symlink()


_fraction = st.floats(0, 1, allow_nan=False)


@pytest.mark.heavy
@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(_fraction, _fraction, _fraction, _fraction), min_size=1, max_size=6))
def test_any_fractions_come_back(tmp_path_factory, rows):
    root = put(tmp_path_factory.mktemp("any"), {"images/b.c.png": (333, 77), "classes.txt": "cat\n"})
    put(root, {"labels/b.c.txt": "".join(f"0 {' '.join(f'{v:.17f}' for v in row)}\n" for row in rows)})
    head, records = read(root)
    raw = raw_of(records["b.c.png"], head, (333, 77))
    Yolo().write(root / "out", head, records_of({"b.c.png": raw}, classes=head.classes), how(root / "images", "link"))
    again, back = read(root / "out")
    assert raw_of(back["train/b.c.png"], again, (333, 77)) == raw


# ---- bounds ---------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_harmful_files_cost_little(tmp_path):
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    sets = {
        "laughs": {"data.yaml": f"{laughs}names: *a11\n"},
        "deep": {"data.yaml": "names: " + "[" * 100_000},
        "long line": {"labels/a.txt": "0 " * 2_000_000},
        "long lines": {"labels/a.txt": ("0 " + "0.5 0.5 0.1 0.1\n") * 100_000},
        "digits": {"labels/a.txt": "0 0.5 0.5 0.1 " + "9" * 7_000_000},
        "huge": {"labels/a.txt": "0 0.5 0.5 0.1 0.1\n" * 500_000},
        "names": {"classes.txt": "".join(f"c{n}\n" for n in range(200_000))},
        "list": {"train.txt": "images/x/a.jpg\n" * 100_000, "data.yaml": "names: [a]\ntrain: train.txt\nval: images"},
        "folders": {"data.yaml": "names: [a]\ntrain: [" + ",".join(f"images/{n}" for n in range(20_000)) + "]"},
    }
    for name, files in sets.items():
        put(tmp_path / name, {"images/a.jpg": None, "labels/b.txt": BOX} | files)
    costs = bounded.readings("labelwise.formats.yolo:Yolo", "data", [tmp_path / name for name in sets])
    told = dict(zip(sets, costs, strict=True))
    assert [name for name, cost in told.items() if cost.error] == ["laughs", "deep", "digits", "huge"]
    assert max(cost.megabytes for cost in costs) < 700


@pytest.mark.heavy
def test_many_files_stream(tmp_path):
    folder = tmp_path / "labels"
    folder.mkdir()
    for n in range(1000):
        (folder / f"{n}.txt").write_text(BOX * 100)
    (cost,) = bounded.readings("labelwise.formats.yolo:Yolo", "answers", [tmp_path], megabytes=300)
    assert cost.text == "(1000, 100000)"


def test_only_own_errors_leave_it(tmp_path):
    for text in ("\0", "\xff", "0 \ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "0 " + "9" * 5000):
        root = put(tmp_path / "x", {"images/a.jpg": None, "labels/a.txt": text, "classes.txt": "a"})
        with pytest.raises(LabelwiseError):
            read(root)


# ---- key points -----------------------------------------------------------------------------------------------------

POSE = "nc: 1\nnames: [mouse]\nkpt_shape: [3, %d]\nflip_idx: [0, 2, 1]\nkpt_names: {0: [nose, left, right]}\n"


def pose_set(folder, line, settings=POSE % 3):
    (folder / "labels").mkdir(parents=True)
    (folder / "data.yaml").write_text(settings)
    (folder / "labels" / "a.txt").write_text(f"{line}\n")
    (folder / "labels" / "b.txt").write_text("")
    return folder


def test_points_of_two_and_of_three_numbers(tmp_path):
    two = pose_set(tmp_path / "two", "0 0.5 0.5 0.4 0.4 0.4 0.5 0 0 0.6 0.5", POSE % 2)
    three = pose_set(tmp_path / "three", "0 0.5 0.5 0.4 0.4 0.4 0.5 2 0 0 0 0.6 0.5 1")
    found = []
    for folder in (two, three):
        head, records = Yolo().read(folder, "answers", Hints("points", ("mouse",)))
        assert head.skeleton == (("nose", "left", "right"), ())
        first, second = records
        assert (second.state, second.objects) == ("empty", ())
        found.append(first.objects[0].points)
    names = ("nose", "left", "right")
    assert found == [
        Points(((0.4, 0.5, 2), (0, 0, 0), (0.6, 0.5, 2)), names),
        Points(((0.4, 0.5, 2), (0, 0, 0), (0.6, 0.5, 1)), names),
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[nose, left, right]", "[nose, left]", "kpt_names has .* and kpt_shape 3 points"),
        ("[nose, left, right]", "[nose, left, nose]", "two key points are called 'nose'"),
        ("[0, 2, 1]", "[0, 2, 2]", "flip_idx is .*; give each position from 0 to 2 once"),
        ("[0, 2, 1]", "[0, 1]", "flip_idx is"),
        ("[3, 3]", "[3, 4]", "kpt_shape is"),
    ],
)
def test_settings_whose_points_contradict_each_other_are_refused(tmp_path, old, new, said):
    folder = pose_set(tmp_path / "a", "0 0.5 0.5 0.4 0.4 0.4 0.5 2 0 0 0 0.6 0.5 1", (POSE % 3).replace(old, new))
    with pytest.raises(FormatError, match=said) as caught:
        Yolo().read(folder, "answers", Hints("points", ("mouse",)))
    assert "data.yaml" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_flag_of_a_point_that_is_none_is_refused_with_the_line(tmp_path):
    folder = pose_set(tmp_path / "a", "0 0.5 0.5 0.4 0.4 0.4 0.5 3 0 0 0 0.6 0.5 1")
    with pytest.raises(FormatError, match=r"a\.txt.*line 1.*flag of a key point is 3.0; give 0, 1 or 2"):
        list(Yolo().read(folder, "answers", Hints("points", ("mouse",)))[1])


def test_mirrored_positions_are_written_for_names_that_tell_of_sides(tmp_path):
    points = Points(((4, 5, 2), (0, 0, 0), (6, 7, 1)), ("nose", "left", "right"))
    record = Record(Where("a"), "a.png", size=(40, 30), objects=(Seen("mouse", Box(1, 1, 9, 9), points=points),))
    Yolo().write(tmp_path / "set", Head(("mouse",)), [record], Writing("labelled", "points"))
    settings = yaml.safe_load((tmp_path / "set" / "data.yaml").read_text())
    assert (settings["kpt_shape"], settings["flip_idx"]) == ([3, 3], [0, 2, 1])
    assert settings["kpt_names"] == {0: ["nose", "left", "right"]}
