"""The page of a study: the numbers of its report for some of the seeds, and the pictures that were picked."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from browsing import MARKS, TOKEN
from commands import run
from labelwise.campaign.records import read_study
from labelwise.report.summary import headline, summarise
from served import served

pytestmark = MARKS


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of digits in class folders, its folder."""
    folder = tmp_path_factory.mktemp("study")
    digits = load_digits()
    for number in range(120):
        place = folder / "digits" / str(digits.target[number])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 15).astype(np.uint8)).save(place / f"{number:03}.png")
    run(
        "compare", folder / "digits", "--backbone", "pixels", "--strategy", "random", "--strategy", "kmeans",
        "--initial", 10, "--batch", 5, "--rounds", 2, "--seeds", 3, "--no-full", "--out", folder / "run",
    )  # fmt: skip
    return folder / "run"


def test_the_numbers_are_those_of_the_report_for_the_same_runs(study):
    whole = read_study(study / "study.json")
    with served(study) as page:
        browser = page.browser()
        about = browser.get("/api/study")
        assert [one["name"] for one in about["strategies"]] == ["random", "kmeans"]
        assert (about["seeds"], about["units"][0], about["metric"]) == ([0, 1, 2], "labels", "accuracy")
        for seeds in ([0, 1, 2], [1], [0, 2]):
            told = browser.get("/api/study/curves", seeds=seeds)
            some = summarise(replace(whole, runs=[one for one in whole.runs if one.seed in seeds]))
            assert told["says"] == headline(some)
            for line in told["lines"]:
                values = some.curves.values[line["strategy"]]
                assert np.allclose([one["mean"] for one in line["points"]], values.mean(0))
                assert [one["x"] for one in line["points"]] == [10, 15, 20]
                assert [one["low"] is None for one in line["points"]] == [len(seeds) < 2] * 3
        other = browser.get("/api/study/curves", metric="balanced_accuracy")
        first = [one.rounds[0].metrics["balanced_accuracy"] for one in whole.runs if one.strategy == "random"]
        assert other["lines"][0]["points"][0]["mean"] == pytest.approx(np.mean(first))
        (chosen,) = [one for one in whole.runs if (one.strategy, one.seed) == ("kmeans", 2)]
        picks = browser.get("/api/study/picks", strategy="kmeans", seed=2, round=1)
        assert [one["id"] for one in picks["picks"]] == chosen.rounds[1].picked
        assert browser.http.get("/api/picture", params={"id": picks["picks"][0]["id"]}).status_code == 200
        never = next(item for item in _all_items() if all(item not in r.picked for o in whole.runs for r in o.rounds))
        for query, path in (
            ({"seeds": 7}, "/api/study/curves"), ({"unit": "money"}, "/api/study/curves"),
            ({"metric": "x"}, "/api/study/curves"), ({"strategy": "no", "seed": 0, "round": 0}, "/api/study/picks"),
            ({"id": never}, "/api/picture"), ({"id": "../study.json"}, "/api/picture"),
        ):  # fmt: skip
            assert browser.http.get(path, params=query).status_code in (400, 404), (path, query)
        assert page.stranger().get("/api/study").status_code == 403


def _all_items():
    return [f"{load_digits().target[number]}/{number:03}.png" for number in range(120)]


def test_a_study_whose_images_are_gone_shows_names(study, tmp_path):
    raw = json.loads((study / "study.json").read_text(encoding="utf-8"))
    (tmp_path / "study.json").write_text(json.dumps(raw), encoding="utf-8")
    with served(tmp_path) as page:
        picks = page.browser().get("/api/study/picks", strategy="random", seed=0, round=0)
        assert (picks["pictures"], len(picks["picks"])) == (False, 5)
    assert [one.name for one in tmp_path.iterdir()] == ["study.json"], "looking changes nothing"


def test_a_study_in_a_browser(study, chromium, tmp_path):
    for name in ("study.json", "recipe.yaml"):
        shutil.copy(study / name, tmp_path / name)
    with served(tmp_path) as server:
        context = chromium.new_context(viewport={"width": 1280, "height": 900})
        page, complaints = context.new_page(), []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.goto(f"{server.address}/?token={quote(TOKEN)}")
        page.wait_for_selector(".picks img")
        assert page.locator("table.compared tbody tr").count() == 2
        page.locator("[aria-label='How many seeds']").fill("1")
        page.wait_for_selector("table.compared td:has-text('1 of 1')")
        page.click("[aria-label='Which seeds'] button:has-text('0')")
        page.wait_for_selector("p:has-text('Choose at least one seed')")
        page.select_option("label:has-text('Beside') select", "kmeans")
        page.wait_for_selector("h3:has-text('kmeans: 5 picks after 10 labels')")
        page.locator("label:has-text('Round') input").fill("1")
        page.wait_for_selector("h3:has-text('kmeans: 5 picks after 15 labels')")
        assert page.locator(".picks img").count() == 10
        assert complaints == []
        context.close()
