import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.data.arrays import ArraySource
from labelwise.data.views import View, split, subset, with_labels
from labelwise.errors import ConfigError, DataError


def source(count=100, **options):
    pixels = np.arange(count, dtype=np.uint8)[:, None, None] * np.ones((4, 4), np.uint8)
    options.setdefault("labels", np.arange(count) % 2)
    return ArraySource(pixels, **options)


def test_subset_keeps_other_roles_and_depends_on_the_seed():
    data = source(roles=["test"] * 10 + ["pool"] * 90)
    small = subset(data, 20, 0)
    assert len(small.ids) == 30
    assert sum(small.roles.get(i) == "test" for i in small.ids) == 10
    assert list(small.ids) == sorted(small.ids)
    assert small.ids == subset(data, 20, 0).ids
    assert small.ids != subset(data, 20, 1).ids
    assert small.load(small.ids[-1]).max() == int(small.ids[-1])
    assert small.batch(small.ids).shape == (30, 4, 4, 1)
    assert small.content(small.ids[:1]) == data.content(small.ids[:1])
    assert small.thumbnail(small.ids[0], 2).shape == (2, 2, 1)
    assert small.path("05") == "05"
    assert small.stat_key(small.ids) is None
    assert set(small.truth) == set(small.ids)
    assert next(i for i in data.ids if i not in small.ids) not in small.truth
    assert set(small.roles) <= set(small.ids)


@pytest.mark.parametrize("n", [0, -1, 101])
def test_subset_refuses_impossible_sizes(n):
    with pytest.raises(ConfigError, match="the pool has 100"):
        subset(source(), n, 0)


def test_split_draws_a_test_set():
    data = split(source(), 0.2, 0)
    tests = [i for i in data.ids if data.roles.get(i) == "test"]
    assert len(tests) == 20
    assert tests == [i for i in data.ids if split(source(), 0.2, 0).roles.get(i) == "test"]
    assert tests != [i for i in data.ids if split(source(), 0.2, 1).roles.get(i) == "test"]


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.sampled_from("abcdef"), min_size=2, max_size=40).filter(lambda g: len(set(g)) > 1),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 5),
)
def test_split_never_divides_a_group(groups, share, seed):
    data = source(len(groups), labels=None)
    named = dict(zip(data.ids, groups, strict=True))
    found = split(data, share, seed, groups=named)
    sides = {group: {found.roles.get(i, "pool") for i in data.ids if named[i] == group} for group in groups}
    assert all(len(side) == 1 for side in sides.values())
    assert {role for side in sides.values() for role in side} == {"pool", "test"}
    assert found.groups == named


def test_split_counts_labelled_images_only_and_leaves_unlabelled_ones():
    data = source(labels=[0] * 40 + [-1] * 60)
    found = split(data, 0.25, 0)
    tests = [i for i in found.ids if found.roles.get(i) == "test"]
    assert len(tests) == 10
    assert set(tests) <= set(data.truth)


def test_split_keeps_roles_that_are_there():
    data = source(roles=["validation"] * 50 + ["pool"] * 50)
    found = split(data, 0.1, 0)
    assert sum(role == "validation" for role in found.roles.values()) == 50
    assert sum(role == "test" for role in found.roles.values()) == 5


@pytest.mark.parametrize("share", [0, 1, -0.1, 20])
def test_split_refuses_impossible_shares(share):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        split(source(), share, 0)


def test_split_needs_two_groups():
    data = source(10)
    with pytest.raises(DataError, match="at least 2"):
        split(data, 0.5, 0, groups=dict.fromkeys(data.ids, "one"))


def test_with_labels():
    data = source(4, labels=None)
    found = with_labels(data, {"0": "dog", "3": "cat"})
    assert found.classes == ("cat", "dog")
    assert found.truth == {"0": "dog", "3": "cat"}
    assert with_labels(data, {"0": "dog"}, classes=["dog", "cat"]).classes == ("dog", "cat")
    assert with_labels(found, {"1": "cat"}).classes == ("cat", "dog")
    with pytest.raises(DataError, match=r"'x' \(and 1 more\)"):
        with_labels(data, {"x": "dog", "y": "dog"})
    with pytest.raises(DataError, match="unknown class 'dgo': did you mean 'dog'"):
        with_labels(data, {"0": "dgo"}, classes=["dog"])


def test_views_can_be_stacked():
    data = View(subset(with_labels(source(20), {"01": "x", "02": "y"}), 20, 0), groups={"01": "g"})
    assert data.classes == ("x", "y")
    assert data.groups == {"01": "g"}
    assert data.load("07").max() == 7


def test_views_and_sources_travel_to_worker_processes():
    data = subset(source(20), 5, 0)
    found = pickle.loads(pickle.dumps(data))
    assert found.ids == data.ids
    assert dict(found.truth) == dict(data.truth)
    assert np.array_equal(found.load(data.ids[0]), data.load(data.ids[0]))
