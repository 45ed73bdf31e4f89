"""Memory of scoring by pixels: ten times the images must not need more of it.

python benchmarks/speed/pixels.py --images 700 --passes 20
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from machine import with_memory

from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Examples, LearnerData, Phase
from labelwise.contracts.source import Source
from labelwise.contracts.targets import Mask
from labelwise.learners.torch import TorchLearner
from labelwise.signals import Dropout, Uncertainty
from labelwise.signals.draws import DrawUncertainty
from labelwise.tasks.segmentation import Segmentation


class Drawn(Source):
    """As many images as are wanted, made when they are read."""

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        self.ids = tuple(f"{number:05d}" for number in range(count))
        self.size_HW = size

    def load(self, item_id: str) -> np.ndarray:
        return np.random.default_rng(int(item_id)).integers(0, 256, (*self.size_HW, 3)).astype(np.uint8)

    def content(self, item_ids: Sequence[str]) -> list[str]:
        return [""] * len(item_ids)


def main() -> None:
    """Scores a tenth of the images, then all of them, and prints the peak of memory above what was there before."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=700)
    parser.add_argument("--passes", type=int, default=20)
    parser.add_argument("--size", type=int, nargs=2, default=(120, 160), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--classes", type=int, default=11)
    arguments = parser.parse_args()
    size = tuple(arguments.size)
    task = Segmentation(tuple(map(str, range(arguments.classes))), InputSpec(size))
    learner = TorchLearner(task, phases=[Phase(epochs=1, batch_size=2)])
    source = Drawn(arguments.images, size)
    targets = tuple(Mask(task.input.prepare(source.load(item))[0] % arguments.classes, size[::-1]) for item in "01")
    none = Examples(source, ())
    learner.fit(LearnerData(Examples(source, source.ids[:2], targets), none, none, none), 0)
    passes = Dropout(arguments.passes)
    signals = frozenset(
        {
            Uncertainty("entropy", "class_balanced"),
            DrawUncertainty("predictive_entropy", passes),
            DrawUncertainty("bald", passes, "top_share"),
        }
    )
    one_pass = 4 * learner.batch_size * size[0] * size[1] * arguments.classes
    print(f"batches of {learner.batch_size} images: {one_pass / 2**20:.0f} MiB of probabilities a pass", flush=True)
    learner.collect(Examples(source, source.ids[: learner.batch_size]), signals)  # what is allocated once
    for count in (arguments.images // 10, arguments.images):
        seconds, above, table = with_memory(
            lambda count=count: learner.collect(Examples(source, source.ids[:count]), signals)
        )
        assert len(table.ids) == count
        print(f"{count} images, {arguments.passes} passes: {seconds:.0f} s, peak {above / 2**20:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
