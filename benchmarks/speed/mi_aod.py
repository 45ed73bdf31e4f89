"""Steps of multiple-instance training against plain ones, and the gap's share of a pool pass; ratios within one run.

Run: python benchmarks/speed/mi_aod.py [--detector centre] [--size 160 208]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from labelwise.contracts.input import InputSpec
from labelwise.contracts.losses import batch_loss
from labelwise.contracts.targets import Boxes
from labelwise.contracts.task import Batch
from labelwise.learners.multiple_instance import Instances
from labelwise.learners.what_learns import choose, in_training_mode
from labelwise.schemes.mi_aod import MiAod
from labelwise.signals.disagreement import HeadGap
from labelwise.tasks.detection import Detection


def main() -> None:
    """Prints medians of processor time and their ratios."""
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

    print(f"{given.detector}, {height} x {width}, batches of {given.batch}, one thread")
    usual = measured(step(plain.train(), told, None), given.repeats)
    print(f"plain step {usual * 1e3:8.1f} ms")
    both = measured(step(double.train(), told, Instances()), given.repeats)
    print(f"mil step   {both * 1e3:8.1f} ms  {both / usual:.2f} of a plain one")
    learns = {name: True for name, _ in double.named_parameters()}
    for name, phase in phases.items():
        choose(double, phase, learns)
        in_training_mode(double)
        loss = Instances(**phase.options)
        pair = sum(measured(step(double, batch, loss), given.repeats) for batch in (told, untold))
        print(f"{name:10s} {pair * 1e3:8.1f} ms  {pair / usual:.2f} plain steps (a batch with labels and one without)")
    plain.eval(), double.eval()
    with torch.no_grad():
        passed = measured(lambda: task.outputs(plain, untold, frozenset()), given.repeats)
        gap = measured(lambda: HeadGap().compute(None, double, untold, "pool"), given.repeats)
    print(f"pool pass  {passed * 1e3:8.1f} ms, with boxes; the gap's {gap * 1e3:.1f} ms, {gap / passed:.2f} of it")


def measured(run: Callable[[], object], repeats: int) -> float:
    """Median seconds of processor time."""
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return sorted(times)[len(times) // 2]


if __name__ == "__main__":
    main()
