"""Your own torchvision detector, any backbone: what would each method have saved on your boxes?"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator

import labelwise as lw
from labelwise.report.summary import headline, summarise


def build(classes: int, spec: object) -> nn.Module:
    """Named ``torchvision_detector:build`` in labelwise.yaml, beside which this file lies."""
    first = nn.Sequential(nn.Conv2d(3, 16, 3, 4, 1), nn.BatchNorm2d(16), nn.ReLU())
    body = nn.Sequential(first, nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU())
    body.out_channels = 32  # one map as a tensor; a dict of several does as well
    return RetinaNet(body, classes, anchor_generator=AnchorGenerator(((16, 24),), ((0.5, 1.0, 2.0),)))


def shapes(folder: Path, count: int = 60) -> Path:
    """Pictures with one red or green rectangle, and a COCO file."""
    rng = np.random.default_rng(0)
    images, boxes = [], []
    for number in range(count):
        picture, cls = np.full((64, 64, 3), 40, np.uint8), int(rng.integers(2))
        x, y = rng.integers(0, 40, 2).tolist()
        picture[y : y + 20, x : x + 24, cls] = 220
        Image.fromarray(picture).save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 64})
        boxes.append({"id": number, "image_id": number, "category_id": cls, "bbox": [x, y, 24, 20]})
    categories = [{"id": 0, "name": "red"}, {"id": 1, "name": "green"}]
    data = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "boxes.json").write_text(json.dumps(data))
    return folder


def main() -> None:
    study = lw.compare(
        shapes(Path(tempfile.mkdtemp())),
        lambda task: lw.TorchLearner(
            task, lambda: build(2, task.input), phases=[lw.Phase(batch_size=8, min_steps=200, lr=5e-4)]
        ),
        task={"name": "detection", "augment": "none"}, input={"size": 64}, data={"test_share": 0.25}, again=0,
        strategies=["random", "entropy_nms"], initial=20, batch=10, rounds=1, seeds=1, full=False,
        out=tempfile.mkdtemp(),
    )  # fmt: skip
    for run in study.runs:
        print(f"{run.strategy}: {study.primary} {run.rounds[-1].metrics[study.primary]:.2f}")
    print(headline(summarise(study)))


if __name__ == "__main__":
    main()
