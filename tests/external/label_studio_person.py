"""A person at the page of Label Studio: signs in, labels what is shown, one picture after the other, by keys and mouse.

``label_studio_person.py URL PROJECT COUNT WAY FOLDER`` prints the pictures in the order in which they were shown, as
JSON. WAY: ``keys`` (the first choice) or ``box`` (draws one with the mouse).
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
#: address of the picture that is on the page and loaded, and of the page
SHOWN = """() => {
    const all = [...document.querySelectorAll("img")].filter((one) => one.complete && one.naturalWidth);
    const one = all.find((one) => one.src.includes("/data/") || one.src.startsWith("blob:"));
    return one && document.querySelector("canvas") ? [one.src, location.href] : null;
}"""


def until(found, what, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.5)
    raise SystemExit(f"waited in vain for {what}")


def draw(page: Page) -> None:
    """A box from a quarter of the picture to its middle."""
    place = page.locator(".konvajs-content canvas").first.bounding_box()
    page.mouse.move(place["x"] + place["width"] / 4, place["y"] + place["height"] / 4)
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2, steps=5)
    page.mouse.up()


def work(page: Page, url: str, project: str, count: int, way: str, folder: Path) -> list[list[str]]:
    seen: list[list[str]] = []
    page.goto(f"{url}/user/login/")
    page.fill("[name=email]", "first@example.org")
    page.fill("[name=password]", "labelwise-pw")
    page.press("[name=password]", "Enter")
    page.wait_for_url(lambda address: "/login" not in address)
    page.goto(f"{url}/projects/{project}/data?labeling=1")
    for n in range(count):
        last = seen[-1] if seen else None
        seen.append(until(lambda: (now := page.evaluate(SHOWN)) and now != last and now, f"picture {n}"))  # noqa: B023
        time.sleep(2)
        page.screenshot(path=folder / f"shown-{n}.png")
        page.keyboard.press("1")
        time.sleep(0.5)
        if way == "box":
            draw(page)
            time.sleep(0.5)
        page.screenshot(path=folder / f"answered-{n}.png")
        page.keyboard.press("Control+Enter")
        time.sleep(2)
    return seen


def main(url: str, project: str, count: str, way: str, folder: str) -> None:
    with sync_playwright() as found:
        browser = found.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(180_000)
        try:
            print(json.dumps(work(page, url, project, int(count), way, Path(folder))))
        finally:
            page.screenshot(path=Path(folder) / "last.png")
            browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
