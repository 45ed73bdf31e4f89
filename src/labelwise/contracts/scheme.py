"""The contract for training schemes: what a network gets beside it, and the phases in which it learns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from labelwise.contracts.learner import Phase


class Scheme(ABC):
    """A way to train networks of one task, by name. A frozen dataclass.

    ``learner: {kind: torch, scheme: NAME}`` names it, with options as ``scheme: {name: NAME, option: value}``. It is
    worth its network and phases alone: two schemes that say the same train the same.
    """

    name: ClassVar[str]
    #: the task whose networks it trains
    task: ClassVar[str]

    @abstractmethod
    def network(self, model: str) -> str:
        """The name of the network that is trained, from the one that was asked for."""

    @abstractmethod
    def phases(self, usual: Sequence[Phase]) -> tuple[Phase, ...]:
        """All phases, from those in which the task trains where nothing is said."""
