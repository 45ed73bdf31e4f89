"""The page as browsers speak to it: who is let in, the queue, answers as events at once, long work beside them."""

from __future__ import annotations

import csv
import http.client
import time

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from commands import run
from labelwise.project.setup import open_project
from served import Browser, served

pytestmark = pytest.mark.heavy

#: what file systems allow and pages have to show as text
HOSTILE = ["<img src=x onerror=alert(1)>.png", "a&b=%2e%2e#c?.png", '"quoted".png', "zwei\nZeilen.png", "ü–图‮x.png"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    digits = load_digits()
    names = [*HOSTILE, *(f"{n:03}.png" for n in range(75))]
    for n, name in enumerate(names):
        Image.fromarray((digits.images[n] * 15).astype(np.uint8)).resize((32, 32)).save(folder / name)
    return folder, {name: str(digits.target[n]) for n, name in enumerate(names)}


@pytest.fixture
def project(pictures, tmp_path):
    """Eighty digits of which twelve are asked; what they are."""
    folder, truth = pictures
    run("init", folder, "-p", tmp_path, "--classes", ",".join("0123456789"), "--labels", "none", "--backbone", "pixels")
    run("suggest", "-n", 12, "-s", "random", "-p", tmp_path)
    return tmp_path, truth


def _until(browser: Browser, what: str) -> dict:
    for _ in range(600):
        job = browser.get("/api/job")
        if not job["running"]:
            assert job["what"] == what
            return job
        time.sleep(0.2)
    raise AssertionError("it never ended")


def test_only_the_page_itself_is_let_in(project):
    with served(project[0]) as page:
        stranger = page.stranger()
        for path in ("/", "/?token=wrong", "/api/project", "/api/picture?id=000.png&side=96", "/assets/app.js"):
            refused = stranger.get(path)
            assert refused.status_code == 403
            assert "labelwise serve" in refused.text
        browser = page.browser()
        body = {"answers": [{"id": "000.png", "label": "1"}]}
        for headers in (
            {},
            {"X-Labelwise": "1", "Origin": "http://evil.example"},
            {"X-Labelwise": "1", "Host": "evil"},
        ):
            assert browser.http.post("/api/answers", json=body, headers=headers).status_code == 403
        plain = {"X-Labelwise": "1", "Content-Type": "text/plain"}
        assert browser.http.post("/api/answers", content="{}", headers=plain).status_code == 403
        assert _told_beforehand(page.address, 1 << 30) == 413
        assert browser.http.put("/api/answers", json=body).status_code == 405
        told = browser.http.get("/").headers
        assert "script-src 'self'" in told["content-security-policy"]
        assert "unsafe" not in told["content-security-policy"]
        assert told["x-content-type-options"] == "nosniff"
        assert browser.get("/api/project")["counts"]["labelled"] == 0


def _told_beforehand(address: str, length: int) -> int:
    """The answer to a request of which only the head was sent."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
    connection.putrequest("POST", "/api/answers")
    for name, value in {"X-Labelwise": "1", "Content-Type": "application/json", "Content-Length": length}.items():
        connection.putheader(name, str(value))
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


def test_no_path_of_a_request_reaches_the_disk(project):
    with served(project[0]) as page:
        browser = page.browser()
        for name in ("../labelwise.yaml", "/etc/passwd", "..", "", "\0", "000.png/../000.png", "x" * 5000):
            for address in ("/api/picture", "/api/drawn", "/api/item"):
                assert browser.http.get(address, params={"id": name, "side": 96}).status_code in (400, 404)
        assert browser.http.get("/assets/..%2f..%2fapp.py").status_code == 404
        assert browser.http.get("/api/picture", params={"id": "000.png", "side": 5000}).status_code == 400


def test_answers_are_events_at_once_in_ranked_order_and_survive_a_kill(project):
    folder, truth = project
    with served(folder) as page:
        browser = page.browser()
        queue = browser.get("/api/queue", count=50)
        assert [pick["rank"] for pick in queue["picks"]] == list(range(12))
        asked = [pick["id"] for pick in queue["picks"]]
        done = browser.answer(asked[0], truth[asked[0]], seconds=2.5, annotator="ann")
        assert (done["labelled"], done["pending"]) == (1, 11)
        browser.answer(asked[1], None, skip=True, reason="dark")
        browser.answer(asked[2], truth[asked[2]], seconds=99999)
        page.kill()
    pool = open_project(folder).pool
    assert pool.target(pool.position(asked[0])) == truth[asked[0]]
    assert pool.labels.of(pool.position(asked[0]))[0].annotator == "ann"
    assert pool.reason(pool.position(asked[1])) == "dark"
    assert pool.cost()["seconds"] == 302.5, "who left the page open was not labelling"
    with served(folder) as page:
        browser = page.browser()
        assert [pick["id"] for pick in browser.get("/api/queue")["picks"]] == asked[3:]
        browser.post("/api/takeback", {"id": asked[0]})
        browser.post("/api/takeback", {"id": asked[1]})
        assert "not skipped" in browser.post("/api/takeback", {"id": asked[5]}, 404)["error"]
        assert browser.get("/api/project")["counts"]["labelled"] == 1


def test_two_people_never_get_the_same_picture_and_see_each_other(project):
    folder, truth = project
    with served(folder) as page:
        ann, bob = page.browser(), page.browser()
        first = [pick["id"] for pick in ann.get("/api/queue", count=5)["picks"]]
        second = [pick["id"] for pick in bob.get("/api/queue", count=20)["picks"]]
        assert len(first) == 5
        assert len(second) == 7
        assert not set(first) & set(second)
        assert [pick["id"] for pick in ann.get("/api/queue", count=5)["picks"]] == first, "a reload loses nothing"
        ann.answer(first[0], truth[first[0]], annotator="ann")
        assert bob.get("/api/project")["counts"]["labelled"] == 1
        assert bob.get("/api/project")["labelled_by"] == ["ann"]
        run("import", _csv(folder, {first[1]: truth[first[1]]}), "-p", folder)  # and a command in a terminal
        assert bob.get("/api/item", id=first[1])["label"] == truth[first[1]]
        assert first[1] not in [pick["id"] for pick in ann.get("/api/queue", count=5)["picks"]]


def _csv(folder, labels):
    path = folder / "labels.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("id", "label"), *labels.items()])
    return path


@pytest.mark.parametrize(
    ("given", "status", "message"),
    [
        ({"id": "nine.png", "label": "1"}, 404, "nine.png"),
        ({"id": "000.png", "label": "eleven"}, 400, "unknown class"),
        ({"id": "000.png", "label": ["1"]}, 400, "no class"),
        ({"id": "000.png", "label": "1", "seconds": -1}, 400, "seconds"),
        ({"id": "000.png", "label": "1", "colour": 1}, 400, "colour"),
        ({"label": "1"}, 400, "id"),
    ],
)
def test_one_line_for_what_cannot_be_taken_and_nothing_is(project, given, status, message):
    folder, _ = project
    with served(folder) as page:
        browser = page.browser()
        said = browser.post("/api/answers", {"answers": [{"id": "001.png", "label": "1"}, given]}, status)["error"]
        assert message in said
        assert "\n" not in said
        assert browser.get("/api/project")["counts"]["labelled"] == 0


def test_training_and_choosing_in_the_background_while_people_answer(project):
    folder, truth = project
    with served(folder) as page:
        browser = page.browser()
        asked = [pick["id"] for pick in browser.get("/api/queue", count=50)["picks"]]
        for item in asked[:10]:
            browser.answer(item, truth[item])
        browser.post("/api/job", {"what": "suggest", "count": 5, "strategy": "margin", "more": True})
        # an answer to what waits is taken while the round is being chosen; what might be chosen has to wait
        browser.answer(asked[10], truth[asked[10]])
        assert _until(browser, "suggest")["error"] == ""
        queue = browser.get("/api/queue", count=50)["picks"]
        assert [pick["strategy"] for pick in queue] == ["random", *["margin"] * 5]
        new = queue[1]
        assert new["says"][0]["probability"] >= new["says"][1]["probability"]
        assert new["guess"]["class"] == new["says"][0]["class"]
        assert any("sure" in line or "torn" in line for line in new["why"])
        browser.post("/api/job", {"what": "fit"})
        assert _until(browser, "fit")["notes"][0] == "trained on 11 labels"
        assert browser.post("/api/job", {"what": "dance"}, 400)["error"]
        assert browser.get("/api/progress")["curve"][-1]["labels"] == 11
        fits = {row["name"]: row for row in browser.get("/api/strategies")["strategies"]}
        assert fits["margin"]["fits"]
        assert not fits["true_loss"]["fits"]
        assert fits["true_loss"]["why_not"]


def test_images_are_filtered_and_sorted_and_hostile_names_are_found_by_their_id(project):
    folder, truth = project
    with served(folder) as page:
        browser = page.browser()
        for item in HOSTILE:
            browser.answer(item, truth[item], annotator="<b>ann</b>")
            assert browser.http.get("/api/picture", params={"id": item, "side": 96}).content[:2] == b"\xff\xd8"
            assert browser.get("/api/item", id=item)["label"] == truth[item]
        found = browser.get("/api/images", state="labelled", count=500)
        assert {row["id"] for row in found["items"]} == set(HOSTILE)
        assert browser.get("/api/images", text="QUOTED")["total"] == 1
        assert browser.get("/api/images", annotator="<b>ann</b>")["total"] == 5
        wanted = truth[HOSTILE[0]]
        assert browser.get("/api/images", **{"class": wanted})["total"] == sum(truth[n] == wanted for n in HOSTILE)
        first, second = (browser.get("/api/images", start=start, count=30)["items"] for start in (0, 30))
        assert not {row["id"] for row in first} & {row["id"] for row in second}
        assert browser.get("/api/images", sort="rank")["items"][0]["rank"] == 0
        assert browser.http.get("/api/images", params={"state": "odd"}).status_code == 400


def test_the_map_is_laid_out_in_the_background_and_kept(project):
    folder, _ = project
    with served(folder) as page:
        browser = page.browser()
        assert browser.get("/api/map")["state"] == "none"
        assert browser.http.get("/api/map/points").status_code == 400
        browser.post("/api/map", {"method": "pca"})
        assert _until(browser, "map")["error"] == ""
        state = browser.get("/api/map")
        assert (state["state"], state["method"], state["count"]) == ("ready", "pca", 80)
        points = np.frombuffer(browser.http.get("/api/map/points").content, "<f4").reshape(-1, 2)
        assert points.shape == (80, 2)
        assert np.abs(points).max() <= 1
        columns = browser.get("/api/map/columns")
        assert sum(code == 1 for code in columns["state"]) == 12
        assert [row["id"] for row in browser.get("/api/map/items", at="0,79")["items"]] == sorted_ids(folder, 0, 79)
        [queue] = browser.get("/api/queue", count=1)["picks"]
        assert queue["neighbours"] == []
        assert sum("are like it" in line for line in queue["why"]) == 1
        browser.answer("070.png", "0")
        browser.answer(queue["id"], "3")
        [queue] = browser.get("/api/queue", count=1)["picks"]
        assert {near["label"] for near in queue["neighbours"]} == {"0", "3"}
        assert browser.http.get("/api/map/items", params={"at": "80"}).status_code == 400
        assert browser.http.get("/api/map/items", params={"at": "../x"}).status_code == 400
        free = [place for place, code in enumerate(columns["state"]) if code == 0 and place not in (70, 79)][:20]
        wanted = {row["id"] for row in browser.get("/api/map/items", at=",".join(map(str, free)))["items"]}
        browser.post("/api/job", {"what": "suggest", "count": 5, "strategy": "margin", "among": free})
        job = _until(browser, "suggest")
        assert job["error"] == ""
        assert any("outside what was marked" in line for line in job["notes"])
        asked = {row["id"] for row in browser.get("/api/images", state="pending", round=1)["items"]}
        assert len(asked) == 5
        assert asked <= wanted
        assert "points 0 to 79" in browser.post("/api/job", {"what": "suggest", "among": [80]}, 400)["error"]


def sorted_ids(folder, *places):
    ids = open_project(folder).pool.ids
    return [ids[place] for place in places]


def test_a_host_beyond_this_machine_wants_a_token(project):
    said = run("serve", project[0], "--host", "0.0.0.0", "--no-open", code=1).stderr
    assert "12 characters" in said


def test_masks_and_superpixels_come_as_bytes_with_their_size(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "masks").mkdir()
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 20:40] = 1
    for n in range(3):
        pixels = np.where(mask[..., None] == 1, (200, 60, 60), (40, 40 + n, 40)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{n}.png")
    Image.fromarray(mask).save(tmp_path / "masks" / "0.png")
    folder = tmp_path / "project"
    run(
        "init", tmp_path / "pictures", "-p", folder, "--task", "segmentation", "--classes", "ground,red",
        "--labels", "none",
    )  # fmt: skip
    run("import", tmp_path / "masks", "-p", folder)
    with served(folder) as page:
        browser = page.browser()
        found = browser.http.get("/api/mask", params={"id": "0.png"})
        assert np.frombuffer(found.content[:8], "<u4").tolist() == [60, 40]
        assert np.array_equal(np.frombuffer(found.content[8:], np.uint8).reshape(40, 60), mask)
        for what, item in (("guess", "0.png"), ("label", "1.png")):
            missing = browser.http.get("/api/mask", params={"id": item, "what": what})
            assert (missing.status_code, "has no mask" in missing.json()["error"]) == (400, True)
        cells = browser.http.get("/api/superpixels", params={"id": "1.png", "count": 40}).content
        numbers = np.frombuffer(cells[8:], "<u2").reshape(40, 60)
        assert 20 < len(np.unique(numbers)) < 80
        strange = [min((part := mask[numbers == number]).sum(), (1 - part).sum()) for number in np.unique(numbers)]
        assert sum(strange) < 0.05 * mask.size, "they keep to what is seen"
        for query in ({"id": "1.png", "count": 3}, {"id": "1.png", "count": 10**6}, {"id": "../x", "count": 100}):
            assert browser.http.get("/api/superpixels", params=query).status_code in (400, 404)
