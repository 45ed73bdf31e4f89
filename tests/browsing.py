"""Somebody at the served page, in a real browser."""

from __future__ import annotations

import contextlib
import shutil
from urllib.parse import quote

import pytest

from labelwise.project.setup import open_project
from served import TOKEN

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: for the tests of a module that wants it
MARKS = [pytest.mark.heavy, pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")]

# a root user's browser runs without its sandbox; nothing is looked up elsewhere; a map is drawn without a graphics card
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-quic",
]  # fmt: skip


@contextlib.contextmanager
def launched():
    """A browser without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as found:
        browser = found.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


class Person:
    """Somebody with a browser of their own, who is told of every complaint of the page."""

    def __init__(self, chromium, address, **screen):
        self.address = address
        self.context = chromium.new_context(**{"viewport": {"width": 1280, "height": 820}, **screen})
        self.complaints = []
        self.page = self.look()

    def look(self):
        page = self.context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        page.on("console", self._console)
        page.goto(f"{self.address}/?token={quote(TOKEN)}")
        page.wait_for_selector("header.top")
        self.page = page
        return page

    def _console(self, message):
        # a server that is gone is the browser's to complain of; WebGL without a graphics card is slow, and says so
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def to(self, view):
        self.page.goto(f"{self.address}/#/{view}")

    def title(self):
        """The name of the picture that is shown, whole."""
        return self.page.get_attribute(".subject h1", "title")

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def saved(self, count):
        self.page.wait_for_selector(f".saved:has-text('{count} answer')")
        self.page.wait_for_selector(".saved:has-text('saved')")

    def asked(self):
        self.page.wait_for_selector(".stage image")


def barriers(page):
    """What keeps people who do not see, or not well, from using the page as it stands, by the rules of axe-core."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [(one["id"], [node["html"][:120] for node in one["nodes"][:3]]) for one in found]


@contextlib.contextmanager
def person(chromium, address, **screen):
    """Somebody who ends without a complaint of the page, and on a page that everybody can use."""
    somebody = Person(chromium, address, **screen)
    try:
        yield somebody
        assert somebody.complaints == []
        if not somebody.page.is_closed():
            assert barriers(somebody.page) == []
    finally:
        somebody.context.close()


def drag(somebody, start, end, size=(80, 60)):
    """From one place of the picture to another."""
    room = somebody.page.locator(".stage svg").bounding_box()
    scale = min(room["width"] / size[0], room["height"] / size[1])
    left, top = (room["x"] + (room["width"] - size[0] * scale) / 2, room["y"] + (room["height"] - size[1] * scale) / 2)
    places = [(left + x * scale, top + y * scale) for x, y in (start, end)]
    somebody.page.mouse.move(*places[0])
    somebody.page.mouse.down()
    somebody.page.mouse.move(*places[1], steps=4)
    somebody.page.mouse.up()


def labels(folder):
    """What the event table says, in the order of the picks."""
    pool = open_project(folder).pool
    labelled = set(pool.labelled.tolist())
    return {one.id: pool.target(pool.position(one.id)) for one in pool.queries() if pool.position(one.id) in labelled}
