"""Masks painted at the served page, in a real browser: by brush, superpixels and keys, and from the model's guess."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from browsing import MARKS, drag, labels, person
from commands import run
from labelwise.data.mask_labels import IGNORE
from labelwise.data.superpixels import Superpixels
from labelwise.kinds.masks import raw_mask, whole
from labelwise.project.setup import open_project
from served import served

pytestmark = MARKS
SIZE = (96, 64)
CLASSES = ("ground", "red", "blue")
#: a network that is trained in a second
SMALL = """
input: {size: [32, 48]}
learner: {kind: torch, model: unet, phases: [{epochs: 1, min_steps: 20, max_steps: 20}]}
"""


@pytest.fixture
def scenes(tmp_path):
    """Pictures with a red rectangle in each; the mask of each, ground and red."""
    truth = {}
    for folder in ("pictures", "masks"):
        (tmp_path / folder).mkdir()
    for n in range(6):
        mask = np.zeros(SIZE[::-1], np.uint8)
        mask[10 + 2 * n : 40 + 2 * n, 20 + 4 * n : 60 + 4 * n] = 1
        pixels = np.where(mask[..., None] == 1, (200, 60, 60), (40, 44 + n, 40)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{n}.png")
        truth[f"{n}.png"] = mask
    folder = tmp_path / "project"
    run(
        "init", tmp_path / "pictures", "-p", folder, "--task", "segmentation", "--classes", ",".join(CLASSES),
        "--labels", "none",
    )  # fmt: skip
    with (folder / "labelwise.yaml").open("a", encoding="utf-8") as settings:
        settings.write(SMALL)
    run("suggest", "-n", 6, "-s", "random", "-p", folder)
    return folder, truth


def ready(somebody):
    somebody.page.wait_for_selector(".painting .hint:has-text('Paints')")


def asked(folder):
    return [one.id for one in open_project(folder).pool.queries()]


def painted(folder, name):
    """The class of each pixel, as the event table has it."""
    raw = labels(folder)[name]
    assert raw["size"] == list(SIZE)
    return whole(raw)


def test_masks_by_brush_and_by_superpixels(scenes, chromium):
    folder, _truth = scenes
    order = asked(folder)
    with served(folder) as server, person(chromium, server.address) as somebody:
        somebody.asked()
        ready(somebody)
        somebody.press("Enter")
        somebody.page.wait_for_selector(".said:has-text('Nothing is painted')")
        # a stroke of red from left to right, and all else ground
        somebody.press("2")
        drag(somebody, (30, 30), (70, 30), SIZE)
        somebody.press("Enter")
        somebody.page.wait_for_selector(".said:has-text('have no class')")
        assert labels(folder) == {}, "what has no class is said first"
        somebody.press("1", "h", "Enter")
        somebody.saved(1)
        found = painted(folder, order[0])
        assert set(np.unique(found)) == {0, 1}
        rows, columns = np.nonzero(found)
        width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
        assert abs(width - height - 40) <= 1, "as long as the way of the brush"
        assert abs(rows.mean() - 29.5) < 1
        assert found[30, 30:70].all()
        # one superpixel of blue, then taken back, then another of red
        ready(somebody)
        somebody.press("3", "b")
        somebody.page.wait_for_selector(".painting .hint:has-text('superpixels, about 300')")
        drag(somebody, (80, 5), (80, 5), SIZE)
        somebody.press("Control+z", "2")
        drag(somebody, (50, 32), (50, 32), SIZE)
        somebody.press("Enter", "Enter")
        somebody.saved(2)
        found = painted(folder, order[1])
        picture = np.array(Image.open(folder.parent / "pictures" / order[1]))
        cells = Superpixels(count=300).cut(picture)
        assert np.array_equal(found, np.where(cells == cells[32, 50], 1, IGNORE))
        # by keys alone: ground everywhere, and blue in the middle
        ready(somebody)
        somebody.press("b", "1", "h", "3", " ", "ArrowLeft", "ArrowLeft", " ", "Enter")
        somebody.saved(3)
        found = painted(folder, order[2])
        assert set(np.unique(found)) == {0, 2}
        assert found[32, 46] == 2
        # erased in part
        ready(somebody)
        somebody.press("1", "h", "n")
        drag(somebody, (10, 10), (10, 10), SIZE)
        somebody.press("Enter", "Enter")
        somebody.saved(4)
        found = painted(folder, order[3])
        assert found[10, 10] == IGNORE
        assert 0 < (found == IGNORE).sum() < 400


def test_what_a_line_encloses_is_painted_by_the_middles_of_pixels(scenes, chromium):
    folder, _truth = scenes
    order = asked(folder)
    corners = [(20.2, 10.2), (70.4, 15.0), (60.0, 50.6), (45.0, 20.0), (15.0, 55.0)]
    with served(folder) as server, person(chromium, server.address) as somebody:
        somebody.asked()
        ready(somebody)
        somebody.press("1", "f", "2", "l")
        room = somebody.page.locator(".stage svg").bounding_box()
        scale = min(room["width"] / SIZE[0], room["height"] / SIZE[1])
        left, top = (
            room["x"] + (room["width"] - SIZE[0] * scale) / 2,
            room["y"] + (room["height"] - SIZE[1] * scale) / 2,
        )
        mouse = somebody.page.mouse
        mouse.move(left + corners[0][0] * scale, top + corners[0][1] * scale)
        mouse.down()
        for x, y in corners[1:]:
            mouse.move(left + x * scale, top + y * scale)
        mouse.up()
        somebody.press("Enter")
        somebody.saved(1)
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    middles = np.column_stack([columns.ravel() + 0.5, rows.ravel() + 0.5])
    inside = _inside(middles, corners).reshape(SIZE[::-1])
    assert (painted(folder, order[0]) != inside).sum() <= 6, "a screen has whole pixels, and corners fall between them"
    assert inside.sum() > 500


def _inside(points, corners):
    """Whether each point lies in a polygon: an odd number of its sides is crossed on the way to the right."""
    odd = np.zeros(len(points), bool)
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        crosses = (y1 <= points[:, 1]) != (y2 <= points[:, 1])
        odd ^= crosses & (x1 + (points[:, 1] - y1) / (y2 - y1) * (x2 - x1) > points[:, 0])
    return odd


def test_a_guess_is_accepted_whole_and_corrected_among_the_images(scenes, chromium, tmp_path):
    folder, truth = scenes
    order = asked(folder)
    for name in order[:3]:
        Image.fromarray(truth[name]).save(tmp_path / "masks" / name)
    run("import", tmp_path / "masks", "-p", folder)
    run("fit", "-p", folder)
    with served(folder) as server, person(chromium, server.address) as somebody:
        somebody.asked()
        ready(somebody)
        guess = server.browser().get("/api/item", id=order[3])["guess"]
        somebody.press("Enter")
        somebody.saved(1)
        assert np.array_equal(painted(folder, order[3]), whole(guess))
        somebody.to("images?state=labelled")
        somebody.page.click(f".tile[title='{order[0]}']")
        somebody.page.click(".facts .buttons .primary")
        ready(somebody)
        somebody.press("3")
        drag(somebody, (5, 5), (5, 5), SIZE)
        somebody.press("Enter")
        somebody.saved(2)
        found = painted(folder, order[0])
        assert found[5, 5] == 2
        kept = found != 2
        assert np.array_equal(found[kept], truth[order[0]][kept])


def test_regions_are_painted_in_their_picture_and_nothing_beside_them(scenes, chromium, tmp_path):
    folder, truth = scenes
    done = asked(folder)[:3]
    run("cancel", "-p", folder)
    with (folder / "labelwise.yaml").open("a", encoding="utf-8") as settings:
        settings.write("regions: {count: 6}\n")
    for name in done:
        Image.fromarray(truth[name]).save(tmp_path / "masks" / name)
    run("import", tmp_path / "masks", "-p", folder)
    run("fit", "-p", folder)
    run("suggest", "-n", 4, "-s", "random", "-p", folder)
    project = open_project(folder)
    order = [one.id for one in project.pool.queries()]
    assert all("#" in item for item in order)

    def inside(item):
        rows = np.zeros(SIZE[::-1], bool)
        own, (x, y) = project.source.outline(item)
        rows[y : y + own.shape[0], x : x + own.shape[1]] = own
        return rows

    with served(folder) as server, person(chromium, server.address) as somebody:
        somebody.asked()
        ready(somebody)
        guess = server.browser().get("/api/item", id=order[0])["guess"]
        somebody.press("Enter")
        somebody.saved(1)
        assert np.array_equal(painted(folder, order[0]), whole(guess))
        # one key for all of it
        ready(somebody)
        somebody.press("3", "f", "Enter")
        somebody.saved(2)
        assert np.array_equal(painted(folder, order[1]), np.where(inside(order[1]), 2, IGNORE))
        # a stroke over the whole picture paints what is asked alone
        ready(somebody)
        somebody.press("3", "f", "2")
        left, right = np.flatnonzero(inside(order[2]).any(0))[[0, -1]]
        middle = int(np.flatnonzero(inside(order[2]).any(1)).mean())
        drag(somebody, (1, middle), (94, middle), SIZE)
        somebody.press("Enter")
        somebody.saved(3)
        found = painted(folder, order[2])
        assert np.array_equal(found != IGNORE, inside(order[2]))
        assert (found[middle, left:right][inside(order[2])[middle, left:right]] == 1).all()
        browser = server.browser()
        everywhere = {"size": list(SIZE), "png": _png(np.where(inside(order[3]), IGNORE, 1))}
        beside = browser.post("/api/answers", {"answers": [{"id": order[3], "label": everywhere}]}, 400)
        assert "outside the asked regions" in beside["error"]
        everything = {"size": list(SIZE), "png": _png(np.ones(SIZE[::-1]))}
        refusal = browser.post("/api/answers", {"answers": [{"id": order[3], "label": everything}]}, 400)
        assert "of the region a class" in refusal["error"]
        assert browser.http.get("/api/region", params={"id": done[0]}).status_code == 400
    run("fit", "-p", folder)
    assert len(open_project(folder).pool.labelled) == 6


def _png(values):
    return raw_mask(values.astype(np.uint8), SIZE)["png"]
