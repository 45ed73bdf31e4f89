"""Projects that are labelled on a real Label Studio, and what people say there of their pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from commands import as_json, run
from labelwise.formats.label_studio_brush import brush_runs

SIZE = (40, 30)
NAMES = [f"{n} ü.png" for n in range(9)]
#: kind of label -> what init is told
TASKS = {
    "classification": ("--classes", "cat,dog"),
    "multi_label": ("--classes", "cat,dog", "--multi-label"),
    "detection": ("--classes", "car,bus"),
    "segmentation": ("--classes", "road,sky"),
    "keypoints": ("--classes", "mouse", "--set", "task.points=[nose, tail]"),
}


def made(people, tmp_path, task="classification", names=NAMES):
    """A project on pictures that the server may read."""
    folder = people[2] / tmp_path.name
    folder.mkdir(parents=True)
    for n, name in enumerate(names):
        Image.fromarray(np.random.default_rng(n).integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)).save(folder / name)
    more = TASKS[task] if task == "multi_label" else ("--task", task, *TASKS[task])
    run("init", folder, "-p", tmp_path, "--labels", "none", "--backbone", "pixels", *more)
    return tmp_path


def connected(people, project, *more):
    done = as_json("connect", "label-studio", "--url", people[0].url, "-p", project, *more)
    return done["number"]


def result(task, place):
    """What a person says of a picture, by hand."""
    shape = {"to_name": "image", "original_width": SIZE[0], "original_height": SIZE[1], "image_rotation": 0}
    if task in ("classification", "multi_label"):
        names = ["cat"] if task == "classification" else ["cat", "dog"]
        return [{"from_name": "choice", "to_name": "image", "type": "choices", "value": {"choices": names}}]
    if task == "detection":
        value = {"x": 10 + place, "y": 20, "width": 25, "height": 30, "rotation": 0, "rectanglelabels": ["bus"]}
        return [{"from_name": "box", "type": "rectanglelabels", **shape, "value": value}]
    if task == "segmentation":
        cover = np.zeros(SIZE[::-1], bool)
        cover[5:20, 3 : 20 + place] = True
        value = {"format": "rle", "rle": brush_runs(cover), "brushlabels": ["sky"]}
        return [{"from_name": "brush", "type": "brushlabels", **shape, "value": value}]
    return [
        {"from_name": "point", "type": "keypointlabels", **shape,
         "value": {"x": 10 + 20 * n + place, "y": 50, "width": 1, "keypointlabels": [name]}}
        for n, name in enumerate(("nose", "tail"))
    ]  # fmt: skip


def expected(task, raw, place):
    """Whether a label is what a person said."""
    if task == "classification":
        return raw == "cat"
    if task == "multi_label":
        return sorted(raw) == ["cat", "dog"]
    if task == "detection":
        (thing,) = raw["objects"]
        return thing["class"] == "bus" and thing["box"] == pytest.approx([4 + 0.4 * place, 6, 14 + 0.4 * place, 15])
    if task == "segmentation":
        return raw is not None
    (thing,) = raw["objects"]
    return [p[:2] for p in thing["points"]] == [pytest.approx([4 + 8 * n + 0.4 * place, 15]) for n in range(2)]


def stream(person, number):
    """The picture that the person is shown next."""
    return person.json(f"/api/projects/{number}/next")


def tasks_of(person, number):
    """(number of a task, picture) of all tasks."""
    rows = person.json(f"/api/tasks/?project={number}&include=id,data&page_size=1000")["tasks"]
    return [(row["id"], row["data"].get("labelwise_id")) for row in rows]
