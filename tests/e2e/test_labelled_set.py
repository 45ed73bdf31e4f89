"""All labels so far as files, and back into a project that knows none of them: the same labels, whatever the format."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import painted
from boxes_on_disk import write_coco
from commands import as_json, refused, run
from labelwise.contracts.record import IGNORE
from labelwise.data.mask_labels import mask_of
from labelwise.formats.mask_coding import MaskCoding
from labelwise.project.setup import open_project
from masks_on_disk import write_png_masks

NAMES = [f"a/{n}.png" for n in range(5)] + ['b/quo"te, comma.png']
OPTIONS = {
    "classification": ("--classes", 'cat,dog "big"'),
    "detection": ("--classes", "cell,clump", "--learner", "torch", "--labels", "none"),
    "segmentation": ("--classes", ",".join(painted.CLASSES)),
}


def _start(folder: Path, task: str) -> Path:
    for n, name in enumerate(NAMES):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(painted.paint(n)[0]).save(folder / "images" / name)
    run("init", folder / "images", "-p", folder, "--task", task, *OPTIONS[task], "--labels", "none")
    return folder


def _labels(project: Path) -> dict[str, object]:
    pool = open_project(project).pool
    return {pool.ids[p]: pool.target(p) for p in pool.labelled}


def _classes(project: Path) -> None:
    (project / "in.json").write_text(json.dumps({NAMES[0]: "cat", NAMES[5]: 'dog "big"', NAMES[2]: "cat"}))
    run("import", project / "in.json", "-p", project)


def _boxes(project: Path) -> None:
    size = [painted.WIDTH, painted.HEIGHT]
    things = [{"class": "clump", "box": [1, 2, 7, 9]}, {"class": "cell", "box": [0, 0, *size]}]
    labels = {NAMES[0]: {"size": size, "objects": things}, NAMES[5]: {"size": size, "objects": []}}
    write_coco(project / "in.json", labels, ("cell", "clump"))
    run("import", project / "in.json", "-p", project)


def _masks(project: Path) -> None:
    part = painted.paint(5)[1].copy()
    part[: painted.HEIGHT // 2] = IGNORE
    write_png_masks(project / "in", [(NAMES[0], painted.paint(0)[1]), (NAMES[5], part)], MaskCoding(painted.CLASSES))
    run("import", project / "in", "-p", project)


LABELLED = {"classification": _classes, "detection": _boxes, "segmentation": _masks}


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("task", "out", "kind"),
    [
        ("classification", "out.csv", None),
        ("classification", "out.json", None),
        ("detection", "out.json", None),
        ("detection", "out", "voc"),
        ("detection", "out", "yolo"),
        ("segmentation", "out", "masks"),
        ("segmentation", "out.json", None),
    ],
)
def test_there_and_into_another_project(task, out, kind, tmp_path):
    project = _start(tmp_path / "one", task)
    LABELLED[task](project)
    known = _labels(project)
    form = () if kind is None else ("--format", kind)
    told = as_json("export", project / out, *form, "--labelled", "-p", project)
    assert told["labels"] == len(known)
    assert told["left_out"] == [] or kind == "yolo", "where the pictures are, and that nothing is for validation"
    other = _start(tmp_path / "two", task)
    assert as_json("import", project / out, "-p", other)["labelled"] == len(known)
    found = _labels(other)
    assert found.keys() == known.keys()
    for item, label in known.items():
        if task == "segmentation":
            assert mask_of(found[item]) == mask_of(label)
        elif task == "detection":
            things = [[(t["class"], *map(float, t["box"])) for t in raw["objects"]] for raw in (found[item], label)]
            np.testing.assert_allclose([t[1:] for t in things[0]], [t[1:] for t in things[1]], atol=1e-3)
            assert [t[0] for t in things[0]] == [t[0] for t in things[1]]
        else:
            assert found[item] == label


def test_a_table_is_read_by_anything_that_reads_csv(tmp_path):
    project = _start(tmp_path, "classification")
    _classes(project)
    run("export", tmp_path / "out.csv", "--labelled", "-p", project)
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["id"]: row["label"] for row in rows} == _labels(project)


@pytest.mark.heavy
def test_regions_of_an_image_become_one_mask(tmp_path):
    project = _start(tmp_path, "segmentation")
    config = yaml.safe_load((project / "labelwise.yaml").read_text())
    quick = {"input": {"size": list(painted.INPUT)}, "learner": {"kind": "torch", "phases": [{"epochs": 1}]}}
    (project / "labelwise.yaml").write_text(yaml.safe_dump({**config, **quick, "regions": {"count": 6}}))
    write_png_masks(project / "first", [(NAMES[1], painted.paint(1)[1])], MaskCoding(painted.CLASSES))
    run("import", project / "first", "-p", project)
    run("suggest", "-n", 5, "-s", "random", "-p", project)
    run("export", project / "asked", "--format", "masks", "-p", project)
    asked = json.loads((project / "asked" / "asked.json").read_text())["items"]
    for item in asked:
        image = item["id"].partition("#")[0]
        file = project / "asked" / item["answer"]
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(painted.paint(NAMES.index(image))[1]).save(file)
    run("import", project / "asked", "-p", project)
    source, known = open_project(project).source, _labels(project)
    run("export", project / "out", "--format", "masks", "--labelled", "-p", project)
    images = {source.within(item)[0] for item in known}
    assert len(images) < len(known), "an image of several regions"
    for image in images:
        shown = np.asarray(Image.open(project / "out" / "masks" / image))
        expected = np.full_like(shown, IGNORE)
        for item in (item for item in known if source.within(item)[0] == image):
            mask = mask_of(known[item]).whole().numpy()
            expected[mask != IGNORE] = mask[mask != IGNORE]
        np.testing.assert_array_equal(shown, expected)


@pytest.mark.heavy
def test_what_is_refused(tmp_path):
    project = _start(tmp_path / "one", "classification")
    assert "no image has a label yet" in refused("export", "x.csv", "--labelled", "-p", project)
    _classes(project)
    assert "labels are not written as a gallery" in refused("export", "x.html", "--labelled", "-p", project)
    assert "unknown format for labelled classes 'voc'" in refused(
        "export", "x", "--format", "voc", "--labelled", "-p", project
    )
    message = refused("export", "x.csv", "--labelled", "--predictions", "y.npz", "-p", project)
    assert "leave one out" in message
    boxes = _start(tmp_path / "two", "detection")
    _boxes(boxes)
    assert "voc or yolo for a folder" in refused("export", "x.csv", "--labelled", "-p", boxes)
    assert not any(Path(name).exists() for name in ("x", "x.csv", "x.html"))
