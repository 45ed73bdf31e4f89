"""Training and the pool pass through labelwise against the same bare PyTorch loop, in one run.

Run: ``python benchmarks/speed/learner.py [--model lenet|resnet18_cifar] [--images N]``. Prints seconds and the ratio
package / bare; the bar is 1.10. Both sides see the same network, batches, optimiser and augmentation; the images are
random bytes, since speed is all that is measured. Both take turns, and the fastest turn of each counts, because
the machines this runs on are shared.

``--head`` prints instead what the head of ``learning_loss`` and its ranking loss add to the processor time of the same
training, of a small ResNet and of U-Net; the bar is 1.05.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
import torch
from torch.nn import functional as F

from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Examples, LearnerData, Phase
from labelwise.contracts.targets import Mask
from labelwise.data.arrays import ArraySource
from labelwise.learners.torch import TorchLearner
from labelwise.models import build
from labelwise.signals.plain import Embedding, Probs, Uncertainty
from labelwise.strategies.learning_loss import LearningLoss
from labelwise.tasks.classification import Classification
from labelwise.tasks.segmentation import Segmentation


def bare_training(net, images, labels, spec, phase, task) -> float:
    """A plain loop: shuffle, gather, augment, step."""
    device = next(net.parameters()).device
    data = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    targets = torch.tensor(labels)
    started = time.perf_counter()
    optimiser = torch.optim.AdamW(net.parameters(), lr=phase.lr, weight_decay=phase.weight_decay, fused=True)
    steps = phase.epochs * math.ceil(len(data) / phase.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    net.train()
    for _ in range(phase.epochs):
        for rows in torch.randperm(len(data)).split(phase.batch_size):
            batch = task.batch(data[rows], targets[rows].tolist(), train=True).to(device)
            loss = F.cross_entropy(net(batch.images), batch.targets)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            schedule.step()
    return time.perf_counter() - started


def bare_pass(net, images, spec, batch_size) -> float:
    """A plain loop: normalise, run, softmax, margin and entropy."""
    device = next(net.parameters()).device
    started = time.perf_counter()
    net.eval()
    out = []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            block = torch.from_numpy(images[start : start + batch_size]).permute(0, 3, 1, 2)
            probs = net(spec.normalise(block).to(device)).softmax(1)
            top = probs.topk(2, dim=1).values
            entropy = -(probs * probs.clamp_min(1e-12).log()).sum(1)
            out.append((probs.cpu(), (1 - (top[:, 0] - top[:, 1])).cpu(), entropy.cpu()))
    torch.cat([part[0] for part in out])
    return time.perf_counter() - started


def with_head(learner: TorchLearner, data: LearnerData, turns: int) -> None:
    """Processor time of a training with and without the head of ``learning_loss``, in turns; prints the ratio."""
    head = LearningLoss().head
    learner.fit(data, 0, auxiliaries=(head,))
    times: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(2 * turns):
        beside = bool(turn % 2) != bool(turn // 2 % 2)  # each goes first every other time
        started = time.process_time()
        report = learner.fit(data, turn, auxiliaries=(head,) if beside else ())
        times[beside].append((time.process_time() - started) / report.steps)
    alone, both = (min(times[beside]) * 1e3 for beside in (False, True))
    middle = np.median(times[True]) / np.median(times[False])
    name = type(learner.networks.nets[0]).__name__
    print(
        f"{name:16} {report.steps} steps: {both:.1f} ms a step with the head, {alone:.1f} without: "
        f"ratio {both / alone:.3f} of the fastest turns, {middle:.3f} of the medians; {len(times[True])} turns each"
    )


def unet(name: str, images: int, epochs: int) -> tuple[TorchLearner, LearnerData]:
    """A network for masks, on random images with random masks."""
    rng, task = np.random.default_rng(0), Segmentation(tuple("abcdefgh"), InputSpec((96, 128)))
    source = ArraySource(rng.integers(0, 256, (images, 96, 128, 3), dtype=np.uint8))
    masks = [torch.from_numpy(rng.integers(0, 8, (96, 128), dtype=np.uint8)) for _ in range(images)]
    few = Examples(source, tuple(source.ids), tuple(Mask(mask, (128, 96)) for mask in masks))
    empty = Examples(source, (), ())
    phases = [Phase(epochs=epochs, batch_size=8)]
    return TorchLearner(task, name, phases=phases), LearnerData(few, empty, empty, empty)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="lenet", choices=["lenet", "resnet18_cifar"])
    parser.add_argument("--images", type=int, default=20_000, help="pool size")
    parser.add_argument("--labels", type=int, default=2000, help="images trained on")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--head", action="store_true", help="the cost of learning loss instead")
    args = parser.parse_args()
    channels, side = (1, 28) if args.model == "lenet" else (3, 32)
    spec = InputSpec((side, side), channels)
    task = Classification(tuple("abcdefghij"), spec)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (args.images, side, side, channels), dtype=np.uint8)
    labels = rng.integers(0, 10, args.images).tolist()
    source = ArraySource(images)
    phase = Phase(epochs=args.epochs, batch_size=64)
    pool = Examples(source, tuple(source.ids))
    few = Examples(source, tuple(source.ids[: args.labels]), tuple(labels[: args.labels]))
    empty = Examples(source, (), ())
    data = LearnerData(few, empty, empty, empty)
    signals = frozenset({Probs(), Uncertainty("margin"), Uncertainty("entropy")})
    learner = TorchLearner(task, args.model, phases=[phase])
    learner.fit(LearnerData(few.take(range(64)), empty, empty, empty), 0)  # loads accelerate
    if args.head:
        with_head(TorchLearner(task, "resnet10_small", phases=[phase]), data, args.turns)
        for name in ("unet", "unet@lite0"):
            with_head(*unet(name, 64, args.epochs), args.turns)
        return
    times: dict[str, list[float]] = {name: [] for name in ("bare fit", "fit", "bare pass", "pass", "pass + embedding")}
    for turn in range(args.turns):
        net = build(args.model, 10, spec).to(learner.accelerator.device)
        if channels == 3:
            net = net.to(memory_format=torch.channels_last)
        times["bare fit"].append(bare_training(net, images[: args.labels], labels[: args.labels], spec, phase, task))
        times["fit"].append(learner.fit(data, turn).seconds)
        times["bare pass"].append(bare_pass(net, images, spec, learner.batch_size))
        for name, wanted in (("pass", signals), ("pass + embedding", signals | {Embedding()})):
            started = time.perf_counter()
            learner.collect(pool, wanted)
            times[name].append(time.perf_counter() - started)
    best = {name: min(found) for name, found in times.items()}
    print(
        f"{args.model}, {args.labels} labels x {args.epochs} epochs, pool {args.images}, "
        f"{torch.get_num_threads()} threads"
    )
    for ours, bare in (("fit", "bare fit"), ("pass", "bare pass"), ("pass + embedding", "bare pass")):
        print(f"{ours:18s} {best[ours]:7.3f} s   bare {best[bare]:7.3f} s   ratio {best[ours] / best[bare]:.3f}")


if __name__ == "__main__":
    main()
