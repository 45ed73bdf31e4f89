"""What nobody can be asked about now is left out of that round, never for ever; and files come and go."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import as_json, refused, run
from labelwise.project.project import Project

IMAGES = [f"{number:02d}.png" for number in range(12)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number, name in enumerate(IMAGES):
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (8, 8), np.uint8)).save(
            tmp_path / "photos" / name
        )
    run("init", "photos", "--classes", "cat,dog", "--backbone", "pixels")
    return tmp_path


def predictions(path: Path, names: list[str]) -> Path:
    lines = ["id,cat,dog", *(f"{name},{0.5 + 0.03 * row:.2f},{0.5 - 0.03 * row:.2f}" for row, name in enumerate(names))]
    path.write_text("\n".join(lines) + "\n")
    return path


def ids(found) -> set[str]:
    return {pick["id"] for pick in found["picks"]}


@pytest.mark.heavy
def test_images_without_a_prediction_are_asked_in_a_later_round(folder):
    first = as_json("suggest", "-n", 2, "-s", "margin", "--predictions", predictions(folder / "a.csv", IMAGES[:4]))
    assert ids(first) == {"00.png", "01.png"}
    said = [note for note in first["notes"] if "left out of this round" in note]
    assert said == [
        "8 of 12 left out of this round (the predictions have no row for it): '04.png', '05.png', '06.png', ..."
    ]
    rest = predictions(folder / "b.csv", IMAGES[4:])
    second = as_json("suggest", "-n", 2, "-s", "margin", "--predictions", rest, "--more")
    assert ids(second) == {"04.png", "05.png"}


@pytest.mark.heavy
def test_a_file_that_was_away_is_asked_when_it_is_back(folder):
    away = folder / "away.png"
    shutil.move(folder / "photos/03.png", away)
    first = as_json("suggest", "-n", 11, "-s", "random")
    assert ids(first) == {*IMAGES} - {"03.png"}
    assert any("1 of 12 left out of this round" in note and "03.png" in note for note in first["notes"])
    shutil.move(away, folder / "photos/03.png")
    assert ids(as_json("suggest", "-n", 1, "-s", "random", "--more")) == {"03.png"}


@pytest.mark.heavy
def test_an_absent_disk_is_asked_for(folder):
    shutil.move(folder / "photos", folder / "unmounted")
    said = refused("suggest", "-n", 2, "-s", "random")
    assert "which is not there: is the disk mounted?" in said
    shutil.move(folder / "unmounted", folder / "photos")
    assert len(as_json("suggest", "-n", 2, "-s", "random")["picks"]) == 2


@pytest.mark.heavy
def test_files_deleted_for_good_stop_nobody(folder):
    for name in IMAGES[:8]:
        (folder / "photos" / name).unlink()
    assert "--despite-missing" in refused("suggest", "-n", 2, "-s", "random")
    assert ids(as_json("suggest", "-n", 4, "-s", "random", "--despite-missing")) == {*IMAGES[8:]}


@pytest.mark.heavy
def test_picks_whose_image_is_gone_leave_the_open_round(folder):
    as_json("suggest", "-n", 12, "-s", "random")
    (folder / "photos/05.png").unlink()
    again = as_json("suggest")
    assert ids(again) == {*IMAGES} - {"05.png"}
    assert any("1 of the open picks left out, as their image is gone: '05.png'" in note for note in again["notes"])
    shown = run("export", "picks.json").output
    assert "05.png" in shown
    assert "05.png" not in {item["id"] for item in json.loads((folder / "picks.json").read_text())["items"]}
    (folder / "labels.csv").write_text("id,label\n00.png,cat\n")
    assert any("05.png" in note for note in as_json("import", "labels.csv")["notes"])


# ---- files come and go ----------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_a_renamed_image_is_known_again_by_content_and_keeps_its_label(folder):
    (folder / "labels.csv").write_text("id,label\n00.png,cat\n01.png,dog\n02.png,cat\n")
    run("import", "labels.csv")
    as_json("suggest", "-n", 2, "-s", "kmeans")  # all images are read
    (folder / "photos/sub").mkdir()
    shutil.move(folder / "photos/00.png", folder / "photos/sub/zero.png")
    shutil.move(folder / "photos/02.png", folder / "photos/two.png")
    (folder / "photos/01.png").unlink()
    Image.new("L", (9, 9)).save(folder / "photos/new.png")
    Image.new("L", (9, 9), 7).save(folder / "photos/00.png")  # another image under a name that was there
    again = as_json("init", "photos")
    assert again["renamed"] == {"02.png": "two.png"}, "00.png is there, so nothing says that it was renamed"
    assert again["gone"] == ["01.png"]
    assert again["new"] == 2
    assert any("1 renamed, recognised by content" in note and "two.png" in note for note in again["notes"])
    assert any("1 image(s) of the project are gone" in note and "01.png" in note for note in again["notes"])
    assert Project(folder).labels() == {"00.png": "cat", "01.png": "dog", "two.png": "cat"}
    Image.new("L", (9, 9), 9).save(folder / "photos/02.png")  # the old name is free for another image
    assert as_json("init", "photos")["new"] == 1
    assert Project(folder).labels()["two.png"] == "cat"
    assert "02.png" not in Project(folder).labels()


@pytest.mark.heavy
def test_new_images_are_told_when_a_round_is_chosen(folder):
    assert not any("not in the project yet" in note for note in as_json("suggest", "-n", 1, "-s", "random")["notes"])
    Image.new("L", (9, 9)).save(folder / "photos/new.png")
    notes = as_json("suggest", "-n", 1, "-s", "random", "--more")["notes"]
    assert "1 image(s) not in the project yet: labelwise init photos adds them" in notes


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["unlabelled", "Unlabeled", "unknown", "todo"])
def test_a_folder_of_what_is_not_labelled_yet_is_no_class(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, place in enumerate(["cat", "cat", "dog", "dog", name, name]):
        (tmp_path / "set" / place).mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9), number).save(tmp_path / "set" / place / f"{number}.png")
    found = as_json("init", "set", "--project", "p")
    assert (found["classes"], found["labelled"], found["unlabelled"]) == (["cat", "dog"], 4, 2)
