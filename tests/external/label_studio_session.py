"""What two people do in Label Studio: every kind of answer that it has for pictures, on pictures drawn here.

Run as a program it saves the exports that ``tests/formats/data/label_studio`` holds::

    LABELWISE_LABEL_STUDIO=FOLDER FOLDER/bin/python tests/external/label_studio_session.py OUT

with the brush strokes packed by Label Studio's own library.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from label_studio_server import Person, invited, server
from PIL import Image, ImageDraw

SHAPES = """<View>
  <Image name="image" value="$image"/>
  <Choices name="scene" toName="image" choice="single"><Choice value="street"/><Choice value="park"/></Choices>
  <RectangleLabels name="box" toName="image" canRotate="true"><Label value="car"/><Label value="bus"/></RectangleLabels>
  <PolygonLabels name="outline" toName="image"><Label value="road"/></PolygonLabels>
  <EllipseLabels name="round" toName="image"><Label value="wheel"/></EllipseLabels>
  <KeyPointLabels name="point" toName="image">
    <Label value="nose" model_index="0"/><Label value="tail" model_index="1"/>
  </KeyPointLabels>
  <BrushLabels name="brush" toName="image"><Label value="sky"/></BrushLabels>
</View>"""
CLASSES = """<View>
  <Image name="picture" value="$image"/>
  <Choices name="choice" toName="picture" choice="single"><Choice value="cat"/><Choice value="dog, small"/></Choices>
</View>"""
APART = """<View>
  <Image name="image" value="$image"/>
  <Labels name="what" toName="image"><Label value="car"/><Label value="bus"/></Labels>
  <Rectangle name="where" toName="image"/>
  <Choices name="state" toName="image" perRegion="true"><Choice value="new"/><Choice value="old"/></Choices>
  <Choices name="topics" toName="image" choice="multiple"><Choice value="day"/><Choice value="rain"/></Choices>
  <TextArea name="note" toName="image"/>
