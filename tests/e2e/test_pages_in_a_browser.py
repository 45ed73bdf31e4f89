"""Pages in a real browser: pictures open large, long parts are folded away, whole names are there to be read."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.contracts.oracle import Pick
from labelwise.report.gallery import write_gallery
from labelwise.report.project import ProjectState, write_project_report

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium"),
]
LONG = "a camera in the north meadow/2024-05-07_field_survey_with_a_very_long_name_indeed_00017.jpg"


def _picture(item: str) -> Image.Image:
    shade = 40 + 50 * int(item[-5])
    return Image.fromarray(np.full((60, 90, 3), shade, dtype=np.uint8))


def _picks(*names: str) -> list[Pick]:
    return [Pick(name, name, rank, 0.9 - rank / 10, "cat", 0.7) for rank, name in enumerate(names)]


def _asked(page: Path, script: str) -> dict:
    """What a script finds on a page; the page's own code runs as it stands."""
    text = page.read_text(encoding="utf-8")
    # only the page's own scripts may run on it; here one more has to
    text, count = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    assert count == 1
    asking = f"<script>document.documentElement.dataset.found = JSON.stringify((() => {{{script}}})());</script>"
    copy = page.with_name(f"asked-{page.name}")
    copy.write_text(text.replace("</body>", f"{asking}</body>"), encoding="utf-8")
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,900", "--dump-dom",
         f"--user-data-dir={page.parent / 'profile'}", copy.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    found = re.search(r'data-found="([^"]*)"', done.stdout)
    assert found, done.stderr[-2000:]
    return json.loads(found.group(1).replace("&quot;", '"').replace("&amp;", "&"))


OPENED = """
const frames = [...document.querySelectorAll("button.frame")].filter((one) => one.offsetParent);
const dialog = document.querySelector("dialog.large");
const before = dialog.open;
frames[0].click();
const first = dialog.querySelector("img").src;
const words = dialog.querySelector("p").textContent;
const open = dialog.open;
dialog.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
const next = dialog.querySelector("img").src;
dialog.click();
return {before, open, words, same: first === frames[0].querySelector("img").src, moved: next !== first,
        after: dialog.open, names: [...document.querySelectorAll("li[title]")].map((one) => one.title)};
"""


def test_pictures_of_a_project_open_large_and_settings_are_folded(tmp_path):
    state = ProjectState(
        name="meadow",
        task="classification",
        strategy="margin",
        progress={"labelled": 3, "pending": 1, "skipped": 0, "unlabelled": 96},
        picks={0: _picks(LONG, "b/2.jpg"), 1: _picks("c/3.jpg", "d/4.jpg")},
        settings={"task": "classification", "seed": 0},
        environment={"python": "3.11"},
        given={"c/3.jpg": "owl"},
    )
    page = write_project_report(state, tmp_path / "report.html", image_of=_picture)
    found = _asked(page, OPENED)
    assert (found["before"], found["open"], found["after"]) == (False, True, False)
    assert found["same"]
    assert found["moved"]
    assert "c/3.jpg" in found["words"]
    assert "owl" in found["words"], "the label that was given stands beside what was predicted"
    assert LONG in found["names"], "the whole name is there to be read, however it is cut"
    folded = _asked(
        page,
        """return Object.fromEntries([...document.querySelectorAll("details")].map((one) =>
        [one.querySelector("summary").textContent.trim().split(" ")[0] + one.querySelector("summary").textContent.trim()
        .split(" ")[1], one.open]));""",
    )
    assert folded["Round1"] is True
    assert not any(opened for name, opened in folded.items() if name != "Round1"), folded


def test_regions_are_counted_apart_from_images(tmp_path):
    state = ProjectState(
        name="streets",
        task="segmentation",
        strategy="entropy",
        progress={"labelled": 10, "pending": 0, "skipped": 0, "unlabelled": 30},
        regions={"labelled": 25, "pending": 12, "skipped": 0, "unlabelled": 1163},
    )
    page = write_project_report(state, tmp_path / "report.html", image_of=_picture)
    words = _asked(page, "return {text: document.body.innerText.replace(/\\s+/g, ' ')};")["text"]
    assert "10 of 40 images labelled; 25 of 1,200 regions" in words
    assert "1,163" in words


def test_a_gallery_opens_its_pictures_large_and_is_searched(tmp_path):
    page = write_gallery(tmp_path / "picks.html", _picks(LONG, "b/2.jpg", "c/3.jpg"), image_of=_picture, title="R")
    found = _asked(page, OPENED)
    assert (found["before"], found["open"], found["after"], found["same"]) == (False, True, False, True)
    assert LONG in found["names"]
    shown = _asked(
        page,
        """const field = document.querySelector("input");
        field.value = "meadow"; field.dispatchEvent(new Event("input", {bubbles: true}));
        return {shown: [...document.querySelectorAll("li[title]")].filter((one) => one.offsetParent).map((one) =>
        one.title)};""",
    )
    assert shown["shown"] == [LONG]
