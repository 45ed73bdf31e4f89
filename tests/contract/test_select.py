"""``lw.select`` for every strategy: any row order, any float type, memory maps, and one-line errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import labelwise as lw
import tiny
from labelwise.contracts.query import Budget
from labelwise.errors import ConfigError, DataError, LabelwiseError, UnmetNeed
from labelwise.learners.imported import ImportedPredictions
from labelwise.rng import generator
from labelwise.strategies import STRATEGIES

N, C, D, T = 50, 5, 6, 4
CLASSES = tuple("abcde")


def _arrays(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(T, N, C)).astype(np.float32) * 2
    draws = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    return {"probs": draws.mean(0), "embeddings": rng.normal(size=(N, D)).astype(np.float32), "draws": draws}


HEAD = (_arrays(1)["embeddings"][:C], np.arange(C) / C)
IDS = [f"{number:03d}.png" for number in range(N)]
LABELLED = [3, 40, 17, 8, 22]
LABELS = [0, 4, 1, 1, 2]


def _select(name, budget, **given):
    """With everything that a method may ask for."""
    return lw.select(name, budget, **{"labelled": LABELLED, "labels": LABELS, "head": HEAD, **given})


NAMES = [name for name in STRATEGIES.names() if not STRATEGIES.get(name).oracle]


def _can_run(name: str) -> bool:
    try:
        _select(name, 1, **_arrays())
    except UnmetNeed:
        return False
    return True


RUN = [name for name in NAMES if _can_run(name)]
each = pytest.mark.parametrize("name", RUN)


def test_the_first_set_of_strategies_runs_from_arrays():
    assert {"random", "margin", "entropy", "least_confidence", "k_center", "kmeans", "stratified_random"} <= set(RUN)


@pytest.mark.heavy
@each
def test_same_ids_under_any_order_of_rows(name):
    arrays = _arrays()
    picks = _select(name, 8, **arrays, ids=IDS, cost=np.arange(N) + 1.0, seed=5)
    expected = [IDS[row] for row in picks.positions]
    assert len(set(expected)) == 8
    assert not set(picks.positions.tolist()) & set(LABELLED)
    for turn in range(3):
        order = generator(turn, "rows").permutation(N)
        back = np.argsort(order)
        mixed = {
            "probs": arrays["probs"][order],
            "embeddings": arrays["embeddings"][order],
            "draws": arrays["draws"][:, order],
        }
        names = [IDS[row] for row in order]
        again = _select(name, 8, **mixed, ids=names, labelled=back[LABELLED], cost=(np.arange(N) + 1.0)[order], seed=5)
        assert [names[row] for row in again.positions] == expected
        if picks.scores is not None:
            np.testing.assert_array_equal(again.scores, picks.scores)


@pytest.mark.heavy
@each
def test_labelled_rows_may_be_named_in_any_order(name):
    arrays = _arrays()
    one = _select(name, 8, **arrays, seed=1)
    two = _select(name, 8, **arrays, labelled=LABELLED[::-1], labels=LABELS[::-1], seed=1)
    assert one.positions.tolist() == two.positions.tolist()


@pytest.mark.heavy
@each
def test_half_precision_and_memory_maps(name, tmp_path):
    half = {key: array.astype(np.float16) for key, array in _arrays().items()}
    mapped = {}
    for key, array in half.items():
        np.save(tmp_path / f"{key}.npy", array)
        mapped[key] = np.load(tmp_path / f"{key}.npy", mmap_mode="r")
    wide = {key: array.astype(np.float32) for key, array in half.items()}
    picks = [_select(name, 8, **arrays) for arrays in (half, mapped, wide)]
    assert picks[0].positions.tolist() == picks[1].positions.tolist() == picks[2].positions.tolist()
    assert picks[0].positions.dtype == np.int64


@pytest.mark.heavy
@each
def test_lists_tensors_and_arrays_are_the_same(name):
    arrays = _arrays()
    tensors = {key: torch.from_numpy(array).requires_grad_() for key, array in arrays.items()}
    lists = {key: array.tolist() for key, array in arrays.items()}
    picks = [_select(name, 6, **given).positions.tolist() for given in (arrays, tensors, lists)]
    assert picks[0] == picks[1] == picks[2]


@pytest.mark.heavy
@each
def test_arrays_stay_as_they_were(name):
    arrays = _arrays()
    before = {key: array.copy() for key, array in arrays.items()}
    labelled = np.array(LABELLED)
    _select(name, 8, **arrays, labelled=labelled, ids=IDS[::-1])
    for key, array in arrays.items():
        np.testing.assert_array_equal(array, before[key])
    assert labelled.tolist() == LABELLED


@each
def test_agrees_with_a_campaign_on_the_same_numbers(name, tmp_path):
    """Imported predictions in a campaign and the same arrays in one call: one choice."""
    arrays = _arrays()
    source = tiny.digits(N)
    task = tiny.digits_task(classes=CLASSES)
    mixed = generator(1, "file").permutation(N)  # the file lists the images in another order
    learner = ImportedPredictions(
        task, [source.ids[row] for row in mixed], probs=arrays["probs"][mixed], embeddings=arrays["embeddings"][mixed]
    )
    campaign = tiny.campaign(
        tmp_path, _relabelled(source), learner, labelled=[source.ids[row] for row in LABELLED], frozen=learner, seed=3
    )
    try:
        picks = campaign.choose(STRATEGIES.create(name), Budget(8)).picks
    except UnmetNeed as error:
        pytest.skip(f"not from a file of predictions: {error}")
    direct = lw.select(
        name, 8, probs=arrays["probs"], embeddings=arrays["embeddings"], labelled=LABELLED, labels=LABELS, seed=3
    )
    assert [pick.id for pick in picks] == [source.ids[row] for row in direct.positions]
    if direct.scores is not None:
        np.testing.assert_allclose([pick.score for pick in picks], direct.scores, rtol=1e-6)


def _relabelled(source):
    from labelwise.data.views import View

    labels = dict(zip([source.ids[row] for row in LABELLED], [CLASSES[label] for label in LABELS], strict=True))
    return View(source, truth=labels, classes=CLASSES)


def test_a_strategy_instance_works_as_well_as_its_name():
    arrays = _arrays()
    by_name = lw.select("margin", 5, **arrays, subpool=20)
    assert (
        by_name.positions.tolist() == lw.select(STRATEGIES.create("margin", subpool=20), 5, **arrays).positions.tolist()
    )


def test_what_a_method_does_not_read_is_ignored():
    arrays = _arrays()
    alone = lw.select("margin", 5, probs=arrays["probs"], seed=2)
    assert lw.select("margin", 5, **arrays, seed=2).positions.tolist() == alone.positions.tolist()


def test_probabilities_come_from_draws_where_none_are_given():
    arrays = _arrays()
    from_draws = lw.select("entropy", 5, draws=arrays["draws"])
    assert from_draws.positions.tolist() == lw.select("entropy", 5, probs=arrays["draws"].mean(0)).positions.tolist()


P = _arrays()["probs"]
E = _arrays()["embeddings"]


def _with(array: np.ndarray, where: tuple[int, int], value: float) -> np.ndarray:
    changed = array.copy()
    changed[where] = value
    return changed


WRONG = {
    "budget 0": ({"budget": 0, "probs": P}, ConfigError, "buys nothing"),
    "budget negative": ({"budget": -3, "probs": P}, ConfigError, "buys nothing"),
    "budget fraction": ({"budget": 2.5, "probs": P}, ConfigError, "2.5"),
    "budget text": ({"budget": "3", "probs": P}, ConfigError, "'3'"),
    "budget bool": ({"budget": True, "probs": P}, ConfigError, "True"),
    "budget too large": ({"budget": N + 1, "probs": P}, ConfigError, f"only {N} are unlabelled"),
    "unknown strategy": ({"strategy": "margn", "budget": 1, "probs": P}, ConfigError, "did you mean 'margin'"),
    "unknown option": ({"budget": 1, "probs": P, "subpol": 3}, ConfigError, "did you mean 'subpool'"),
    "options for an instance": (
        {"strategy": STRATEGIES.create("margin"), "budget": 1, "probs": P, "subpool": 3},
        ConfigError,
        "subpool",
    ),
    "no array": ({"budget": 1}, ConfigError, "no array was given"),
    "missing array": ({"budget": 1, "embeddings": E}, UnmetNeed, "needs probs="),
    "lengths": ({"budget": 1, "probs": P, "embeddings": E[:-1]}, ConfigError, "different numbers of items"),
    "empty": ({"budget": 1, "probs": P[:0]}, ConfigError, "only 0 are unlabelled"),
    "vector": ({"budget": 1, "probs": P[0]}, DataError, "2 dimensions"),
    "no classes": ({"budget": 1, "probs": P[:, :0]}, DataError, "class"),
    "nan": ({"budget": 1, "probs": _with(P, (4, 2), np.nan)}, DataError, "row 4"),
    "negative": ({"budget": 1, "probs": _with(P, (4, 2), -0.1)}, DataError, "row 4"),
    "sum": ({"budget": 1, "probs": P * 0.9}, DataError, "sums to 0.9"),
    "text in probs": ({"budget": 1, "probs": np.array([["a", "b"]])}, DataError, "type"),
    "text in a list": ({"budget": 1, "probs": [["a", "b"]]}, DataError, "probs"),
    "ragged list": ({"budget": 1, "probs": [[0.5, 0.5], [1.0]]}, DataError, "probs"),
    "nan embeddings": ({"strategy": "k_center", "budget": 1, "embeddings": _with(E, (4, 2), np.nan)}, DataError, "4"),
    "infinite embeddings": (
        {"strategy": "kmeans", "budget": 3, "embeddings": _with(E, (4, 2), np.inf)},
        DataError,
        "4",
    ),
    "labelled out of range": ({"budget": 1, "probs": P, "labelled": [N]}, ConfigError, "outside 0 to 49"),
    "labelled negative": ({"budget": 1, "probs": P, "labelled": [-1]}, ConfigError, "outside 0 to 49"),
    "labelled out of range with ids": (
        {"budget": 1, "probs": P, "labelled": [N], "ids": IDS},
        ConfigError,
        "outside 0 to 49",
    ),
    "labelled negative with ids": (
        {"budget": 1, "probs": P, "labelled": [-1], "ids": IDS},
        ConfigError,
        "outside 0 to 49",
    ),
    "labelled twice": ({"budget": 1, "probs": P, "labelled": [1, 1]}, ConfigError, "twice"),
    "labelled mask": ({"budget": 1, "probs": P, "labelled": np.ones(N, bool)}, ConfigError, "labelled="),
    "labelled fractions": ({"budget": 1, "probs": P, "labelled": [0.5, 1.5]}, ConfigError, "labelled="),
    "labelled matrix": ({"budget": 1, "probs": P, "labelled": [[1, 2]]}, ConfigError, "labelled="),
    "labels too few": ({"budget": 1, "probs": P, "labelled": [1, 2], "labels": [0]}, ConfigError, "1 entries for 2"),
    "labels without labelled": ({"budget": 1, "probs": P, "labels": [0]}, ConfigError, "1 entries for 0"),
    "labels negative": ({"budget": 1, "probs": P, "labelled": [1], "labels": [-1]}, ConfigError, "labels="),
    "labels fractions": ({"budget": 1, "probs": P, "labelled": [1], "labels": [0.5]}, ConfigError, "labels="),
    "ids too few": ({"budget": 1, "probs": P, "ids": IDS[:-1]}, ConfigError, "49 names for 50 rows"),
    "ids twice": ({"budget": 1, "probs": P, "ids": [*IDS[:-1], IDS[0]]}, ConfigError, "unique"),
    "ids mixed": ({"budget": 1, "probs": P, "ids": [*IDS[:-1], 3]}, ConfigError, "ids="),
    "cost too short": ({"budget": 1, "probs": P, "cost": [1.0]}, ConfigError, "cost="),
    "cost too short with ids": ({"budget": 1, "probs": P, "cost": [1.0], "ids": IDS}, ConfigError, "cost="),
    "cost nan": ({"budget": 1, "probs": P, "cost": [np.nan] * N}, ConfigError, "cost="),
    "draws of two dimensions": ({"budget": 1, "draws": P}, DataError, "3 dimensions"),
    "no draw": ({"budget": 1, "draws": P[None][:0]}, DataError, "draws="),
    "draws that are no probabilities": ({"budget": 1, "draws": P[None] * 7}, DataError, "draws"),
    "all labelled": ({"budget": 1, "probs": P, "labelled": range(N)}, ConfigError, "only 0 are unlabelled"),
    "labelled names which": ({"budget": 1, "probs": P, "labelled": [3, N, -2]}, ConfigError, "(50, -2)"),
    "labelled twice names which": ({"budget": 1, "probs": P, "labelled": [4, 1, 4]}, ConfigError, "(4)"),
    "labels beyond the classes": (
        {"budget": 1, "probs": P, "labelled": [1], "labels": [C]},
        ConfigError,
        f"the probabilities have {C} classes",
    ),
    "infinite embeddings of a labelled row": (
        {"strategy": "k_center", "budget": 1, "embeddings": _with(E, (4, 2), -np.inf), "labelled": [4]},
        DataError,
        "row 4:",
    ),
    "many bad rows": ({"strategy": "k_center", "budget": 1, "embeddings": E * np.nan}, DataError, "4 and 45 more"),
    "nan in the second step": (
        {"strategy": "prefilter", "budget": 1, "probs": P, "embeddings": _with(E, (4, 2), np.nan)},
        DataError,
        "row 4:",
    ),
    "missing in the second step": ({"strategy": "prefilter", "budget": 1, "probs": P}, UnmetNeed, "needs embeddings="),
    "how to get it": ({"strategy": "k_center", "budget": 1, "probs": P}, UnmetNeed, "last layer"),
    "no features": ({"strategy": "k_center", "budget": 1, "embeddings": E[:, :0]}, DataError, "each feature"),
    "complex": ({"budget": 1, "probs": P.astype(complex)}, DataError, "complex"),
    "complex embeddings": ({"strategy": "kmeans", "budget": 1, "embeddings": E * 1j}, DataError, "complex"),
    "objects": ({"strategy": "kmeans", "budget": 1, "embeddings": E.astype(object)}, DataError, "embeddings= is no"),
    "a list with a gap": ({"strategy": "kmeans", "budget": 1, "embeddings": [[1.0], [None]]}, DataError, "embeddings="),
    "masked": ({"budget": 1, "probs": np.ma.masked_less(P, 0.1)}, DataError, "masked"),
    "sparse": ({"budget": 1, "probs": torch.from_numpy(P).to_sparse()}, DataError, "sparse"),
    "labelled complex": ({"budget": 1, "probs": P, "labelled": [1j]}, DataError, "complex"),
    "draws of other lengths": ({"budget": 1, "probs": P, "draws": P[None, :-1]}, ConfigError, "different numbers"),
    "a bad draw": ({"strategy": "bald", "budget": 1, "draws": np.stack([P, P * 2])}, DataError, "draws[1] row 2"),
    "draws without classes": ({"budget": 1, "draws": P[None, :, :0]}, DataError, "each class"),
    "seed text": ({"budget": 1, "probs": P, "option": "x"}, ConfigError, "unknown option"),
}


@pytest.mark.heavy
@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_refused_in_one_line_before_any_work(case, monkeypatch):
    arguments, error, message = WRONG[case]
    monkeypatch.setattr("labelwise.direct.select.run_steps", _no_work)
    with pytest.raises(LabelwiseError) as caught:
        lw.select(**{"strategy": "margin", **arguments})
    assert isinstance(caught.value, error), repr(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def _no_work(*arguments):
    raise AssertionError("the strategy was run")


def test_a_budget_may_be_a_numpy_integer():
    assert len(lw.select("margin", np.int64(3), probs=P)) == 3


def test_oracles_are_refused():
    oracles = [name for name in STRATEGIES.names() if STRATEGIES.get(name).oracle]
    for name in oracles:
        with pytest.raises(UnmetNeed, match="only in simulated campaigns"):
            lw.select(name, 1, **_arrays())


def test_one_column_is_a_yes_no_question():
    probs = np.array([[0.05], [0.45], [0.9]])
    assert lw.select("margin", 1, probs=probs).positions.tolist() == [1]
    assert lw.select("entropy", 1, probs=probs, exclusive=False).positions.tolist() == [1]
