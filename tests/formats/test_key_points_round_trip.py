"""Key points through every format that can hold them: hidden, outside, many subjects, and nothing at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.kind import Naming
from labelwise.contracts.record import Head
from labelwise.exchange.classes import ClassMap
from labelwise.formats import FORMATS
from labelwise.kinds.bodies import bodies
from labelwise.kinds.points import Points

KIND, CLASSES, SIZE = Points(), ("mouse",), (40, 30)
NAMES = ["nose", "left", "right"]


def subject(*points, **more):
    return {"class": "mouse", "points": [list(point) for point in points], "names": NAMES, **more}


def label(*subjects):
    return {"size": list(SIZE), "objects": list(subjects), "skeleton": [[0, 1], [0, 2]]}


#: of one picture each: a subject that is seen in part, two of them, one that nobody marked, nobody
SEEN = label(subject((1, 2, 2), (30, 20, 2), (4, 5.5, 2)))
HIDDEN = label(subject((1, 2, 2), (30, 20, 1), (4, 5.5, 1)))
OUTSIDE = label(subject((0, 0, 0), (30, 20, 2), (0, 0, 0)))
MANY = label(subject((1, 2, 2), (3, 4, 2), (5, 6, 2)), subject((11, 12, 2), (0, 0, 0), (15, 16, 2)))
EMPTY = label()
BOXED = label(
    subject((1, 2, 2), (30, 20, 1), (0, 0, 0), box=[1, 1, 31, 21]),
    subject((11, 12, 2), (3, 4, 2), (5, 6, 2), box=[3, 4, 11, 12]),
)
CASES = {"seen": SEEN, "hidden": HIDDEN, "outside": OUTSIDE, "many": MANY, "empty": EMPTY, "boxed": BOXED}
GUESS = label(subject((1, 2, 2), (30, 20, 2), (4, 5, 2), score=0.75, scores=[0.9, 0.5, 0.1]))


def raws_through(name, folder, raws, use="labelled", reads="data", classes=CLASSES):
    """What a format gives back of raw labels, image -> raw label; and what it said."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    records = []
    for image, raw in raws.items():
        Image.fromarray(np.zeros((SIZE[1], SIZE[0]), np.uint8)).save(folder / "pictures" / image)
        record = KIND.to_record(image, raw, classes)
        records.append(record if use == "labelled" else replace(record, state="untouched"))
    form = FORMATS.create(name)
    where = folder / f"out{form.ending}"
    how = Writing(use, "points", lambda image: str(folder / "pictures" / image), "copy")
    said = form.write(where, Head(classes), records, how)
    head, found = form.read(where, reads, Hints("points", classes if reads != "data" else ()))
    naming = Naming(ClassMap(head, classes, shown="it"), classes, head)
    answers = {}
    for record in found:
        if record.state in ("answered", "empty"):
            answers[(record.image or "").rsplit("/", 1)[-1]] = KIND.from_record(record, naming, SIZE)
    return answers, said


def placed(raw):
    """Names with places, subject by subject, as far as formats can differ: a point that is not seen has no place."""
    return sorted(
        sorted(
            (name, *((round(x, 4), round(y, 4), seen) if seen else (0, 0, 0)))
            for name, (x, y, seen) in zip(thing.get("names", NAMES), thing["points"], strict=True)
        )
        for thing in raw["objects"]
    )


def case(name, *left_out):
    return [pytest.param(name, key, id=f"{name}-{key}") for key in CASES if key not in left_out]


@pytest.mark.parametrize(
    ("name", "key"), [*case("coco"), *case("yolo"), *case("cvat"), *case("labelme"), *case("label_studio")]
)
def test_key_points_come_back(tmp_path, name, key):
    found, _ = raws_through(name, tmp_path, {f"{key}.png": CASES[key], "other.png": BOXED})
    stems = {image.rsplit(".", 1)[0]: raw for image, raw in found.items()}
    assert placed(stems[key]) == placed(CASES[key])
    assert {thing["class"] for thing in stems[key]["objects"]} <= {"mouse"}
    body = bodies(stems.values())["mouse"]
    assert body.names == tuple(NAMES)
