"""All strategies by name, for combinators too: the modules of this folder are looked through when a name is asked."""

from __future__ import annotations

from labelwise.contracts.strategy import Strategy
from labelwise.registry import Registry

STRATEGIES: Registry[Strategy] = Registry("strategy", "labelwise.strategies", Strategy)  # type: ignore[type-abstract]

#: what takes over where there is neither a label nor a model
COLD_START = "kmeans"
