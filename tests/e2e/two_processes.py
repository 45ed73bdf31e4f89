"""Trains, collects and saves; run alone or by a launcher that starts it twice. Writes what it found as one .npz."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

import tiny
from labelwise.contracts.learner import Phase
from labelwise.signals import Dropout, Embedding, HeadOutput, Probs, Uncertainty
from labelwise.signals.curvature import Curvature
from labelwise.signals.draws import DrawUncertainty
from labelwise.signals.probes import LossSlope

SIGNALS = (
    Probs(),
    Embedding(),
    Uncertainty("entropy"),
    DrawUncertainty("mean_std", Dropout(draws=3, after=("hidden",))),
    LossSlope(),
    LossSlope(curvature=Curvature("fisher", steps=3), biases=False, sketch=4),
    LossSlope(curvature=Curvature("lissa", 0.1, 4, 50.0, 3), layers=("last",)),
    HeadOutput("loss_head"),
)


def main(out: Path) -> None:
    torch.set_num_threads(1)
    source = tiny.digits(61)
    broken = tiny.Broken(source, [source.ids[50]])
    data = tiny.learner_data(tiny.Broken(source, [source.ids[3]]), source.ids[:27])
    # 26 = 3 x 8 + 2: the last batch is a small one
    phases = [
        Phase(epochs=2, batch_size=8, lr=3e-3),
        Phase(epochs=1, batch_size=8, trainable=("head",), optimiser="sgd", lr=0.01),
    ]
    learner = tiny.torch_learner(model=tiny.plain_net, phases=phases, batch_size=7)
    report = learner.fit(data, 0, auxiliaries=(tiny.LossHead(),))
    rank = learner.accelerator.process_index
    found = {
        "steps": np.array(report.steps),
        "loss": np.array(report.loss),
        "world": np.array(learner.accelerator.num_processes),
    }
    found |= {f"weight {name}": value.numpy() for name, value in learner.networks.nets[0].state_dict().items()}
    table = learner.collect(tiny.view(broken, source.ids[20:], labels=False), frozenset(SIGNALS), data=data, seed=3)
    found |= {f"rows {n}": np.asarray(table[signal]) for n, signal in enumerate(SIGNALS)}
    found["ids"], found["failed"] = np.array(table.ids), np.array(sorted(table.failed))
    # fewer items than processes: one of them has nothing to read
    one = learner.collect(tiny.view(source, source.ids[30:31], labels=False), frozenset({Probs()}))
    found["one"] = np.asarray(one[Probs()])
    metrics = learner.evaluate(tiny.view(source, source.ids[26:]))
    found["nll"] = np.array(metrics["nll"])
    (out / f"saved-by-{rank}").mkdir()
    learner.save(out / f"saved-by-{rank}")
    np.savez(out / f"process-{rank}.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
