"""Look again, or label new? Planted errors in labels on frozen features, a linear probe, and what finds and mends them.

``python benchmarks/auto/relabel.py [--seeds N] [--by margin --by random] [--out FILE.json]`` prints three tables.

1. *Found*: 1,000 random labels, of which 5 or 20 % are another class, drawn at random; precision among as many labels
   as are wrong, ranked as ``relabel`` does (by the five-fold probability of the label), by the margin to the likeliest
   other class with the suspects of confident learning first, and by the probability of the label of a head that has
   learnt from it. Random: the share of errors.
2. *Several people*: 1,000 images, each labelled by one to three of three people who err in 5, 15 and 40 % of their
   answers; labels whose majority (in a tie the last) is wrong, ranked by ActiveLab, by the probability of that
   label, and by how many disagree.
3. *The same number of answers*: 200 labels with errors, then five rounds of 100 answers by the same person, who errs as
   often when looking again: all of them new, or at most a share of them labels that look wrong. Accuracy on clean test
   images, and the share of wrong labels at the end.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import worlds
from suite import Head

from labelwise.selection.label_doubt import class_doubts, crowd_doubts
from labelwise.selection.uncertainty import margin

WORLDS = ("cifar-lite0/plain", "fashion/plain", "digits/plain")
RATES = (0.05, 0.2)
LABELS, START, ROUND, ROUNDS = 1000, 200, 100, 5
PEOPLE = (0.05, 0.15, 0.4)
Found = dict[tuple[Any, ...], list[float]]


def erring(truth: np.ndarray, rate: float, classes: int, rng: np.random.Generator) -> np.ndarray:
    """The same classes, each another one with this chance."""
    other = (truth + rng.integers(1, classes, len(truth))) % classes
    return np.where(rng.random(len(truth)) < rate, other, truth)


def probabilities(rows: torch.Tensor, labels: np.ndarray, of: torch.Tensor, classes: int) -> torch.Tensor:
    """What a head that learns from labelled rows says of others."""
    return Head(rows, torch.from_numpy(labels), classes).logits(of).softmax(1)


def out_of_sample(rows: torch.Tensor, labels: np.ndarray, classes: int, rng: np.random.Generator) -> torch.Tensor:
    """Of each row what a head says that has learnt from four other fifths."""
    found = torch.empty((len(rows), classes), dtype=rows.dtype)
    for part in np.array_split(rng.permutation(len(rows)), 5):
        rest = np.setdiff1d(np.arange(len(rows)), part)
        found[part] = probabilities(rows[rest], labels[rest], rows[part], classes).to(rows.dtype)
    return found


def ranked(score: torch.Tensor, first: torch.Tensor | None = None) -> np.ndarray:
    """Places by score, some before all others where that is wanted."""
    return np.lexsort((-score.numpy(), *(() if first is None else (~first.numpy(),))))


def precision(order: np.ndarray, wrong: np.ndarray) -> float:
    """How many of the first are wrong, of as many as are wrong."""
    return float(wrong[order[: wrong.sum()]].mean())


def finding(world: worlds.World, name: str, seed: int, found: Found) -> None:
    """Table 1."""
    for rate in RATES:
        rng = np.random.default_rng([seed, int(100 * rate)])
        some = rng.choice(len(world.classes_N), min(LABELS, len(world.classes_N)), replace=False)
        rows, truth = torch.from_numpy(world.pool_ND[some]), world.classes_N[some]
        labels = erring(truth, rate, world.classes, rng)
        wrong = labels != truth
        probs = out_of_sample(rows, labels, world.classes, rng)
        doubts = class_doubts(probs, labels)
        place = torch.arange(len(labels))
        others = probs.clone()
        others[place, torch.from_numpy(labels)] = -1.0
        seen = probabilities(rows, labels, rows, world.classes)
        orders = {
            "relabel": ranked(doubts.score_N),
            "suspects first": ranked(others.amax(1) - probs[place, torch.from_numpy(labels)], doubts.suspect_N),
            "learnt": (seen[place, torch.from_numpy(labels)]).argsort().numpy(),
            "random": rng.permutation(len(labels)),
        }
        for row, order in orders.items():
            found["found", name, rate, row].append(precision(order, wrong))
        suspects = doubts.suspect_N.numpy()
        found["suspects", name, rate, "precision"].append(float(wrong[suspects].mean()))
        found["suspects", name, rate, "recall"].append(float(suspects[wrong].mean()))
        found["suspects", name, rate, "share"].append(float(suspects.mean()))


def several(world: worlds.World, name: str, seed: int, found: Found) -> None:
    """Table 2."""
    rng = np.random.default_rng([seed, 2])
    some = rng.choice(len(world.classes_N), min(LABELS, len(world.classes_N)), replace=False)
    rows, truth = torch.from_numpy(world.pool_ND[some]), world.classes_N[some]
    said = np.stack([erring(truth, rate, world.classes, rng) for rate in PEOPLE], axis=1)
    for row, count in enumerate(rng.integers(1, 4, len(said))):
        said[row, rng.permutation(3)[count:]] = -1
    labels = np.empty(len(said), dtype=np.int64)
    for row, given in enumerate(said):
        votes = [int((given == one).sum()) if one >= 0 else -1 for one in given]
        labels[row] = given[max(range(3), key=lambda who: (votes[who], who))]
    wrong, probs = labels != truth, out_of_sample(rows, labels, world.classes, rng)
    crowd, alone = crowd_doubts(probs, labels, said), class_doubts(probs, labels)
    agree = ((said == labels[:, None]) & (said >= 0)).sum(1) / (said >= 0).sum(1)
    orders = {
        "ActiveLab": ranked(crowd.score_N),
        "label that counts alone": ranked(alone.score_N),
        "disagreement": np.lexsort((rng.random(len(said)), agree)),
    }
    for row, order in orders.items():
        found["several", name, row].append(precision(order, wrong))
    found["several", name, "wrong"].append(float(wrong.mean()))


def answering(world: worlds.World, name: str, seed: int, found: Found, by: str) -> None:
    """Table 3, new labels chosen by margin or at random."""
    pool, test = torch.from_numpy(world.pool_ND), torch.from_numpy(world.test_TD)
    truth, classes = world.classes_N, world.classes
    for rate in RATES:
        for share in (0.0, 0.2, 0.5):
            rng = np.random.default_rng([seed, int(100 * rate), 3])
            asked = list(rng.choice(len(truth), START, replace=False))
            labels = dict(zip(asked, erring(truth[asked], rate, classes, rng).tolist(), strict=True))
            again: set[int] = set()
            for number in range(ROUNDS + 1):
                held, given = np.array(list(labels)), np.array(list(labels.values()))
                head = Head(pool[held], torch.from_numpy(given), classes)
                hit = (head.logits(test).argmax(1).numpy() == world.classes_T).mean()
                answers = START + ROUND * number
                found["answers", name, rate, by, share, answers].append(float(hit))
                if number == ROUNDS:
                    break
                looked = np.empty(0, dtype=np.int64)
                if share:
                    doubts = class_doubts(out_of_sample(pool[held], given, classes, rng), given)
                    order = ranked(doubts.score_N)
                    fresh = [p for p in order if doubts.suspect_N[p] and held[p] not in again]
                    looked = held[np.array(fresh[: round(share * ROUND)], dtype=np.int64)]
                free = np.setdiff1d(np.arange(len(truth)), held)
                want = ROUND - len(looked)
                if by == "margin":
                    new = free[margin(head.logits(pool[free]).softmax(1)).topk(want).indices.numpy()]
                else:
                    new = rng.choice(free, want, replace=False)
                said = np.concatenate([looked, new])
                labels |= dict(zip(said.tolist(), erring(truth[said], rate, classes, rng).tolist(), strict=True))
                again |= set(looked.tolist())
            wrong = float(np.mean([labels[item] != truth[item] for item in labels]))
            found["wrong at the end", name, rate, by, share].append(wrong)


def main() -> None:
    """Runs all and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--by", action="append", choices=("margin", "random"), help="how new labels are chosen")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "labelwise" / "worlds")
    given = parser.parse_args()
    found: Found = defaultdict(list)
    for name in WORLDS:
        world = worlds.world(name, given.cache)
        for seed in range(given.seeds):
            finding(world, name, seed, found)
            several(world, name, seed, found)
            for by in given.by or ["margin"]:
                answering(world, name, seed, found, by)
            print(f"{name}, seed {seed}", flush=True)
        if given.out is not None:
            given.out.write_text(json.dumps([[*key, values] for key, values in found.items()]))
    for key, values in found.items():
        if key[0] != "answers" or key[-1] in (START, START + 2 * ROUND, START + ROUND * ROUNDS):
            spread = 100 * np.std(values, ddof=1) if len(values) > 1 else float("nan")
            print(*key, f"{100 * np.mean(values):.1f} ± {spread:.1f}", sep=" | ")


if __name__ == "__main__":
    main()
