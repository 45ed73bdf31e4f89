"""Your own PyTorch data set and network: which strategy would have saved labels on them?"""

from __future__ import annotations

import tempfile

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

import labelwise as lw
from labelwise.report.summary import headline, summarise


class Net(nn.Module):
    """Any module that gives one score per class."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.head = nn.Linear(16 * 4 * 4, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images))


def main() -> None:
    digits = load_digits()
    images = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None]
    dataset = TensorDataset(images, torch.tensor(digits.target))

    # from here on: the part that labelwise needs
    source = lw.from_dataset(dataset, classes=[str(digit) for digit in range(10)])
    study = lw.compare(
        source,
        lambda task: lw.TorchLearner(task, Net, embedding="body"),
        task={"name": "classification", "augment": "none"}, input={"size": 8, "channels": 1},
        strategies=["random", "margin"], initial=30, batch=30, rounds=1, seeds=2, full=False, out=tempfile.mkdtemp(),
    )  # fmt: skip
    for run in study.runs:
        print(f"{run.strategy}: accuracy {run.rounds[-1].metrics['accuracy']:.2f}")
    print(headline(summarise(study)))


if __name__ == "__main__":
    main()
