"""The loop over masks on the command line: asked as PNG files and as COCO, taken back whole, in part, by region."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import painted
from commands import as_json, refused, run
from labelwise.contracts.format import Hints
from labelwise.contracts.record import IGNORE
from labelwise.data.mask_labels import mask_of
from labelwise.formats.class_colours import colours
from labelwise.formats.coco import Coco
from labelwise.formats.index_png import IGNORE_COLOUR
from labelwise.formats.mask_coding import MaskCoding
from labelwise.formats.mask_files import read_stored
from labelwise.project.setup import open_project
from masks_on_disk import write_coco_masks, write_png_masks, write_voc_masks

NAMES = [f"{part}/{n:03d}.png" for part in ("a", "b") for n in range(6)]
CLASSES = ",".join(painted.CLASSES)
FAST = {
    "input": {"size": list(painted.INPUT), "augment": "none"},
    "learner": {"kind": "torch", "model": "unet", "phases": [{"epochs": 1, "min_steps": 4, "batch_size": 4}]},
}


def _scene(name: str) -> tuple[np.ndarray, np.ndarray]:
    return painted.paint(NAMES.index(name))


def _draw(folder: Path) -> Path:
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_scene(name)[0]).save(folder / name)
    return folder


def _quick(project: Path, **more: Any) -> None:
    config = yaml.safe_load((project / "labelwise.yaml").read_text())
    (project / "labelwise.yaml").write_text(yaml.safe_dump({**config, **FAST, **more}))


@pytest.fixture
def project(tmp_path) -> Path:
    run("init", _draw(tmp_path / "images"), "-p", tmp_path, "--task", "segmentation", "--classes", CLASSES)
    _quick(tmp_path)
    return tmp_path


def _save(file: Path, mask: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(file)


def _labels(project: Path) -> dict[str, np.ndarray]:
    pool = open_project(project).pool
    return {pool.ids[p]: mask_of(pool.target(p)).whole().numpy() for p in pool.labelled}


def _asked(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "asked.json").read_text())["items"]


@pytest.mark.heavy
def test_a_folder_of_masks_there_and_back(project):
    out = project / "asked"
    run("suggest", "-n", 4, "-s", "random", "-p", project)
    run("export", out, "--format", "masks", "-p", project)
    about = json.loads((out / "asked.json").read_text())
    assert (about["classes"], about["ignore"]) == (list(painted.CLASSES), 255)
    assert about["palette"] == [list(colour) for colour in colours(4)]
    items = about["items"]
    assert [item["size"] for item in items] == [[painted.WIDTH, painted.HEIGHT]] * 4
    assert len((out / "images.txt").read_text().splitlines()) == 4
    assert list((out / "suggested").iterdir()) == []
    # nothing was drawn yet
    assert "holds no PNG file" in refused("import", out, "-p", project)
    for item in items[:2]:
        _save(out / item["answer"], _scene(item["id"])[1])
    _save(out / items[2]["answer"], np.full((painted.HEIGHT, painted.WIDTH), IGNORE, np.uint8))
    done = as_json("import", out, "-p", project)
    assert [done[key] for key in ("labelled", "unanswered", "pending")] == [2, 1, 2]
    for item in items[:2]:
        np.testing.assert_array_equal(_labels(project)[item["id"]], _scene(item["id"])[1])
    # the same again changes nothing; another mask corrects
    assert as_json("import", out, "-p", project)["corrected"] == 0
    _save(out / items[0]["answer"], np.zeros((painted.HEIGHT, painted.WIDTH), np.uint8))
    assert as_json("import", out / "masks", "-p", project)["corrected"] == 1
    spent = open_project(project).pool.cost()
    assert spent["images"] == 2
    assert spent["pixels"] > 0


@pytest.mark.heavy
def test_a_trained_model_suggests_masks_and_the_report_is_written(project):
    masks = [(name, _scene(name)[1]) for name in NAMES[:6]]
    write_png_masks(project / "done", masks, MaskCoding(painted.CLASSES))
    assert as_json("import", project / "done", "-p", project)["labelled"] == 6
    found = as_json("suggest", "-n", 3, "-s", "entropy", "-p", project)
    assert len(found["picks"]) == 3
    out = project / "asked"
    run("export", out, "--format", "masks", "-p", project)
    for item in _asked(out):
        stored = read_stored(out / item["suggested"])
        assert stored.size == (painted.WIDTH, painted.HEIGHT)
        assert stored.values.max() < 4
    run("export", project / "asked.json", "-p", project)
    asked = list(Coco().read(project / "asked.json", "answers", Hints("masks"))[1])
    assert len(asked) == 3
    assert (sum(seen.outline.read().astype(int) for seen in asked[0].objects) == 1).all()
    assert as_json("import", project / "asked.json", "-p", project)["unanswered"] == 3
    # taken as they are, the suggestions are labels
    (out / "masks").rmdir()
    (out / "suggested").rename(out / "masks")
    assert as_json("import", out, "-p", project)["labelled"] == 3
    run("report", "-p", project)
    run("check", "-p", project)


@pytest.mark.heavy
def test_coco_there_and_back(project):
    run("suggest", "-n", 4, "-s", "random", "-o", project / "picks.json", "-p", project)
    data = json.loads((project / "picks.json").read_text())
    names = [image["file_name"] for image in data["images"]]
    assert all(image["answered"] is False for image in data["images"])
    write_coco_masks(
        project / "back.json", [(name, _scene(name)[1]) for name in names[:2]], painted.CLASSES, outlines="polygons"
    )
    back = json.loads((project / "back.json").read_text())
    back["images"] += [{**data["images"][2], "id": 7, "skipped": True, "answered": True, "reason": "too dark"}]
    back["images"] += [{**data["images"][3], "id": 8}]
    (project / "back.json").write_text(json.dumps(back))
    done = as_json("import", project / "back.json", "-p", project)
    assert [done[key] for key in ("labelled", "skipped", "unanswered", "pending")] == [2, 1, 1, 1]
    for name in names[:2]:
        np.testing.assert_array_equal(_labels(project)[name], _scene(name)[1])
    run("cancel", "-p", project)
    assert len(open_project(project).pool.pending) == 0


def test_voc_folders_and_other_orders_of_classes_come_back_too(project):
    shuffled = ("square", "ground", "disc", "cross")
    table = np.full(256, IGNORE, np.uint8)
    table[:4] = [shuffled.index(name) for name in painted.CLASSES]
    write_voc_masks(project / "voc", [(name, table[_scene(name)[1]]) for name in NAMES[:2]], MaskCoding(shuffled))
    assert as_json("import", project / "voc", "-p", project)["labelled"] == 2
    for name in NAMES[:2]:
        np.testing.assert_array_equal(_labels(project)[name], _scene(name)[1])


@pytest.mark.heavy
def test_a_background_that_the_project_does_not_have_is_what_nobody_drew(project):
    mask = np.zeros((painted.HEIGHT, painted.WIDTH), np.uint8)
    mask[3:6, 4:9] = 1
    write_voc_masks(project / "voc", [(NAMES[0], mask)], MaskCoding(("background", "disc", "never used")))
    assert as_json("import", project / "voc", "-p", project)["labelled"] == 1
    label = _labels(project)[NAMES[0]]
    np.testing.assert_array_equal(label != IGNORE, mask == 1)
    assert set(label[mask == 1].tolist()) == {painted.CLASSES.index("disc")}
    write_coco_masks(project / "back.json", [(NAMES[1], mask)], ("background", "disc", "never used"))
    assert as_json("import", project / "back.json", "-p", project)["labelled"] == 1
    np.testing.assert_array_equal(_labels(project)[NAMES[1]], label)


@pytest.mark.heavy
def test_a_set_with_masks_becomes_a_project(tmp_path):
    _draw(tmp_path / "data" / "images")
    write_png_masks(tmp_path / "data", [(name, _scene(name)[1]) for name in NAMES[:5]], MaskCoding(painted.CLASSES))
    made = as_json("init", tmp_path / "data", "-p", tmp_path / "p")
    assert (made["task"], made["labelled"], made["unlabelled"]) == ("segmentation", 5, 7)
    assert made["classes"] == list(painted.CLASSES)
    assert "7 image(s) without label" in made["notes"]
    np.testing.assert_array_equal(_labels(tmp_path / "p")[NAMES[0]], _scene(NAMES[0])[1])
    assert "say --task segmentation" in refused(
        "init", tmp_path / "data", "-p", tmp_path / "q", "--task", "classification"
    )
    line = refused("init", tmp_path / "data", "-p", tmp_path / "q", "--classes", "x,y,z,w")
    assert "unknown class 'ground'; the project has x, y, z, w" in line
    # in another order the same names are the same classes
    order = ["square", "ground", "disc", "cross"]
    made = as_json("init", tmp_path / "data", "-p", tmp_path / "q", "--classes", ",".join(order))
    assert made["classes"] == order
    table = np.full(256, IGNORE, np.uint8)
    table[:4] = [order.index(name) for name in painted.CLASSES]
    np.testing.assert_array_equal(_labels(tmp_path / "q")[NAMES[0]], table[_scene(NAMES[0])[1]])
    _quick(tmp_path / "p")
    as_json("fit", "-p", tmp_path / "p")
    assert len(as_json("suggest", "-n", 2, "-s", "margin", "-p", tmp_path / "p")["picks"]) == 2


@pytest.mark.heavy
def test_a_project_learns_its_classes_from_the_first_masks(tmp_path):
    run("init", _draw(tmp_path / "images"), "-p", tmp_path, "--task", "segmentation")
    _save(tmp_path / "m" / "a" / "000.png", _scene(NAMES[0])[1])
    assert "does not know its classes" in refused("import", tmp_path / "m", "-p", tmp_path)
    (tmp_path / "classes.txt").write_text("".join(f"{name}\n" for name in painted.CLASSES))
    (tmp_path / "m").rename(tmp_path / "masks")
    assert as_json("import", tmp_path / "masks", "-p", tmp_path, "--yes")["classes"] == list(painted.CLASSES)


# ---- regions --------------------------------------------------------------------------------------------------------


@pytest.fixture
def regions(project) -> Path:
    """A project that has asked for six regions after two whole images."""
    _quick(project, regions={"count": 8})
    write_png_masks(project / "done", [(name, _scene(name)[1]) for name in NAMES[:2]], MaskCoding(painted.CLASSES))
    run("import", project / "done", "-p", project)
    run("suggest", "-n", 6, "-s", "entropy", "-p", project)
    run("export", project / "asked", "--format", "masks", "-p", project)
    return project


@pytest.mark.heavy
def test_regions_are_exported_with_their_pixels(regions):
    items = _asked(regions / "asked")
    assert len(items) == 6
    source = open_project(regions).source
    for item in items:
        inside, (x, y) = source.outline(item["id"])
        assert item["box"] == [x, y, inside.shape[1], inside.shape[0]]
        assert item["pixels"] == inside.sum()
        assert item["predicted"] in painted.CLASSES
        np.testing.assert_array_equal(read_stored(regions / "asked" / item["region"]).values == 255, inside)
        suggested = read_stored(regions / "asked" / item["suggested"]).values
        assert (suggested[y : y + inside.shape[0], x : x + inside.shape[1]][inside] != IGNORE).all()
    by_image = {item["suggested"]: 0 for item in items}
    for item in items:
        by_image[item["suggested"]] += item["pixels"]
    for name, pixels in by_image.items():
        assert (read_stored(regions / "asked" / name).values != IGNORE).sum() == pixels


def _within(source, region: str, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """What the scene shows in a region: at the size of the image, and in its box."""
    inside, (x, y) = source.outline(region)
    whole = np.full_like(mask, IGNORE)
    box = np.where(inside, mask[y : y + inside.shape[0], x : x + inside.shape[1]], IGNORE).astype(np.uint8)
    whole[y : y + inside.shape[0], x : x + inside.shape[1]] = box
    return whole, box, (x, y)


@pytest.mark.heavy
def test_regions_come_back_as_masks_of_either_size_and_as_parts_of_an_image(regions):
    source = open_project(regions).source
    items = [item for item in _asked(regions / "asked") if (_truth(source, item["id"]) != IGNORE).any()]
    for n, item in enumerate(items[:2]):
        _save(regions / "asked" / item["answer"], _truth(source, item["id"], box=n == 1))
    done = as_json("import", regions / "asked", "-p", regions)
    assert done["labelled"] == 2
    whole = np.full((painted.HEIGHT, painted.WIDTH), IGNORE, np.uint8)
    image = source.within(items[2]["id"])[0]
    rest = [item["id"] for item in items[2:] if source.within(item["id"])[0] == image]
    for region in rest:
        part = _truth(source, region)
        whole[part != IGNORE] = part[part != IGNORE]
    _save(regions / "parts" / image, whole)
    assert as_json("import", regions / "parts", "-p", regions)["labelled"] == len(rest)
    labels = _labels(regions)
    for region in [*(item["id"] for item in items[:2]), *rest]:
        np.testing.assert_array_equal(labels[region], _truth(source, region))
    cost = open_project(regions).pool.cost()
    assert (cost["images"], cost["regions"]) == (2, 2 + len(rest))


def _truth(source, region: str, *, box: bool = False) -> np.ndarray:
    mask = _scene(source.within(region)[0])[1]
    return _within(source, region, mask)[1 if box else 0]


@pytest.mark.heavy
def test_a_coco_file_answers_regions_and_a_whole_mask_answers_them_all(regions):
    run("export", regions / "picks.json", "-p", regions)
    data = json.loads((regions / "picks.json").read_text())
    assert sum(len(image["regions"]) for image in data["images"]) == 6
    first = data["images"][0]
    del first["answered"]
    (regions / "picks.json").write_text(json.dumps(data))
    done = as_json("import", regions / "picks.json", "-p", regions)
    # as suggested
    assert (done["labelled"], done["pending"]) == (len(first["regions"]), 6 - len(first["regions"]))
    assert set(first["regions"]) <= _labels(regions).keys()
    image = next(image for image in data["images"][1:])
    _save(regions / "whole" / image["file_name"], np.zeros((painted.HEIGHT, painted.WIDTH), np.uint8))
    done = as_json("import", regions / "whole", "-p", regions)
    assert (done["labelled"], done["pending"]) == (1, 6 - len(first["regions"]) - len(image["regions"]))
    assert not set(image["regions"]) & set(_labels(regions))


@pytest.mark.heavy
def test_one_class_for_each_region(regions):
    lines = (regions / "asked" / "regions.csv").read_text().splitlines()
    assert lines[0] == "id,label,predicted"
    assert len(lines) == 7
    answers = [line.replace(",,", f",{answer},") for line, answer in zip(lines[1:], ("disc", "skip", ""), strict=False)]
    (regions / "a.csv").write_text("\n".join([lines[0], *answers]) + "\n")
    said = run("import", regions / "a.csv", "-p", regions).stdout
    assert "1 labelled, 1 skipped, 1 without an answer" in said
    # two whole images and one region are labelled, and nobody adds them up
    stands = "images: 2 labelled, 0 pending, 10 unlabelled; regions: 1 labelled, 4 pending, 1 skipped, "
    assert f"now {stands}" in said
    assert stands.replace("0 pending, ", "") in run("report", "-p", regions).stdout
    region = _asked(regions / "asked")[0]["id"]
    label = _labels(regions)[region]
    inside = open_project(regions).source.outline(region)[0]
    assert (label != IGNORE).sum() == inside.sum()
    assert set(label[label != IGNORE].tolist()) == {painted.CLASSES.index("disc")}
    assert open_project(regions).pool.cost()["regions"] == 1


@pytest.mark.heavy
def test_what_regions_refuse(regions):
    before = _labels(regions)
    source = open_project(regions).source
    item = _asked(regions / "asked")[0]
    image = source.within(item["id"])[0]

    def message(name: str, mask: np.ndarray) -> str:
        for old in (regions / "bad").rglob("*.png"):
            old.unlink()
        _save(regions / "bad" / name, mask)
        return refused("import", regions / "bad", "-p", regions)

    small = np.zeros((4, 4), np.uint8)
    assert f"{image!r} has no region '99': its regions are 1 to" in message(f"{image}#99.png", small)
    assert "or of its box" in message(f"{item['id']}.png", np.zeros((3, 3), np.uint8))
    outside = np.zeros((painted.HEIGHT, painted.WIDTH), np.uint8)
    outside[0, 0] = IGNORE
    assert "outside the asked regions of the image have a class" in message(image, outside)
    # one pixel too many, in the box of an asked region and in none of them
    asked, boxes = (np.zeros((painted.HEIGHT, painted.WIDTH), bool) for _ in range(2))
    for region in (other["id"] for other in _asked(regions / "asked") if source.within(other["id"])[0] == image):
        inside, (x, y) = source.outline(region)
        asked[y : y + inside.shape[0], x : x + inside.shape[1]] |= inside
        boxes[y : y + inside.shape[0], x : x + inside.shape[1]] = True
    one = np.where(asked, 1, IGNORE).astype(np.uint8)
    one[tuple(np.argwhere(boxes & ~asked)[0])] = 1
    assert ": 1 pixel(s) outside the asked regions of the image have a class" in message(image, one)
    (regions / "bad.csv").write_text(f"id,label\n{image},disc\n")
    assert "row 2, object 1: " in (line := refused("import", regions / "bad.csv", "-p", regions))
    assert "it has neither polygon nor mask" in line
    (regions / "bad.csv").write_text(f'id,label\n"{item["id"]}",dics\n')
    assert "did you mean 'disc'" in refused("import", regions / "bad.csv", "-p", regions)
    assert _labels(regions).keys() == before.keys()


# ---- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_masks_that_are_refused_leave_the_project_as_it_was(project):
    good = _scene(NAMES[0])[1]
    bad = project / "bad"

    def message(name: str, mask: Any) -> str:
        _save(bad / NAMES[0], good)
        if isinstance(mask, bytes):
            (bad / name).write_bytes(mask)
        else:
            _save(bad / name, mask)
        line = refused("import", bad, "-p", project)
        assert _labels(project) == {}
        (bad / name).unlink()
        return line

    small = np.zeros((4, 4), np.uint8)
    assert "'a/001' was labelled at 4 x 4 pixels and has 32 x 24 as people see it" in message("a/001.png", small)
    assert "pixel(s) have the value 9; allowed are 0 to 3 (ground to square) and 255" in message(
        "a/001.png", np.full_like(good, 9)
    )
    assert "'x' is none of the 12 images" in message("x.png", good)
    assert "'000' may be 'a/000.png' or 'b/000.png'" in message("000.png", good)
    assert "'a/000' has two masks" in message("a/000_mask.png", good)
    assert "have the colour #010203, which no class has" in message(
        "a/001.png", np.full((24, 32, 3), (1, 2, 3), np.uint8)
    )
    assert "more than eight bits from 0 to 300" in message("a/001.png", np.where(good == 1, 300, 0).astype(np.uint16))
    assert "cannot be read" in message("a/001.png", (bad / NAMES[0]).read_bytes()[:60])
    assert "is no mask: masks need a lossless format" in message("a/001.jpg", np.zeros((24, 32, 3), np.uint8))
    (bad / "classes.txt").write_text("ground\ncross\ndisc\nsqare\n")
    _save(bad / NAMES[0], np.full_like(good, 3))
    assert "did you mean 'square'" in refused("import", bad, "-p", project)
    assert "holds no file of labels" in refused("import", bad, "--format", "yolo", "-p", project)
    assert "is no format that is read here" in refused("import", project / "images" / NAMES[0], "-p", project)
    assert "does not exist" in refused("import", project / "nowhere", "--format", "masks", "-p", project)


@pytest.mark.heavy
def test_coco_that_is_refused(project):
    def message(mask: Any, **more: Any) -> str:
        data = {
            "images": [{"id": 1, "file_name": NAMES[0], "width": 32, "height": 24, **more}],
            "annotations": [{"id": 5, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "segmentation": mask}],
            "categories": [{"id": 1, "name": "disc"}],
        }
        (project / "bad.json").write_text(json.dumps(data))
        return refused("import", project / "bad.json", "-p", project)

    square = [[0, 0, 5, 0, 5, 5]]
    assert "image 1, object 1: a polygon has a corner at x = 40, outside the image" in message([[0, 0, 40, 0, 5, 5]])
    assert "run lengths do not decode" in message({"size": [24, 32], "counts": "?"})
    assert "'a/000.png' was labelled at 16 x 12 pixels and has 32 x 24 as people see it" in message(
        square, width=16, height=12
    )
    assert "'z.png' is none of the 12 images" in message(square, file_name="z.png")
    text = (project / "bad.json").read_text().replace('"disc"', '"dics"').replace("z.png", NAMES[0])
    (project / "bad.json").write_text(text)
    assert "did you mean 'disc'" in refused("import", project / "bad.json", "-p", project)
    assert _labels(project) == {}


@pytest.mark.heavy
def test_formats_of_masks_are_for_masks(project, tmp_path_factory):
    run("suggest", "-n", 2, "-s", "random", "-p", project)
    assert "unknown format for asked masks 'voc'" in refused("export", project / "x", "--format", "voc", "-p", project)
    other = tmp_path_factory.mktemp("other")
    run("init", _draw(other / "images"), "-p", other, "--labels", "none", "--classes", "x,y", "--backbone", "pixels")
    run("suggest", "-n", 2, "-s", "random", "-p", other)
    assert "unknown format for asked classes 'masks'" in refused(
        "export", other / "x", "--format", "masks", "-p", other
    )
    (other / "x").mkdir()
    assert "masks is a format of masks" in refused("import", other / "x", "--format", "masks", "-p", other)


OWN = ((10, 20, 30), (200, 0, 0), (0, 200, 0), (0, 0, 200))


def _in_colours(out: Path, names: list[str]) -> Path:
    """Masks as pictures whose pixels are colours, beside no list of classes."""
    table = np.full((256, 3), IGNORE_COLOUR, np.uint8)
    table[: len(OWN)] = OWN
    for name in names:
        _save(out / name, table[_scene(name)[1]])
    return out


@pytest.mark.heavy
def test_answers_in_the_colours_that_the_project_came_with(tmp_path):
    data = _draw(tmp_path / "images")
    labelmap = "".join(f"{name}:{r},{g},{b}::\n" for name, (r, g, b) in zip(painted.CLASSES, OWN, strict=True))
    (_in_colours(data / "masks", NAMES[:6]) / "labelmap.txt").write_text(labelmap)
    run("init", data, "-p", tmp_path)
    written = yaml.safe_load((tmp_path / "labelwise.yaml").read_text())
    assert written["palette"] == {
        name: "#{:02x}{:02x}{:02x}".format(*colour) for name, colour in zip(painted.CLASSES, OWN, strict=True)
    }
    answers = _in_colours(tmp_path / "answers", NAMES[6:9])
    assert as_json("import", answers, "-p", tmp_path)["labelled"] == 3
    for name in NAMES[6:9]:
        np.testing.assert_array_equal(_labels(tmp_path)[name], _scene(name)[1])
    # a list of classes in another order changes neither the classes nor their colours
    (answers / "classes.txt").write_text("\n".join(reversed(painted.CLASSES)))
    assert as_json("import", answers, "-p", tmp_path)["corrected"] == 0


@pytest.mark.heavy
def test_colours_come_with_the_first_import(tmp_path):
    run("init", _draw(tmp_path / "images"), "-p", tmp_path, "--task", "segmentation")
    first = _in_colours(tmp_path / "first", NAMES[:3])
    (first / "labelmap.txt").write_text(
        "".join(f"{name}:{r},{g},{b}::\n" for name, (r, g, b) in zip(painted.CLASSES, OWN, strict=True))
    )
    run("import", first, "-p", tmp_path, "--yes")
    assert as_json("import", _in_colours(tmp_path / "second", NAMES[3:6]), "-p", tmp_path)["labelled"] == 3
    np.testing.assert_array_equal(_labels(tmp_path)[NAMES[4]], _scene(NAMES[4])[1])


def test_colours_of_a_project_without_any_are_refused_not_guessed(project):
    answers = _in_colours(project / "answers", NAMES[:2])
    assert "which no class has" in refused("import", answers, "-p", project)
