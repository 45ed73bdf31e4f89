"""Brush masks of Label Studio: bit by bit as its documentation says, in bounded time and memory."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import bounded
from labelwise.errors import FormatError
from labelwise.formats.label_studio_brush import LONGEST, brush_mask, brush_runs


def packed(values, widths=(3, 4, 8, 16), seed=0):
    """Any values as run lengths, in runs of random lengths, repeated or not: written from the description alone."""
    rng, bits = random.Random(seed), [f"{len(values):032b}", f"{7:05b}", *(f"{width - 1:04b}" for width in widths)]
    place = 0
    while place < len(values):
        same = 1
        while place + same < len(values) and values[place + same] == values[place]:
            same += 1
        repeat = rng.random() < 0.7
        which = rng.randrange(4)
        count = min(same if repeat else rng.randint(1, len(values) - place), 1 << widths[which])
        bits.append(f"{int(repeat)}{which:02b}{count - 1:0{widths[which]}b}")
        bits += [f"{value:08b}" for value in (values[place : place + 1] if repeat else values[place : place + count])]
        place += count
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[n : n + 8], 2) for n in range(0, len(text), 8)]


@pytest.mark.parametrize("seed", range(30))
def test_every_way_of_packing_gives_the_alpha_of_each_pixel(seed):
    rng = np.random.default_rng(seed)
    width, height = rng.integers(1, 30, 2).tolist()
    pixels = rng.choice([0, 0, 0, 1, 128, 255], (height, width, 4)).astype(np.uint8)
    pixels[rng.random((height, width)) < 0.5] = 0
    widths = tuple(rng.integers(1, 17, 4).tolist())
    mask = brush_mask(packed(pixels.ravel().tolist(), widths, seed), (width, height), "a.json")
    np.testing.assert_array_equal(mask.read(), pixels[:, :, 3] > 0)


@given(arrays.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_what_is_written_is_read(cover):
    mask = brush_mask(brush_runs(cover), cover.shape[::-1], "a.json")
    np.testing.assert_array_equal(mask.read(), cover)


def test_a_long_run_is_split():
    cover = np.ones((300, 300), bool)
    assert len(brush_runs(cover)) < 50
    assert brush_mask(brush_runs(cover), (300, 300), "a.json").read().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda runs: runs[:3], "give run lengths"),
        (lambda runs: [*runs, 256], "give run lengths"),
        (lambda runs: [*runs, -1], "give run lengths"),
        (lambda runs: [*runs, 1.5], "give run lengths"),
        (lambda runs: "text", "give run lengths"),
        (lambda runs: [9, *runs[1:]], "painted at another size"),
        (lambda runs: [*runs[:4], runs[4] ^ 8, *runs[5:]], "painted at another size"),
        (lambda runs: runs + [0] * LONGEST, "bytes of run lengths; at most"),
    ],
)
def test_what_is_no_brush_is_refused_before_anything_is_painted(change, message):
    runs = brush_runs(np.ones((20, 30), bool))
    with pytest.raises(FormatError, match=message):
        brush_mask(change(runs), (30, 20), "a.json")


def test_runs_beyond_the_picture_are_refused():
    runs = packed([255] * 80)
    mask = brush_mask([0, 0, 0, 40, *runs[4:]], (5, 2), "a.json, task 1")
    with pytest.raises(FormatError, match="task 1: the run lengths of a brush"):
        mask.read()


@pytest.mark.heavy
def test_the_worst_mask_costs_seconds_and_no_more_than_a_byte_a_pixel(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    cost = bounded.call("worst_brush:read")
    assert cost.error == "FormatError"
    assert cost.megabytes < 600
