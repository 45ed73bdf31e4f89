"""Two processes train and read as one does: the same weights, the same rows, and only the main one writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import forked

HERE = Path(__file__).parent
SCRIPT, PATH = HERE / "two_processes.py", {"PYTHONPATH": str(HERE.parent)}


def _found(out: Path, *ended: forked.Done) -> list[dict[str, np.ndarray]]:
    for done in ended:
        assert done.returncode == 0, done.stderr[-3000:]
    return [dict(np.load(path)) for path in sorted(out.glob("process-*.npz"))]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    out = tmp_path_factory.mktemp("one")
    return _found(out, forked.python(SCRIPT, out, environment=PATH))


@pytest.fixture(scope="module", params=["variables", pytest.param("torchrun", marks=pytest.mark.heavy)])
def runs(request, alone, tmp_path_factory):
    """Two processes by the variables that a launcher sets, and by a launcher that imports everything three times."""
    out = tmp_path_factory.mktemp("two")
    if request.param == "variables":
        ended = forked.launched(SCRIPT, out, processes=2, environment=PATH)
    else:
        launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
        ended = [forked.python(*launcher, SCRIPT, out, environment=PATH)]
    return alone, _found(out, *ended), out


@pytest.mark.heavy
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
    folder = runs[2]
    assert [path.name for path in (folder / "saved-by-0").iterdir()] == ["weights.safetensors"]
    assert list((folder / "saved-by-1").iterdir()) == []
