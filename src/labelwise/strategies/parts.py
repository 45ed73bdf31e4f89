"""Strategies as parts of other strategies: made from their names, asked for their needs, run inside one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Strategy
from labelwise.errors import ConfigError
from labelwise.strategies.by_name import STRATEGIES

if TYPE_CHECKING:
    from labelwise.contracts.learner import Auxiliary


def part(option: str, given: Strategy | str) -> Strategy:
    """The strategy that an option of another names.

    Raises:
        ConfigError: an unknown name, no strategy at all, or an oracle, which would no longer be marked as one.
    """
    try:
        strategy = STRATEGIES.create(given) if isinstance(given, str) else given
    except ConfigError as error:
        raise ConfigError(f"{option}: {error}") from None
    if not isinstance(strategy, Strategy):
        raise ConfigError(f"{option}: got {given!r}: give a strategy, or its name")
    if strategy.oracle:
        raise ConfigError(f"{option}: {strategy.name!r} is an oracle, which reads hidden labels: use it by itself")
    return strategy


def needs_of(parts: Sequence[Strategy]) -> Needs:
    """What all steps of all parts need together."""
    needs = Needs()
    for strategy in parts:
        for step in strategy.steps():
            needs = needs | step.needs
    return needs


def auxiliaries_of(parts: Sequence[Strategy]) -> tuple[Auxiliary, ...]:
    """The extra heads of all parts, each once."""
    return tuple(dict.fromkeys(head for strategy in parts for head in strategy.auxiliaries()))


def choose(strategy: Strategy, query: Query) -> Selection:
    """Runs all steps of a part on signals that are there already."""
    notes: tuple[str, ...] = ()
    if not query.budget:
        return Selection(torch.empty(0, dtype=torch.int64))
    for step in strategy.acts_as(query).steps():
        selection = step.select(query)
        notes += selection.notes
        query = replace(query, unlabelled_M=selection.positions_K.sort().values)
    return replace(selection, notes=notes)
