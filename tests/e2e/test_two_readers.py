"""Two processes share one pass of a backbone and one cache, and train without labels as one process does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import forked

HERE = Path(__file__).parent
PATH = {"PYTHONPATH": str(HERE.parent)}


def _run(out: Path, processes: int) -> list[dict[str, np.ndarray]]:
    out.mkdir()
    for done in forked.launched(HERE / "two_readers.py", out, processes=processes, environment=PATH):
        assert done.returncode == 0, done.stderr[-3000:]
    return [dict(np.load(path)) for path in sorted(out.glob("process-*.npz"))]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readers")
    return _run(folder / "one", 1)[0], _run(folder / "two", 2), folder


@pytest.mark.heavy
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
