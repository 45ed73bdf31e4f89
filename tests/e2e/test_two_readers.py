"""Two processes share one pass of a backbone and one cache, and train without labels as one process does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent


def _run(out: Path, *launcher: str) -> list[dict[str, np.ndarray]]:
    settings = os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    out.mkdir()
    done = subprocess.run(
        [sys.executable, *launcher, str(HERE / "two_readers.py"), str(out)],
        capture_output=True, text=True, timeout=180, check=False, env=settings,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [dict(np.load(path)) for path in sorted(out.glob("process-*.npz"))]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readers")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    return _run(folder / "one")[0], _run(folder / "two", *launcher), folder


def test_the_same_rows_in_each_process_as_in_one(runs):
    alone, both, _ = runs
    assert len(both) == 2
    for found in both:
        for name in ("half", "all", "one"):
            assert found[f"{name} ids"].tolist() == alone[f"{name} ids"].tolist()
            np.testing.assert_array_equal(found[f"{name} rows"], alone[f"{name} rows"])
        assert found["all failed"].tolist() == ["img/0050.png"]
        assert found["nothing"].tolist() == [0, 1]


def test_each_image_is_read_once_by_one_of_them(runs):
    alone, both, _ = runs
    assert int(alone["half read"]) == 30
    assert [int(found["half read"]) for found in both] == [15, 15]
    assert sum(int(found["all read"]) for found in both) == int(alone["all read"]) == 40
    assert [int(found["one read"]) for found in both] == [0, 0], "all of it was kept"


def test_one_cache_written_once(runs):
    _, _, folder = runs
    files = {who: sorted(path.name for path in (folder / who / "cache").rglob("*.npy")) for who in ("one", "two")}
    assert files["one"] == files["two"]
    assert not list(folder.rglob("*.tmp"))


def test_the_main_process_decides_and_its_error_is_everybodys(runs):
    for found in runs[1]:
        assert str(found["told"]) == "by the main one"
        assert str(found["error"]) == "division by zero"


def test_training_without_labels_gives_the_weights_of_one_process(runs):
    """The last layer gets no gradient, for which data parallel would wait."""
    alone, both, _ = runs
    for found in both:
        assert int(found["steps"]) == int(alone["steps"]) == 15
        assert float(found["loss"]) == pytest.approx(float(alone["loss"]), rel=1e-5)
        for name in [name for name in alone if name.startswith("weight ")]:
            np.testing.assert_allclose(found[name], alone[name], rtol=1e-4, atol=1e-6, err_msg=name)
