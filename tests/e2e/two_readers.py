"""Reads features into a shared cache and trains without labels, in however many processes a launcher starts."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

import tiny
from labelwise.contracts.learner import Examples, Phase
from labelwise.learners.backbones import Pixels
from labelwise.learners.features import FROZEN, FeatureSource, _Pass
from labelwise.processes import from_main, is_main, several, share
from labelwise.signals.cache import SignalCache


class Counting(Pixels):
    """Counts the images that this process reads."""

    read = 0

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.read += len(images)
        return super().__call__(images)


def main(out: Path) -> None:
    torch.set_num_threads(1)
    rank = share(2)[0] if several() else 0
    source = tiny.Broken(tiny.digits(71), ["img/0050.png"])
    view = tiny.view(source, source.ids, labels=False)
    backbone = Counting(side=8, axes=6, channels=1)
    backbone.prepare(Examples(source, tuple(source.ids)))
    found = {}
    features = FeatureSource(backbone, SignalCache(out / "cache"), batch_size=8)
    for name, ids in (("half", source.ids[:30]), ("all", source.ids), ("one", source.ids[40:41])):
        backbone.read = 0
        table = features.collect(tiny.view(source, ids, labels=False), frozenset({FROZEN}))
        found |= {f"{name} ids": np.array(table.ids), f"{name} rows": np.array(table[FROZEN])}
        found |= {f"{name} read": np.array(backbone.read), f"{name} failed": np.array(sorted(table.failed))}
    # nothing that can be read: the table is empty in all processes
    nothing = _Pass(features).collect(view.take([50]), frozenset({FROZEN}))
    found["nothing"] = np.array([len(nothing.ids), len(nothing.failed)])
    found["told"] = np.array(from_main(lambda: "by the main one" if is_main() else "by another"))
    try:
        from_main(lambda: 1 / 0)
    except ZeroDivisionError as error:
        found["error"] = np.array(str(error))
    phase = Phase(epochs=3, batches="unlabelled", batch_size=8, loss="rotation", lr=3e-3)
    learner = tiny.torch_learner(model=tiny.plain_net, phases=(phase,))
    report = learner.fit(tiny.learner_data(tiny.digits(45), ()), 0)
    found |= {f"weight {name}": value.numpy() for name, value in learner.networks.nets[0].state_dict().items()}
    found |= {"steps": np.array(report.steps), "loss": np.array(report.loss)}
    np.savez(out / f"process-{rank}.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
