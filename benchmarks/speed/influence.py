"""Influence scores against one backward pass for each image, and in units of a forward pass, in one run.

Run: ``python benchmarks/speed/influence.py [--images N] [--part classes|boxes|features|greedy|memory]``. Prints seconds
and ratios. Both sides take turns and the fastest turn of each counts, because the machines this runs on are shared; the
images are random, since speed is all that is measured. The bars: all weights of a small ResNet at least 2.5 times as
fast as the loop, its last layer at least 4; the prediction layers of RetinaNet-R18 at most 1.4 forward passes in all; a
linear head at most three passes over the features; greedy at most as much again as the scores. ``memory`` prints
the peak over 1,000 and over 10,000 images, each in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable

import numpy as np
import torch

from labelwise.contracts.input import InputSpec
from labelwise.contracts.losses import image_losses
from labelwise.contracts.signal import ProbeContext
from labelwise.contracts.task import Batch
from labelwise.learners.probed import blank_layer
from labelwise.models.torchvision_detectors import build_detector
from labelwise.processes import peak_mb, reset_peak
from labelwise.signals.probes import LossSlope
from labelwise.signals.slopes import Believed, chosen
from labelwise.tasks.classification import Classification
from labelwise.tasks.detection import Detection

BATCH, SIDE = 64, 192


def fastest(turns: int, *runs: Callable[[], object]) -> list[float]:
    """Seconds of each, the best of some turns that they take."""
    best = [float("inf")] * len(runs)
    for _ in range(turns):
        for number, run in enumerate(runs):
            started = time.perf_counter()
            run()
            best[number] = min(best[number], time.perf_counter() - started)
    return best


def scores(signal: LossSlope, task, net, known: Batch, pool: Batch) -> Callable[[], object]:
    """All scores, the direction being known."""
    context = ProbeContext(
        net,
        task,
        labelled=lambda: iter([known]),
        unlabelled=lambda: iter(()),
        reference=lambda: iter(()),
        rng=np.random.default_rng(0),
    )
    state, images = signal.prepare(context), torch.split(pool.images, BATCH)

    def run() -> torch.Tensor:
        with torch.no_grad():
            return torch.cat([signal.compute(state, net, Batch(part), "pool") for part in images])

    return run


def loop(task, net, pool: Batch, names) -> Callable[[], object]:
    """One forward and one backward pass for each image, as it is published."""
    weights = [dict(net.named_parameters())[name] for name in names]
    direction = [torch.randn_like(weight) for weight in weights]

    def run() -> list[float]:
        found = []
        for row in range(len(pool)):
            one = Batch(pool.images[row : row + 1])
            with torch.no_grad():
                said = task.outputs(net, one, frozenset())
            target = task.collate([p.target for p in task.predictions(said, 0.1)])
            loss = image_losses(task.loss(net, Batch(one.images, target))).sum()
            parts = torch.autograd.grad(loss, weights, allow_unused=True)
            found.append(sum(float((a * b).sum()) for a, b in zip(parts, direction, strict=True) if a is not None))
        return found

    return run


def _resnet():
    task = Classification(tuple("abcdefghij"), InputSpec((32, 32)))
    return task, task.named_model("resnet10_small").eval()


def classes(images: int) -> None:
    """A small ResNet, all weights and the last layer."""
    task, net = _resnet()
    pool, known = Batch(torch.randn(images, 3, 32, 32)), Batch(torch.randn(64, 3, 32, 32), torch.arange(64) % 10)

    def forward() -> None:
        with torch.inference_mode():
            for part in torch.split(pool.images, BATCH):
                net(part)

    for layers in ("all", "last"):
        signal = LossSlope(layers=(layers,), biases=False)
        names = chosen(net, task, (layers,), biases=False)
        ours, theirs, once = fastest(3, scores(signal, task, net, known, pool), loop(task, net, pool, names), forward)
        print(
            f"resnet10_small, {layers}: {ours:.3f} s, loop {theirs:.3f} s; loop / ours {theirs / ours:.2f}, "
            f"{ours / once:.2f} forward passes"
        )


def boxes(images: int) -> None:
    """RetinaNet, its prediction layers."""
    task = Detection(("a", "b", "c"), InputSpec((SIDE, SIDE)))
    net = build_detector("retinanet_resnet18", 3, task.input).eval()
    pool = Batch(torch.randn(images, 3, SIDE, SIDE))
    with torch.no_grad():
        said = task.predictions(task.outputs(net, Batch(pool.images[:2]), frozenset()))
    known = Batch(pool.images[:2], task.collate([prediction.target for prediction in said]))

    def forward() -> None:
        with torch.inference_mode():
            for part in torch.split(pool.images, BATCH):
                task.outputs(net, Batch(part), frozenset())

    signal = LossSlope(layers=("last",), biases=False, believed=Believed(confident=0.1))
    ours, once = fastest(3, scores(signal, task, net, known, pool), forward)
    print(f"retinanet_resnet18, prediction layers: {ours:.3f} s, forward {once:.3f} s: {ours / once:.2f} passes in all")


def features(rows: int) -> None:
    """A linear head: passes over the features, a pass being their product with the weights."""
    task = Classification(tuple("abcdefghij"), InputSpec((32, 32)))
    head, x = blank_layer(1280, 10), torch.randn(rows, 1280)
    torch.nn.init.normal_(head.weight)
    known = Batch(x[:500], torch.arange(500) % 10)
    signal = LossSlope(layers=("all",), biases=False)
    parts = torch.split(x, 8192)

    def one_pass() -> None:
        with torch.inference_mode():
            for part in parts:
                head(part).softmax(1)

    global BATCH
    kept, BATCH = BATCH, 8192
    ours, once = fastest(5, scores(signal, task, head, known, Batch(x)), one_pass)
    BATCH = kept
    print(f"linear head, {rows:,} x 1,280: {ours:.3f} s, a pass {once:.3f} s: {ours / once:.2f} passes")


def greedy(images: int) -> None:
    """What a sketch adds to the scores, and the picks."""
    from labelwise.selection.pursuit import pursued

    task, net = _resnet()
    pool, known = Batch(torch.randn(images, 3, 32, 32)), Batch(torch.randn(64, 3, 32, 32), torch.arange(64) % 10)
    plain, sketched = (LossSlope(biases=False, sketch=size) for size in (0, 32))
    alone, both = fastest(3, scores(plain, task, net, known, pool), scores(sketched, task, net, known, pool))
    rows = scores(sketched, task, net, known, pool)()
    (picking,) = fastest(3, lambda: pursued(rows[:, 0], rows[:, 5:], images // 5, rng=np.random.default_rng(0)))
    print(
        f"greedy, sketch 32: scores {alone:.3f} s, with sketch {both:.3f} s, {images // 5} picks {picking:.3f} s: "
        f"adds {(both - alone + picking) / alone:.2f} of the scores"
    )


def _peak(images: int) -> float:
    torch.set_num_threads(1)
    task, net = _resnet()
    known = Batch(torch.randn(64, 3, 32, 32), torch.arange(64) % 10)
    run = LossSlope(biases=False)
    context = ProbeContext(
        net, task, lambda: iter([known]), lambda: iter(()), lambda: iter(()), np.random.default_rng(0)
    )
    state = run.prepare(context)
    reset_peak()
    with torch.no_grad():
        for _ in range(images // 50):
            run.compute(state, net, Batch(torch.randn(50, 3, 32, 32)), "pool")
    return peak_mb()


def memory(images: int) -> None:
    """Highest memory while so many images and ten times as many are scored."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        few, many = (pool.apply(_peak, (count,)) for count in (images, 10 * images))
    print(f"peak: {images:,} images {few:.0f} MiB, {10 * images:,} images {many:.0f} MiB")


PARTS = {
    "classes": (classes, 128),
    "boxes": (boxes, 8),
    "features": (features, 50_000),
    "greedy": (greedy, 128),
    "memory": (memory, 1000),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int)
    parser.add_argument("--part", choices=PARTS)
    given = parser.parse_args()
    for name, (run, count) in PARTS.items():
        if given.part in (None, name):
            run(given.images or count)
