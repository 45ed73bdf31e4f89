"""Every command that is printed as a next step runs as it stands, on projects of each kind and in each state."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

import painted
from commands import as_json, run
from labelwise.project.project import Project

COUNT = 12
NAMES = [f"day one/{number:02d}.png" for number in range(COUNT)]
KINDS = ("classification", "detection", "segmentation")
QUICK = {
    "classification": {},
    "detection": {"learner": {"kind": "torch", "phases": [{"epochs": 1, "min_steps": 1, "batch_size": 4}]}},
    "segmentation": {
        "input": {"size": list(painted.INPUT), "augment": "none"},
        "learner": {"kind": "torch", "phases": [{"epochs": 1, "min_steps": 1, "batch_size": 4}]},
    },
}
CLASSES = {"classification": "dark,light", "detection": "cell,clump", "segmentation": ",".join(painted.CLASSES)}


@pytest.fixture(params=KINDS)
def kind(request, tmp_path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images" / "day one").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        Image.fromarray(painted.paint(number)[0]).save(tmp_path / "images" / name)
    run("init", "images", "--task", request.param, "--classes", CLASSES[request.param], "--labels", "none",
        "--backbone", "pixels")  # fmt: skip
    settings = yaml.safe_load(Path("labelwise.yaml").read_text())
    Path("labelwise.yaml").write_text(yaml.safe_dump({**settings, **QUICK[request.param]}))
    return request.param


def steps_of(output: str) -> list[list[str]]:
    """The commands below ``next:``, without what they do."""
    lines = output.split("\nnext:\n")[-1].splitlines()
    return [shlex.split(line.strip().split("  ")[0])[1:] for line in lines if line.startswith("  labelwise ")]


def fill_in(path: Path) -> None:
    """What people would do between two commands: every pick gets an answer, in the file or folder they were given."""
    if path.is_dir():
        for item in json.loads((path / "asked.json").read_text())["items"]:
            answer = path / item["answer"]
            answer.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(painted.paint(NAMES.index(item["id"]))[1]).save(answer)
    elif path.suffix == ".csv":
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("id", "label"), *((row["id"], "dark") for row in rows)])
    else:
        path.write_text(json.dumps(_filled(json.loads(path.read_text()))))


def _filled(data: Any) -> Any:
    if "items" in data:
        for number, item in enumerate(data["items"]):
            item["label"] = ("dark", "light")[number % 2]
        return data
    box = {"bbox": [1, 2, 9, 9], "area": 81, "iscrowd": 0, "category_id": data["categories"][0]["id"]}
    data["annotations"] = [box | {"id": n, "image_id": image["id"]} for n, image in enumerate(data["images"], 1)]
    for image in data["images"]:
        image.pop("answered")
    return data


def walk(output: str) -> str:
    """Runs all steps that an output prints, filling in what was written; what the last one printed."""
    steps = steps_of(output)
    assert steps, output
    said = ""
    for step in steps:
        if step[0] == "import":
            fill_in(Path(step[1]))
        said = run(*step).output
    return said


def labelled() -> int:
    return len(Project(Path()).pool.labelled)


@pytest.mark.heavy
def test_from_the_first_picks_to_the_last_label(kind):
    said = walk(run("suggest", "-n", 5, "-s", "random").output)
    assert labelled() == 5, "an open round: written, filled in, taken back"
    assert ["suggest"] in steps_of(said)
    walk(run("suggest", "-n", COUNT - 5, "-s", "random").output)
    assert labelled() == COUNT
    fitted = run("fit").output
    assert not any(step[0] in ("suggest", "fit") for step in steps_of(fitted)), "nothing is left to ask"
    run("unlabel", NAMES[0])
    run("suggest", "-s", "random")
    done = run("export", *steps_of(run("suggest").output)[0][1:]).output
    [back] = steps_of(done)
    fill_in(Path(back[1]))
    assert steps_of(run(*back).output)[0] == ["fit"]
    walk(run("import", *back[1:]).output)
    page = Path(as_json("report")["report"]).read_text()
    assert "labelwise fit" in page
    assert "labelwise suggest" not in page


@pytest.mark.heavy
def test_a_test_set_is_asked_for_and_taken_back(kind):
    walk(run("holdout", "-n", 4).output)
    assert len(Project(Path()).pool.with_role("test")) == 4
    assert labelled() == 0


@pytest.mark.heavy
def test_the_report_says_what_runs(kind):
    run("suggest", "-n", 3, "-s", "random")
    page = Path(as_json("report")["report"]).read_text()
    steps = [shlex.split(line.removeprefix("<pre>"))[1:] for line in page.splitlines() if "labelwise export " in line
             or "labelwise import " in line]  # fmt: skip
    assert steps
    for step in steps:
        if step[0] == "import":
            fill_in(Path(step[1]))
        run(*step)
    assert labelled() == 3


@pytest.mark.heavy
@pytest.mark.parametrize("file", ["to do.json", "to do.csv"])
def test_the_file_that_was_written_is_the_one_that_comes_back(kind, file):
    if file.endswith(".csv") and kind != "classification":
        pytest.skip("boxes and masks are no cells of a table")
    written = run("suggest", "-n", 3, "-s", "random", "--export", file).output
    assert ["import", file] in steps_of(written)
    exported = run("export", "look.html", file).output
    assert steps_of(exported) == [["import", file]]
    if kind != "segmentation":
        walk(exported)
        assert labelled() == 3


@pytest.mark.heavy
def test_a_gallery_alone_cannot_come_back(kind):
    run("suggest", "-n", 3, "-s", "random")
    walk(run("export", "look.html").output)
    assert labelled() == 3
    run("suggest", "-n", 3, "-s", "random")
    walk(run("export", "scores.csv", "--format", "superannotate").output)
    assert labelled() == 6


@pytest.mark.heavy
@pytest.mark.parametrize("form", ["label_studio", "coco", "cvat"])
def test_formats_of_tools_are_named_again_where_the_ending_does_not_say_them(kind, form):
    run("suggest", "-n", 3, "-s", "random")
    [back] = steps_of(run("export", "tasks", "--format", form).output)
    assert back == ["import", "tasks", "--format", form]
    done = as_json(*back)
    assert done["unanswered"] == 3, "nobody has drawn yet"


@pytest.mark.heavy
def test_what_is_ignored_while_a_round_is_open_is_said(kind):
    first = as_json("suggest", "-n", 3, "-s", "random")
    again = as_json("suggest", "-n", 3, "-s", "random")
    assert not any("ignored" in note for note in again["notes"]), "the same command once more"
    found = as_json("suggest", "-n", 5, "-s", "kmeans", "--set", "pool=all", "--predictions", "nowhere.npz")
    assert [pick["id"] for pick in found["picks"]] == [pick["id"] for pick in first["picks"]]
    wanted = "-n 5, --strategy kmeans, --set pool=all, --predictions nowhere.npz were ignored in choosing"
    assert any(note.startswith(wanted) for note in found["notes"])


@pytest.mark.heavy
def test_two_open_rounds_stand_under_two_headings(kind):
    first = as_json("suggest", "-n", 3, "-s", "random")
    second = as_json("suggest", "-n", 2, "-s", "kmeans", "--more")
    said = run("suggest").output
    assert said.index("round 0: 3 images chosen by random") < said.index("round 1: 2 images chosen by kmeans")
    assert "rounds 0 and 1 are open: 5 of their picks" in " ".join(said.split())
    run("export", "look.html")
    page = Path("look.html").read_text()
    assert page.count("<ol class=") == 2
    assert page.index("Round 0") < page.index(first["picks"][0]["id"]) < page.index("Round 1")
    assert page.index("Round 1") < page.index(second["picks"][0]["id"])
    run("export", "all.json")
    data = json.loads(Path("all.json").read_text())
    items = data.get("items") or data["images"]
    assert [(item["round"], item["strategy"]) for item in items] == [(0, "random")] * 3 + [(1, "kmeans")] * 2
