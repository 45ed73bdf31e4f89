"""All strategies by name, for combinators too: the modules of this folder are looked through when a name is asked."""

from __future__ import annotations

from labelwise.contracts.strategy import Strategy
from labelwise.registry import Registry

STRATEGIES: Registry[Strategy] = Registry("strategy", "labelwise.strategies", Strategy)  # type: ignore[type-abstract]

#: what takes over where there is neither a label nor a model
COLD_START = "kmeans"


def named(strategy: Strategy) -> str:
    """What a command calls a strategy: its name, or ``package.module:Class`` for one of somebody's own."""
    cls = type(strategy)
    registered = cls.__module__.startswith("labelwise.strategies.")
    return strategy.name if registered else f"{cls.__module__}:{cls.__qualname__}"
