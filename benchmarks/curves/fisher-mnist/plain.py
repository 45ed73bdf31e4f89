"""The published procedure on MNIST as one plain program that shares no code with the package: a second opinion.

One random head gives the gradients of the first purchase and another begins the training, all of the pool is pretrained
on, its best epoch counts, as published. Prints top-1 in % after each purchase of 125, and the rare digits bought.

    LABELWISE_DATA=... python benchmarks/curves/fisher-mnist/plain.py --seeds 0 1 2 --purchases 3
"""

from __future__ import annotations

import argparse
import copy
import gzip
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

BUDGET = 125


def read(name: str, head: int) -> Tensor:
    file = Path(os.environ["LABELWISE_DATA"]) / "mnist" / "MNIST" / "raw" / f"{name}-ubyte.gz"
    return torch.from_numpy(np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8, offset=head).copy())


class Net(nn.Module):
    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 10, 5), nn.Conv2d(10, 20, 5)
        self.hidden, self.head = nn.Linear(320, 50), nn.Linear(50, classes)

    def levels(self, images: Tensor) -> list[Tensor]:
        one = F.relu(F.max_pool2d(self.conv1(images), 2))
        two = F.relu(F.max_pool2d(self.conv2(one), 2))
        return [one, two, F.relu(self.hidden(two.flatten(1)))]

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.levels(images)[-1])


def rotated(images: Tensor) -> Tensor:
    return torch.cat([images.rot90(-turns, (2, 3)) for turns in range(4)]).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def predicted(net: Net, images: Tensor) -> Tensor:
    return torch.cat([net(part).argmax(1) for part in images.split(500)])


def train(net, images, labels, test, *, epochs, drop_at, every, turn=False):
    """SGD; the rate falls to a tenth before each epoch that ``drop_at`` divides. The best tested epoch stays."""
    net.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(net.parameters(), 0.05, momentum=0.5)
    accuracy = lambda: (predicted(net, test[0]) == test[1]).double().mean().item()  # noqa: E731
    best, state = accuracy(), copy.deepcopy(net.state_dict())
    for epoch in range(1, epochs + 1):
        if epoch % drop_at == 0:
            optimiser.param_groups[0]["lr"] *= 0.1
        for rows in torch.randperm(len(images)).split(25):
            batch = rotated(images[rows]) if turn else images[rows]
            target = torch.arange(4).repeat_interleave(len(rows)) if turn else labels[rows]
            optimiser.zero_grad()
            F.cross_entropy(net(batch), target).backward()
            optimiser.step()
        if (epoch % every == 0 or epoch == epochs) and (found := accuracy()) > best:
            best, state = found, copy.deepcopy(net.state_dict())
    net.load_state_dict(state)
    return best


def standardised(levels: list[Tensor]) -> Tensor:
    rows = [level.mean((2, 3)) if level.dim() == 4 else level for level in levels]
    return torch.cat([(row - row.mean(1, keepdim=True)) / (row.std(1, keepdim=True) + 1e-10) for row in rows], 1)


def descriptors(net: Net, images: Tensor, label_of) -> Tensor:
    """[z | g] under the class that ``label_of(rows, z)`` gives."""
    found = []
    for rows in torch.arange(len(images)).split(500):
        levels = net.levels(images[rows])
        z = standardised([level.detach() for level in levels])
        loss = F.cross_entropy(net.head(levels[-1]), label_of(rows, z), reduction="sum")
        found.append(torch.cat([z, standardised(list(torch.autograd.grad(loss, levels)))], 1))
    return torch.cat(found)


def chosen(net, judge, pool, reference, left) -> list[int]:
    """Rows of the pool that look like what ``judge`` gets wrong, by features and gradients of ``net``."""
    (images, _), (known, classes) = pool, reference
    of_known = descriptors(net, known, lambda rows, z: classes[rows])
    keys = of_known[:, : of_known.shape[1] // 2]
    of_pool = descriptors(net, images[left], lambda rows, z: classes[(z @ keys.T).argmax(1)])
    failures = of_known[predicted(judge, known) != classes]
    if len(failures) > BUDGET:
        centres = [int(torch.randint(len(failures), ()))]
        while len(centres) < BUDGET:
            closest = (failures @ failures[centres].T).max(1).values
            closest[centres] = torch.inf
            centres.append(int(closest.argmin()))
        failures = failures[centres]
    similar, at = (of_pool @ failures.T).topk(BUDGET, dim=0)
    listed = at.gather(1, similar.argsort(dim=1, descending=True)).flatten().tolist()
    return left[list(dict.fromkeys(listed))[:BUDGET]].tolist()


def run(seed: int, ratio: int, purchases: int, every: int, method: str) -> tuple[list[float], list[int]]:
    draw = np.random.default_rng(seed)
    torch.manual_seed(seed)
    pixels = (read(f"{part}-images-idx3", 16).view(-1, 1, 28, 28).float() / 255 for part in ("train", "t10k"))
    images, test_images = ((part - 0.1307) / 0.3081 for part in pixels)
    labels, test_labels = (read(f"{part}-labels-idx1", 8).long() for part in ("train", "t10k"))
    test = (test_images, test_labels)
    held = np.concatenate([draw.choice(np.flatnonzero(labels == c), 1000, replace=False) for c in range(10)])
    rows = np.setdiff1d(np.arange(len(labels)), held)
    if ratio > 1:
        common = rows[labels[rows] < 5]
        rare = draw.choice(rows[labels[rows] >= 5], int(len(common) / ratio), replace=False)
        rows = np.concatenate([common, rare])
    pool, reference = (images[rows], labels[rows]), (images[held], labels[held])

    turned = (rotated(test_images), torch.arange(4).repeat_interleave(len(test_images)))
    pretrained = Net(4)
    train(pretrained, pool[0], None, turned, epochs=8, drop_at=3, every=1, turn=True)
    body = {name: value for name, value in pretrained.state_dict().items() if not name.startswith("head")}
    net, first = Net(), Net()
    net.load_state_dict(body, strict=False)
    first.load_state_dict(body, strict=False)

    bought: list[int] = []
    accuracies, rare_bought = [], []
    for purchase in range(purchases):
        left = torch.tensor(np.setdiff1d(np.arange(len(rows)), bought))
        if method == "random":
            bought += left[torch.randperm(len(left))[:BUDGET]].tolist()
        else:
            bought += chosen(first if purchase == 0 else net, net, pool, reference, left)
        best = train(net, pool[0][bought], pool[1][bought], test, epochs=50, drop_at=15, every=every)
        accuracies.append(round(100 * best, 2))
        rare_bought.append(int((pool[1][bought] >= 5).sum()))
    return accuracies, rare_bought


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--ratio", type=int, default=100, help="of frequent to rare digits; 1: the pool as it comes")
    parser.add_argument("--purchases", type=int, default=10)
    parser.add_argument("--every", type=int, default=1, help="epochs between two looks at the test images")
    parser.add_argument("--method", choices=("nearest", "random"), default="nearest")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for seed in given.seeds:
        print(seed, *run(seed, given.ratio, given.purchases, given.every, given.method), flush=True)


if __name__ == "__main__":
    main()
