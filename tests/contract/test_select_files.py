"""Arrays in files: mapped, read in blocks, the same picks as from memory; and progress of long selections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import labelwise as lw
import tiny
from labelwise.contracts.query import Budget
from labelwise.direct.arrays import Arrays
from labelwise.direct.mapped import map_array
from labelwise.errors import DataError, LabelwiseError
from labelwise.rng import generator
from labelwise.strategies import STRATEGIES

N, C, D = 40, 4, 3
RNG = np.random.default_rng(0)
E = RNG.normal(size=(N, D)).astype(np.float32)
P = RNG.dirichlet(np.ones(C), size=N).astype(np.float32)
IDS = [f"{number:03d}" for number in range(N)]
ORDER = generator(0, "rows").permutation(N)


def _npy(folder: Path, name: str, array: np.ndarray) -> Path:
    np.save(folder / f"{name}.npy", array)
    return folder / f"{name}.npy"


def _safetensors(folder: Path, name: str, array: np.ndarray) -> Path:
    save_file({name: torch.from_numpy(array)}, folder / f"{name}.safetensors")
    return folder / f"{name}.safetensors"


@pytest.mark.heavy
@pytest.mark.parametrize("kind", [_npy, _safetensors])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shuffled", [False, True])
def test_a_file_is_as_good_as_an_array(kind, dtype, shuffled, tmp_path):
    order = ORDER if shuffled else np.arange(N)
    arrays = {"embeddings": E.astype(dtype)[order], "probs": P.astype(dtype)[order]}
    draws = np.stack([arrays["probs"], arrays["probs"][:, ::-1]])
    files = {name: kind(tmp_path, name, array) for name, array in arrays.items()}
    ids = [IDS[row] for row in order]
    for name in ("k_center", "margin", "prefilter"):
        expected = lw.select(name, 5, **arrays, ids=ids, seed=1).positions.tolist()
        assert lw.select(name, 5, **files, ids=ids, seed=1).positions.tolist() == expected
        texts = {key: str(path) for key, path in files.items()}
        assert lw.select(name, 5, **texts, ids=ids, seed=1).positions.tolist() == expected
    file = kind(tmp_path, "draws", np.ascontiguousarray(draws))
    assert (
        lw.select("bald", 5, draws=file, ids=ids).positions.tolist()
        == lw.select("bald", 5, draws=draws, ids=ids).positions.tolist()
    )


def test_several_tensors_in_a_file(tmp_path):
    path = tmp_path / "all.safetensors"
    save_file({"embeddings": torch.from_numpy(E), "other": torch.from_numpy(E[::-1].copy())}, path)
    expected = lw.select("k_center", 3, embeddings=E).positions.tolist()
    assert lw.select("k_center", 3, embeddings=path).positions.tolist() == expected
    named = lw.select("k_center", 3, embeddings=f"{path}#other").positions.tolist()
    assert named == lw.select("k_center", 3, embeddings=E[::-1].copy()).positions.tolist()
    save_file({"features": torch.from_numpy(E)}, path)
    assert lw.select("k_center", 3, embeddings=path).positions.tolist() == expected, "one tensor needs no name"


def test_bfloat16_rows_are_put_in_order_too(tmp_path):
    rows = torch.from_numpy(E).bfloat16()
    save_file({"embeddings": rows[torch.from_numpy(ORDER)]}, tmp_path / "e.safetensors")
    ids = [IDS[row] for row in ORDER]
    picked = lw.select("k_center", 4, embeddings=tmp_path / "e.safetensors", ids=ids).positions
    plain = lw.select("k_center", 4, embeddings=rows.float(), ids=IDS).positions
    assert [ids[row] for row in picked] == [IDS[row] for row in plain]


def test_nothing_is_copied_where_the_rows_lie_in_order(tmp_path):
    given = Arrays.open(None, _npy(tmp_path, "embeddings", E), None)
    names = frozenset({"embeddings"})
    same = given.reordered(torch.arange(N), names)
    assert same.embeddings_ND.data_ptr() == given.embeddings_ND.data_ptr()
    assert Arrays.open(None, E, None).embeddings_ND.data_ptr() == E.ctypes.data
    moved = given.reordered(torch.from_numpy(ORDER), names)
    np.testing.assert_array_equal(moved.embeddings_ND.numpy(), E[ORDER])
    assert given.reordered(torch.from_numpy(ORDER), frozenset()).embeddings_ND is None, "what nobody reads stays"


def test_the_file_is_left_as_it_was(tmp_path):
    file = _npy(tmp_path, "embeddings", E)
    before = file.read_bytes()
    lw.select("kmeans", 4, embeddings=file, ids=IDS[::-1])
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["embeddings.npy"]


def _text(path: Path, text: bytes = b"nothing") -> Path:
    path.write_bytes(text)
    return path


def _many(path: Path) -> Path:
    save_file({"a": torch.zeros(2, 2), "b": torch.zeros(2, 2)}, path)
    return path


WRONG = {
    "missing": (lambda folder: folder / "no.npy", "does not exist"),
    "a folder": (lambda folder: folder, "does not exist"),
    "another format": (lambda folder: _text(folder / "x.csv"), "give a .npy or .safetensors"),
    "no npy": (lambda folder: _text(folder / "x.npy"), "cannot be read"),
    "cut short": (lambda folder: _text(folder / "x.npy", _npy(folder, "y", E).read_bytes()[:-9]), "cannot be read"),
    "no safetensors": (lambda folder: _text(folder / "x.safetensors"), "cannot be read"),
    "objects": (lambda folder: _npy(folder, "x", E.astype(object)), "Python objects"),
    "complex": (lambda folder: _npy(folder, "x", E * 1j), "complex"),
    "a vector": (lambda folder: _npy(folder, "x", E[0]), "2 dimensions"),
    "text": (lambda folder: _npy(folder, "x", E.astype(str)), "type"),
    "nan": (lambda folder: _npy(folder, "x", E * np.nan), "NaN or infinity in rows 0, 1"),
    "none is meant": (lambda folder: _many(folder / "x.safetensors"), "it holds a, b"),
    "unknown tensor": (lambda folder: f"{_many(folder / 'x.safetensors')}#c", "no tensor 'c'"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_are_refused_in_one_line(case, tmp_path):
    make, message = WRONG[case]
    with pytest.raises(LabelwiseError) as caught:
        lw.select("k_center", 1, embeddings=make(tmp_path))
    assert isinstance(caught.value, DataError)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("labelwise.direct.mapped.tempfile.TemporaryFile", full)
    with pytest.raises(DataError, match="set TMPDIR"):
        lw.select("k_center", 1, embeddings=_npy(tmp_path, "embeddings", E), ids=IDS[::-1])


def test_a_mapped_matrix_is_not_loaded(tmp_path):
    """Only the pages that are looked at enter memory: mapping four gigabytes of nothing takes none."""
    path = tmp_path / "large.npy"
    header = np.lib.format.header_data_from_array_1_0(np.empty((0, 1024), np.float32))
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (1 << 20, 1024)})
        file.truncate(file.tell() + (1 << 32))
    rows = map_array(path, "embeddings")
    assert rows.shape == (1 << 20, 1024)
    assert float(rows[-1].sum()) == 0.0


# ---- progress -------------------------------------------------------------------------------------------------------

NAMES = ("k_center", "margin", "kmeans", "prefilter")


@pytest.mark.parametrize("name", NAMES)
def test_a_listener_hears_how_far_it_is(name):
    heard = []
    picks = lw.select(name, 5, embeddings=E, probs=P, progress=lambda *told: heard.append(told))
    assert heard
    assert all(isinstance(what, str) and 0 <= done <= total for what, done, total in heard)
    assert picks.positions.tolist() == lw.select(name, 5, embeddings=E, probs=P).positions.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_an_interrupt_passes_through(name):
    def stop(what, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lw.select(name, 5, embeddings=E, probs=P, progress=stop)
    assert len(lw.select(name, 5, embeddings=E, probs=P)) == 5, "nobody listens any more"


def test_a_campaign_tells_its_own_listener(tmp_path):
    source = tiny.digits(N)
    campaign = tiny.campaign(tmp_path, source, tiny.feature_learner(source), frozen=tiny.pixels(source))
    heard = []
    campaign.progress = lambda *told: heard.append(told)
    campaign.choose(STRATEGIES.create("k_center", features="frozen"), Budget(3))
    assert "covering the pool" in {what for what, _, _ in heard}
