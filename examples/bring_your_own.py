"""Your own network on photos that wait for labels: all of them ranked by two methods, as tables for SuperAnnotate."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

import labelwise as lw


class Net(nn.Module):
    """Any module that gives one score per class."""

    def __init__(self, classes: int, spec: object) -> None:
        super().__init__()
        self.near = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU())
        self.far = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(32 * 4 * 4, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.far(self.near(images)).flatten(1))


def photos(folder: Path, count: int = 600) -> Path:
    """Pictures of digits, and a table of them: a quarter is labelled, a quarter is for tests, the others wait."""
    folder.mkdir(parents=True)
    digits, rows = load_digits(), [("id", "label", "split")]
    for number in range(count):
        name, split = f"{number:03d}.png", ("train", "test", "", "")[number % 4]
        Image.fromarray((digits.images[number] * 15).astype(np.uint8)).save(folder / name)
        rows.append((name, str(digits.target[number]) if split else "", split))
    with (folder / "known.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "known.csv"


def main() -> None:
    here = Path("bring_your_own")
    table, shape = photos(here / "photos"), {"size": 8, "channels": 1}

    # from here on: the part that labelwise needs
    learner = {"kind": "torch", "model": "bring_your_own:Net", "embedding": "far"}
    project = lw.init(table, project=here, input=shape, learner=learner)
    for strategy, options in (("learning_loss", {}), ("discriminative", {"features": "task"})):
        ranked = project.suggest("all", strategy=strategy, options=options)
        project.export(here / f"{strategy}.csv", "superannotate", asked=ranked)
        print(f"{here / strategy}.csv: {len(ranked)} images ranked", *ranked.notes, sep="; ")
    print(f"accuracy {project.evaluate().metrics['accuracy']:.2f}")


if __name__ == "__main__":
    main()
