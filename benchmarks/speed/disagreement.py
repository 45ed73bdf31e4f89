"""Memory of a pool pass of `disagreement` over as many anchors as the published RetinaNet has, 91,260 an image.

The detector is a stand-in whose maps cost next to nothing, so that what is measured is what its heads say and what is
made of that: 20 classes, maps of 16 channels. Images of 608 x 800 pixels are made as they are read.

Run: python benchmarks/speed/disagreement.py [--images 1000] [--without]
With MALLOC_MMAP_THRESHOLD_=65536 the allocator gives back at once what is freed, and what is left is what is needed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Examples, LearnerData
from labelwise.contracts.signal import SignalRole
from labelwise.contracts.source import Source
from labelwise.contracts.task import Batch
from labelwise.learners.torch import TorchLearner
from labelwise.models.detectors import Dense, PixelBoxes, TwoSteps
from labelwise.models.multiple_instance import MultipleInstance
from labelwise.processes import peak_mb, reset_peak
from labelwise.signals.disagreement import HeadGap
from labelwise.tasks.detection import Detection

HEIGHT, WIDTH, CLASSES, ANCHORS = 608, 800, 20, 9
LEVELS = ((76, 100), (38, 50), (19, 25), (10, 13), (5, 7))


class StandIn(TwoSteps):
    """Maps are the pooled image; heads are one convolution. It finds no boxes."""

    exclusive = False
    class_head = "says"

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 1)
        self.says = nn.Conv2d(16, ANCHORS * CLASSES, 1)

    def maps(self, images: Tensor) -> list[Tensor]:
        return [self.stem(F.adaptive_avg_pool2d(images, size)) for size in LEVELS]

    def class_logits(self, head: nn.Module, maps: Sequence[Tensor]) -> Tensor:
        parts = [head(one).permute(0, 2, 3, 1).reshape(len(one), -1, CLASSES) for one in maps]
        return torch.cat(parts, 1)

    def say(self, maps: Sequence[Tensor], images: Tensor) -> Dense:
        raise NotImplementedError

    def decode(self, deltas_U4: Tensor, anchors_U4: Tensor) -> Tensor:
        raise NotImplementedError

    def box_losses(self, seen: Dense, image: int, boxes: PixelBoxes) -> Any:
        raise NotImplementedError

    def class_losses(self, logits_AC: Tensor, learnt: Any) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class Nothing(HeadGap):
    """Looks at no image: the pass itself."""

    name: ClassVar[str] = "nothing"

    def compute(self, state: None, model: nn.Module, batch: Batch, role: SignalRole) -> Tensor:
        return torch.zeros(len(batch.images))


class Made(Source):
    """Noise, made from the number of an image."""

    def __init__(self, count: int) -> None:
        self.ids = tuple(f"{number:06d}.png" for number in range(count))
        self.classes, self.truth, self.roles = (), {}, {}

    def load(self, item_id: str) -> np.ndarray:
        rng = np.random.default_rng(int(item_id[:6]))
        return np.kron(rng.integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8))

    def content(self, item_ids: Sequence[str]) -> list[str]:
        return list(item_ids)


def main() -> None:
    """Prints the highest memory of the pass above that of the model with one image, and the seconds an image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--without", action="store_true", help="the same pass without the gap")
    given = parser.parse_args()
    count = given.images
    torch.set_num_threads(1)
    task = Detection(tuple(f"class {number}" for number in range(CLASSES)), input=InputSpec((HEIGHT, WIDTH)))
    learner = TorchLearner(task, lambda: MultipleInstance(StandIn()), workers=0)
    learner.begin(0)
    source = Made(count)
    none = Examples(source, (), ())
    data, gap = LearnerData(none, none, none, none), Nothing() if given.without else HeadGap()
    reset_peak()
    before = peak_mb()
    start = time.process_time()
    table = learner.collect(Examples(source, source.ids), frozenset({gap}), data=data)
    taken, above = time.process_time() - start, peak_mb() - before
    anchors = sum(height * width * ANCHORS for height, width in LEVELS)
    print(
        f"{len(table.ids):,} images of {anchors:,} anchors, batches of {learner.batch_size}: {above:.0f} MiB above the"
    )
    print(f"model, {taken / count * 1e3:.0f} ms of processor time an image, the making of images included")


if __name__ == "__main__":
    main()
