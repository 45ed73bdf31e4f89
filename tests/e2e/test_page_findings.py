"""What the page finds among the images: wrong labels, near-duplicates, more like these, tags."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from browsing import MARKS, person
from commands import as_json, refused, run
from labelwise.project.setup import open_project
from served import served

pytestmark = MARKS
LABELLED, WRONG, TWICE = 150, (12, 63, 68, 75, 81, 141), 6


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two hundred digits, six of them twice with a little noise; labels of 150, six of which are wrong."""
    folder = tmp_path_factory.mktemp("digits")
    found, rng = load_digits(), np.random.default_rng(0)
    (folder / "pictures").mkdir()
    for n in range(200):
        image_HW = np.asarray(Image.fromarray((found.images[n] * 15).astype(np.uint8)).resize((32, 32)))
        Image.fromarray(image_HW).save(folder / "pictures" / f"{n:03}.png")
        if n < TWICE:
            noisy_HW = image_HW.astype(int) + rng.integers(0, 4, image_HW.shape)
            Image.fromarray(noisy_HW.clip(0, 255).astype(np.uint8)).save(folder / "pictures" / f"twin{n}.png")
    said = [(int(found.target[n]) + (3 if n in WRONG else 0)) % 10 for n in range(LABELLED)]
    rows = "".join(f"{n:03}.png,{label}\n" for n, label in enumerate(said))
    (folder / "labels.csv").write_text(f"image,label\n{rows}", encoding="utf-8")
    return folder


@pytest.fixture
def project(pictures, tmp_path):
    kinds = ",".join("0123456789")
    run("init", pictures / "pictures", "-p", tmp_path, "--classes", kinds, "--labels", "none", "--backbone", "pixels")
    run("import", pictures / "labels.csv", "-p", tmp_path)
    return tmp_path


def _names(numbers):
    return {f"{n:03}.png" for n in numbers}


def _ended(browser, what):
    browser.post("/api/job", {"what": what})
    while (job := browser.get("/api/job"))["running"]:
        pass
    assert job["error"] == ""
    assert job["what"] == what


def test_labels_that_look_wrong_are_found_kept_corrected_and_asked_again(project):
    with served(project) as server:
        browser = server.browser()
        assert browser.get("/api/findings")["errors"] is None
        assert browser.get("/api/images", found="errors")["total"] == 0
        _ended(browser, "errors")
        rows = browser.get("/api/images", found="errors")["items"]
        found = {row["id"] for row in rows}
        assert len(found & _names(WRONG)) >= 4
        assert all(row["wrong"] for row in rows)
        first, second = [row["id"] for row in rows if row["id"] in _names(WRONG)][:2]
        truth = str(load_digits().target[int(first[:3])])
        browser.answer(first, truth)
        assert first not in {row["id"] for row in browser.get("/api/images", found="errors")["items"]}
        item = browser.get("/api/item", id=first)
        assert item["label"] == truth
        assert item["before"] == str((int(truth) + 3) % 10)
        assert browser.post("/api/marked/again", {"ids": [second, "199.png"]}) == {"done": 1, "left": 1}
        pick = browser.get("/api/queue")["picks"][0]
        assert (pick["id"], pick["strategy"]) == (second, "relabel")
        judged = browser.get("/api/findings")["errors"]
    with served(project) as server:  # nothing is looked for again
        assert server.browser().get("/api/findings")["errors"] == judged


def test_near_duplicates_come_group_by_group_and_more_like_one_by_likeness(project):
    with served(project) as server:
        browser = server.browser()
        refusal = browser.http.get("/api/images", params={"like": "000.png"})
        assert refusal.status_code == 400
        assert "make the map first" in refusal.json()["error"]
        _ended(browser, "duplicates")
        rows = browser.get("/api/images", found="duplicates")["items"]
        groups = {}
        for row in rows:
            groups.setdefault(row["group"], set()).add(row["id"])
        assert [row["group"] for row in rows] == sorted(row["group"] for row in rows)
        assert all({f"{n:03}.png", f"twin{n}.png"} in groups.values() for n in range(TWICE))
        browser.post("/api/map", {"method": "pca"})
        while browser.get("/api/map")["state"] == "working":
            pass
        alike = browser.get("/api/images", like="003.png")["items"]
        assert [row["id"] for row in alike[:2]] == ["003.png", "twin3.png"]
        assert [row["alike"] for row in alike[1:]] == sorted((row["alike"] for row in alike[1:]), reverse=True)
        ids = list(open_project(project).pool.ids)
        near = browser.post("/api/marked/like", {"at": [ids.index("003.png")]})["at"]
        assert ids[near[0]] == "twin3.png"


