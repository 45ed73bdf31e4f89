"""Disagreement between stochastic predictions, folded draw by draw.

``state = start(units, classes)``, then ``state = step(state, probs_UC)`` once per draw, then any of the finishing
functions: each is a pure function of the state. T draws need the memory of one, however many pixels a draw has.

Dimension key: T draws, U units, C classes. ``exclusive`` as in ``uncertainty``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from labelwise.errors import ConfigError, DataError
from labelwise.selection.arrays import ArrayLike, real
from labelwise.selection.uncertainty import as_probs, entropy

Part: TypeAlias = Literal["mean", "spread", "entropy", "votes"]
PARTS: tuple[Part, ...] = ("mean", "spread", "entropy", "votes")


@dataclass(frozen=True)
class Draws:
    """What is kept of the draws seen so far; a part that was not asked for is None."""

    exclusive: bool
    count: int
    mean_UC: Tensor | None
    """Mean probability."""
    spread_UC: Tensor | None
    """Sum over draws of squared deviations from the mean."""
    entropy_U: Tensor | None
    """Mean of the entropies of the draws."""
    votes_UC: Tensor | None
    """Draws in which the class won (exclusive) or was likelier than not (yes/no)."""


def start(
    units: int,
    classes: int,
    *,
    exclusive: bool = True,
    parts: Collection[Part] = PARTS,
    device: torch.device | str = "cpu",
) -> Draws:
    """The state before any draw.

    Args:
        units: rows of each draw.
        classes: columns of each draw.
        exclusive: rows are distributions and not independent yes/no probabilities.
        parts: what the finishing functions in play will read: ``bald`` mean and entropy, ``mean_std`` and
            ``predictive_variance`` mean and spread, ``predictive_entropy`` mean, ``variation_ratio`` votes.
        device: where the draws will be.

    Returns:
        State with no draw.

    Raises:
        ConfigError: a part that does not exist.
        DataError: no class.

    Cost:
        At most 3 U C + U numbers.

    Example:
        >>> state = step(step(start(1, 2), [[1.0, 0.0]]), [[0.0, 1.0]])
        >>> bald(state).round(decimals=4), variation_ratio(state)
        (tensor([0.6931]), tensor([0.5000]))
    """
    strange = sorted(set(parts) - set(PARTS))
    if strange:
        raise ConfigError(f"unknown part of the draws {strange[0]!r}; allowed: {', '.join(PARTS)}")
    if classes < 1:
        raise DataError("draws of 0 classes; needed is at least one")
    zeros_UC = torch.zeros(units, classes, device=device)
    return Draws(
        # A single column is one yes/no question, as in ``uncertainty``.
        exclusive=exclusive and classes > 1,
        count=0,
        # ``step`` never writes into a part, so all may begin as one tensor.
        mean_UC=zeros_UC if {"mean", "spread"} & set(parts) else None,
        spread_UC=zeros_UC if "spread" in parts else None,
        entropy_U=torch.zeros(units, device=device) if "entropy" in parts else None,
        votes_UC=torch.zeros(units, classes, dtype=torch.int16, device=device) if "votes" in parts else None,
    )


def step(state: Draws, probs_UC: ArrayLike) -> Draws:
    """The state after one more draw.

    Mean and spread follow Welford: the textbook difference of the mean square and the squared mean loses all digits
    of a small variance, and draws that agree must give exactly zero.

    Args:
        state: from ``start`` or ``step``; left as it was.
        probs_UC: probabilities of this draw in [0, 1], (U, C), rows in the order of the other draws.

    Returns:
        New state.

    Raises:
        DataError: shape differs from that of the state.

    Cost:
        O(U C) time; the old and the new value of one part at a time.
    """
    probs = real(as_probs(probs_UC))
    _check_shape(state, probs)
    count = state.count + 1
    mean_UC, spread_UC, entropy_U, votes_UC = state.mean_UC, state.spread_UC, state.entropy_U, state.votes_UC
    if mean_UC is not None:
        moved_UC = probs - mean_UC
        mean_UC = mean_UC + moved_UC / count
        if spread_UC is not None:
            spread_UC = spread_UC + moved_UC * (probs - mean_UC)
    if entropy_U is not None:
        entropy_U = entropy_U + (entropy(probs, exclusive=state.exclusive) - entropy_U) / count
    if votes_UC is not None:
        votes_UC = votes_UC + _vote(probs, exclusive=state.exclusive)
    return replace(state, count=count, mean_UC=mean_UC, spread_UC=spread_UC, entropy_U=entropy_U, votes_UC=votes_UC)


def fold(
    draws_TUC: ArrayLike | Iterable[ArrayLike], *, exclusive: bool = True, parts: Collection[Part] = PARTS
) -> Draws:
    """``start`` and one ``step`` per draw, for draws that are at hand.

    Raises:
        DataError: no draw, or draws of different shapes.

    Example:
        >>> float(mean_std(fold([[[1.0, 0.0]], [[0.0, 1.0]]])))
        0.5
    """
    state: Draws | None = None
    for probs_UC in draws_TUC:
        probs = as_probs(probs_UC)
        if state is None:
            state = start(*probs.shape, exclusive=exclusive, parts=parts, device=probs.device)
        state = step(state, probs)
    if state is None:
        raise DataError("got no draw; needed is at least one")
    return state


def predictive_entropy(state: Draws) -> Tensor:
    """Entropy of the mean prediction, ``H[mean_t p_t]``: all uncertainty, whatever its cause.

    Returns:
        (U,) in [0, ln C], or [0, C ln 2] for yes/no questions.

    Raises:
        ConfigError: ``mean`` was not collected, or there was no draw.

    Cost:
        O(U C).

    Reference:
        Gal, Islam, Ghahramani, Deep Bayesian Active Learning with Image Data, ICML 2017, section 4.
    """
    return entropy(_part(state, "mean", state.mean_UC), exclusive=state.exclusive)


def bald(state: Draws) -> Tensor:
    """Mutual information of label and model, ``H[mean_t p_t] - mean_t H[p_t]``.

    Large where the draws are sure and disagree; zero where they agree, even if each is unsure. For yes/no questions
    the sum over classes.

    Returns:
        (U,) in [0, ln C], or [0, C ln 2] for yes/no questions; rounding below zero is clamped.

    Raises:
        ConfigError: ``mean`` or ``entropy`` was not collected, or there was no draw.

    Cost:
        O(U C).

    Reference:
        Houlsby, Huszár, Ghahramani, Lengyel, Bayesian Active Learning for Classification and Preference Learning,
        arXiv 1112.5745, equation 2; with dropout: Gal et al., ICML 2017.
    """
    return (predictive_entropy(state) - _part(state, "entropy", state.entropy_U)).clamp_min(0)


def predictive_variance(state: Draws) -> Tensor:
    """Variance over draws of a class's probability, averaged over classes.

    Returns:
        (U,) in [0, 1/4]; the population variance (divided by T, not by T - 1), so one draw gives zero.

    Raises:
        ConfigError: ``spread`` was not collected, or there was no draw.

    Cost:
        O(U C).
    """
    return (_part(state, "spread", state.spread_UC) / state.count).mean(1)


def mean_std(state: Draws) -> Tensor:
    """Standard deviation over draws of a class's probability, averaged over classes.

    Returns:
        (U,) in [0, 1/2]; population deviation, so one draw gives zero.

    Raises:
        ConfigError: ``spread`` was not collected, or there was no draw.

    Cost:
        O(U C).

    Reference:
        Kampffmeyer, Salberg, Jenssen, CVPR workshops 2016; Gal et al., ICML 2017, section 4, item 4.
    """
    return (_part(state, "spread", state.spread_UC) / state.count).clamp_min(0).sqrt().mean(1)


def variation_ratio(state: Draws) -> Tensor:
    """Share of draws that do not vote for the winner, ``1 - max_c votes_c / T``.

    For yes/no questions the most contested one: ``max_c min(votes_c, T - votes_c) / T``. A draw in which classes tie
    votes for the first of them.

    Returns:
        (U,) in [0, 1 - 1/C], or [0, 1/2] for yes/no questions.

    Raises:
        ConfigError: ``votes`` was not collected, or there was no draw.

    Cost:
        O(U C).

    Reference:
        Freeman, Elementary Applied Statistics, 1965; with dropout: Gal et al., ICML 2017, section 4, item 3.
    """
    share_UC = _part(state, "votes", state.votes_UC).float() / state.count
    return 1 - share_UC.amax(1) if state.exclusive else torch.minimum(share_UC, 1 - share_UC).amax(1)


def _vote(probs_UC: Tensor, *, exclusive: bool) -> Tensor:
    if not exclusive:
        return (probs_UC > 0.5).to(torch.int16)
    won_UC = torch.zeros_like(probs_UC, dtype=torch.int16)
    return won_UC.scatter_(1, probs_UC.argmax(1, keepdim=True), 1)


def _part(state: Draws, name: Part, value: Tensor | None) -> Tensor:
    if value is None:
        raise ConfigError(f"the draws were folded without {name!r}; name it in start(parts=...)")
    if state.count == 0:
        raise ConfigError("no draw has been folded; call step at least once")
    return value


def _check_shape(state: Draws, probs_UC: Tensor) -> None:
    for part in (state.mean_UC, state.votes_UC, state.entropy_U):
        if part is not None and part.shape != probs_UC.shape[: part.ndim]:
            raise DataError(
                f"a draw has shape {tuple(probs_UC.shape)}, the draws before it {tuple(part.shape)}; "
                f"all draws need the same units and classes"
            )
