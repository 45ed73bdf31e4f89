"""The batch whose labels together would say most about the model, from stochastic predictions.

Dimension key: N items of the pool, M candidates, B candidates of a block, T draws, C classes, G answers to the batch so
far (one class for each of its items), K picks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from labelwise.errors import ConfigError, DataError
from labelwise.selection.arrays import ArrayLike, as_positions, as_tensor, check_budget, free_candidates
from labelwise.selection.progress import report
from labelwise.selection.ranking import check_finite

# Entries of a block of mixtures (G x B x C): what a core's cache holds (measured), and what fills a GPU.
_CPU_BLOCK, _CUDA_BLOCK = 1 << 18, 1 << 25
# Nats that are as good as none: the rounding of float32 entropies.
_NOTHING = 1e-6
# Candidates brought up to date at once: on a CPU few are ever wanted, on a GPU many cost no more than one.
_CPU_GROUP, _CUDA_GROUP = 16, 512


def batch_bald(
    draws_NTC: ArrayLike,
    k: int,
    *,
    candidates_M: ArrayLike | None = None,
    configurations: int = 2_000,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Greedy batch of largest mutual information between its labels, taken together, and the model.

    ``pick = argmax_i I(y_i; w | y_1 ... y_n)``, the increase of ``I(y_1 ... y_n, y_i; w)``, where ``w`` is one of the T
    draws, each as likely. Near-duplicates tell the same thing, so that one of them is enough: what BALD's top list
    misses. Each set is within 1 - 1/e of the best. All that T draws can tell is ln T nats; once the batch says that,
    what is left is picked at random, so that large batches want many draws.

    The expectation runs over all answers ``y_1 ... y_n`` while those with a probability above zero are at most
    ``configurations``: C^n of them as a rule. Beyond, over as many answers drawn from their joint distribution
    (stratified, each pick extending the answers of the one before), which is unbiased. Gains only fall as
    the batch grows (submodularity), so a candidate is looked at again only while its last gain is among the highest:
    exact for all answers, up to sampling noise beyond.

    Args:
        draws_NTC: probabilities of the same T draws for each item, any float type.
        k: number of picks, at most the number of candidates.
        candidates_M: positions that may be picked; all by default.
        configurations: answers that are told apart, at least 1.
        rng: draws answers, breaks ties.

    Returns:
        positions (k,) int64 in the order picked, and the gain of each in nats, (k,) float32, at least 0; their sum is
        the information of the batch.

    Raises:
        ConfigError: more picks than candidates, fewer than one configuration.
        DataError: not three dimensions, positions out of range or twice.
        NonFiniteScore: probabilities that are not finite.

    Cost:
        O(M T C) once, then O(G T C) for each candidate looked at, G at most ``configurations``; some hundreds
        a pick, all of them in the worst case. Memory beside the draws: a few megabytes and (T + C) G numbers.

    Example:
        >>> sure = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]  # one item, four draws
        >>> other = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
        >>> picks, gains = batch_bald([sure, sure, other], 2, rng=np.random.default_rng(0))
        >>> 2 in picks.tolist(), gains.round(decimals=3)
        (True, tensor([0.6930, 0.6930]))

    Reference:
        Kirsch, van Amersfoort, Gal, BatchBALD: Efficient and Diverse Batch Acquisition for Deep Bayesian Active
        Learning, NeurIPS 2019, algorithm 1 and equations 6 to 13. The paper draws answers anew for each pick and weighs
        them; here they are drawn once and extended, and what is averaged is the information given an answer, never
        negative, in place of a difference of entropies.
    """
    draws = as_tensor(draws_NTC)
    if draws.ndim != 3 or 0 in draws.shape[1:]:
        raise DataError(f"draws have shape {tuple(draws.shape)}; needed is (items, draws, classes), none of them 0")
    if configurations < 1:
        raise ConfigError(f"configurations is {configurations}; allowed is 1 and more")
    nobody = torch.empty(0, dtype=torch.int64, device=draws.device)
    candidates = free_candidates(candidates_M, nobody, len(draws))
    check_budget(k, len(candidates))
    # a random order, in which the first of equals wins
    candidates = candidates[torch.from_numpy(rng.permutation(len(candidates))).to(draws.device)]
    answers = telling = _Answers.none(draws.shape[1], draws.device)
    gain_M = answers.gains(draws, candidates)
    check_finite(gain_M)
    picks: list[int] = []
    gains: list[float] = []
    while len(picks) < k:
        if not len(telling.share_G):
            gain_M = gain_M.clamp_max(0)  # all that the draws can tell is told; picked rows keep minus infinity
        best = _best(telling, draws, candidates, gain_M)
        picks.append(int(candidates[best]))
        gains.append(float(gain_M[best]))
        gain_M[best] = -torch.inf
        if len(picks) < k:
            answers = answers.extended(draws[picks[-1]], configurations, rng)
            telling = answers.telling()
            report("choosing", len(picks), k)
    return as_positions(picks, len(draws), "picks", device=draws.device), torch.tensor(gains, device=draws.device)


