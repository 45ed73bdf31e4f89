"""Strategies, one file each; a file dropped in here is registered, contract-tested, listed and documented."""

from labelwise.contracts.strategy import Strategy
from labelwise.registry import Registry

#: all strategies by name
STRATEGIES: Registry[Strategy] = Registry("strategy", "labelwise.strategies", Strategy)  # type: ignore[type-abstract]

#: what takes over where there is neither a label nor a model
COLD_START = "kmeans"
