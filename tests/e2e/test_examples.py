"""Each example runs as it stands, in a process of its own."""

from pathlib import Path

import pytest

import forked

#: that of Ultralytics runs where there is one: tests/external/test_ultralytics_picks.py
EXAMPLES = sorted(
    path for path in (Path(__file__).parents[2] / "examples").glob("*.py") if path.stem != "ultralytics_loop"
)


@pytest.mark.heavy
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path, tmp_path):
    done = forked.python("-W", "ignore", path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert len(path.read_text().splitlines()) < 100, "an example is read at a glance"


def test_there_are_examples():
    assert len(EXAMPLES) >= 3