def _best(answers: _Answers, draws_NTC: Tensor, candidates_M: Tensor, gain_M: Tensor) -> Tensor:
    """Place of the highest gain, after bringing up to date what might be it; old gains are upper bounds."""
    stale_M = gain_M > -torch.inf
    size = _CUDA_GROUP if draws_NTC.is_cuda else _CPU_GROUP
    fresh_M = torch.where(stale_M, -torch.inf, gain_M)
    while True:
        bound_M = torch.where(stale_M, gain_M, -torch.inf)
        best = fresh_M.argmax()
        top = bound_M.topk(min(size, len(bound_M)))
        if not bool(top.values[0] > fresh_M[best].clamp_min(0) + _NOTHING):
            return gain_M.argmax()
        group = top.indices[top.values > fresh_M[best]]
        gain_M[group] = fresh_M[group] = answers.gains(draws_NTC, candidates_M[group])
        stale_M[group] = False
        size *= 2


@dataclass(frozen=True)
class _Answers:
    """Answers to the batch so far: how likely each is, and what it leaves to believe of the draws."""

    share_G: Tensor
    """Probability of each answer, sum one; float64."""
    belief_GT: Tensor
    """Probability of each draw given the answer, rows sum to one; float64."""

    @classmethod
    def none(cls, draws: int, device: torch.device) -> _Answers:
        """Nothing is asked: one empty answer, all draws alike."""
        belief_T = torch.full((draws,), 1 / draws, dtype=torch.float64, device=device)
        return cls(torch.ones_like(belief_T[:1]), belief_T[None])

    def telling(self) -> _Answers:
        """Only those that leave something to be told: the rest leaves less than ``_NOTHING`` in all, so no gain."""
        left_G = self.share_G * _entropy(self.belief_GT)
        low_to_high = left_G.argsort()
        kept = low_to_high[left_G[low_to_high].cumsum(0) >= _NOTHING].sort().values
        return _Answers(self.share_G[kept], self.belief_GT[kept])

    def gains(self, draws_NTC: Tensor, rows_B: Tensor) -> Tensor:
        """(B,) float32: ``sum_g share_g (H[sum_t belief_gt p_bt] - sum_t belief_gt H[p_bt])``."""
        _, draws, classes = draws_NTC.shape
        belief_GT, share_G = self.belief_GT.float(), self.share_G.float()
        mean_T = (self.share_G @ self.belief_GT).float()
        found = [torch.empty(0, device=rows_B.device)]
        block = _CUDA_BLOCK if rows_B.is_cuda else _CPU_BLOCK
        for part_B in torch.split(rows_B, max(1, block // (max(len(share_G), draws) * classes))):
            probs_BTC = draws_NTC[part_B].float()
            # answers along the rows: one product, one logarithm and one sum down the columns for all candidates
            mixed = belief_GT @ probs_BTC.transpose(0, 1).reshape(draws, -1)
            whole_B = -(share_G @ _times_log(mixed)).view(-1, classes).sum(1)
            each_B = -_times_log(probs_BTC).sum(2) @ mean_T
            found.append((whole_B - each_B).clamp_min(0))
        return torch.cat(found)

    def extended(self, probs_TC: Tensor, configurations: int, rng: np.random.Generator) -> _Answers:
        """The answers to one more item; drawn from all there are if those are too many."""
        probs_TC = probs_TC.double()
        share_GC = self.share_G[:, None] * (self.belief_GT @ probs_TC)
        share_F = share_GC.flatten() / share_GC.sum()
        place_F = torch.nonzero(share_F > 0).flatten()
        share_F = share_F[place_F]
        if len(place_F) > configurations:
            place_F = place_F[_drawn(share_F, configurations, rng)]
            share_F = torch.full_like(share_F[:1], 1 / configurations).expand(configurations)
        classes = probs_TC.shape[1]
        belief_FT = self.belief_GT[place_F // classes] * probs_TC.T[place_F % classes]
        return _Answers(share_F, belief_FT / belief_FT.sum(1, keepdim=True))


def _entropy(probs: Tensor) -> Tensor:
    found: Tensor = torch.special.entr(probs).sum(-1)
    return found


def _times_log(probs: Tensor) -> Tensor:
    """``p ln p``, 0 at 0; four times as fast as ``torch.special.entr`` on a CPU."""
    return probs.clamp_min(1e-30).log_().mul_(probs)


def _drawn(share_F: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """``count`` places drawn by their shares, one from each of ``count`` equal strata of the running sum."""
    aim = (torch.arange(count, dtype=torch.float64) + torch.from_numpy(rng.random(count))) / count
    running_F = share_F.cumsum(0)
    return torch.searchsorted(running_F, aim.to(running_F) * running_F[-1], right=True).clamp_max(len(share_F) - 1)
