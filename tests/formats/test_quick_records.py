"""Records that are made fast are the records that the contract makes."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, fields

import pytest

from labelwise.contracts.record import Box, Record, Seen, Where
from labelwise.formats.quick_records import builder, quick_record, quick_row, quick_where


def test_they_are_equal_frozen_and_whole():
    where = Where("a.csv", "row", 3)
    assert quick_where("a.csv", "row", 3) == where
    assert hash(quick_where("a.csv", "row", 3)) == hash(where)
    quick = quick_record(where, "a.png", True, (Seen("cat"),), "answered", "4", "test", "p")
    plain = Record(where, "a.png", bare=True, objects=(Seen("cat"),), region="4", split="test", group="p")
    assert quick == plain
    assert type(quick) is Record
    assert repr(quick) == repr(plain)
    assert copy.copy(quick) == pickle.loads(pickle.dumps(quick)) == plain
    with pytest.raises(FrozenInstanceError):
        quick.image = "b.png"
    row = quick_row(
        where, "a.png", False, (), "skipped", None, None, None, "ann", 2.5, {"clicks": 1.0}, "dark", {"x": 1}
    )
    assert row == Record(
        where,
        "a.png",
        state="skipped",
        annotator="ann",
        seconds=2.5,
        cost={"clicks": 1.0},
        reason="dark",
        extra={"x": 1},
    )


@pytest.mark.parametrize("cls", [Record, Seen, Where, Box])
def test_any_frozen_dataclass_can_be_built(cls):
    values = {field.name: object() for field in fields(cls)}
    made = builder(cls, tuple(values))(*values.values())
    assert {name: getattr(made, name) for name in values} == values
