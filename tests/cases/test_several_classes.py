"""A project of images with several classes, from a folder to a page: what people do, and what they get wrong."""

from __future__ import annotations

import csv
import json

import pytest

import tiny
from commands import as_json, refused, run
from labelwise.contracts.format import Writing
from labelwise.contracts.record import Head
from labelwise.data.open import open_source
from labelwise.errors import ConfigError, DataError
from labelwise.exchange.incoming import Incoming, Known
from labelwise.exchange.sniffing import choose, named
from labelwise.kinds import KINDS
from labelwise.project.setup import init, open_project
from pictures import encoded
from unpacked import unpacked

PAIRS = tiny.pairs(60)
HOT = {item: PAIRS.truth[item] for item in PAIRS.ids}


def _folder(tmp_path):
    for item in PAIRS.ids:
        path = tmp_path / item
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded(PAIRS.load(item)[..., 0]))
    return tmp_path / "img"


def _table(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("id", "label"), *rows])
    return path


def _answers(ids):
    return [(item.removeprefix("img/"), ";".join(HOT[item]) or "none") for item in ids]


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "p"
    run("init", _folder(tmp_path), "--project", folder, "--multi-label", "--classes", ",".join(tiny.CLASSES))
    return folder


# ---- the loop with people -------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_asked_with_guesses_answered_in_a_table_and_told_on_pages(project, tmp_path):
    assert "task: multi_label" in (project / "labelwise.yaml").read_text()
    done = run("import", _table(tmp_path / "first.csv", _answers(PAIRS.ids[:30])), "--project", project)
    assert "30 labelled, 2 of the labelled with none of the classes" in done.output.replace("\n", " ")
    run("suggest", "-n", 8, "--strategy", "entropy", "--set", "reduction=max", "--project", project)
    run("export", tmp_path / "asked.csv", tmp_path / "asked.html", "--project", project)
    with (tmp_path / "asked.csv").open(newline="") as file:
        asked = list(csv.DictReader(file))
    assert len(asked) == 8
    assert all(set(row["predicted"].split("; ")) <= {*tiny.CLASSES, "none"} for row in asked)
    several = next((row["predicted"] for row in asked if ";" in row["predicted"]), None)
    assert several is None or several in (tmp_path / "asked.html").read_text()
    for row in asked[:7]:
        row["label"] = ";".join(HOT[f"img/{row['id']}"]) or "none"
    with (tmp_path / "back.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(asked[0]))
        writer.writeheader()
        writer.writerows(asked)
    said = as_json("import", tmp_path / "back.csv", "--project", project)
    assert (said["labelled"], said["unanswered"], said["pending"]) == (7, 1, 1)
    labels = open_project(project).labels()
    assert labels == {item.removeprefix("img/"): HOT[f"img/{item}"] for item in labels}
    run("report", "--project", project)
    page = (project / "report.html").read_text()
    assert all(f"labelled {'; '.join(HOT['img/' + row['id']]) or 'none'}" in page for row in asked[:7])
    run("check", "--project", project)
    assert "map" in run("evaluate", "--project", project).output


@pytest.mark.heavy
@pytest.mark.parametrize("form", ["csv", "json", "one_hot_csv", "label_studio", "coco", "cvat"])
def test_all_labels_leave_and_make_the_same_project(form, project, tmp_path):
    run("import", _table(tmp_path / "first.csv", _answers(PAIRS.ids[:20])), "--project", project)
    out = tmp_path / ("all.xml" if form == "cvat" else "all.csv" if "csv" in form else "all.json")
    run("export", out, "--labelled", "--format", form, "--project", project)
    again = tmp_path / "again"
    run("init", tmp_path / "img", "--project", again, "--multi-label", "--classes", ",".join(tiny.CLASSES))
    done = as_json("import", out, "--format", form, "--project", again)
    assert (done["labelled"], done["empty"]) == (20, 1)
    assert open_project(again).labels() == open_project(project).labels()


@pytest.mark.heavy
def test_strategies_of_one_class_an_image_are_refused_before_anything_is_trained(project, tmp_path):
    run("import", _table(tmp_path / "first.csv", _answers(PAIRS.ids[:20])), "--project", project)
    for name in ("bait", "batch_bald", "galaxy", "uherding"):
        assert "an image may be of several" in refused("suggest", "-n", 3, "--strategy", name, "--project", project)


@pytest.mark.heavy
def test_predictions_of_ones_own_need_not_sum_to_one(project, tmp_path):
    run("import", _table(tmp_path / "first.csv", _answers(PAIRS.ids[:20])), "--project", project)
    with (tmp_path / "p.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *tiny.CLASSES])
        for number, item in enumerate(PAIRS.ids):
            writer.writerow([item.removeprefix("img/"), 0.5 if number == 41 else 0.9, 0.9, *[0.01] * 8])
    done = as_json(
        *("suggest", "-n", 1, "--strategy", "margin", "--predictions", tmp_path / "p.csv", "--project", project)
    )
    assert done["picks"][0]["id"] == PAIRS.ids[41].removeprefix("img/")
    assert done["picks"][0]["predicted"] == "0; 1"


# ---- what people get wrong ------------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("0000.png", "3;cow")], "unknown class 'cow'"),
        ([("0000.png", "3"), ("0000.png", "none")], "has none of the classes here and classes in row 2"),
        ([("nobody.png", "3")], "nobody.png"),
    ],
)
def test_a_table_that_is_wrong_changes_nothing(rows, words, project, tmp_path):
    told = refused("import", _table(tmp_path / "a.csv", rows), "--project", project)
    assert words in told
    assert not open_project(project).labels()


