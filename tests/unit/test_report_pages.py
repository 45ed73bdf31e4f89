"""Pages, curves, galleries and tables on a made-up study; only here, never shipped."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from labelwise.report.records import RoundRecord, RunRecord, Study

CLASSES = [str(i) for i in range(10)]
LABELS = [20, 40, 60, 80, 100, 120]
SLOPES = {"random": 0.55, "margin": 0.72, "entropy": 0.60, "kmeans": 0.66}


def made_up_run(strategy, seed, slope, labels=tuple(LABELS), classes=tuple(CLASSES)):
    rng = np.random.default_rng([seed, len(strategy), sum(map(ord, strategy))])
    start = np.random.default_rng(seed).normal(0.45, 0.02)
    counts = dict.fromkeys(classes, labels[0] // len(classes))
    rounds = []
    for i, n in enumerate(labels):
        accuracy = float(min(0.99, start + slope * (1 - np.exp(-i / 2.5)) * 0.7 + (rng.normal(0, 0.008) if i else 0)))
        more = labels[i + 1] - n if i + 1 < len(labels) else 0
        picked = [f"images/{strategy}-{seed}-{i}-{k}.png" for k in range(more)]
        rounds.append(
            RoundRecord(
                round=i,
                labels=n,
                metrics={
                    "accuracy": accuracy,
                    "balanced_accuracy": accuracy - 0.01,
                    "worst_class_recall": accuracy - 0.2,
                    "nll": 2 - 1.6 * accuracy,
                    "ece": 0.08,
                },
                cost={"images": float(n), "seconds": 3.0 * n * (1.2 if strategy == "margin" else 1)},
                class_counts=dict(counts),
                picked=picked,
                scores=None if strategy == "random" else [1 - k / 100 for k in range(more)],
                fit_seconds=3.2,
                collect_seconds=0.4,
                select_seconds=0.01 if strategy != "kmeans" else 0.3,
                peak_mb=640.0,
                train_loss=0.1,
                fit_key=f"{seed}-{n}" if i == 0 else f"{strategy}-{seed}-{n}",
            )
        )
        for _ in range(more):
            counts[classes[int(rng.integers(len(classes)) * rng.random() ** abs(slope - 0.5))]] += 1
    return RunRecord(strategy=strategy, seed=seed, rounds=rounds)


def made_up_study(seeds=5, slopes=SLOPES, **changes):
    given = {
        "name": "Handwritten digits",
        "task": "classification",
        "primary": "accuracy",
        "runs": [made_up_run(s, seed, slope) for s, slope in slopes.items() for seed in range(seeds)],
        "full": [0.96, 0.965, 0.962, 0.958, 0.961][:seeds],
        "settings": {
            "learner": "features",
            "model": {"backbone": "pixels", "head": "linear"},
            "phases": [{"epochs": 30, "optimiser": "sgd", "lr": 0.1}],
            "initial": 20,
            "initial_set": "random",
            "batch": 20,
            "rounds": 5,
            "retrain": "scratch",
            "candidates": "all",
            "transforms": {"train": "none", "pool": "none"},
            "streams": ["split", "initial", "weights", "order", "selection"],
            "command": "labelwise compare digits/ --strategy random,margin,entropy,kmeans --seeds 5",
        },
        "environment": {"python": "3.11.9", "torch": "2.6.0", "cpu": "AMD EPYC", "gpu": None, "threads": 2},
        "pool": {
            "items": 1437,
            "test": 360,
            "classes": CLASSES,
            "class_counts": {c: 140 + 2 * i for i, c in enumerate(CLASSES)},
            "duplicates": 0.0,
        },
    }
    return Study(**(given | changes))


def digit(item_id):
    """A small made-up picture per id; one in 37 cannot be decoded."""
    seed = sum(map(ord, item_id))
    if seed % 37 == 0:
        return None
    rng = np.random.default_rng(seed)
    size = (8, 8) if seed % 2 else (60, 90)
    return Image.fromarray(rng.integers(0, 255, (*size, 3) if seed % 3 else size, dtype=np.uint8))
