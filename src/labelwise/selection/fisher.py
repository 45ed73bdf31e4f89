"""Batches of small expected error by Fisher information: BAIT, in the forms that fit a real pool.

Dimension key: N items of the pool, L labelled, M candidates, B items of a block, D features, C classes, R rows of an
item's factor, P parameters of the last layer, K picks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from labelwise.errors import ConfigError, DataError, unknown
from labelwise.selection.arrays import (
    ArrayLike,
    as_matrix,
    as_positions,
    block_rows,
    check_budget,
    free_candidates,
    squared_norms,
)
from labelwise.selection.progress import report

Likelihood: TypeAlias = Literal["binary", "categorical"]
LIKELIHOODS: tuple[Likelihood, ...] = ("binary", "categorical")

# P x P matrices of float64 that are held at once: information, its inverse, the objective's, and one to work in.
_MATRICES = 4


@dataclass(frozen=True)
class Form:
    """Which Fisher information, and how its trace is made small.

    Args:
        likelihood: ``binary`` or ``categorical``, see ``bait``.
        top: classes of the expectation of ``categorical``; None takes all.
        ridge: prior precision, above zero; in units of squared features.
        oversample: picks of the forward pass for each that is wanted, at least 1; 1 leaves out the pruning.
        memory_gb: refuse what would need more.

    Raises:
        ConfigError: a value out of range.
    """

    likelihood: Likelihood = "binary"
    top: int | None = None
    ridge: float = 1.0
    oversample: float = 2.0
    memory_gb: float = 8.0

    def __post_init__(self) -> None:
        if self.likelihood not in LIKELIHOODS:
            raise unknown("likelihood", self.likelihood, LIKELIHOODS)
        if self.top is not None and self.top < 1:
            raise ConfigError(f"top is {self.top}; allowed is 1 and more, or None for all classes")
        for name in ("ridge", "memory_gb"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}; allowed is a finite number above 0")
        if not 1 <= self.oversample < float("inf"):
            raise ConfigError(f"oversample is {self.oversample}; allowed is a finite number of at least 1")


def bait(
    features_ND: ArrayLike,
    probs_NC: ArrayLike,
    k: int,
    *,
    labelled_L: ArrayLike | None = None,
    candidates_M: ArrayLike | None = None,
    form: Form | None = None,
    rng: np.random.Generator,
) -> Tensor:
    """Picks whose information about the last layer leaves the smallest expected error on the whole pool.

    Minimises ``tr(M^-1 F)`` with ``M = ridge I + sum_{labelled, picks} I(x)`` and ``F`` the mean of ``I(x)`` over the
    pool, ``I(x) = V_x' V_x``: greedily forward to ``oversample`` times the budget, then greedily backward, each step by
    Woodbury's identity, ``tr((M + V'V)^-1 F) = tr(M^-1 F) - tr(V M^-1 F M^-1 V' (1 + V M^-1 V')^-1)``.

    ``binary`` asks whether the most likely class is right, ``V_x = sqrt(q (1 - q)) h`` with ``q = max_c p_c``: D
    parameters, O(D^2) an item. ``categorical`` is the softmax, ``V_x`` has a row ``sqrt(w_y) (e_y - p) x h`` for each
    of the ``top`` most likely classes y, ``w`` their probabilities scaled to sum one: C D parameters,
    O(top (C D)^2) an item; without ``top`` it is BAIT itself.

    Args:
        features_ND: embeddings that the last layer reads; any float type.
        probs_NC: class probabilities, rows sum to one; or one column, a yes/no question.
        k: number of picks, at most the number of candidates.
        labelled_L: rows whose information is there already; none by default.
        candidates_M: positions that may be picked; all that are not labelled by default. ``F`` runs over labelled rows
            and candidates.
        form: which likelihood, and how it is optimised; ``Form()`` by default.
        rng: order of equal gains.

    Returns:
        (k,) int64 positions, distinct, in the order of the forward pass.

    Raises:
        ConfigError: more picks than candidates, or information matrices beyond ``form.memory_gb``.
        DataError: rows that are not finite, lengths that differ, positions out of range or twice.

    Cost:
        Each of ``oversample K`` picks two products of the features with R vectors of P, 4 N P R operations; and, after
        1, 2, 4, 8, ... of them, gains anew in 4 N R P^2 operations, because small differences of large numbers lose
        digits. Memory: 32 P^2 bytes, 16 R^2 per item.

    Example:
        >>> rows, probs = [[1.0, 0.0], [0.5, 0.0], [0.0, 1.0]], [[0.5, 0.5]] * 3
        >>> bait(rows, probs, 2, form=Form(ridge=0.1), rng=np.random.default_rng(0)).tolist()
        [0, 2]

    Reference:
        Ash, Goel, Krishnamurthy, Kakade, Gone Fishing: Neural Active Learning with Fisher Embeddings, NeurIPS 2021,
        algorithm 1; the cheap forms: Huseljic, Hahn, Herde, Rauch, Sick, Fast Fishing: Approximating BAIT for Efficient
        and Scalable Deep Active Image Classification, ECML PKDD 2024 (arXiv 2404.08981). Labelled rows and picks weigh
        alike in M; the released code of the first averages the former and scales the latter.
    """
    rows_ND, probs = as_matrix(features_ND), as_matrix(probs_NC, "probabilities")
    if len(probs) != len(rows_ND):
        raise DataError(f"got {len(rows_ND)} feature rows and {len(probs)} of probabilities; needed is one per item")
    form = form or Form()
    labelled = as_positions([] if labelled_L is None else labelled_L, len(rows_ND), "labelled", device=rows_ND.device)
    candidates = free_candidates(candidates_M, labelled, len(rows_ND))
    check_budget(k, len(candidates))
    squared_norms(rows_ND)  # knows which rows to blame
    factors = _Factors(rows_ND, probs, form)
    _check_memory(factors.parameters, form.memory_gb)
    if k == 0:
        return candidates[:0]
    most = min(len(candidates), max(k, round(form.oversample * k)))
    information = _Information(factors, labelled, torch.cat([labelled, candidates]), form.ridge)
    free_N = torch.zeros(len(rows_ND), dtype=torch.bool, device=rows_ND.device)
    free_N[candidates] = True
    picks = _forward(factors, information, free_N, most, rng)
    return _pruned(factors, information, picks, k, rng)


class _Factors:
    """``V_x``, an item's square root of information: the outer product of S_x (R x C, from p) and the features."""

    def __init__(self, rows_ND: Tensor, probs_NC: Tensor, form: Form) -> None:
        self.rows_ND, self.probs_NC = rows_ND, probs_NC
        classes = probs_NC.shape[1]
        self.binary = form.likelihood == "binary" or classes == 1
        self.width = 1 if self.binary else classes
        self.rank = 1 if self.binary else min(form.top or classes, classes)
        self.parameters = self.width * rows_ND.shape[1]

    def scales(self, probs_BC: Tensor) -> Tensor:
        """S_x, (B, R, C or 1)."""
        probs_BC = probs_BC.double()
        if self.binary:
            likeliest_B = probs_BC.amax(1)
            return (likeliest_B * (1 - likeliest_B)).clamp_min(0).sqrt()[:, None, None]
        weight_BR, class_BR = probs_BC.topk(self.rank, dim=1)
        weight_BR = weight_BR / weight_BR.sum(1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
        answer_BRC = torch.nn.functional.one_hot(class_BR, self.width) - probs_BC[:, None]
        return weight_BR.sqrt()[..., None] * answer_BRC

    def of(self, positions_B: Tensor) -> Tensor:
        """V_x written out, (B, R, P) float64."""
        rows_BD = torch.index_select(self.rows_ND, 0, positions_B).double()
        scale_BRC = self.scales(torch.index_select(self.probs_NC, 0, positions_B))
        return (scale_BRC[..., None] * rows_BD[:, None, None]).flatten(2)

    def blocks(self, width: int) -> Iterator[slice]:
        """Parts of the pool with at most ``width`` numbers an item in the caches."""
        size = max(16, block_rows(self.rows_ND, width))
        for start in range(0, len(self.rows_ND), size):
            yield slice(start, min(start + size, len(self.rows_ND)))

    def project(self, vectors_PQ: Tensor) -> Tensor:
        """``V_x u`` for all items and Q vectors, (N, R, Q) float64."""
        features = self.rows_ND.shape[1]
        by_feature = vectors_PQ.view(self.width, features, -1).transpose(0, 1).reshape(features, -1).float()
        found = []
        for part in self.blocks(by_feature.shape[1]):
            inner_BCQ = (self.rows_ND[part].float() @ by_feature).view(-1, self.width, vectors_PQ.shape[1]).double()
            found.append(self.scales(self.probs_NC[part]) @ inner_BCQ)
        return torch.cat(found)


class _Information:
    """``M^-1`` and ``Q = M^-1 F M^-1``, and how they change when an item comes or goes."""

    def __init__(self, factors: _Factors, labelled_L: Tensor, all_A: Tensor, ridge: float) -> None:
        eye = torch.eye(factors.parameters, dtype=torch.float64, device=factors.rows_ND.device)
        self.inverse = torch.linalg.inv(ridge * eye + _sum(factors, labelled_L))
        self.target = _sum(factors, all_A) / len(all_A)
        self.objective = self.inverse @ self.target @ self.inverse

    def change(self, factor_RP: Tensor, *, sign: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """An item comes (sign 1) or goes (-1); returns U, Z, A and the change of the middle that gains need."""
        u_PR, z_PR = self.inverse @ factor_RP.T, self.objective @ factor_RP.T
        eye = torch.eye(len(factor_RP), dtype=torch.float64, device=factor_RP.device)
        inner_RR = sign * torch.linalg.inv(eye + sign * (factor_RP @ u_PR))
        middle_RR = inner_RR @ (factor_RP @ z_PR) @ inner_RR
        self.inverse -= u_PR @ inner_RR @ u_PR.T
        cross = u_PR @ inner_RR @ z_PR.T
        self.objective += u_PR @ middle_RR @ u_PR.T - cross - cross.T
        return u_PR, z_PR, inner_RR, middle_RR

    def renew(self) -> None:
        """``Q`` from its definition."""
        self.objective = self.inverse @ self.target @ self.inverse


class _Inner:
    """``G_x = V_x M^-1 V_x'`` and ``B_x = V_x Q V_x'`` of some items: all that their gains need."""

    def __init__(self, g_NRR: Tensor, b_NRR: Tensor) -> None:
        self.g_NRR, self.b_NRR = g_NRR, b_NRR

    @classmethod
    def of_pool(cls, factors: _Factors, information: _Information) -> _Inner:
        """For all items, from the definition, in float32 products."""
        inverse, objective = information.inverse.float(), information.objective.float()
        g, b = [], []
        for part in factors.blocks(factors.rank * factors.parameters):
            rows_BD, scale_BRC = factors.rows_ND[part].float(), factors.scales(factors.probs_NC[part]).float()
            v_BRP = (scale_BRC[..., None] * rows_BD[:, None, None]).flatten(2)
            g.append((v_BRP @ inverse @ v_BRP.transpose(1, 2)).double())
            b.append((v_BRP @ objective @ v_BRP.transpose(1, 2)).double())
        return cls(torch.cat(g), torch.cat(b))

    @classmethod
    def of_picks(cls, v_SRP: Tensor, information: _Information) -> _Inner:
        """For a few items, in float64."""
        return cls(
            v_SRP @ information.inverse @ v_SRP.transpose(1, 2), v_SRP @ information.objective @ v_SRP.transpose(1, 2)
        )

    def change(self, a_NRR: Tensor, z_NRR: Tensor, inner_RR: Tensor, middle_RR: Tensor) -> None:
        """An item came or went; a and z are the products of V_x with its U and Z."""
        cross = a_NRR @ inner_RR @ z_NRR.transpose(1, 2)
        self.g_NRR -= a_NRR @ inner_RR @ a_NRR.transpose(1, 2)
        self.b_NRR += a_NRR @ middle_RR @ a_NRR.transpose(1, 2) - cross - cross.transpose(1, 2)

    def gains(self, *, sign: int) -> Tensor:
        """(N,): what the objective loses if an item comes (sign 1), or gains if it goes (-1)."""
        if self.g_NRR.shape[1] == 1:
            return (self.b_NRR / (1 + sign * self.g_NRR)).flatten()
        eye = torch.eye(self.g_NRR.shape[1], dtype=torch.float64, device=self.g_NRR.device)
        solved: Tensor = torch.linalg.solve(eye + sign * self.g_NRR, self.b_NRR)
        return solved.diagonal(dim1=1, dim2=2).sum(1)


def _forward(
    factors: _Factors, information: _Information, free_N: Tensor, most: int, rng: np.random.Generator
) -> list[int]:
    picks: list[int] = []
    inner = _Inner.of_pool(factors, information)
    while True:
        gain_N = inner.gains(sign=1).masked_fill_(~free_N, -torch.inf)
        pick = _first_of_best(gain_N, rng)
        picks.append(pick)
        free_N[pick] = False
        v_RP = factors.of(torch.tensor([pick], device=free_N.device))[0]
        u_PR, z_PR, inner_RR, middle_RR = information.change(v_RP, sign=1)
        if len(picks) == most:
            return picks
        report("choosing", len(picks), most)
        if len(picks) & (len(picks) - 1) == 0:
            information.renew()
            inner = _Inner.of_pool(factors, information)
        else:
            both_NRQ = factors.project(torch.cat([u_PR, z_PR], dim=1))
            inner.change(both_NRQ[..., : factors.rank], both_NRQ[..., factors.rank :], inner_RR, middle_RR)


def _pruned(factors: _Factors, information: _Information, picks: list[int], k: int, rng: np.random.Generator) -> Tensor:
    positions_S = torch.tensor(picks, dtype=torch.int64, device=factors.rows_ND.device)
    if len(picks) == k:
        return positions_S
    information.renew()
    v_SRP = factors.of(positions_S)
    inner = _Inner.of_picks(v_SRP, information)
    stays_S = torch.ones(len(picks), dtype=torch.bool, device=positions_S.device)
    for gone in range(len(picks) - k):
        loss_S = inner.gains(sign=-1).masked_fill_(~stays_S, torch.inf)
        place = _first_of_best(-loss_S, rng)
        stays_S[place] = False
        u_PR, z_PR, inner_RR, middle_RR = information.change(v_SRP[place], sign=-1)
        inner.change(v_SRP @ u_PR, v_SRP @ z_PR, inner_RR, middle_RR)
        report("pruning", gone, len(picks) - k)
    return positions_S[stays_S]


def _sum(factors: _Factors, positions_A: Tensor) -> Tensor:
    """Information of some items, (P, P) float64."""
    size = factors.parameters
    total = torch.zeros(size, size, dtype=torch.float64, device=factors.rows_ND.device)
    block = max(16, block_rows(factors.rows_ND, factors.rank * size))
    for some in torch.split(positions_A, block):
        v_XP = factors.of(some).flatten(0, 1)
        total += v_XP.T @ v_XP
    return total


def _first_of_best(score_N: Tensor, rng: np.random.Generator) -> int:
    """Place of the highest score, a random one of equals."""
    best = torch.nonzero(score_N == score_N.max()).flatten()
    return int(best[int(rng.integers(len(best)))])


def _check_memory(parameters: int, memory_gb: float) -> None:
    needed = _MATRICES * 8 * parameters**2 / 1e9
    if needed > memory_gb:
        raise ConfigError(
            f"the information of {parameters} parameters (classes x features) needs {needed:.1f} GB, allowed are "
            f"{memory_gb:g}: use likelihood='binary', features of fewer dimensions, or raise memory_gb"
        )
