"""Named random streams and digests: the same on every machine, in every process, whatever the order of keys."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labelwise.rng import digest, generator, seed_of, torch_generator

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.heavy
@given(plain)
def test_a_digest_is_32_hex_digits_and_repeats(value):
    assert digest(value) == digest(value)
    assert len(digest(value)) == 32
    int(digest(value), 16)


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_the_order_of_keys_is_of_no_account(values):
    assert digest(values) == digest(dict(reversed(values.items())))


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_other_parts_give_another_digest(one, two):
    assert (digest(*one) == digest(*two)) == (one == two)


def test_parts_do_not_run_together():
    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest(["ab", "c"]), digest("1"), digest(1)}) == 6


def test_streams_are_the_same_in_another_process():
    code = "from labelwise.rng import *\n"
    code += "print(seed_of(3, 'select', 1), generator(3, 'x').integers(1 << 40), digest({'b': 1, 'a': 'é'}))"
    environment = os.environ | {"PYTHONHASHSEED": "77"}
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    ).stdout.split()
    assert out == [str(seed_of(3, "select", 1)), str(generator(3, "x").integers(1 << 40)), digest({"a": "é", "b": 1})]


def test_streams_never_change_between_versions():
    """Frozen values: a study made today must be repeatable."""
    assert seed_of(0, "fit") == 4059917886918850638
    assert digest("labelwise") == "7cce2561c36c489e5f1379c0efbfdabe"
    assert digest({"a": [1, 2.5, None]}) == "40c1f1d23ff96c2b7b619e14d0982736"
    assert generator(0, "select", 0).integers(1000, size=3).tolist() == [670, 270, 888]
    assert torch_generator(0, "x").initial_seed() == 8964473565599615259


@given(st.integers(), st.lists(st.text() | st.integers(), max_size=3))
def test_seeds_fit_what_takes_them(seed, names):
    number = seed_of(seed, *names)
    assert 0 <= number < 1 << 63
    torch_generator(seed, *names)
    generator(seed, *names)


@pytest.mark.parametrize("make", [generator, torch_generator])
def test_named_streams_are_independent(make):
    def draw(stream) -> list[float]:
        return (
            torch.rand(4, generator=stream).tolist()
            if isinstance(stream, torch.Generator)
            else stream.random(4).tolist()
        )

    streams = [
        draw(make(*names)) for names in ((0,), (1,), (0, "a"), (0, "b"), (0, "a", 0), (0, "a", 1), (0, "a", "1"))
    ]
    assert len({tuple(values) for values in streams}) == len(streams)
    assert draw(make(0, "a")) == streams[2]
