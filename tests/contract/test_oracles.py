"""What every oracle promises, checked for those of the house."""

from __future__ import annotations

from pathlib import Path

import tiny
from labelwise.contracts.oracle import HeldBack
from labelwise.exchange.folder import Folder
from labelwise.testing.oracles import check_oracle

ITEMS = ("a.png", "b.png", "c.png")


def test_labels_that_are_held_back():
    oracle = HeldBack({"a.png": "3", "b.png": "4"}, price=lambda item: {"clicks": 2.0})
    said = check_oracle(oracle, ITEMS, tiny.digits_task())
    assert [(answer.id, answer.target) for answer in said] == [("a.png", "3"), ("b.png", "4"), ("c.png", None)]


def test_a_folder_that_people_fill(tmp_path: Path):
    oracle = Folder(tmp_path)
    assert check_oracle(oracle, ITEMS, tiny.digits_task()) == []
    (tmp_path / "000" / "answers.csv").write_text("id,label,skipped,reason\na.png,3,,\nb.png,,yes,blurred\n")
    said = check_oracle(oracle, ITEMS, tiny.digits_task())
    assert {answer.id: (answer.target, answer.reason) for answer in said} == {
        "a.png": ("3", ""),
        "b.png": (None, "blurred"),
    }
