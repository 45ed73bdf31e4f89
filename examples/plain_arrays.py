"""Embeddings and probabilities from any model: one call, no project."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import labelwise as lw


def main() -> None:
    digits = load_digits()
    rng = np.random.default_rng(0)

    # nothing is labelled yet: typical images first
    labelled = lw.select("kmeans", budget=30, embeddings=digits.data, seed=0).positions

    for _ in range(5):
        model = LogisticRegression(max_iter=1000).fit(digits.data[labelled], digits.target[labelled])
        print(f"{len(labelled):3d} labels: accuracy {model.score(digits.data, digits.target):.3f}")
        probs = np.zeros((len(digits.data), 10))
        probs[:, model.classes_] = model.predict_proba(digits.data)
        picks = lw.select("margin", budget=20, probs=probs, labelled=labelled, seed=int(rng.integers(1 << 30)))
        labelled = np.concatenate([labelled, picks.positions])


if __name__ == "__main__":
    main()
