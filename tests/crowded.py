"""Pictures with several arrows each, as a COCO set of key points: subjects with boxes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import posed

SET = ("--set", f"task.points=[{', '.join(posed.POINTS)}]")


def picture(number: int, count: int) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Arrows side by side, and the key points and box of each."""
    tiles, things = [], []
    for place in range(count):
        seed = 8 * (10 * number + place) + 1  # those of posed.draw that show an arrow with all points
        while seed % 8 == 5 or seed % 7 == 3:
            seed += 1
        tile, (thing,) = posed.draw(seed)
        shift = place * posed.WIDTH
        tiles.append(tile)
        points = [[x + shift, y, seen] for x, y, seen in thing["points"]]
        xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
        things.append({"points": points, "box": [min(xs) - 4, min(ys) - 4, max(xs) + 4, max(ys) + 4]})
    return np.concatenate(tiles, 1), things


def write(
    folder: Path, counts: list[int], *, labelled: int | None = None, crowds: int = 0, boxes: bool = True
) -> dict[str, list[dict[str, Any]]]:
    """A COCO set: pictures, and ``person_keypoints`` where only the first ``labelled`` pictures have placed points.

    Returns:
        Name of each picture -> its arrows, points of all.
    """
    (folder / "images").mkdir(parents=True)
    truth, images, annotations = {}, [], []
    for number, count in enumerate(counts):
        array, things = picture(number, count)
        name = f"{number:03d}.png"
        Image.fromarray(array).save(folder / "images" / name)
        truth[name] = things
        images.append({"id": number + 1, "file_name": name, "width": array.shape[1], "height": array.shape[0]})
        for place, thing in enumerate(things):
            known = labelled is None or number < labelled
            crowd = int(number < crowds and place == 0)
            flat = [v for point in thing["points"] for v in (point if known else [0, 0, 0])]
            x1, y1, x2, y2 = thing["box"]
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": number + 1, "category_id": 1, "iscrowd": crowd,
                    "keypoints": flat, "num_keypoints": 3 if known else 0,
                    **({"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)} if boxes else {}),
                }
            )  # fmt: skip
    head = {"id": 1, "name": "arrow", "keypoints": list(posed.POINTS), "skeleton": [[1, 2], [1, 3]]}
    (folder / "person_keypoints.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": [head]})
    )
    return truth
