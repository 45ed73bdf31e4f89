"""Sigmoid rows: methods that ask which one class an item is say so instead of choosing by what is not there."""

from __future__ import annotations

import numpy as np
import pytest

import labelwise as lw
from labelwise.errors import UnmetNeed

# 15 items of no class, 20 of both, 5 that may be of the first
ROWS = np.array([[0.001, 0.001]] * 15 + [[0.99, 0.99]] * 20 + [[0.5, 0.001]] * 5)
EMBEDDINGS = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
HEAD = (np.eye(2, 4, dtype=np.float32), np.zeros(2, dtype=np.float32))
GIVEN = {"embeddings": EMBEDDINGS, "labelled": [0, 15, 16, 1], "labels": [0, 1, 1, 0], "seed": 0}


def test_margin_takes_the_five_in_doubt():
    picks = lw.select("margin", 5, probs=ROWS, exclusive=False, seed=0)
    assert sorted(picks.positions.tolist()) == [35, 36, 37, 38, 39]


@pytest.mark.parametrize("name", ["uherding", "bait", "galaxy", "alfa_mix", "drop_query"])
def test_methods_of_one_class_an_item_refuse(name):
    head = {"head": HEAD} if name in ("alfa_mix", "drop_query") else {}
    with pytest.raises(UnmetNeed, match=r"exclusive=False .* margin"):
        lw.select(name, 5, probs=ROWS, exclusive=False, **head, **GIVEN)


def test_uherding_without_a_label_reads_no_probabilities():
    assert len(lw.select("uherding", 5, probs=ROWS, embeddings=EMBEDDINGS, exclusive=False, seed=0)) == 5
