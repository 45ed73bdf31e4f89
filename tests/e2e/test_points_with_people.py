"""Key points on the command line: made into a project, asked with the model's guesses, corrected, taken back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from commands import as_json, refused, run
from labelwise.project.setup import open_project
from labelwise.recipes import find
from labelwise.studies.comparison import Comparison
from unpacked import unpacked

NAMES = ["snout", "leftear", "rightear", "tailbase"]


def _coco(path: Path, images: dict[str, list[float]], names=NAMES, **category: Any) -> Path:
    """A COCO file: image -> its key points, flat; [] lists the image alone."""
    things = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [0, 0, 30, 20], "keypoints": flat}
        for n, flat in enumerate(images.values(), 1)
        if flat
    ]
    head = {"id": 1, "name": "mouse", "keypoints": names, "skeleton": [[1, 4]], **category}
    listed = [{"id": n, "file_name": name, "width": 40, "height": 30} for n, name in enumerate(images, 1)]
    path.write_text(json.dumps({"images": listed, "annotations": things, "categories": [head]}))
    return path


def _flat(number: int, count: int = 4) -> list[float]:
    return [value for k in range(count) for value in (5 + k, 6 + number, 2)]


@pytest.fixture
def frames(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for n in range(6):
        Image.fromarray(rng.integers(0, 255, (30, 40), dtype=np.uint8)).save(tmp_path / "images" / f"{n}.png")
    return tmp_path / "images"


def _task(project: Path) -> Any:
    return yaml.safe_load((project / "labelwise.yaml").read_text())["task"]


def _labelled(project: Path) -> dict[str, Any]:
    pool = open_project(project).pool
    return {pool.ids[p]: pool.target(p) for p in pool.labelled}


# ---- a project ------------------------------------------------------------------------------------------------------


def test_a_set_of_key_points_says_what_the_task_has_to_know(frames, tmp_path):
    _coco(frames.parent / "images" / "keypoints.json", {f"{n}.png": _flat(n) for n in range(6)})
    made = as_json("init", frames, "-p", tmp_path)
    assert made["task"] == "keypoints"
    known = {"points": NAMES, "limbs": [["snout", "tailbase"]], "pairs": [["leftear", "rightear"]]}
    assert made["task_options"] == known
    assert _task(tmp_path) == {"name": "keypoints", **known}
    assert not [note for note in made["notes"] if "mirror" in note]


@pytest.mark.heavy
def test_names_that_tell_no_side_are_said_where_images_are_mirrored(frames, tmp_path):
    names = ["paw1", "paw2", "nose", "tail"]
    file = _coco(tmp_path / "k.json", {f"{n}.png": _flat(n) for n in range(6)}, names)
    made = as_json("init", file, "-p", tmp_path, "--data-root", frames)
    assert any("tell left from right" in note and "task.pairs" in note for note in made["notes"])
    quiet = as_json("init", file, "-p", tmp_path / "two", "--data-root", frames, "--set", "task.augment=turn")
    assert not [note for note in quiet["notes"] if "left" in note]


@pytest.mark.heavy
def test_a_side_without_a_partner_is_taken_for_itself_and_said(frames, tmp_path):
    file = _coco(tmp_path / "k.json", {f"{n}.png": _flat(n) for n in range(6)}, ["l_ear", "l_eye", "r_eye", "tail"])
    made = as_json("init", file, "-p", tmp_path, "--data-root", frames)
    assert any("l_ear" in note and "no partner" in note for note in made["notes"])
    assert made["task_options"]["pairs"] == [["l_eye", "r_eye"]]


@pytest.mark.heavy
def test_the_first_import_names_the_points_and_leaves_comments_as_they_are(frames, tmp_path):
    run("init", frames, "-p", tmp_path, "--task", "keypoints", "--labels", "none")
    file = tmp_path / "labelwise.yaml"
    file.write_text(file.read_text().replace("task: keypoints", "# mine\ntask: keypoints  # of mice"))
    back = _coco(tmp_path / "back.json", {f"{n}.png": _flat(n) for n in range(3)})
    assert as_json("import", back, "-p", tmp_path, "--yes")["labelled"] == 3
    text = file.read_text()
    assert "# mine\n" in text
    assert "# of mice" in text
    assert _task(tmp_path)["points"] == NAMES


@pytest.mark.heavy
def test_other_body_parts_are_refused_with_what_differs(frames, tmp_path):
    run("init", frames, "-p", tmp_path, "--task", "keypoints", "--labels", "none")
    run("import", _coco(tmp_path / "a.json", {"0.png": _flat(0)}), "-p", tmp_path, "--yes")
    other = _coco(tmp_path / "b.json", {"1.png": _flat(1)}, ["snout", "leftear", "rightear", "tip"])
    said = refused("import", other, "-p", tmp_path)
    assert "more: ['tip']; missing: ['tailbase']" in said
    assert "Nothing was imported" in said
    assert len(said) < 320
    fewer = _coco(tmp_path / "c.json", {"1.png": _flat(1, 3)}, NAMES[:3], skeleton=[])
    assert "missing: ['tailbase']" in refused("import", fewer, "-p", tmp_path)
    assert [*_labelled(tmp_path)] == ["0.png"]


def test_points_of_a_study_come_from_its_labels(frames, tmp_path):
    file = _coco(tmp_path / "k.json", {f"{n}.png": _flat(n) for n in range(6)})
    plan = find(str(file), {"data": {"root": str(frames)}})
    study = Comparison(plan.recipe, plan.open(), tmp_path / "study")
    assert study.recipe.task.options["points"] == NAMES
    assert study.runs.task.points == tuple(NAMES)


@pytest.mark.heavy
def test_of_a_folder_with_objects_and_persons_each_task_reads_its_own(tmp_path):
    folder = unpacked("coco_mini")
    made = as_json("init", folder, "-p", tmp_path / "points", "--task", "keypoints")
    assert made["classes"] == ["person"]
    assert len(made["task_options"]["points"]) == 17
    assert len(made["task_options"]["pairs"]) == 8
    assert any("instances_train.json" in note for note in made["notes"])
    boxes = as_json("init", folder, "-p", tmp_path / "boxes")
    assert boxes["task"] == "detection"
    assert any("person_keypoints_train.json" in note for note in boxes["notes"])


# ---- the loop with people -------------------------------------------------------------------------------------------


def _answer_coco(file: Path, image: str) -> None:
    """The guess is corrected: the tip is hidden, one ear was placed otherwise."""
    data = json.loads(file.read_text())
    entry = next(entry for entry in data["images"] if entry["file_name"] == image)
    del entry["answered"]
    thing = next(thing for thing in data["annotations"] if thing["image_id"] == entry["id"])
    thing["keypoints"] = [10, 11, 1, 12, 13, 2, 0, 0, 0, 14, 15, 2]
    file.write_text(json.dumps(data))


def _answer_label_studio(file: Path, image: str) -> None:
    """A person places three of the points anew; of the fourth nothing comes back."""
    data = json.loads(file.read_text())
    task = next(task for task in data if task["data"]["labelwise_id"] == image)
    places = {"tailbase": (14, 15), "snout": (10, 11), "leftear": (12, 13)}
    width, height = 320, 240
    task["annotations"] = [
        {
            "result": [
                {
                    "id": name,
                    "from_name": "point",
                    "to_name": "image",
                    "type": "keypointlabels",
                    "original_width": width,
                    "original_height": height,
                    "image_rotation": 0,
                    "value": {"x": 100 * x / width, "y": 100 * y / height, "width": 0.5, "keypointlabels": [name]},
                }
                for name, (x, y) in places.items()
            ]
        }
    ]
    file.write_text(json.dumps(data))


def _answer_cvat(file: Path, image: str) -> None:
    """As CVAT writes it: without the mark of a file that was never opened there."""
    text = file.read_text().replace("<labelwise><use>asked</use></labelwise>", "")
    start = text.index("<skeleton", text.index(f'name="{image}"'))
    end = text.index("</skeleton>", start)
    points = "".join(
        f'<points label="{name}" occluded="{hidden}" outside="{outside}" points="{x},{y}"></points>'
        for name, x, y, hidden, outside in (
            *(("snout", 10, 11, 1, 0), ("leftear", 12, 13, 0, 0)),
            *(("rightear", 0, 0, 0, 1), ("tailbase", 14, 15, 0, 0)),
        )
    )
    file.write_text(f'{text[:start]}<skeleton label="mouse" source="manual">{points}{text[end:]}')


def _answer_deeplabcut(folder: Path, image: str) -> None:
    """As DeepLabCut saves it: the labels of the frames that were corrected, without likelihoods."""
    (machine,) = folder.rglob("machinelabels-iter0.csv")
    lines = ["scorer,,," + ",".join(["me"] * 8), "bodyparts,,," + ",".join(f"{name},{name}" for name in NAMES)]
    lines += ["coords,,," + ",".join(["x", "y"] * 4), f"labeled-data,frames,{image},10,11,12,13,,,14,15"]
    (machine.parent / "CollectedData_me.csv").write_text("\n".join(lines) + "\n")


ANSWERS = {
    "coco": _answer_coco,
    "label_studio": _answer_label_studio,
    "cvat": _answer_cvat,
    "deeplabcut": _answer_deeplabcut,
}
ENDINGS = {"coco": "coco.json", "label_studio": "tasks.json", "cvat": "cvat.xml"}


@pytest.fixture
def asked(tmp_path) -> Path:
    """Ten frames of a mouse, five of them labelled, and four that wait with what a network guesses."""
    mouse = unpacked("pose_mouse") / "openfield"
    (tmp_path / "images").mkdir()
    for n in range(10):
        name = f"img{n:04d}.png"
        (tmp_path / "images" / name).write_bytes((mouse / "images" / name).read_bytes())
    data = json.loads((mouse / "keypoints.json").read_text())
    data["images"] = [entry for entry in data["images"] if entry["file_name"] < "img0005"]
    kept = {entry["id"] for entry in data["images"]}
    data["annotations"] = [thing for thing in data["annotations"] if thing["image_id"] in kept]
    (tmp_path / "first.json").write_text(json.dumps(data))
    run("init", tmp_path / "images", "-p", tmp_path, "--task", "keypoints", "--labels", "none", "--classes", "mouse",
        "--model", "posed:narrow_of_four", "--size", 32)  # fmt: skip
    run("import", tmp_path / "first.json", "-p", tmp_path)
    settings = yaml.safe_load((tmp_path / "labelwise.yaml").read_text())
    settings["learner"]["phases"] = [{"epochs": 2, "batch_size": 4, "lr": 0.01}]
    (tmp_path / "labelwise.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


@pytest.mark.heavy
def test_asked_with_guesses_answered_in_part_and_corrected_in_four_tools(asked):
    picks = as_json("suggest", "-n", 4, "-s", "entropy", "-p", asked)["picks"]
    images = [pick["id"] for pick in picks]
    files = {name: asked / "out" / ENDINGS.get(name, name) for name in ANSWERS}
    for name, file in files.items():
        run("export", file, "--format", name, "-p", asked)
        if name == "deeplabcut":
            assert "no CollectedData" in refused("import", file, "--format", name, "-p", asked)
        else:  # unchanged it answers nothing
            assert as_json("import", file, "--format", name, "-p", asked)["labelled"] == 0
    for image, (name, answer) in zip(images, ANSWERS.items(), strict=True):
        answer(files[name], image)
        done = as_json("import", files[name], "--format", name, "-p", asked)
        assert done["labelled"] == 1, name
        hidden = 1 if name in ("coco", "cvat") else 2
        (thing,) = _labelled(asked)[image]["objects"]
        assert thing["names"] == NAMES, name
        placed = [[round(x, 3), round(y, 3), seen] for x, y, seen in thing["points"]]
        assert placed == [[10, 11, hidden], [12, 13, 2], [0, 0, 0], [14, 15, 2]], name
        assert "score" not in thing
        assert done["pending"] == 3 - list(ANSWERS).index(name)


@pytest.mark.heavy
def test_without_guesses_people_are_told_the_points(frames, tmp_path):
    run("init", frames, "-p", tmp_path, "--task", "keypoints", "--labels", "none", "--classes", "mouse",
        "--set", f"task.points={json.dumps(NAMES)}", "--set", 'task.limbs=[["snout", "tailbase"]]')  # fmt: skip
    run("suggest", "-n", 2, "-s", "random", "-p", tmp_path)
    for name in ANSWERS:
        run("export", tmp_path / "out" / ENDINGS.get(name, name), "--format", name, "-p", tmp_path)
    (category,) = json.loads((tmp_path / "out" / "coco.json").read_text())["categories"]
    assert category["keypoints"] == NAMES
    assert category["skeleton"] == [[1, 4]]
    assert '<Label value="tailbase" background="#' in (tmp_path / "out" / "tasks.interface.xml").read_text()
    text = (tmp_path / "out" / "cvat.xml").read_text()
    assert "<type>skeleton</type>" in text
    assert "<name>tailbase</name>" in text
    (table,) = (tmp_path / "out" / "deeplabcut").rglob("*.csv")
    assert ",".join(f"{name},{name}" for name in NAMES) in table.read_text()


# ---- somebody else's points -----------------------------------------------------------------------------------------


def _results(path: Path, sure: dict[int, float]) -> Path:
    """A COCO results file: image id -> confidence of each of its points."""
    rows = [
        {"image_id": n, "category_id": 1, "score": c, "keypoints": [v for k in range(4) for v in (5 + 8 * k, 6 + n, c)]}
        for n, c in sure.items()
    ]
    path.write_text(json.dumps(rows))
    return path


@pytest.mark.heavy
def test_frames_are_ranked_by_the_points_of_another_program(frames, tmp_path):
    file = _coco(tmp_path / "k.json", {f"{n}.png": _flat(n) if n < 2 else [] for n in range(6)})
    run("init", file, "-p", tmp_path, "--data-root", frames)
    found = _results(tmp_path / "found.json", {3: 0.9, 4: 0.2, 5: 0.6})
    made = as_json("suggest", "-n", "all", "-s", "least_confidence", "--predictions", found, "-p", tmp_path)
    assert [pick["id"] for pick in made["picks"]] == ["3.png", "4.png", "2.png"]
    assert [pick["score"] for pick in made["picks"]] == pytest.approx([0.8, 0.4, 0.1])
    assert any("1 of 4 left out" in note and "5.png" in note for note in made["notes"])
