"""What one thing of a kind costs: a file. Each is added to a copy of the package, and found by itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import labelwise

ROOT = Path(labelwise.__file__).parent
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def copy(tmp_path):
    """The package in a folder of its own."""
    shutil.copytree(ROOT, tmp_path / "labelwise", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def touched(folder):
    """Files of the copy that the package does not have, or has otherwise."""
    files = [path for path in (folder / "labelwise").rglob("*") if path.is_file()]
    other = {path: ROOT / path.relative_to(folder / "labelwise") for path in files}
    return [path.name for path, old in other.items() if not old.is_file() or old.read_bytes() != path.read_bytes()]


def test_a_format_is_one_file(copy):
    shutil.copy(EXAMPLES / "own_format.py", copy / "labelwise" / "formats" / "arrows.py")
    assert touched(copy) == ["arrows.py"]
    listed = {row["name"]: row for row in json.loads(run(copy, "-m", "labelwise", "list", "formats", "--json"))}
    assert listed["arrows"]["reads"] == ["data", "answers"]
    (copy / "labels.arrows").write_text("a.jpg -> cat\n")
    code = "from pathlib import Path; from labelwise.exchange.sniffing import choose; import sys\n"
    code += "print(choose(Path(sys.argv[1]), 'answers').format.name)"
    assert run(copy, "-c", code, str(copy / "labels.arrows")).strip() == "arrows"


def test_a_format_of_ones_own_needs_no_place_in_the_package():
    code = "from labelwise.exchange.sniffing import named; print(named('own_format:Arrows').title)"
    assert run(EXAMPLES, "-c", code).strip() == "lines 'image -> class'"
