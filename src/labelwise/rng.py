"""Named random streams: every draw in labelwise comes from (seed, names), never from a global state.

Separate names give independent streams, so that changing the strategy changes neither the initial set, nor the
weights, nor the order of the data: runs with one seed are paired.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch


def digest(*parts: Any) -> str:
    """32 hex digits of a stable hash over JSON-able parts (dicts in any key order, other objects by ``repr``).

    Example:
        >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
        True
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def seed_of(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream called ``names`` under ``seed``."""
    return int(digest(seed, *names)[:16], 16) >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """NumPy generator for the named stream; what strategies receive as ``query.rng``."""
    import numpy as np

    return np.random.default_rng(seed_of(seed, *names))


def torch_generator(seed: int, *names: str | int) -> torch.Generator:
    """CPU torch generator for the named stream; used for weights, order and augmentation."""
    import torch

    return torch.Generator().manual_seed(seed_of(seed, *names))