@pytest.mark.heavy
def test_what_is_not_answered_is_told_from_none_of_them(project, tmp_path):
    rows = [("0000.png", ""), ("0001.png", "none"), ("0002.png", "3;3"), ("0003.png", "skip")]
    done = as_json("import", _table(tmp_path / "a.csv", rows), "--project", project)
    assert (done["labelled"], done["empty"], done["unanswered"], done["skipped"]) == (2, 1, 1, 1)
    assert any("1 image(s) name no class and are not answered; 1 say 'none'" in note for note in done["notes"])
    assert any("1 image(s) name a class twice, which counts once: '0002.png'" in note for note in done["notes"])
    assert open_project(project).labels() == {"0001.png": [], "0002.png": ["3"]}


def test_folders_are_refused_with_what_can_say_it(tmp_path):
    for name in ("cat/a.png", "dog/b.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(encoded(PAIRS.load(PAIRS.ids[0])[..., 0]))
    with pytest.raises(ConfigError, match=r"folders say one class of each image.*give a table \(a;b in a column"):
        init(tmp_path, project=tmp_path / "p", task={"name": "multi_label"}, labels="folders")
    source = open_source(tmp_path, task="multi_label")
    assert not source.truth
    assert any("folders say one class of each image, and are not read" in note for note in source.notes())


def test_two_tasks_at_once_are_refused(tmp_path):
    done = run("init", _folder(tmp_path), "--multi-label", "--task", "detection", "--project", tmp_path / "p", code=2)
    assert "say one" in done.stderr


def test_several_classes_where_one_is_wanted_name_the_task_that_takes_them(tmp_path):
    things = [{"id": n, "image_id": 1, "category_id": n} for n in (1, 2)]
    data = {
        "images": [{"id": 1, "file_name": "0000.png", "width": 16, "height": 16}],
        "annotations": things,
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    (_folder(tmp_path) / "a.json").write_text(json.dumps(data))
    with pytest.raises(DataError, match="keep one, or say --task multi_label"):
        open_source(tmp_path / "img" / "a.json")
    assert open_source(tmp_path / "img" / "a.json", task="multi_label").truth == {"0000.png": ["cat", "dog"]}


@pytest.mark.parametrize("form", ["coco", "voc", "yolo", "cvat", "labelme", "label_studio"])
def test_a_set_of_boxes_is_one_of_several_classes_too(form, tmp_path):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(encoded(PAIRS.load(PAIRS.ids[0])[..., 0], "JPEG"))
    boxes = {
        "a.jpg": [("dog", [1, 1, 5, 5]), ("cat", [2, 2, 9, 9]), ("dog", [3, 3, 8, 8])],
        "b.jpg": [("cat", [1, 1, 5, 5])],
        "c.jpg": [],
    }
    kind, classes = KINDS.create("boxes"), ("cat", "dog")
    raws = {
        name: {"size": [16, 16], "objects": [{"class": cls, "box": box} for cls, box in found]}
        for name, found in boxes.items()
    }
    out = tmp_path / {"coco": "a.json", "label_studio": "a.json", "cvat": "a.xml"}.get(form, "set")
    records = [kind.to_record(name, raw, classes) for name, raw in raws.items()]
    how = Writing("labelled", "boxes", path_of=lambda name: str(tmp_path / name), images="copy")
    named(form).write(out, Head(classes=classes), records, how)
    chosen = choose(out, "answers", kind="tags")
    assert chosen.format.name == form
    door = Incoming(out, chosen.format, "answers", Known(KINDS.create("tags"), list(boxes), classes))
    found = {row.item: row.raw for row in door.rows()}
    assert found == {"a.jpg": ["cat", "dog"], "b.jpg": ["cat"], "c.jpg": []}


@pytest.mark.real
def test_classes_of_real_photos_are_those_of_their_objects():
    source = open_source(unpacked("coco_mini"), task="multi_label")
    assert (len(source.ids), len(source.truth), len(source.classes)) == (101, 101, 80)
    counts = KINDS.create("tags").counts(source.truth.values(), source.classes)
    assert (counts["person"], counts["dining table"]) == (46, 21)
    assert max(map(len, source.truth.values())) > 5