def test_tags_are_events_that_change_nothing_else(project):
    night = ["000.png", "199.png", "twin1.png"]
    before = open_project(project).progress_counts()
    assert "tagged 3 images" in run("tag", "night", *night, "-p", project).stdout
    assert "tagged 0 images; 1 had it already" in run("tag", " night ", "199.png", "-p", project).stdout
    assert run("tag", "night", "-p", project).stdout.split() == night
    assert as_json("tag", "-p", project)["tags"] == {"night": 3}
    assert "did you mean 'night'" in refused("tag", "nigth", "-p", project)
    assert "did you mean" in refused("tag", "night", "19.png", "-p", project)
    assert "1 to 50 characters" in refused("tag", "n" * 51, "000.png", "-p", project)
    assert "no line breaks" in refused("tag", "a\nb", "000.png", "-p", project)
    assert open_project(project).progress_counts() == before
    picks = as_json("suggest", "-n", 2, "-s", "random", "--tagged", "night", "-p", project)["picks"]
    assert {pick["id"] for pick in picks} == {"199.png", "twin1.png"}
    run("cancel", "-p", project)
    with served(project) as server:
        browser = server.browser()
        assert [row["id"] for row in browser.get("/api/images", tag="night")["items"]] == night
        assert browser.post("/api/marked/tag", {"ids": ["000.png"], "tag": "night", "on": False})["done"] == 1
        assert browser.post("/api/marked/tag", {"ids": ["000.png"], "tag": "<b>x</b>"})["done"] == 1
        assert browser.get("/api/item", id="000.png")["tags"] == ["<b>x</b>"]
        assert browser.get("/api/project")["tags"] == ["<b>x</b>", "night"]
        for body in ({"ids": [], "tag": "x"}, {"ids": ["000.png"], "tag": " "}, {"at": [-1], "tag": "x"}):
            browser.post("/api/marked/tag", body, 400)
        browser.post("/api/marked/tag", {"ids": ["nothing.png"], "tag": "x"}, 404)
        # 000.png has a label: it stays as it is
        assert browser.post("/api/marked/skip", {"ids": ["000.png", "198.png", "199.png"]}) == {"done": 2, "left": 1}
    assert open_project(project).progress_counts()["skipped"] == 2


def test_by_mouse_and_keys_in_a_browser(project, chromium):
    with served(project) as server, person(chromium, server.address) as somebody:
        page = somebody.page
        somebody.to("images?found=errors")
        page.click("section.looking button:has-text('Look')")
        page.wait_for_selector(".tile .wrong")
        page.click("section.looking button:has-text('again')>>nth=-1")
        page.wait_for_selector("text=they wait in the queue")
        waiting = len(open_project(project).pool.pending)
        assert waiting >= 4
        somebody.to("map")
        page.click("text=Make the map")
        page.wait_for_selector("canvas")
        page.wait_for_selector(".legend button")
        page.focus("canvas")
        somebody.press("v")
        page.wait_for_selector(".compared")
        assert "of all" in page.inner_text(".compared")
        page.fill(".tagging input", "<i>all</i>")
        somebody.press("Enter")
        page.wait_for_selector("text=tagged 206 images")
        somebody.to("images?found=&tag=" + "%3Ci%3Eall%3C%2Fi%3E")
        page.wait_for_selector("text=206 images")
        page.click(".tile >> nth=0")
        page.wait_for_selector(".facts")
        page.click(".chip")
        page.wait_for_selector(".chip", state="detached")
        page.click("text=More like this")
        page.wait_for_selector("text=/similarity [01]/")
        assert page.inner_text(".tile >> nth=1").count("twin0.png") == 1
    assert sum(map(bool, map(open_project(project).pool.tags.of, range(206)))) == 205


def test_the_list_is_narrowed_by_how_doubtful_the_model_is(project):
    run("suggest", "-n", 12, "-s", "margin", "-p", project)
    with served(project) as server:
        browser = server.browser()
        said = {row["id"]: row["doubt"] for row in browser.get("/api/images", state="pending", count=100)["items"]}
        assert len(said) == 12
        middle = sum(sorted(said.values())[5:7]) / 2  # doubts are shown with four digits
        some = browser.get("/api/images", doubt=middle, count=100)["items"]
        assert {row["id"] for row in some} == {item for item, doubt in said.items() if doubt >= middle}
        assert browser.http.get("/api/images", params={"doubt": "1.5"}).status_code == 400


def test_advice_report_and_files_leave_the_page(project, chromium):
    run("suggest", "-n", 3, "-s", "random", "-p", project)
    with served(project) as server:
        browser = server.browser()
        for path in ("/api/report", "/api/exported"):
            assert "first" in browser.http.get(path).json()["error"]
        browser.post("/api/job", {"what": "export", "format": "cocoa"}, 400)
        state = browser.get("/api/outgoing")
        assert state["exported"] is None
        assert {"csv", "label_studio"} <= {one["name"] for one in state["formats"]["asked"]}
        _ended(browser, "report")
        told = browser.http.get("/api/report")
        assert "sandbox allow-scripts;" in told.headers["content-security-policy"]
        assert "allow-same-origin" not in told.headers["content-security-policy"]
        assert "<html" in told.text
        browser.post("/api/job", {"what": "export", "format": "csv"})
        while (job := browser.get("/api/job"))["running"]:
            pass
        assert job["error"] == ""
        got = browser.http.get("/api/exported")
        assert got.headers["content-disposition"].startswith("attachment")
        assert len(got.text.splitlines()) == LABELLED + 1
        browser.post("/api/job", {"what": "export", "use": "asked", "format": "folders"}, 400)
        browser.post("/api/job", {"what": "advise"})
        while (job := browser.get("/api/job"))["running"]:
            pass
        assert "holdout" in job["error"], "without a test set nothing is promised"
    with served(project) as server, person(chromium, server.address) as somebody:
        page = somebody.page
        somebody.to("progress")
        page.select_option(".leaving select >> nth=1", "label_studio")
        page.click(".leaving button:has-text('Export')")
        with page.expect_download() as loaded:
            page.click("text=Download labels-label_studio.zip")
        with zipfile.ZipFile(loaded.value.path()) as packed:
            assert sorted(packed.namelist()) == ["labels.interface.xml", "labels.json"]
            assert len(json.loads(packed.read("labels.json"))) == LABELLED
        with somebody.context.expect_page() as opened:
            page.click("text=Open the report")
        opened.value.wait_for_selector("h1")
        assert (
            opened.value.evaluate("(() => { try { return document.cookie + 'x' } catch { return 'none' } })()")
            == "none"
        )
