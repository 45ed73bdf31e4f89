"""Steps of multiple-instance training against plain ones, and the gap's share of a pool pass; ratios within one run.

Run: python benchmarks/speed/mi_aod.py [--detector centre] [--size 160 208]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from copy import deepcopy

import torch

from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Phase
from labelwise.contracts.losses import batch_loss
from labelwise.contracts.targets import Boxes
from labelwise.contracts.task import Batch
from labelwise.learners.multiple_instance import Instances
from labelwise.learners.what_learns import choose, in_training_mode
from labelwise.schemes.mi_aod import MiAod
from labelwise.signals.disagreement import HeadGap
from labelwise.tasks.detection import Detection


def main() -> None:
    """Prints processor times and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", default="centre")
    parser.add_argument("--size", type=int, nargs=2, default=(160, 208))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    task = Detection(("a", "b", "c"), input=InputSpec(tuple(given.size)))
    plain, double = task.named_model(given.detector), task.named_model(f"{given.detector}+mil")
    height, width = given.size
    boxes = Boxes.of_pixels(
        [[x, y, x + 30, y + 30] for x in (10, 60, 110) for y in (10, 60, 110)], [0, 1, 2] * 3, size=(width, height)
    )
    images = torch.randn(given.batch, 3, height, width).contiguous(memory_format=torch.channels_last)
    told, untold = Batch(images, (boxes,) * given.batch), Batch(images, None)
    phases = {p.options["step"]: p for p in MiAod().phases(task.phases) if "step" in p.options}

    def step(model: torch.nn.Module, batch: Batch, loss: Instances | None) -> Callable[[], None]:
        def run() -> None:
            parts = task.loss(model, batch) if loss is None else loss(model, task, batch, 0.0)
            batch_loss({k: v for k, v in parts.items() if not k.startswith("told")}).backward()
            model.zero_grad(set_to_none=True)

        return run

    def pair(phase: Phase) -> Callable[[], None]:
        model, loss = deepcopy(double), Instances(**phase.options)
        choose(model, phase, {name: True for name, _ in model.named_parameters()})
        in_training_mode(model)
        steps = [step(model, batch, loss) for batch in (told, untold)]
        return lambda: [one() for one in steps] and None

    seeing = deepcopy(plain).eval(), deepcopy(double).eval()
    runs = {
        "plain step": step(plain.train(), told, None),
        "mil step": step(deepcopy(double).train(), told, Instances()),
        **{f"{name} pair": pair(phase) for name, phase in phases.items()},
        "pool pass": torch.no_grad()(lambda: task.outputs(seeing[0], untold, frozenset())),
        "gap": torch.no_grad()(lambda: HeadGap().compute(None, seeing[1], untold, "pool")),
    }
    found = measured(runs, given.repeats)
    print(f"{given.detector}, {height} x {width}, batches of {given.batch}, one thread")
    for name, seconds in found.items():
        base = "pool pass" if name == "gap" else "plain step"
        said = "" if name in ("plain step", "pool pass") else f"{seconds / found[base]:.2f} of a {base}"
        print(f"{name:14s} {seconds * 1e3:8.1f} ms  {said}".rstrip())
    print("a pair is a batch with labels and one without; the pool pass finds boxes, the gap is a pass of its own")


def measured(runs: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Least seconds of processor time of each; taken in turn, so that what else runs slows all alike."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(repeats + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if number:  # the first is a warm-up
                times[name].append(time.process_time() - start)
    return {name: min(taken) for name, taken in times.items()}


if __name__ == "__main__":
    main()
