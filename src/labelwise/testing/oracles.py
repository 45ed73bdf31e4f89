"""The contract test of oracles: answers to some of the picks, now or later.

In a test of an oracle of one's own::

    def test_it_keeps_the_contract():
        check_oracle(MyOracle(...), ["a.png", "b.png"], Classification(("cat", "dog"), InputSpec()))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from labelwise.contracts.oracle import Answer, Oracle, Pick, Round
from labelwise.contracts.task import Task


def check_oracle(oracle: Oracle, items: Sequence[str], task: Task[Any]) -> list[Answer]:
    """Holds an oracle to its contract: asked about some items, then about those that it left open.

    Args:
        oracle: may answer some of them, or none yet.
        items: ids that it can be asked about.
        task: the kind of label; its classes are those that answers may use.

    Returns:
        What it said.

    Raises:
        AssertionError: the first promise that is broken, in words.
    """
    said: dict[str, Answer] = {}
    waiting = list(items)
    for _ in range(2):
        asked = _round(waiting, task)
        for answer in list(oracle.annotate(asked)):
            assert answer.id in {*waiting}, f"it answers for {answer.id!r}, which was not asked"
            assert answer.id not in said, f"it answers twice for {answer.id!r}"
            said[answer.id] = answer
            check_answer(answer, task)
        assert asked == _round(waiting, task), "what it was asked is left as it was"
        waiting = [item for item in waiting if item not in said]
    return list(said.values())


def check_answer(answer: Answer, task: Task[Any]) -> None:
    """A label that the task reads, or a skip with a reason; costs that can be added up."""
    if answer.target is None:
        assert answer.reason, f"{answer.id!r} is skipped: say why"
    else:
        task.load(answer.target)
    for unit, value in answer.cost.items():
        assert math.isfinite(value), f"{answer.id!r} cost {value} {unit}"
        assert value >= 0, f"{answer.id!r} cost {value} {unit}"


def _round(items: Sequence[str], task: Task[Any]) -> Round:
    picks = tuple(Pick(item, item, rank) for rank, item in enumerate(items))
    return Round(0, picks, "random", classes=task.classes, open=True)
