"""How far an estimate from 50 test labels lies off: drawn by the model's doubt and weighted, against drawn at random.

``python benchmarks/auto/active_testing.py``: for each world a linear head on 50 and 200 labels chosen by margin is
judged on the rest of its pool, whose labels are known here: the true accuracy. Each way draws 100 test sets for each
of two seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from feature_sets import JUDGING, TUNING, WORLDS, FeatureSet, Head, load

from labelwise.estimating import sampled

LABELS = (50, 200)
DRAWS = 100
TESTED = 50
SEEDS = 2


def judged(world: FeatureSet, labels: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all images without a label: probability of the likeliest class, whether that is wrong, and minus log p."""
    rng = np.random.default_rng([seed, 3])
    known = rng.permutation(len(world.pool_ND))[:20].tolist()
    while True:
        head = Head(world.pool_ND[known], world.pool_classes_N[known], world.classes)
        free = np.setdiff1d(np.arange(len(world.pool_ND)), known)
        probs = head.probabilities(world.pool_ND[free])
        if len(known) >= labels:
            truth = world.pool_classes_N[free]
            nll = -np.log(np.maximum(probs[np.arange(len(free)), truth], 1e-12))
            return probs.max(1), (probs.argmax(1) != truth).astype(float), nll
        top = np.sort(probs, 1)
        more = min(labels - len(known), max(20, len(known)))
        known += free[np.argsort(top[:, -1] - top[:, -2], kind="stable")[:more]].tolist()


def measured(world: FeatureSet, ways: dict[str, Callable[..., sampled.Draws]]) -> list[dict[str, Any]]:
    """Error of every way, for every number of training labels."""
    found = []
    for labels in LABELS:
        if labels > 0.4 * len(world.pool_ND):
            continue
        rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
        trues: list[float] = []
        for seed in range(SEEDS):
            top_N, wrong_N, _ = judged(world, labels, seed)
            true = float(wrong_N.mean())
            trues.append(true)
            for name, way in ways.items():
                rng = np.random.default_rng([seed, labels])
                for _ in range(DRAWS):
                    made = way(1 - top_N, TESTED, rng)
                    weight_M = sampled.weights(made.chance_M, made.among)
                    one = sampled.estimate(wrong_N[made.rows_M], weight_M, made.among)
                    rows[name].append((one.value - true, float(one.low <= true <= one.high), one.high - one.low))
        line: dict[str, Any] = {"world": world.name, "labels": labels, "true": float(np.mean(trues))}
        for name, three in rows.items():
            off, held, wide = np.array(three).T
            line[name] = (100 * float(np.sqrt((off**2).mean())), 100 * held.mean(), 100 * wide.mean(), 100 * off.mean())
        found.append(line)
    return found


def at_random(expected_N: np.ndarray, count: int, rng: np.random.Generator) -> sampled.Draws:
    """Every image alike."""
    return sampled.draw(expected_N, count, rng, floor=1.0)


WAYS = {"random": at_random, "by doubt": sampled.draw}


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/labelwise/benchmarks")
    parser.add_argument("--half", choices=("tuning", "judging", "both"), default="both")
    given = parser.parse_args()
    heads = ["world", "labels", "accuracy", "error, random", "by doubt", "labels saved", "held, random", "by doubt"]
    print(f"| {' | '.join([*heads, 'width, random', 'by doubt'])} |")
    print("|---" + "|--:" * 9 + "|")
    every = []
    for name in {"tuning": TUNING, "judging": JUDGING, "both": WORLDS}[given.half]:
        for line in measured(load(name, given.cache), WAYS):
            random, active = line["random"], line["by doubt"]
            every.append((1 - line["true"], random, active))
            saved = f"{100 * (1 - (active[0] / random[0]) ** 2):.0f} %"
            cells = [name, f"{line['labels']:,}", f"{100 * (1 - line['true']):.1f}", *_pair(random, active, 0), saved]
            cells += [f"{cell} %" for cell in _pair(random, active, 1, 0)] + _pair(random, active, 2)
            print(f"| {' | '.join(cells)} |", flush=True)
    for low, high in ((0, 0.7), (0.7, 0.85), (0.85, 0.95), (0.95, 1.0)):
        some = [(random, active) for accuracy, random, active in every if low <= accuracy < high]
        if some:
            _summary(f"accuracy {low:.0%} to {high:.0%}, {len(some)} models", some)


def _summary(title: str, some: list[Any]) -> None:
    ratio = np.mean([(active[0] / random[0]) ** 2 for random, active in some])
    random, active = np.array(some).mean(0)
    print(
        f"{title}: error {random[0]:.2f} at random, {active[0]:.2f} by doubt, squared {ratio:.2f} of it; held "
        f"{random[1]:.0f} % and {active[1]:.0f} %, width {random[2]:.1f} and {active[2]:.1f}; mean off "
        f"{random[3]:+.2f} and {active[3]:+.2f}"
    )


def _pair(random: tuple[float, ...], active: tuple[float, ...], place: int, digits: int = 1) -> list[str]:
    return [f"{one[place]:.{digits}f}" for one in (random, active)]


if __name__ == "__main__":
    main()
