"""People at the served page, in a real browser: by keys, by mouse, two at once, and with a server that dies."""

from __future__ import annotations

import re
import socket
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import posed
from browsing import MARKS, drag, labels, person
from commands import run
from labelwise.project.setup import open_project
from served import served

pytestmark = MARKS
LONG = "x" * 200 + ".png"
HOSTILE = [
    "<img src=x onerror=alert(1)>.png", "\"quoted' & more.png", "zwei\nZeilen.png", "ü–図\u202egnp.exe.png", LONG,
    "--><svg onload=alert(2)><!--.png", "a&b=%2e%2e#c?.png", "{{7*7}}${7*7}.png",
]  # fmt: skip
CLASSES = ["<b>0</b>", *"123456789"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    found = load_digits()
    names = [*HOSTILE, *(f"{n:03}.png" for n in range(52))]
    for n, name in enumerate(names):
        Image.fromarray((found.images[n] * 15).astype(np.uint8)).resize((32, 32)).save(folder / name)
    return folder, {name: CLASSES[found.target[n]] for n, name in enumerate(names)}


@pytest.fixture
def project(digits, tmp_path):
    """Sixty digits of which twenty are asked; what they are."""
    folder, truth = digits
    run("init", folder, "-p", tmp_path, "--classes", ",".join(CLASSES), "--labels", "none", "--backbone", "pixels")
    run("suggest", "-n", 20, "-s", "random", "-p", tmp_path)
    return tmp_path, truth


def shown(name):
    """A name as the page shows it."""
    return re.sub("\u202e", "\u2039U+202E\u203a", name.replace("\n", "\u23ce"))


def _key(cls):
    """Of a class: a digit has its own, the other one the first that is left."""
    return cls if cls.isdigit() else "a"


def test_six_images_by_keys_alone(project, chromium):
    folder, truth = project
    order = [one.id for one in open_project(folder).pool.queries()]
    with served(folder) as server, person(chromium, server.address) as somebody:
        somebody.asked()
        for name in order[:6]:
            assert somebody.title() == shown(name)
            somebody.press(_key(truth[name]))
        somebody.saved(6)
        somebody.press("s")
        somebody.saved(7)
        somebody.press("ArrowRight", "ArrowRight")
        assert somebody.title() == shown(order[9])
        somebody.press("z")
        somebody.page.wait_for_function(
            "name => document.querySelector('.subject h1').title === name", arg=shown(order[6])
        )
        somebody.press("/")
        somebody.page.wait_for_function("() => document.activeElement.matches('input')")
        somebody.page.keyboard.type("<b>0")
        somebody.press("Enter")
        somebody.saved(8)
        assert labels(folder) == {name: truth[name] for name in order[:6]} | {order[6]: "<b>0</b>"}
        pool = open_project(folder).pool
        assert pool.cost()["seconds"] > 0
        assert len(pool.skipped) == 0, "the skip was taken back"


def test_a_guess_is_accepted_by_enter_and_corrected_among_the_images(project, chromium):
    folder, truth = project
    rest = [name for name in truth if name not in labels(folder) and name not in HOSTILE]
    pool = open_project(folder).pool
    asked = {one.id for one in pool.queries()}
    known = [name for name in rest if name not in asked][:25]
    (folder / "known.csv").write_text(
        "id,label\n" + "".join(f"{name},{truth[name]}\n" for name in known), encoding="utf-8"
    )
    run("import", folder / "known.csv", "-p", folder)
    run("fit", "-p", folder)
    with served(folder) as server, person(chromium, server.address) as somebody:
        somebody.asked()
        somebody.page.wait_for_selector(".class .mark:has-text('guess')")
        guess = somebody.page.inner_text(".class:has(.mark:has-text('guess')) bdi")
        first = somebody.title()
        somebody.press("Enter")
        somebody.saved(1)
        (name,) = [one for one in labels(folder) if shown(one) == first]
        assert labels(folder)[name] == guess
        somebody.to(f"images?state=labelled&text={quote(name[:10])}")
        somebody.page.wait_for_selector(".grid li")
        somebody.page.click(f".tile[title={_quoted(first)}]")
        somebody.page.click(".facts .buttons .primary")
        other = "2" if guess != "2" else "3"
        somebody.press(other)
        somebody.saved(2)
        assert labels(folder)[name] == other
        somebody.page.wait_for_selector(f".facts dd:has-text('{other}')")


def _quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def test_hostile_names_are_text_in_every_view(project, chromium):
    folder, _truth = project
    with served(folder) as server, person(chromium, server.address) as somebody:
        somebody.asked()
        assert somebody.page.inner_text(".classes li:first-child bdi") == "<b>0</b>"
        somebody.to("images")
        somebody.page.wait_for_selector(".grid li")
        for name in HOSTILE:
            tile = somebody.page.locator(f".tile[title={_quoted(shown(name))}]")
            tile.click()
            somebody.page.wait_for_selector(".facts img")
            assert somebody.page.inner_text("#detail-title") == shown(name)
            somebody.page.wait_for_function("() => document.querySelector('.facts img').naturalWidth > 0")
            somebody.press("Escape")
        for view, there in (("map", "main.map"), ("progress", ".next")):
            somebody.to(view)
            somebody.page.wait_for_selector(there)
        inside = somebody.page.evaluate(
            "() => document.querySelectorAll('#page script, #page img[src=x], #page b b').length"
        )
        assert inside == 0


def test_a_server_that_dies_loses_no_answer(project, chromium):
    folder, truth = project
    order = [one.id for one in open_project(folder).pool.queries()]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    keys = [_key(truth[name]) for name in order]
    with served(folder, "--port", port) as server, person(chromium, server.address) as somebody:
        somebody.asked()
        somebody.page.wait_for_timeout(500)
        somebody.press(keys[0])
        somebody.saved(1)
        server.kill()
        somebody.press(keys[1], keys[2])
        somebody.page.wait_for_selector(".saved.trouble:has-text('2 answers kept in this browser')")
        assert labels(folder).keys() == {order[0]}
        with served(folder, "--port", port) as again:
            somebody.saved(3)
            assert list(labels(folder)) == order[:3]
            again.kill()
            somebody.press(keys[3])
            somebody.page.wait_for_selector(".saved.trouble")
            somebody.page.close()
        with served(folder, "--port", port):
            somebody.look()
            somebody.saved(1)
        assert labels(folder) == {name: truth[name] for name in order[:4]}


def test_two_people_get_different_images_and_see_each_other(project, chromium):
    folder, _truth = project
    run("suggest", "-n", 20, "-s", "random", "--more", "-p", folder)
    with served(folder) as server, person(chromium, server.address) as one, person(chromium, server.address) as two:
        one.asked()
        two.page.reload()
        two.asked()
        assert one.title() != two.title()
        one.page.fill(".who input", "ann")
        one.press("Enter")
        one.press("1")
        two.press("2")
        one.saved(1)
        two.saved(1)
        assert sorted(labels(folder).values()) == ["1", "2"]
        two.to("images?annotator=ann")
        two.page.wait_for_selector(".total:has-text('1 image')")


def test_the_map_is_looped_and_listed(project, chromium):
    folder, truth = project
    with served(folder) as server, person(chromium, server.address) as somebody:
        somebody.to("map")
        somebody.page.click("main.map .filters button")
        somebody.page.wait_for_selector(".plot canvas")
        somebody.page.focus(".plot canvas")
        somebody.press("v")
        somebody.page.wait_for_selector(f".found h2:has-text('{len(truth)} images')")
        somebody.press("Escape")
        place = somebody.page.locator(".plot canvas").bounding_box()
        x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
        mouse = somebody.page.mouse
        somebody.page.keyboard.down("Shift")
        mouse.move(x - 450, y - 350)
        mouse.down()
        for dx, dy in ((0, -350), (0, 350), (-450, 350), (-450, -340)):
            mouse.move(x + dx, y + dy, steps=4)
        mouse.up()
        somebody.page.keyboard.up("Shift")
        somebody.page.wait_for_selector(".found li")
        listed = int(somebody.page.inner_text(".found h2").split()[0])
        assert 0 < listed < len(truth)
        assert somebody.page.locator(".found li").count() == listed
        inside = {where.get_attribute("title") for where in somebody.page.locator(".found li button").all()}
        before = set(open_project(folder).pool.pending.tolist())
        somebody.page.fill(".ask input", "3")
        somebody.page.click(".ask button.primary")
        somebody.page.wait_for_selector(".ask .job:has-text('Choosing ended')")
        pool = open_project(folder).pool
        asked = {pool.ids[position] for position in pool.pending.tolist() if position not in before}
        assert len(asked) == 3
        assert len(inside) == listed
        assert asked <= set(truth)
        assert "outside what was marked" in somebody.page.inner_text(".ask .job")


@pytest.fixture
def scenes(tmp_path):
    """Pictures with a square in each; where it is."""
    truth = {}
    (tmp_path / "pictures").mkdir()
    for n in range(8):
        pixels = np.full((60, 80, 3), 40 + n, np.uint8)
        x, y = 10 + 5 * n, 8 + 3 * n
        pixels[y : y + 20, x : x + 24] = (200, 60, 60)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{n}.png")
        truth[f"{n}.png"] = [x, y, x + 24, y + 20]
    folder = tmp_path / "project"
    run("init", tmp_path / "pictures", "-p", folder, "--task", "detection", "--classes", "red,blue", "--labels", "none")
    run("suggest", "-n", 8, "-s", "random", "-p", folder)
    return folder, truth


def test_six_images_with_boxes_by_mouse(scenes, chromium):
    folder, truth = scenes
    order = [one.id for one in open_project(folder).pool.queries()]
    with served(folder) as server, person(chromium, server.address) as somebody:
        somebody.asked()
        for n, name in enumerate(order[:6]):
            assert somebody.title() == name
            x1, y1, x2, y2 = truth[name]
            # drawn small, then pulled to its size, then moved to its place
            drag(somebody, (x1 - 3, y1 - 2), (x2 - 9, y2 - 7))
            somebody.press("2" if n % 2 else "1")
            drag(somebody, (x2 - 9, y2 - 7), (x2 - 3, y2 - 2))
            drag(somebody, (x1 + 5, y1 + 5), (x1 + 8, y1 + 7))
            if n == 5:
                somebody.press("Escape")
                drag(somebody, (1, 1), (6, 5))
                somebody.press("Delete")
            somebody.press("Enter")
            somebody.saved(n + 1)
        given = labels(folder)
        assert list(given) == order[:6]
        for n, name in enumerate(order[:6]):
            (thing,) = given[name]["objects"]
            assert given[name]["size"] == [80, 60]
            assert thing["class"] == ("blue" if n % 2 else "red")
            assert np.abs(np.subtract(thing["box"], truth[name])).max() < 0.5
            assert thing["extra"]["origin"] == "drawn"
        somebody.press("Enter")
        somebody.page.wait_for_selector(".said:has-text('no box')")
        assert len(labels(folder)) == 6, "an empty picture is said twice"
        somebody.press("Enter")
        somebody.saved(7)
        assert labels(folder)[order[6]]["objects"] == []


@pytest.fixture
def arrows(tmp_path):
    """Arrows with three points each; where they are."""
    (tmp_path / "pictures").mkdir()
    truth = {}
    for n in (0, 1, 2, 4):
        pixels, things = posed.draw(n)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{n}.png")
        truth[f"{n}.png"] = things[0]["points"]
    folder = tmp_path / "project"
    points = f"task.points=[{', '.join(posed.POINTS)}]"
    run(
        "init", tmp_path / "pictures", "-p", folder, "--task", "keypoints", "--classes", "arrow", "--labels", "none",
        "--set", points,
    )  # fmt: skip
    run("suggest", "-n", 4, "-s", "random", "-p", folder)
    return folder, truth


def test_key_points_by_clicks_in_their_order(arrows, chromium):
    folder, truth = arrows
    order = [one.id for one in open_project(folder).pool.queries()]
    size = (posed.WIDTH, posed.HEIGHT)
    with served(folder) as server, person(chromium, server.address) as somebody:
        somebody.asked()
        for n, name in enumerate(order):
            for x, y, seen in truth[name]:
                if not seen:
                    somebody.press("n")
                    continue
                drag(somebody, (x, y), (x, y), size)
                if seen == 1:
                    somebody.press("h")
            somebody.press("Enter")
            somebody.saved(n + 1)
        given = labels(folder)
    assert list(given) == order
    for name, raw in given.items():
        (thing,) = raw["objects"]
        assert [point[2] for point in thing["points"]] == [point[2] for point in truth[name]]
        assert np.abs(np.subtract(thing["points"], truth[name])).max() < 0.3
