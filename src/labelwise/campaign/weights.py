"""Weights of finished trainings taken into use, with the extra heads that somebody asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labelwise.contracts.learner import lacking_heads
from labelwise.errors import DataError, StateError
from labelwise.strategies.by_name import named

if TYPE_CHECKING:
    from labelwise.campaign.fits import Fits
    from labelwise.contracts.learner import Auxiliary, Learner
    from labelwise.contracts.strategy import Strategy


def take(fits: Fits, learner: Learner, key: str, auxiliaries: Sequence[Auxiliary] = ()) -> None:
    """Takes the weights of a training into use, unless they are; those that nobody kept have to be.

    Raises:
        DataError: they are damaged, or lack a head.
    """
    place = fits.place(key)
    # weights that are in use may have come without heads
    if place is not None and (auxiliaries or learner.weights != key):
        learner.load(place, key, auxiliaries=auxiliaries)


def take_newest(fits: Fits, learner: Learner, strategy: Strategy | None) -> bool:
    """Takes the weights into use that were trained last; False where none were.

    Args:
        fits: the trainings.
        learner: takes them.
        strategy: whose extra heads are wanted; None wants none.

    Raises:
        StateError: they belong to another network, or lack a head.
    """
    key = fits.newest()
    if key is None:
        return False
    auxiliaries = () if strategy is None else strategy.auxiliaries()
    found = fits.find(key)
    there = None if found is None else found.heads
    if strategy is not None and there is not None and (lacking := lacking_heads(there, auxiliaries)):
        raise StateError(
            f"the weights trained last were trained {lacking}: 'labelwise suggest --strategy {named(strategy)}' "
            "trains it, without --no-fit"
        )
    try:
        take(fits, learner, key, auxiliaries)
    except DataError as error:
        raise StateError(f"{error!s:.200}: run 'labelwise fit' first") from error
    except (RuntimeError, KeyError) as error:  # another network than the one that was saved
        raise StateError(
            "the weights trained last do not fit the configuration as it is now: run 'labelwise fit' first"
        ) from error
    return True
