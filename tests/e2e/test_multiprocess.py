"""Two processes train and read as one does: the same weights, the same rows, and only the main one writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import forked

HERE = Path(__file__).parent


def _run(
    out: Path, *launcher: str, script: str = "two_processes.py", **environment: str
) -> list[dict[str, np.ndarray]]:
    settings = os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1", **environment}
    out.mkdir()
    if launcher:
        command = [sys.executable, *launcher, str(HERE / script), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=settings)
    else:
        done = forked.python(HERE / script, out, environment=settings)
    assert done.returncode == 0, done.stderr[-3000:]
    return [dict(np.load(path)) for path in sorted(out.glob("process-*.npz"))]


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    return _run(folder / "one"), _run(folder / "two", *TORCHRUN), folder


def test_both_processes_were_at_work(runs):
    (alone,), both, _ = runs
    assert alone["world"] == 1
    assert [found["world"] for found in both] == [2, 2]


def test_the_same_weights_as_one_process_on_the_same_global_batches(runs):
    (alone,), both, _ = runs
    names = [name for name in alone if name.startswith("weight ")]
    assert len(names) == 6
    for found in both:
        assert found["steps"] == alone["steps"]
        assert found["loss"] == pytest.approx(alone["loss"], rel=1e-5)
        for name in names:
            np.testing.assert_allclose(found[name], alone[name], rtol=1e-5, atol=1e-6, err_msg=name)
    for name in names:
        np.testing.assert_array_equal(both[0][name], both[1][name])


def test_the_same_table_as_one_process_in_each_of_them(runs):
    (alone,), both, _ = runs
    for found in both:
        assert found["ids"].tolist() == alone["ids"].tolist()
        assert found["failed"].tolist() == alone["failed"].tolist()
        assert len(found["failed"]) == 1
        for name in [name for name in alone if name.startswith("rows ")]:
            np.testing.assert_allclose(found[name], alone[name], rtol=1e-4, atol=1e-6, err_msg=name)
            np.testing.assert_array_equal(found[name], both[0][name])
        np.testing.assert_allclose(found["one"], alone["one"], rtol=1e-5)
        assert found["nll"] == pytest.approx(alone["nll"], rel=1e-5)


def test_only_the_main_process_writes(runs):
    folder = runs[2] / "two"
    assert [path.name for path in (folder / "saved-by-0").iterdir()] == ["weights.safetensors"]
    assert list((folder / "saved-by-1").iterdir()) == []
