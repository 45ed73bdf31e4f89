"""More like these, near-duplicates and outliers: real files in a folder and in a project, commands and Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import labelwise as lw
from commands import as_json, refused, run
from labelwise.errors import ConfigError, DataError

pytestmark = pytest.mark.heavy

#: photo -> one that is nearly the same
COPIES = {"00.png": "00-again.png", "07.png": "07-again.png", "20.png": "20-again.png"}


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty digits, three of them twice with a little noise, and one picture of noise alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "photos"
    folder.mkdir()
    digits, rng = load_digits(), np.random.default_rng(0)
    for i in range(30):
        pixels = np.kron(digits.images[i] * 15, np.ones((4, 4)))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:02d}.png")
        if (name := f"{i:02d}.png") in COPIES:
            noisy = np.clip(pixels + rng.normal(scale=3, size=pixels.shape), 0, 255)
            Image.fromarray(noisy.astype(np.uint8)).save(folder / COPIES[name])
    Image.fromarray(rng.integers(0, 255, (32, 32)).astype(np.uint8)).save(folder / "noise.png")
    return folder


@pytest.fixture
def project(photos: Path) -> Path:
    run("init", "photos", "--backbone", "pixels", "--classes", "even,odd")
    return photos


PIXELS = ("--features", "pixels")


# ---- more like these


def test_the_copy_of_an_example_is_most_like_it(photos):
    found = as_json("similar", "photos/07.png", "-n", 4, "--data", "photos", *PIXELS)
    assert found["images"][0]["id"] == "07-again.png"
    assert len(found["images"]) == 4
    assert "07.png" not in [one["id"] for one in found["images"]]
    assert found["among"] == 34
    scores = [one["score"] for one in found["images"]]
    assert scores == sorted(scores, reverse=True)


def test_in_a_project_an_id_is_enough_and_a_file_from_elsewhere_will_do(project, tmp_path):
    elsewhere = tmp_path / "elsewhere.png"
    elsewhere.write_bytes((project / "20.png").read_bytes())
    assert as_json("similar", "20.png", "-n", 1)["images"][0]["id"] == "20-again.png"
    ids = [one["id"] for one in as_json("similar", elsewhere, "-n", 2)["images"]]
    assert ids == ["20.png", "20-again.png"]


def test_of_several_examples_each_image_says_which_it_is_like(project):
    found = as_json("similar", "00.png", "07.png", "-n", 2)["images"]
    assert {one["id"]: one["like"] for one in found} == {"00-again.png": "00.png", "07-again.png": "07.png"}


def test_a_box_is_compared_by_what_is_in_it(project):
    # two digits beside each other: the right one is asked for
    sides = [np.asarray(Image.open(project / name)) for name in ("00.png", "07.png")]
    Image.fromarray(np.concatenate(sides, axis=1)).save("two.png")
    right = as_json("similar", "two.png@32,0,64,32", "-n", 2)["images"]
    assert {one["id"] for one in right} == {"07.png", "07-again.png"}
    left = as_json("similar", "two.png@0,0,32,32", "-n", 2)["images"]
    assert {one["id"] for one in left} == {"00.png", "00-again.png"}


def test_a_page_shows_what_was_found(photos):
    out = run("similar", "photos/00.png", "-n", 3, "--data", "photos", "-o", "like.html", *PIXELS).stdout
    assert "3 images like 1 example" in out
    assert "wrote like.html" in out
    page = Path("like.html").read_text()
    assert page.count("data:image/jpeg") == 3
    assert "more like these" in page
    assert "00-again.png" in page


@pytest.mark.parametrize(
    ("example", "says"),
    [
        ("nothing.png", "no image of these data and no file"),
        ("00.png@1,2,3", "four corners"),
        ("00.png@9,0,3,8", "is empty"),
        ("00.png@0,0,64,8", "32 x 32 pixels"),
        ("nothing.png@0,0,1,1", "no image of these data and no file"),
    ],
)
def test_what_is_no_example_is_refused(project, example, says):
    assert says in refused("similar", example)


def test_data_and_a_project_are_not_named_together(project):
    assert "give the one" in refused("similar", "00.png", "--data", "photos", "--project", ".")
    assert "ends in .html" in refused("outliers", "-o", "page.txt")


def test_more_than_there_are_is_said(project):
    found = as_json("similar", "00.png", "-n", 100)
    assert len(found["images"]) == 33
    assert any("100 were asked for" in note for note in found["notes"])


# ---- near-duplicates


def test_duplicates_are_listed_in_groups(photos):
    found = as_json("duplicates", "photos", "--threshold", 0.99, *PIXELS)
    groups = [[one["id"] for one in group] for group in found["groups"]]
    assert sorted(groups) == [sorted(pair, reverse=True)[::-1] for pair in map(sorted, COPIES.items())]
    out = run("duplicates", "photos", "--threshold", 0.99, "-o", "twice.html", *PIXELS).stdout
    assert "3 groups of near-duplicates among 34 images: 3 images could go" in out
    assert Path("twice.html").read_text().count("data:image/jpeg") == 6


def test_a_threshold_that_is_none_is_refused(photos):
    assert "above 0, 1 at most" in refused("duplicates", "photos", "--threshold", 2, *PIXELS)


def test_distinct_asks_about_one_of_each_group(project):
    asked = as_json("suggest", "-n", "all", "--strategy", "random", "--distinct", "--threshold", 0.99)
    ids = {pick["id"] for pick in asked["picks"]}
    assert len(ids) == 31
    assert all(len(ids & set(pair)) == 1 for pair in COPIES.items())
    assert any("3 of 34 left out of this round" in note for note in asked["notes"])


def test_distinct_asks_about_none_of_a_group_that_was_asked(project):
    Path("answers.csv").write_text("id,label\n07-again.png,odd\n00.png,even\n")
    run("import", "answers.csv")
    asked = as_json("suggest", "-n", "all", "--strategy", "kmeans", "--distinct", "--threshold", 0.99)
    ids = {pick["id"] for pick in asked["picks"]}
    assert not ids & {"07.png", "00-again.png"}
    assert any("one that was asked before" in note for note in asked["notes"])


def test_a_round_larger_than_what_is_distinct_is_smaller_and_says_why(project):
    asked = as_json("suggest", "-n", 34, "--strategy", "random", "--distinct", "--threshold", 0.99)
    assert len(asked["picks"]) == 31
    assert any("left out of this round" in note for note in asked["notes"])


def test_threshold_without_distinct_is_refused(project):
    assert "--distinct" in refused("suggest", "--threshold", 0.9)


# ---- outliers


@pytest.fixture
def zeros(photos: Path) -> Path:
    """Twenty zeros and a seven."""
    digits, folder = load_digits(), photos.parent / "zeros"
    folder.mkdir()
    for i in [*np.flatnonzero(digits.target == 0)[:20], np.flatnonzero(digits.target == 7)[0]]:
        Image.fromarray((digits.images[i] * 15).astype(np.uint8)).save(folder / f"{digits.target[i]}-{i}.png")
    return folder


def test_a_seven_among_zeros_is_an_outlier(zeros):
    found = as_json("outliers", "zeros", "-n", 3, *PIXELS)
    assert found["images"][0]["id"].startswith("7-")
    out = run("outliers", "zeros", "-n", 2, "-o", "odd.html", *PIXELS).stdout
    assert "2 of 21 images" in out
    assert "outliers" in Path("odd.html").read_text()


# ---- Python


def test_the_same_in_python(project):
    opened = lw.open(".")
    found = lw.similar(opened, ["00.png"], 2)
    assert next(iter(found)).id == "00-again.png"
    assert [pick.id for pick in lw.similar("photos", ["00.png"], 2, backbone="pixels")] == [pick.id for pick in found]
    groups = lw.duplicates(opened, 0.99)
    assert [[pick.id for pick in part.picks] for part in groups.parts] == [
        sorted(pair) for pair in sorted(map(sorted, COPIES.items()))
    ]
    assert [pick.id for pick in lw.outliers(".", 3)] == [one["id"] for one in as_json("outliers", "-n", 3)["images"]]
    assert lw.similar(opened, ["00.png"], 2).gallery("page.html").is_file()


def test_python_refuses_what_the_commands_refuse(project):
    opened = lw.open(".")
    with pytest.raises(ConfigError, match="no example"):
        lw.similar(opened, [])
    with pytest.raises(ConfigError, match=r"labelwise\.yaml"):
        lw.outliers(opened, backbone="pixels")
    with pytest.raises(ConfigError, match="1 and more"):
        lw.outliers(opened, 0)


def test_an_image_that_cannot_be_read_is_left_out_and_said(photos):
    (photos / "broken.png").write_bytes(b"no picture")
    found = lw.outliers("photos", 100, backbone="pixels")
    assert len(found) == 34
    assert any("unreadable: 1 ('broken.png')" in note for note in found.notes)
    with pytest.raises(DataError, match=r"broken\.png"):
        lw.similar("photos", ["broken.png"], backbone="pixels")


def test_one_image_has_no_duplicates_and_nothing_like_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "one").mkdir()
    Image.new("L", (16, 16), 40).save(tmp_path / "one" / "a.png")
    assert lw.duplicates(tmp_path / "one", backbone="pixels").parts == ()
    with pytest.raises(DataError, match="two at least"):
        lw.outliers(tmp_path / "one", backbone="pixels")
