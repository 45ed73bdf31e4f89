"""The states of a project's items, as the page names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from labelwise.campaign.pool import Pool

STATES = ("unlabelled", "pending", "labelled", "skipped", "held out")


def states_of(pool: Pool) -> np.ndarray:
    """(N,) uint8: place in ``STATES``, of every item."""
    found = np.full(len(pool), 4, np.uint8)
    for code, positions in enumerate((pool.unlabelled, pool.pending, pool.labelled, pool.skipped)):
        found[positions] = code
    covered = [position for position in np.flatnonzero(found == 4).tolist() if pool.is_free(position)]
    found[covered] = 0  # regions that an asked image covers
    return found
