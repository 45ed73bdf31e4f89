"""Shares of the budget to several strategies, each choosing among what the others left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Step, Strategy
from labelwise.selection.sampling import apportion
from labelwise.strategies.parts import auxiliaries_of, choose, needs_of, part

if TYPE_CHECKING:
    from labelwise.contracts.learner import Auxiliary


@dataclass(frozen=True)
class Mix(Strategy):
    """Every part gets its share of the budget; the first named chooses first.

    K_s = share_s K, rounded so that sum_s K_s = K; picks_s = part_s(candidates - picks of the parts before, K_s). The
    picks come in turn, so that every prefix of them is mixed in the same shares.

    Args:
        strategies: the parts, each a ``Strategy`` or its name.
        shares: one number above zero for each part, in any unit; None shares equally.

    Raises:
        ConfigError: an unknown name, or an oracle.
        PoolError: as the parts do.

    Cost: that of the parts one after another. The signals of parts of several steps are read for all candidates.

    Example:
        >>> import labelwise as lw
        >>> probs = [[0.9, 0.1], [0.6, 0.4], [0.5, 0.5], [0.99, 0.01]]
        >>> parts = ["margin", "random"]
        >>> lw.select("mix", 4, probs=probs, strategies=parts, shares=[3, 1], seed=0).positions.tolist()
        [2, 3, 1, 0]

    Reference:
        None of its own; the idea of spending a part of the budget at random is epsilon-greedy, for example Sutton and
        Barto, "Reinforcement Learning", 2018, section 2.2.
    """

    name: ClassVar[str] = "mix"
    strategies: Sequence[Strategy | str] = ("margin", "k_center")
    shares: Sequence[float] | None = None

    def __post_init__(self) -> None:
        # lists of YAML become tuples: what is frozen can be hashed
        if isinstance(self.strategies, str) or not self.strategies:
            raise ValueError(f"strategies must be a list of at least one strategy, got {self.strategies!r}")
        object.__setattr__(self, "strategies", tuple(self.strategies))
        self._parts()
        if self.shares is None:
            return
        shares: Any = self.shares
        if isinstance(shares, str) or len(shares) != len(self.strategies):
            raise ValueError(f"shares must be one number for each of {len(self.strategies)} parts, got {shares!r}")
        object.__setattr__(self, "shares", tuple(shares))
        for share in shares:
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < math.inf:
                raise ValueError(f"shares must be numbers above 0, got {share!r}")

    @property
    def cold(self) -> bool:
        """Where all parts are."""
        return all(strategy.cold for strategy in self._parts())

    def steps(self) -> tuple[Step, ...]:
        """One step, on what all parts need."""
        return (Step(needs_of(self._parts()), self._choose),)

    def acts_as(self, query: Query) -> Strategy:
        """The same of what its parts act as, so that only their signals are collected."""
        parts = self._parts()
        acting = tuple(strategy.acts_as(query) for strategy in parts)
        return self if acting == tuple(parts) else replace(self, strategies=acting)

    def auxiliaries(self) -> tuple[Auxiliary, ...]:
        """Those of all parts, each once."""
        return auxiliaries_of(self._parts())

    def _parts(self) -> list[Strategy]:
        return [part(f"strategies[{number}]", given) for number, given in enumerate(self.strategies)]

    def _choose(self, query: Query) -> Selection:
        parts = self._parts()
        dealt_K = apportion(self.shares or [1.0] * len(parts), query.budget, rng=query.rng)
        picks_K = torch.empty(query.budget, dtype=torch.int64)
        notes: tuple[str, ...] = ()
        left_M = query.unlabelled_M
        for number, strategy in enumerate(parts):
            turns = torch.nonzero(dealt_K == number).flatten()
            chosen = choose(strategy, replace(query, unlabelled_M=left_M, budget=len(turns)))
            picks_K[turns] = chosen.positions_K
            left_M = left_M[~torch.isin(left_M, chosen.positions_K)]
            notes += chosen.notes
        return Selection(picks_K, notes=notes)
