"""Strategies, one file each; a file dropped in here is registered, contract-tested, listed and documented."""

from labelwise.strategies.by_name import COLD_START, STRATEGIES

__all__ = ["COLD_START", "STRATEGIES"]
