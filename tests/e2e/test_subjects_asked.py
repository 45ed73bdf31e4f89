"""Images with several subjects: each an item, asked together, found again when they come back, compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import crowded
from commands import as_json, refused, run
from labelwise.project.project import Project

pytestmark = pytest.mark.heavy

COUNTS = [3, 2, 1, 2, 3, 2, 2, 3]
INIT = ("--task", "keypoints", "--size", 32, *crowded.SET)


@pytest.fixture
def truth(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return crowded.write(tmp_path / "set", COUNTS, labelled=4, crowds=1)


def answered(path: str, truth, *, change=lambda annotation: annotation) -> str:
    """The file that was given out, with the points of the subjects that it asks."""
    told = json.loads(Path(path).read_text())
    names = {image["id"]: image["file_name"] for image in told["images"]}
    for image in told["images"]:
        image["answered"] = True
    for annotation in told["annotations"]:
        thing = truth[names[annotation["image_id"]]][annotation["subject"] - 1]
        annotation["keypoints"] = [value for point in thing["points"] for value in point]
        annotation["num_keypoints"] = 3
    told["annotations"] = [one for one in map(change, told["annotations"]) if one is not None]
    Path(path).write_text(json.dumps(told))
    return path


def test_init_makes_an_item_of_each_subject_and_says_what_is_left_out(truth, tmp_path):
    made = as_json("init", "set", *INIT)
    assert made["images"] == 17
    assert made["images_with_subjects"] == 8
    assert made["labelled"] == 7
    notes = "\n".join(made["notes"])
    assert "17 subject(s) of 8 image(s) are asked one by one, each cut out by its box (of the labels)" in notes
    assert "1 crowd(s) are no subjects: left out" in notes
    assert "10 of them have no point that was placed" in notes
    pool = Project(tmp_path).pool
    assert "000.png#1" not in pool  # the crowd
    assert {"000.png#2", "000.png#3", "007.png#1"} <= set(pool.ids)
    assert pool.items[0].region.startswith("subject:")
    assert {item.group for item in pool.items} == set(truth)
    assert not pool.has_regions


def test_subjects_of_an_image_go_out_together_and_come_back_by_number_or_place(truth, tmp_path):
    run("init", "set", *INIT)
    asked = [pick["id"] for pick in as_json("suggest", "-n", 8, "-s", "random")["picks"]]
    run("export", "asked.json")
    told = json.loads(Path("asked.json").read_text())
    assert len(told["images"]) == len({item.partition("#")[0] for item in asked})
    assert len(told["annotations"]) == 8
    assert all(not image["path"].partition("png")[2] for image in told["images"])

    def moved(annotation):
        """A tool that forgets what it does not know, and boxes that people drew a little otherwise."""
        annotation.pop("subject")
        annotation["bbox"][0] += 2
        return annotation

    said = as_json("import", answered("asked.json", truth, change=moved))
    assert (said["labelled"], said["pending"]) == (8, 0)
    project = Project(tmp_path)
    for item in asked:
        image, _, number = item.partition("#")
        raw = project.pool.target(project.pool.position(item))
        assert raw["objects"][0]["points"] == truth[image][int(number) - 1]["points"]
        assert raw["subject"]["image"] == image
    last = project.pool.labels.of(project.pool.position(asked[0]))[0]
    assert last.cost == {"subjects": 1.0, "points": 3.0, "clicks": 5.0}


def test_what_is_missing_strange_or_gone_is_said(truth, tmp_path):
    run("init", "set", *INIT)
    asked = [pick["id"] for pick in as_json("suggest", "-n", 10, "-s", "random")["picks"]]
    run("export", "asked.json")
    several = next(item for item in asked if item.endswith("#2"))
    image = several.partition("#")[0]
    told = json.loads(Path("asked.json").read_text())
    number = next(one["id"] for one in told["images"] if one["file_name"] == image)

    def change(annotation):
        if annotation["image_id"] == number and annotation["subject"] == 2:
            annotation["keypoints"] = [0] * 9
        if annotation["image_id"] == number and annotation["subject"] == 1:
            annotation["bbox"], annotation["subject"] = [0, 0, 2, 2], 77
        return annotation

    said = as_json("import", answered("asked.json", truth, change=change))
    assert said["labelled"] == 8
    notes = "\n".join(said["notes"])
    assert "1 subject(s) with points lie in no box that the project has, left out" in notes
    assert "2 asked subject(s) got no point and still wait" in notes
    assert said["pending"] == 2

    told = json.loads(Path("asked.json").read_text())
    told["annotations"] = [one for one in told["annotations"] if one["image_id"] != number]
    Path("gone.json").write_text(json.dumps(told))
    assert as_json("import", "gone.json")["skipped"] == 2
    pool = Project(tmp_path).pool
    assert {pool.reason(p) for p in pool.skipped} == {"no subject"}
    assert len(as_json("restore", image)["taken_back"]) == 2


def test_a_model_guesses_in_pixels_of_the_image_and_is_measured(truth, tmp_path):
    run("init", "set", *INIT, "--model", "unet")
    file = tmp_path / "labelwise.yaml"
    file.write_text(
        file.read_text().replace("model: unet", "model: unet\n  phases: [{epochs: 2, batch_size: 4, lr: 0.001}]")
    )
    held = as_json("holdout", "-n", 2)["picks"]
    run("export", "held.json")
    run("import", answered("held.json", truth))
    images = {item.partition("#")[0] for item in held}
    pool = Project(tmp_path).pool
    assert {pool.role(p) for p, item in enumerate(pool.items) if item.path in images} == {"test"}
    fitted = as_json("fit")
    assert {"pck", "oks_ap"} <= set(fitted["metrics"])
    asked = [pick["id"] for pick in as_json("suggest", "-n", 4, "-s", "entropy")["picks"]]
    run("export", "asked.json", "gallery.html")
    assert "data:image" in Path("gallery.html").read_text()
    told = json.loads(Path("asked.json").read_text())
    sizes = {image["id"]: (image["width"], image["height"]) for image in told["images"]}
    names = {image["id"]: image["file_name"] for image in told["images"]}
    assert {f"{names[one['image_id']]}#{one['subject']}" for one in told["annotations"]} == set(asked)
    for one in told["annotations"]:
        x, y, width, height = one["bbox"]
        assert 0 <= x < sizes[one["image_id"]][0]
        for u, v, seen in zip(*[iter(one["keypoints"])] * 3, strict=True):
            if seen:  # within the cut around the box
                assert x - width - 8 <= u <= x + 2 * width + 8
                assert y - height - 8 <= v <= y + 2 * height + 8
    run("report")
    run("export", "all.json", "--labelled")
    everything = json.loads(Path("all.json").read_text())
    assert len(everything["annotations"]) == 7 + len(held)
    assert all(one["num_keypoints"] == 3 for one in everything["annotations"])
    assert as_json("unlabel", "001.png")["taken_back"] == ["001.png#1", "001.png#2"]


def test_budgets_in_images_and_points(truth, tmp_path):
    run("init", "set", *INIT)
    file = tmp_path / "labelwise.yaml"
    plain = file.read_text()
    file.write_text(plain.replace("boxes: labels", "boxes: labels\n  unit: images"))
    asked = [pick["id"] for pick in as_json("suggest", "-n", 2, "-s", "random")["picks"]]
    assert len({item.partition("#")[0] for item in asked}) == 2
    assert refused("suggest", "--more", "-n", 9, "-s", "random").startswith("error: 9 items asked for")
    run("cancel")
    file.write_text(plain.replace("boxes: labels", "boxes: labels\n  unit: points"))
    assert len(as_json("suggest", "-n", 10, "-s", "random")["picks"]) == 3  # three points each


def test_studies_compare_on_subjects_and_never_split_an_image(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    crowded.write(tmp_path / "set", [3, 2, 2, 3, 2, 2, 1, 3, 2, 2], crowds=1)
    recipe = {
        "name": "crowd",
        "data": {"source": "set", "test_share": 0.3},
        "task": {"name": "keypoints", "points": list(crowded.posed.POINTS)},
        "input": {"size": 32},
        "learner": {"model": "unet", "phases": [{"epochs": 1, "batch_size": 4, "lr": 0.001}]},
        "strategies": ["random", "entropy"],
        "initial": 4, "batch": 2, "rounds": 1, "seeds": 1, "full": False, "again": 0,
    }  # fmt: skip
    Path("crowd.yaml").write_text(json.dumps(recipe))
    run("compare", "crowd.yaml")
    study = json.loads(Path("runs/crowd/study.json").read_text())
    assert study["pool"]["items"] + study["pool"]["test"] == 21
    first, last = study["runs"][1]["rounds"]
    assert len(first["picked"]) == 2
    assert {"pck", "oks_ap"} <= set(last["metrics"])


def test_several_subjects_without_boxes_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    crowded.write(tmp_path / "set", [1, 3], boxes=False)
    told = refused("init", "set", *INIT)
    assert "'001.png' has 3 subjects, and subject 1 has no box" in told
    assert "--subjects FILE" in told
    crowded.write(tmp_path / "one", [1, 1], boxes=False)
    assert as_json("init", "one", "--project", "p", *INIT)["images"] == 2  # whole images


def detected(file: str, truth, *, scores=(0.9, 0.8, 0.7), names=("arrow",)) -> str:
    """What a detector says: a box around each arrow, a bit off, with a score; and one nobody wants."""
    images = [{"id": number, "file_name": name} for number, name in enumerate(sorted(truth))]
    found = []
    for image in images:
        for thing, score in zip(truth[image["file_name"]], scores, strict=False):
            x1, y1, x2, y2 = thing["box"]
            found.append(
                {"image_id": image["id"], "bbox": [x1 + 1, y1, x2 - x1, y2 - y1], "score": score, "category_id": 1}
            )
        found.append({"image_id": image["id"], "bbox": [0, 0, 3, 3], "score": 0.1, "category_id": 1})
    categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    Path(file).write_text(json.dumps({"images": images, "categories": categories, "annotations": found}))
    return file


def test_boxes_of_a_detector_make_subjects_of_bare_pictures(truth, tmp_path):
    file = detected("boxes.json", truth)
    made = as_json("init", "set/images", "--classes", "arrow", "--subjects", file, *INIT)
    assert made["images"] == sum(COUNTS)
    notes = "\n".join(made["notes"])
    assert "each cut out by its box (of 'boxes.json')" in notes
    assert "8 box(es) that score below 0.3 left out" in notes
    item = Project(tmp_path).pool.items[0]
    assert item.id == "000.png#1"
    assert item.region.endswith("@0.9")
    as_json("suggest", "-n", 5, "-s", "random")
    run("export", "asked.json")
    assert as_json("import", answered("asked.json", truth))["labelled"] == 5


def test_labels_are_given_to_the_boxes_of_a_detector(truth, tmp_path):
    made = as_json("init", "set", "--subjects", detected("boxes.json", truth, scores=(0.9, 0.8)), *INIT)
    assert made["labelled"] == 6
    assert "1 labelled subject(s) lie in no box of the file, left out: '000.png'" in "\n".join(made["notes"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file.unlink(), "does not exist"),
        (lambda file: file.write_text("no boxes"), "boxes.json"),
        (lambda file: file.write_text(file.read_text().replace("003.png", "x.png")), "x.png"),
    ],
)
def test_bad_files_of_boxes_are_refused_in_one_line(truth, tmp_path, change, said):
    change(Path(detected("boxes.json", truth)))
    told = refused("init", "set/images", "--classes", "arrow", "--subjects", "boxes.json", *INIT)
    assert said in told
    assert not Path(".labelwise/state.db").exists()


def test_subjects_are_of_key_points_alone(truth):
    told = refused("init", "set/images", "--classes", "a,b", "--subjects", detected("boxes.json", truth))
    assert "keypoints only" in told


def test_an_image_of_another_size_is_refused(truth):
    run("init", "set", *INIT)
    as_json("suggest", "-n", 2, "-s", "random")
    run("export", "asked.json")
    told = json.loads(Path(answered("asked.json", truth)).read_text())
    told["images"][0]["width"] += 1
    Path("asked.json").write_text(json.dumps(told))
    assert "was labelled at" in refused("import", "asked.json")


def test_a_later_init_adds_images_and_says_where_boxes_moved(truth, tmp_path):
    run("init", "set", *INIT)
    file = tmp_path / "set" / "person_keypoints.json"
    told = json.loads(file.read_text())
    told["annotations"][1]["bbox"][0] += 3
    array, things = crowded.picture(50, 2)
    crowded.Image.fromarray(array).save(tmp_path / "set" / "images" / "new.png")
    told["images"].append({"id": 99, "file_name": "new.png", "width": array.shape[1], "height": array.shape[0]})
    for number, thing in enumerate(things):
        x1, y1, x2, y2 = thing["box"]
        flat = [value for point in thing["points"] for value in point]
        told["annotations"].append(
            {"id": 900 + number, "image_id": 99, "category_id": 1, "iscrowd": 0, "bbox": [x1, y1, x2 - x1, y2 - y1],
             "keypoints": flat, "num_keypoints": 3, "area": 9.0}
        )  # fmt: skip
    file.write_text(json.dumps(told))
    joined = as_json("init", "set")
    assert joined["new"] == 2
    assert joined["labelled"] == 9
    said = "1 subject(s) have other boxes in the data than in the project, which keeps its own: '000.png#2'"
    assert any(note.startswith(said) for note in joined["notes"])