</View>"""
#: name -> (width, height) as shown; the last one is stored lying on its side
PICTURES = {
    "day/a.png": (64, 48),
    "day/b ü.png": (60, 40),
    "night/a.png": (50, 40),
    "night/skip.png": (40, 30),
    "night/empty.png": (40, 30),
    "night/untouched.png": (40, 30),
    "turned.jpg": (40, 90),
}


def draw(root: Path) -> None:
    """The pictures: blocks of colour, a few hundred bytes each."""
    for n, (name, (width, height)) in enumerate(PICTURES.items()):
        image = Image.new("RGB", (width, height), (40 * n % 256, 90, 200))
        ImageDraw.Draw(image).rectangle((5, 6, 24, 15), fill=(230, 220, 30))
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if name == "turned.jpg":
            exif = Image.Exif()
            exif[0x0112] = 6
            image.transpose(Image.Transpose.ROTATE_90).save(file, exif=exif, quality=60)
        else:
            image.save(file)


def strokes(size: tuple[int, int]) -> np.ndarray:
    """What the brush paints: two blocks, one of them with a hole, and a single pixel."""
    width, height = size
    cover = np.zeros((height, width), bool)
    cover[2:12, 3:20] = True
    cover[5:7, 8:10] = False
    cover[height - 1, width - 1] = True
    cover[20:23, 0:width:2] = True
    return cover


def shape(kind: str, name: str, control: str, label: str, size: tuple[int, int], **value: Any) -> dict[str, Any]:
    """One result as the page writes it."""
    value[kind] = [label]
    return {
        **{"id": name, "from_name": control, "to_name": "image", "type": kind, "origin": "manual", "value": value},
        **{"original_width": size[0], "original_height": size[1], "image_rotation": 0},
    }


def everything(size: tuple[int, int], runs: list[int]) -> list[dict[str, Any]]:
    """One of each: choice, box, turned box, outline, ellipse, two points, brush."""
    width, height = size

    def percent(x: float, y: float) -> dict[str, float]:
        return {"x": 100 * x / width, "y": 100 * y / height}

    across, down = (lambda value: 100 * value / width), (lambda value: 100 * value / height)
    corners = [[across(10), down(10)], [across(30.5), down(10)], [across(20), down(25.25)]]
    plain = {**percent(5, 6), "width": across(20), "height": down(10), "rotation": 0}
    turned = {**percent(30, 10), "width": across(12), "height": down(8), "rotation": 30}
    edge = {**percent(width - 10, height - 9), "width": 99.9999998 - across(width - 10), "height": down(9)}
    ellipse = {**percent(20, 20), "radiusX": across(6), "radiusY": down(4), "rotation": 0}
    choice = {"id": "c1", "from_name": "scene", "to_name": "image", "type": "choices", "origin": "manual"}
    return [
        {**choice, "value": {"choices": ["park"]}},
        shape("rectanglelabels", "b1", "box", "car", size, **plain),
        shape("rectanglelabels", "b2", "box", "bus", size, **turned),
        shape("rectanglelabels", "b3", "box", "car", size, **edge, rotation=0),
        shape("polygonlabels", "p1", "outline", "road", size, points=corners, closed=True),
        shape("ellipselabels", "e1", "round", "wheel", size, **ellipse),
        shape("keypointlabels", "k1", "point", "nose", size, **percent(12, 8), width=0.5),
        {**shape("keypointlabels", "k2", "point", "tail", size, **percent(22, 9), width=0.5), "parentID": "b1"},
        shape("brushlabels", "m1", "brush", "sky", size, format="rle", rle=runs),
    ]


def address(name: str) -> str:
    return "/data/local-files/?d=" + quote(f"pool/{name}", safe="/")


def shapes(owner: Person, other: Person, files: Path, runs: dict[str, list[int]]) -> int:
    """A project of all shapes; gives its number.

    Args:
        owner: draws most of it.
        other: gives a second opinion.
        files: folder of the pictures.
        runs: picture -> brush strokes as run lengths.
    """
    project = owner.project("all shapes", SHAPES, files)
    guess = [shape("rectanglelabels", "g1", "box", "car", (64, 48), x=10, y=10, width=25, height=50, rotation=0)]
    tasks: list[dict[str, Any]] = [{"data": {"image": address(name)}} for name in PICTURES]
    tasks[0]["predictions"] = [{"model_version": "round-1", "score": 0.25, "result": [{**guess[0], "score": 0.75}]}]
    tasks[5]["predictions"] = [{"model_version": "round-1", "score": 0.5, "result": guess}]
    numbers = dict(zip(PICTURES, owner.tasks(project, tasks), strict=True))
    owner.annotate(numbers["day/a.png"], everything((64, 48), runs["day/a.png"]), 12.5)
    owner.annotate(numbers["turned.jpg"], everything((40, 90), runs["turned.jpg"]), 8)
    left, changed = {**guess[0], "origin": "prediction"}, {**guess[0], "id": "g2", "origin": "prediction-changed"}
    owner.annotate(numbers["day/b ü.png"], [{**left, "original_width": 60, "original_height": 40}], 2)
    owner.annotate(numbers["night/a.png"], [{**changed, "original_width": 50, "original_height": 40}], 3)
    owner.annotate(numbers["night/skip.png"], [], 4, skip=True)
    owner.annotate(numbers["night/empty.png"], [], 5)
    time.sleep(0.1)
    other.annotate(numbers["day/b ü.png"], everything((60, 40), runs["day/b ü.png"])[1:2], 20)
    other.json(f"/api/tasks/{numbers['night/untouched.png']}/drafts", {"result": guess, "lead_time": 3})
    return project


def classes(owner: Person, other: Person, files: Path) -> int:
    """A project of classes."""
    project = owner.project("classes", CLASSES, files)
    tasks = [{"data": {"image": address(name), "labelwise_id": f"set/{name}"}} for name in PICTURES]
    numbers = owner.tasks(project, tasks)

    def choice(word: str) -> list[dict[str, Any]]:
        return [{"from_name": "choice", "to_name": "picture", "type": "choices", "value": {"choices": [word]}}]

    owner.annotate(numbers[0], choice("cat"), 1.5)
    owner.annotate(numbers[1], choice("dog, small"), 2.5)
    owner.annotate(numbers[2], choice("cat"))
    time.sleep(0.1)
    other.annotate(numbers[2], choice("dog, small"), 3)
    owner.annotate(numbers[3], [], 4, skip=True)
    owner.annotate(numbers[4], [], 5)
    return project


def apart(owner: Person, files: Path) -> int:
    """A project whose boxes and labels are two controls, with choices about a box, several choices, and a text."""
    project = owner.project("controls apart", APART, files)
    numbers = owner.tasks(project, [{"data": {"image": address(name)}} for name in PICTURES][:2])
    size = {"original_width": 64, "original_height": 48, "image_rotation": 0, "to_name": "image", "origin": "manual"}
    place = {"x": 12.5, "y": 25, "width": 50, "height": 25, "rotation": 0}
    owner.annotate(
        numbers[0],
        [
            {**size, "id": "r1", "from_name": "where", "type": "rectangle", "value": place},
            {**size, "id": "r1", "from_name": "what", "type": "labels", "value": {**place, "labels": ["bus"]}},
            {**size, "id": "r1", "from_name": "state", "type": "choices", "value": {**place, "choices": ["old"]}},
            {"from_name": "topics", "to_name": "image", "type": "choices", "value": {"choices": ["day", "rain"]}},
            {"from_name": "note", "to_name": "image", "type": "textarea", "value": {"text": ["a\nb"]}},
        ],
    )
    owner.annotate(numbers[1], [])
    return project


def save(out: Path, owner: Person, other: Person, files: Path, runs: dict[str, list[int]]) -> None:
    """Plays the session and writes what the server exports."""
    kinds = {"JSON": "json", "JSON_MIN": "min.json", "CSV": "csv", "TSV": "tsv"}
    pool = files / "pool"
    numbers = {
        "shapes": shapes(owner, other, pool, runs),
        "classes": classes(owner, other, pool),
        "apart": apart(owner, pool),
    }
    for name, number in numbers.items():
        for kind, ending in kinds.items():
            (out / f"{name}.{ending}").write_bytes(owner.export(number, kind))
    for kind, ending in {"COCO": "coco.zip", "YOLO": "yolo.zip", "VOC": "voc.zip"}.items():
        (out / f"shapes.{ending}").write_bytes(owner.export(numbers["shapes"], kind, everything=False))


if __name__ == "__main__":
    from label_studio_sdk.converter.brush import mask2rle

    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "files"
        draw(root / "pool")
        painted = {name: list(map(int, mask2rle(255 * strokes(size)))) for name, size in PICTURES.items()}
        (Path(folder) / "data").mkdir()
        with server(Path(folder) / "data", root) as first:
            save(place, first, invited(first, "second@example.org"), root, painted)
