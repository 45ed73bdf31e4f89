"""Ultralytics and labelwise in turn: what it predicts says what to label next, what is labelled trains it again.

Run by the Python that has ultralytics (its licence is AGPL-3.0; labelwise is only called as a program):
LABELWISE=path/to/labelwise python ultralytics_loop.py FOLDER
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

from PIL import Image, ImageDraw

NAMES, COLOURS = ("red", "green"), ((220, 40, 40), (40, 200, 40))
ROUNDS, ASKED = 2, 8


def pictures(folder: Path, count: int = 32) -> dict[str, list[dict]]:
    """Your photos; here coloured rectangles, with what an annotator would draw."""
    rng, truth = random.Random(0), {}
    folder.mkdir(parents=True)
    for number in range(count):
        picture, boxes = Image.new("RGB", (64, 64), (30, 30, 30)), []
        for _ in range(rng.randrange(1, 4)):
            x, y, wide, high, cls = rng.randrange(40), rng.randrange(40), 22, 18, rng.randrange(2)
            ImageDraw.Draw(picture).rectangle((x, y, x + wide, y + high), fill=COLOURS[cls])
            boxes.append({"class": NAMES[cls], "bbox": [x, y, wide, high]})
        picture.save(folder / f"{number:02d}.png")
        truth[f"{number:02d}.png"] = boxes
    return truth


def labelwise(project: Path, *arguments: object) -> None:
    subprocess.run([os.environ.get("LABELWISE", "labelwise"), *map(str, arguments), "-p", str(project)], check=True)


def annotate(file: Path, truth: dict[str, list[dict]]) -> None:
    """People draw boxes; here the COCO file is filled in from the truth."""
    data = json.loads(file.read_text())
    number = {row["name"]: row["id"] for row in data["categories"]}
    data["annotations"] = []
    for image in data["images"]:
        image["answered"] = True
        for box in truth[image["file_name"]]:
            row = {"id": len(data["annotations"]) + 1, "image_id": image["id"], "bbox": box["bbox"], "iscrowd": 0}
            data["annotations"].append({**row, "category_id": number[box["class"]], "area": 1})
    file.write_text(json.dumps(data))


def predicted(weights: Path, photos: Path, folder: Path) -> Path:
    """Boxes of all photos, weak ones too, as Ultralytics' own JSON."""
    from ultralytics import YOLO

    found = YOLO(weights).predict(str(photos), conf=0.001, imgsz=64, verbose=False, stream=True)
    by_image = {Path(result.path).name: json.loads(result.to_json()) for result in found}
    file = folder / "predictions.json"
    file.write_text(json.dumps(by_image))
    return file


def main(folder: Path) -> None:
    from ultralytics import YOLO

    photos, project, picks = folder / "photos", folder / "project", folder / "picks.json"
    truth, file = pictures(photos), None
    labelwise(project, "init", photos, "--task", "detection", "--classes", ",".join(NAMES), "--labels", "none")
    for number in range(ROUNDS + 1):
        how = ["-s", "random"] if file is None else ["-s", "entropy_nms", "--predictions", file]
        labelwise(project, "suggest", "-n", ASKED, *how, "-o", picks)
        annotate(picks, truth)
        labelwise(project, "import", picks)
        print(f"after round {number}: {ASKED * (number + 1)} labelled", flush=True)
        if number == ROUNDS:
            break
        data = folder / f"set{number}"
        labelwise(project, "export", data, "--labelled", "--format", "yolo", "--images", "link")
        model = YOLO("yolov8n.yaml")
        model.train(data=str(data / "data.yaml"), epochs=2, imgsz=64, batch=8, workers=0, device="cpu",
                    plots=False, amp=False, val=False, verbose=False,
                    project=str(folder / "runs"), name=f"round{number}")  # fmt: skip
        file = predicted(folder / "runs" / f"round{number}" / "weights" / "last.pt", photos, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
