"""The page for people who see badly or not at all, who use a tablet and their fingers, and who like it dark."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from browsing import MARKS, barriers, labels, person
from commands import run
from labelwise.kinds.masks import whole
from served import served

pytestmark = MARKS
#: an upright tablet
TABLET = {"viewport": {"width": 820, "height": 1180}, "has_touch": True, "is_mobile": True}


@pytest.fixture
def digits(tmp_path):
    """Sixty digits, forty with a label, ten that wait, and a model."""
    found = load_digits()
    (tmp_path / "pictures").mkdir()
    for n in range(60):
        image_HW = (found.images[n] * 15).astype(np.uint8)
        Image.fromarray(image_HW).resize((32, 32)).save(tmp_path / "pictures" / f"{n:02}.png")
    rows = "".join(f"{n:02}.png,{found.target[n]}\n" for n in range(40))
    (tmp_path / "labels.csv").write_text(f"image,label\n{rows}", encoding="utf-8")
    folder, kinds = tmp_path / "project", ",".join("0123456789")
    run("init", tmp_path / "pictures", "-p", folder, "--classes", kinds, "--labels", "none", "--backbone", "pixels")
    run("import", tmp_path / "labels.csv", "-p", folder)
    run("tag", "night", "41.png", "-p", folder)
    run("suggest", "-n", 10, "-s", "margin", "-p", folder)
    return folder


@pytest.mark.parametrize("screen", [{"color_scheme": "light"}, {"color_scheme": "dark"}, TABLET])
def test_every_view_keeps_the_rules_of_accessibility_and_needs_no_scrolling_sideways(digits, chromium, screen):
    with served(digits) as server, person(chromium, server.address, **screen) as somebody:
        page = somebody.page
        somebody.asked()
        found = {"queue": barriers(page)}
        page.click("button[aria-label='Keys and help'], header button:has-text('?')")
        found["help"] = barriers(page)
        somebody.press("Escape")
        somebody.to("images?found=duplicates")
        page.click("section.looking button:has-text('Look')")
        page.wait_for_selector("section.looking >> text=Look again")
        found["found"] = barriers(page)
        somebody.to("images")
        page.wait_for_selector(".tile")
        found["images"] = barriers(page)
        page.click(".tile >> nth=0")
        page.wait_for_selector(".facts img")
        found["detail"] = barriers(page)
        page.click("button[aria-label='Close']")
        somebody.to("map")
        page.click("text=Make the map")
        page.wait_for_selector(".legend button")
        page.focus("canvas")
        somebody.press("v")
        page.wait_for_selector(".compared")
        found["map"] = barriers(page)
        somebody.to("progress")
        page.wait_for_selector("main.progress table, main.progress h2")
        found["progress"] = barriers(page)
        assert found == {name: [] for name in found}
        for view in ("queue", "images", "map", "progress"):
            somebody.to(view)
            page.wait_for_selector("main")
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, view


def test_a_mask_is_painted_and_sent_by_fingers(tmp_path, chromium):
    (tmp_path / "pictures").mkdir()
    for n in range(2):
        Image.fromarray(np.full((64, 96, 3), 40 + 40 * n, np.uint8)).save(tmp_path / "pictures" / f"{n}.png")
    folder = tmp_path / "project"
    task = ("--task", "segmentation", "--classes", "ground,red", "--labels", "none")
    run("init", tmp_path / "pictures", "-p", folder, *task)
    run("suggest", "-n", 2, "-s", "random", "-p", folder)
    with served(folder) as server, person(chromium, server.address, **TABLET) as somebody:
        page = somebody.page
        somebody.asked()
        page.wait_for_selector(".painting .hint:has-text('Paints')")
        page.tap(".class:has-text('red')")
        room = page.locator(".stage svg").bounding_box()
        middle = (room["x"] + room["width"] / 2, room["y"] + room["height"] / 2)
        fingers = somebody.context.new_cdp_session(page)
        for kind, shift in (("touchStart", -60), ("touchMove", 0), ("touchMove", 60), ("touchEnd", None)):
            points = [] if shift is None else [{"x": middle[0] + shift, "y": middle[1]}]
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        page.wait_for_selector(".painting .things:has-text('red')")
        page.wait_for_timeout(500)  # a touch right after another is a gesture to a browser
        page.locator(".class:has-text('ground')").click()
        page.wait_for_selector(".painting .hint:has-text('Paints ground')")
        page.tap("button:has-text('Fill the rest')")
        page.wait_for_selector(".painting .things:not(:has-text('no class'))")
        page.tap("button:has-text('Send')")
        somebody.saved(1)
    (raw,) = labels(folder).values()
    assert set(np.unique(whole(raw))) == {0, 1}
    rows, columns = np.nonzero(whole(raw))
    assert np.ptp(columns) > 2 * np.ptp(rows) > 0, "a stroke from left to right"
