"""The pool is a fold over events: whatever the events, its lists are disjoint, ascending and true."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.campaign.events import (
    Added,
    Cleared,
    Event,
    HeldOut,
    Item,
    Labelled,
    Queried,
    Renamed,
    Restored,
    Skipped,
    Tagged,
    Unlabelled,
)
from labelwise.campaign.pool import Pool
from labelwise.errors import PoolError

NAMES = (
    "a.png",
    "b.png",
    "b.png#box:0,0,4,4",
    "b.png#box:4,4,4,4",
    "c/d.png",
    "é.png",
    "z.png",
    "test.png",
    "ref.png",
    "val.png",
)
ROLES = {"test.png": "test", "ref.png": "reference", "val.png": "validation"}


def _item(name: str) -> Item:
    path, _, region = name.partition("#")
    return Item(name, path, region or None)


def _added() -> list[Added]:
    return [Added(_item(name), ROLES.get(name, "pool")) for name in NAMES]


def _pool(*events: Event) -> Pool:
    return Pool.replay([*_added(), *events])


def _ids(pool: Pool, positions: np.ndarray) -> list[str]:
    return [pool.ids[p] for p in positions]


names = st.sampled_from(NAMES)
events = st.one_of(
    st.builds(Queried, id=names, round=st.integers(0, 3), rank=st.integers(0, 3)),
    st.builds(
        Labelled,
        id=names,
        target=st.sampled_from(["cat", "dog"]),
        cost=st.just({"images": 1.0}),
        annotator=st.sampled_from(["", "ann", "bob", "eve"]),
    ),
    st.builds(Skipped, id=names, reason=st.just("blurred")),
    st.builds(Cleared, id=names),
    st.builds(Unlabelled, id=names),
    st.builds(Restored, id=names),
    st.builds(Tagged, id=names, tag=st.sampled_from(["night", "blurred"]), on=st.booleans()),
    st.builds(HeldOut, id=names, round=st.integers(0, 3), rank=st.integers(0, 3) | st.none()),
)


def _picture(pool: Pool) -> dict[str, object]:
    """All that a pool says of itself."""
    lists = {name: getattr(pool, name).tolist() for name in ("labelled", "unlabelled", "pending", "skipped")}
    for role in ("pool", "reference", "validation", "test"):
        lists[role] = pool.with_role(role, labelled=False).tolist()
        lists[f"labelled {role}"] = pool.with_role(role).tolist()
        lists[f"cost of {role}"] = pool.cost(role)
    said = [
        (pool.describe(p), pool.query(p), pool.reason(p), pool.target(p) if p in lists["labelled"] else None)
        for p in range(len(pool))
    ]
    lists["tags"] = [pool.tags.of(p) for p in range(len(pool))]
    return lists | {"said": said, "queries": pool.queries(), "round": pool.round}


def _check_invariants(pool: Pool) -> None:
    lists = {name: getattr(pool, name) for name in ("labelled", "unlabelled", "pending", "skipped")}
    for name, positions in lists.items():
        assert positions.dtype == np.int64
        assert (np.diff(positions) > 0).all(), f"{name} ascending and distinct"
        if name in ("labelled", "unlabelled"):
            assert {pool.role(p) for p in positions} <= {"pool"}, f"{name} holds items of the pool only"
        if name == "pending":
            assert all(pool.role(p) == "pool" or pool.is_held_out(p) for p in positions)
    for one, two in itertools.combinations(lists.values(), 2):
        assert not set(one.tolist()) & set(two.tolist())
    everything = set(pool.with_role("pool", labelled=False).tolist())
    listed = set(itertools.chain.from_iterable(positions.tolist() for positions in lists.values()))
    assert {p for p in listed if pool.role(p) == "pool"} <= everything
    for position in everything - listed:
        assert pool.items[position].path == "b.png", "only what another item of its image covers is in no list"
    roles = [set(pool.with_role(role, labelled=False).tolist()) for role in ("pool", "reference", "validation", "test")]
    assert set.union(*roles) == set(range(len(pool)))
    assert sum(map(len, roles)) == len(pool)


@pytest.mark.heavy
@given(st.lists(events, max_size=30))
@settings(max_examples=200)
def test_any_sequence_of_events(sequence):
    """An illegal event leaves the state as it was; the rest keep the lists true; a replay gives the same pool."""
    pool = _pool()
    accepted: list[Event] = []
    for event in sequence:
        before = _picture(pool)
        try:
            pool.apply(event)
        except PoolError:
            assert _picture(pool) == before
        else:
            accepted.append(event)
            _check_invariants(pool)
    assert _picture(_pool(*accepted)) == _picture(pool)


@given(st.lists(events, max_size=20), st.permutations(range(len(NAMES))))
def test_the_order_of_listing_changes_nothing(sequence, order):
    added = _added()
    one, two = Pool.replay(added), Pool.replay([added[i] for i in order])
    for event in sequence:
        outcomes = []
        for pool in (one, two):
            try:
                pool.apply(event)
                outcomes.append(None)
            except PoolError as error:
                outcomes.append(str(error))
        assert outcomes[0] == outcomes[1]
    assert _picture(one) == _picture(two)


@given(st.lists(events, max_size=15), events)
def test_a_copy_goes_its_own_way(sequence, more):
    pool = _pool()
    for event in sequence:
        try:
            pool.apply(event)
        except PoolError:
            continue
    before = _picture(pool)
    other = pool.copy()
    assert _picture(other) == before
    try:
        other.apply(more)
    except PoolError:
        return
    assert _picture(pool) == before


def test_positions_are_ranks_of_ids():
    pool = _pool()
    assert list(pool.ids) == sorted(NAMES)
    for rank, name in enumerate(sorted(NAMES)):
        assert pool.position(name) == rank
        assert name in pool
    assert "nobody.png" not in pool
    with pytest.raises(PoolError, match=r"no item is called 'nobody.png'"):
        pool.position("nobody.png")


def test_the_life_of_an_item():
    pool = _pool()
    assert "a.png" in _ids(pool, pool.unlabelled)
    pool.apply(Queried("a.png", 0, 0, 0.5, "margin"))
    assert _ids(pool, pool.pending) == ["a.png"]
    pool.apply(Skipped("a.png", "blurred"))
    assert _ids(pool, pool.skipped) == ["a.png"]
    assert pool.reason(pool.position("a.png")) == "blurred"
    pool.apply(Labelled("a.png", "cat", {"images": 1.0, "seconds": 3.0}))
    assert _ids(pool, pool.labelled) == ["a.png"]
    assert pool.reason(pool.position("a.png")) == ""
    pool.apply(Labelled("a.png", "dog", {"images": 1.0, "seconds": 4.0}))
    assert pool.target(pool.position("a.png")) == "dog"
    assert pool.cost() == {"images": 1.0, "seconds": 4.0}
    assert pool.query(pool.position("a.png")).score == 0.5
    assert pool.round == 1
    pool.apply(Cleared("a.png"))
    assert _picture(pool) == _picture(_pool())


@pytest.mark.parametrize(
    ("before", "event", "message"),
    [
        ([], Queried("nobody.png", 0), "no item is called"),
        ([], Labelled("nobody.png", "cat"), "no item is called"),
        ([], Skipped("nobody.png"), "no item is called"),
        ([], Cleared("nobody.png"), "no item is called"),
        ([], Queried("test.png", 0), "a test item"),
        ([], Queried("ref.png", 0), "a reference item"),
        ([Queried("a.png", 0)], Queried("a.png", 1), "pending"),
        ([Labelled("a.png", "cat")], Queried("a.png", 1), "labelled"),
        ([Skipped("a.png")], Queried("a.png", 1), "skipped"),
        ([Labelled("a.png", "cat")], Skipped("a.png"), "has a label"),
        ([], Added(Item("a.png", "a.png")), "built pool"),
        ([Labelled("b.png", "cat")], Queried("b.png#box:0,0,4,4", 0), "covered"),
        ([Queried("b.png", 0)], Queried("b.png#box:0,0,4,4", 0), "covered"),
        ([Queried("b.png#box:0,0,4,4", 0)], Queried("b.png", 0), "covered"),
        ([Labelled("b.png#box:0,0,4,4", "cat")], Queried("b.png", 0), "covered"),
    ],
)
def test_events_that_contradict_the_state(before, event, message):
    pool = _pool(*before)
    picture = _picture(pool)
    with pytest.raises(PoolError, match=message):
        pool.apply(event)
    assert _picture(pool) == picture


def test_an_image_covers_its_regions_and_the_other_way_round():
    regions = {"b.png#box:0,0,4,4", "b.png#box:4,4,4,4"}
    pool = _pool()
    assert {"b.png", *regions} <= set(_ids(pool, pool.unlabelled))
    pool.apply(Queried("b.png", 0))
    assert not regions & set(_ids(pool, pool.unlabelled))
    pool.apply(Cleared("b.png"))
    pool.apply(Labelled("b.png#box:0,0,4,4", "cat"))
    assert "b.png" not in _ids(pool, pool.unlabelled)
    assert "b.png#box:4,4,4,4" in _ids(pool, pool.unlabelled), "the other region may still be asked"
    pool.apply(Cleared("b.png#box:0,0,4,4"))
    assert {"b.png", *regions} <= set(_ids(pool, pool.unlabelled))


def test_a_skipped_image_does_not_block_its_regions():
    pool = _pool(Skipped("b.png"))
    assert "b.png#box:4,4,4,4" in _ids(pool, pool.unlabelled)


def test_an_event_before_its_item_was_added():
    with pytest.raises(PoolError, match="no item is called"):
        Pool.replay([Labelled("a.png", "cat"), Added(Item("a.png", "a.png"))])


def test_items_may_join_later():
    pool = Pool.replay([Added(Item("b.png", "b.png")), Labelled("b.png", "cat"), Added(Item("a.png", "a.png"))])
    assert _ids(pool, pool.labelled) == ["b.png"]
    assert pool.position("b.png") == 1


def test_two_items_with_one_id():
    with pytest.raises(PoolError, match=r"two items are called 'a.png'"):
        Pool.replay([Added(Item("a.png", "a.png")), Added(Item("a.png", "a.png"), "test")])


@given(
    st.lists(
        st.tuples(st.sampled_from(["p1", "p2", None]), st.sampled_from(["pool", "reference", "validation", "test"])),
        max_size=8,
    )
)
def test_groups_are_never_split(rows):
    """Training and reference on one side, validation and test on the other."""
    added = [Added(Item(f"{n}.png", f"{n}.png", group=group), role) for n, (group, role) in enumerate(rows)]
    sides: dict[str, set[bool]] = {}
    for group, role in rows:
        if group is not None:
            sides.setdefault(group, set()).add(role in ("validation", "test"))
    if any(len(side) > 1 for side in sides.values()):
        with pytest.raises(PoolError, match="lies in training and in test"):
            Pool.replay(added)
    else:
        assert len(Pool.replay(added)) == len(rows)


def test_rounds_are_counted_over_queries_that_stand():
    pool = _pool()
    assert pool.round == 0
    pool.apply(Queried("a.png", 0, 1))
    pool.apply(Queried("z.png", 0, 0))
    assert pool.round == 1
    assert [query.id for query in pool.queries()] == ["z.png", "a.png"]
    pool.apply(Queried("é.png", 1, 0))
    assert pool.round == 2
    pool.apply(Cleared("é.png"))
    assert pool.round == 1, "a cancelled round is asked anew"


def test_an_empty_pool():
    pool = Pool.replay([])
    assert len(pool) == 0
    assert pool.unlabelled.tolist() == []
    assert pool.round == 0
    assert pool.cost() == {}
    with pytest.raises(PoolError, match="has no label"):
        _pool().target(0)


def test_the_majority_counts_and_in_a_tie_the_later_one():
    pool = _pool()
    position = pool.position("a.png")

    def given(*labels):
        for who, target in labels:
            pool.apply(Labelled("a.png", target, {"seconds": 1.0}, who))
        return pool.target(position)

    assert given(("ann", "cat"), ("bob", "dog")) == "dog"
    assert pool.labels.disputed() == [position]
    assert given(("eve", "cat")) == "cat"
    assert given(("ann", "dog")) == "dog", "ann corrects her own, and it is the later now"
    assert pool.cost() == {"seconds": 3.0}
    assert given(("", "fox")) == "fox", "nobody named: the last word"
    assert pool.labels.disputed() == []
    assert pool.cost() == {"seconds": 1.0}


def test_a_held_out_image_is_asked_until_it_has_a_label_and_returns_when_cancelled():
    pool = _pool(HeldOut("b.png", 0, 0), HeldOut("b.png#box:0,0,4,4", 0), HeldOut("b.png#box:4,4,4,4", 0))
    assert _ids(pool, pool.pending) == ["b.png"]
    assert len(pool.with_role("test", labelled=False)) == 4
    pool.apply(Labelled("b.png", "cat"))
    assert _ids(pool, pool.with_role("test")) == ["b.png"]
    assert not len(pool.labelled)
    pool.apply(Unlabelled("b.png"))
    pool.apply(Skipped("b.png"))
    pool.apply(Restored("b.png"))
    assert _ids(pool, pool.pending) == ["b.png"], "it is still held out"
    pool.apply(Cleared("b.png"))
    assert _picture(pool) == _picture(_pool())


def test_names_are_followed_whatever_took_the_old_one():
    pool = _pool(
        Labelled("a.png", "cat"),
        Renamed("a.png", "new.png", "new.png"),
        Added(_item("a.png")),
        Labelled("a.png", "dog"),
    )
    assert pool.target(pool.position("new.png")) == "cat"
    assert pool.target(pool.position("a.png")) == "dog"
    back = _pool(Labelled("a.png", "cat"), Renamed("a.png", "m.png", "m.png"), Renamed("m.png", "a.png", "a.png"))
    assert _picture(back) == _picture(_pool(Labelled("a.png", "cat")))
    with pytest.raises(PoolError, match="no item is called"):
        _pool(Renamed("a.png", "m.png", "m.png"), Labelled("a.png", "cat"))
