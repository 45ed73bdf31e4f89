"""The page that is committed is the one that its source makes: told without Node, by a digest in it."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
STATIC = ROOT / "src" / "labelwise" / "serve" / "static"
SINGLE = ("build.mjs", "index.html", "package-lock.json", "package.json", "tsconfig.json")
MOST = 300_000


def digest():
    """As ``web/build.mjs`` reckons it."""
    inner = (path.relative_to(WEB).as_posix() for path in (WEB / "src").rglob("*") if path.is_file())
    found = hashlib.sha256()
    for name in sorted([*SINGLE, *inner]):
        content = (WEB / name).read_bytes().replace(b"\r\n", b"\n")
        found.update(f"{name}\n{len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()


@pytest.mark.parametrize("name", ["app.js", "study.js", "app.css"])
def test_the_bundle_fits_its_source(name):
    first = (STATIC / name).read_text(encoding="ascii").partition("\n")[0]
    said = re.search(r"source sha256:([0-9a-f]{64})", first)
    assert said, first
    assert said[1] == digest(), "the page was changed and not built: npm ci && npm run build in web/"


def test_the_bundle_loads_nothing_from_elsewhere_and_is_small():
    for name in ("index.html", "study.html"):
        html = (STATIC / name).read_text(encoding="utf-8")
        assert not re.search(r"https?://|<style|style=|<script(?![^>]* src=)|\son\w+=", html)
    for name in ("app.js", "study.js", "app.css"):
        text = (STATIC / name).read_text(encoding="ascii")
        # names of XML are addresses that nobody asks for
        others = set(re.findall(r"""https?://[^"'`\s)]+""", text)) - {
            "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml", "http://www.w3.org/1998/Math/MathML",
        }  # fmt: skip
        assert not others
        assert not re.search(r"\beval\(|new Function|@import", text)
    for path in (WEB / "src").rglob("*.ts*"):
        assert "innerhtml" not in path.read_text(encoding="utf-8").lower(), f"{path}: names of files are text"
    assert sum(path.stat().st_size for path in STATIC.iterdir()) < MOST


def test_what_belongs_to_others_is_named():
    lock = (WEB / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock, "the lock file names no server"
    assert "Permission is hereby granted" in (STATIC / "NOTICES.txt").read_text(encoding="utf-8")


@pytest.mark.heavy
@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node")
@pytest.mark.skipif(not (WEB / "node_modules" / "esbuild").is_dir(), reason="npm ci was not run in web/")
def test_building_again_gives_the_same_bytes(tmp_path):
    subprocess.run(["node", "build.mjs", str(tmp_path)], cwd=WEB, check=True, capture_output=True, timeout=120)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in STATIC.iterdir()
    }
