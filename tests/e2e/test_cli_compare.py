"""``compare`` and ``report`` on the command line: recipes, folders, flags, what is skipped and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from commands import as_json, refused, run
from labelwise.recipes import find, shipped, shipped_plan

SMALL = ("--initial", 10, "--batch", 5, "--rounds", 2, "--seeds", 2, "--backbone", "pixels")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """80 digits, one folder per class, in ``my digits``."""
    monkeypatch.chdir(tmp_path)
    digits = load_digits()
    for i in range(80):
        place = tmp_path / "my digits" / str(digits.target[i])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[i] * 15).astype(np.uint8)).save(place / f"{i:02d}.png")
    return tmp_path / "my digits"


@pytest.mark.heavy
def test_a_labelled_folder_twice_and_its_report(folder: Path, tmp_path: Path) -> None:
    first = run(
        "compare", "my digits", "--strategy", "random", "--strategy", "kmeans", "--set", "kmeans.pool=all", *SMALL
    )
    assert "run 4 of 4: kmeans(pool=all), seed 1: accuracy" in first.stderr
    assert "against" in first.stdout
    study = tmp_path / "runs" / "my-digits"
    for name in ("report.html", "curves.png", "study.json"):
        assert f"runs/my-digits/{name}" in first.stdout
        assert (study / name).stat().st_size > 1000
    assert "data:image/jpeg" in (study / "report.html").read_text()
    before = json.loads((study / "study.json").read_text())["runs"]

    # the recipe that it left behind repeats it, from anywhere
    again = run("compare", "runs/my-digits/recipe.yaml", "--json")
    assert "4 of 4 runs were finished before and are skipped" in again.stderr
    found = json.loads(again.stdout)
    assert json.loads((study / "study.json").read_text())["runs"] == before
    assert [row["strategy"] for row in found["strategies"]] == ["random", "kmeans(pool=all)"]
    assert found["labels"] == [10, 15, 20]
    assert found["baseline"] == "random"
    assert Path(found["report"]) == (study / "report.html").resolve()

    shown = run("report", study, "--out", tmp_path / "other" / "page.html").stdout
    assert shown.splitlines()[-1] == str(tmp_path / "other" / "page.html")
    assert as_json("report", study / "study.json")["headline"] == found["headline"]
    page = (tmp_path / "other" / "page.html").read_text()
    assert found["headline"].split(":")[0] in page
    assert "data:image/jpeg" in page


@pytest.mark.heavy
def test_a_study_in_which_nothing_was_learnt_says_so_first(folder: Path, tmp_path: Path) -> None:
    """Labels that have nothing to do with the images: three of four are ``0``."""
    for number, file in enumerate(sorted(folder.rglob("*.png"))):
        place = tmp_path / "noise" / ("1" if number % 4 == 0 else "0")
        place.mkdir(parents=True, exist_ok=True)
        file.rename(place / file.name)
    said = run("compare", "noise", *SMALL, "--no-full").stdout
    assert said.startswith("Nothing was learnt: the best mean accuracy of all rounds, 0.")
    assert said.count("Nothing was learnt") == 1
    assert "that naming '0' every time gives on 16 test images" in said
    assert as_json("report", tmp_path / "runs/noise")["headline"].startswith("Nothing was learnt")


@pytest.mark.heavy
def test_sizes_are_chosen_by_the_data(folder: Path) -> None:
    said = run(
        "compare", "my digits", "--rounds", 1, "--initial", 50, "--batch", 5, "--seeds", 1, "--backbone", "pixels"
    )
    assert "sizes were chosen" not in said.stderr
    plan = find("my digits")
    assert plan.sizes
    from labelwise.recipes import sized

    recipe = sized(plan.recipe, plan.open())
    assert (recipe.initial, recipe.batch, recipe.rounds) == (5, 5, 5), "half of 64 labels, in six parts"


def test_flags_over_file_over_defaults(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        yaml.safe_dump(
            {"data": {"source": "my digits", "test_share": 0.3}, "learner": {"head": "knn"}, "batch": 7, "seeds": 4}
        )
    )
    flags = {"seeds": 2, "learner": {"kind": "features"}, "data": {"test_share": 0.4}}
    recipe = find("r.yaml", flags).recipe
    assert (recipe.name, recipe.batch, recipe.initial, recipe.seeds) == ("r", 7, 100, (0, 1))
    assert (recipe.learner.head, recipe.data.test_share) == ("knn", 0.4)
    assert recipe.data.source == str(folder.resolve()), "absolute: the recipe of a run works from anywhere"


def test_variables_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELWISE_DATA", str(tmp_path))
    assert shipped_plan("fashion-mnist-lenet").recipe.data.root == str((tmp_path / "fashion_mnist").resolve())
    monkeypatch.delenv("LABELWISE_DATA")
    assert shipped_plan("fashion-mnist-lenet").recipe.data.root is None
    named = shipped_plan("fashion-mnist-lenet", {"data": {"root": "/elsewhere"}}).recipe
    assert named.data.root == "/elsewhere"


@pytest.mark.heavy
@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_recipe_is_whole(name: str) -> None:
    recipe = shipped_plan(name).recipe
    assert recipe.name == name
    assert recipe.strategies[0].name == "random", "every study has its baseline"


def test_the_fashion_recipe_is_the_one_that_was_measured() -> None:
    measured = Path(__file__).parents[2] / "benchmarks" / "curves" / "fashion-mnist-lenet" / "recipe.yaml"
    if not measured.exists():
        pytest.skip(f"no {measured}: benchmarks are not installed here")
    assert find(str(measured)).recipe == shipped_plan("fashion-mnist-lenet").recipe


def test_check_a_recipe(folder: Path) -> None:
    assert as_json("check", "digits")["runs"] == 15
    assert "labelwise compare digits" in run("check", "digits").stdout
    assert "did you mean 'digits'" in refused("check", "digit")


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("compare", "digit"), "did you mean 'digits'"),
        (("compare", "nowhere/"), "does not exist"),
        (("compare", "nowhere.yaml"), "does not exist"),
        (("compare", "empty"), "no images"),
        (("compare", "flat"), "has no labels to simulate with"),
        (("compare", "my digits", "--initial", 500, "--backbone", "pixels"), "the pool has 64"),
        (("compare", "my digits", "--strategy", "margn"), "did you mean 'margin'"),
        (("compare", "my digits", "--strategy", "margin", "--strategy", "margin", *SMALL), "listed twice"),
        (("compare", "my digits", "--strategy", "margin", "--set", "pol=1"), "unknown option"),
        (("compare", "my digits", "--set", "pool=1"), "does not say whose option"),
        (("compare", "my digits", "--seeds", 0), "seeds"),
        (("compare", "my digits", "--batch", -1), "batch"),
        (("compare", "my digits", "--test-share", 2), "test_share"),
        (("compare", "my digits", "--model", "lennet"), "did you mean 'lenet'"),
        (("compare", "my digits", "--out", "/proc/nowhere", *SMALL), "/proc/nowhere"),
        (("compare", "my digits", "--out", "flat/x.png", *SMALL), "flat/x.png"),
        (("report", "nowhere"), "no study.json"),
        (("report", "flat/x.png"), "not JSON"),
    ],
)
def test_refused_in_one_line_and_nothing_written(
    folder: Path, tmp_path: Path, arguments: tuple[object, ...], words: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "flat").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "flat" / "x.png")
    assert words in refused(*arguments)
    assert not (tmp_path / "runs").exists()


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data: {source: x}\nstrategis: [a]", "did you mean 'strategies'"),
        ("data: {sorce: x}", "did you mean 'source'"),
        ("name: x", "data"),
        ("- 1", "a mapping of keys is needed"),
        ("data: [", "no valid YAML"),
        ("version: 99\ndata: {source: x}", "newer labelwise"),
        ("data: {source: x}\nseeds: [1, 1]", "a seed is listed twice"),
        ("data: {source: x}\nstrategies: []", "strategies"),
        ("data: {source: x}\ntask: clasification", "did you mean 'classification'"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(text)
    assert words in refused("compare", "r.yaml")
