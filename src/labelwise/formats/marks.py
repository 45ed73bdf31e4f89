"""Marks that an export of picks writes beside each image, and that tell answers from images that nobody has opened."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labelwise.contracts.format import Reads
from labelwise.contracts.record import State
from labelwise.errors import FormatError
from labelwise.formats.numbers import number

#: what a label cost, in a file that comes back; and the other marks that an export of picks writes
COSTS = ("images", "boxes", "points", "clicks", "pixels", "seconds")
MARKS = frozenset(
    {"answered", "skipped", "reason", "path", "rank", "strategy_score", "strategy", "predicted", "probability", "round"}
    | {"regions", *COSTS}
)
FALSE, TRUE = (False, 0, "0", "false", "False"), (True, 1, "1", "true", "True")


def finite_only(values: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Keys whose values are no NaN and no infinity, which JSON has not; and how many others there were."""
    odd = [k for k, value in values.items() if isinstance(value, float) and not math.isfinite(value)]
    return {k: value for k, value in values.items() if k not in odd}, len(odd)


@dataclass(frozen=True, slots=True)
class Told:
    """What an image says beside its objects.

    Args:
        state: untouched or skipped, where it says so.
        reason: why it was skipped.
        seconds: what its label took.
        cost: further costs.
        extra: the rest.
    """

    state: State | None
    reason: str
    seconds: float | None
    cost: Mapping[str, float]
    extra: dict[str, Any]

    @classmethod
    def of(cls, extra: Mapping[str, Any], use: Reads, where: str) -> Told:
        """Out of the further keys of an image; marks of an export are taken out of answers.

        Raises:
            FormatError: a cost that is no finite number, 0 or more.
        """
        state: State | None = None
        if "answered" in extra and extra["answered"] in FALSE:
            state = "untouched"
        elif "skipped" in extra and extra["skipped"] in TRUE:
            state = "skipped"
        rest, _ = finite_only(extra)
        if use == "data":
            return cls(state, "", None, {}, {k: value for k, value in rest.items() if k != "answered"})
        cost = {unit: _cost(extra[unit], unit, where) for unit in COSTS if isinstance(extra.get(unit), int | float)}
        seconds = cost.pop("seconds", None)
        rest = {k: value for k, value in rest.items() if k not in MARKS}
        return cls(state, str(extra.get("reason", "")), seconds, cost, rest)


def _cost(value: Any, unit: str, where: str) -> float:
    if number(value, where, unit) < 0:
        raise FormatError(f"{where}: {unit} is {value!r:.60}; give a finite number, 0 or more")
    return float(value)
