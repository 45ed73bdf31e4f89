"""How dense the surroundings of an image are: against a loop over all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from labelwise.serve.neighbours import SURROUND, _likeness
from labelwise.serve.told import surroundings


@pytest.mark.parametrize("count", [11, 12, 40])
def test_likeness_is_that_of_a_loop_and_leaves_the_image_itself_out(count):
    rng = np.random.default_rng(count)
    rows_SD = rng.normal(size=(count, 5)).astype(np.float32)
    rows_SD[3] = rows_SD[2]  # twins
    rows_SD /= np.linalg.norm(rows_SD, axis=1, keepdims=True)
    names = [f"{n}.png" for n in range(count)]
    other_D = np.array([1, 0, 0, 0, 0], np.float32)
    items = ["2.png", "new.png", "7.png"]
    found = _likeness(np.stack([rows_SD[2], other_D, rows_SD[7]]), items, rows_SD, names)
    for item, row_D, value in zip(items, (rows_SD[2], other_D, rows_SD[7]), found, strict=True):
        others = sorted((float(row_D @ rows_SD[n]) for n in range(count) if names[n] != item), reverse=True)
        assert value == pytest.approx(np.mean(others[:SURROUND]), abs=1e-6)


def test_too_few_images_say_nothing_and_words_say_which_side():
    rows = np.eye(SURROUND, dtype=np.float32)
    assert not len(_likeness(rows, [str(n) for n in range(SURROUND)], rows, [str(n) for n in range(SURROUND)]))
    assert surroundings(None) == []
    assert "only 12 %" in surroundings(0.12)[0]
    assert "many" in surroundings(0.88)[0]
