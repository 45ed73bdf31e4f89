"""A real Ultralytics trains on what is written, and what it predicts is read.

``tests/external/ultralytics.sh FOLDER`` makes its environment, ``LABELWISE_ULTRALYTICS`` names it; without it these
tests are skipped.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.record import Box, Head, Points, Polygon, Record, Seen, Where
from labelwise.errors import FormatError
from labelwise.exchange.incoming import Incoming, Known, Wishes
from labelwise.formats.coco_results import CocoResults
from labelwise.formats.shapes import extent, in_pixels
from labelwise.formats.ultralytics_json import UltralyticsJson
from labelwise.formats.yolo import Yolo
from labelwise.kinds import KINDS

ENVIRONMENT = os.environ.get("LABELWISE_ULTRALYTICS", "")
pytestmark = [
    pytest.mark.ultralytics,
    pytest.mark.skipif(not ENVIRONMENT, reason="LABELWISE_ULTRALYTICS names no environment with Ultralytics"),
]
#: words that YAML takes for something else, in another order than the alphabet's
CLASSES = ("yes", "no")
COLOURS = {"yes": (220, 40, 40), "no": (40, 200, 40)}
SIZE = (96, 64)
SPLITS = {"train": 8, "val": 2, "test": 2}


def yolo(folder: Path, *arguments: object) -> str:
    """Runs its command from elsewhere; gives what it printed."""
    words = [str(argument) for argument in arguments]
    fixed = ("device=cpu", "imgsz=64", f"project={folder / 'runs'}", "exist_ok=True", "plots=False")
    environment = os.environ | {"YOLO_CONFIG_DIR": str(folder), "YOLO_OFFLINE": "true", "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [
            f"{ENVIRONMENT}/bin/yolo",
            *(word for word in words if "=" not in word),
            *fixed,
            *(w for w in words if "=" in w),
        ],
        capture_output=True,
        text=True,
        cwd="/",
        env=environment,
        check=False,
        timeout=1800,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return re.sub(r"\x1b\[[0-9;]*[mK]", "", done.stdout + done.stderr)


def scenes(folder: Path, task: str) -> list[Record]:
    """Two rectangles on each picture, with what the task asks of them."""
    rng = random.Random(0)
    records = []
    for number, split in enumerate(word for word, count in SPLITS.items() for _ in range(count)):
        name = f"cam {number % 2}/{number}.png"
        picture = Image.new("RGB", SIZE, (30, 30, 30))
        objects = []
        for cls in ("no", "yes"):
            x, y, wide, high = rng.randrange(60), rng.randrange(36), rng.randrange(18, 32), rng.randrange(14, 26)
            ImageDraw.Draw(picture).rectangle((x, y, x + wide, y + high), fill=COLOURS[cls])
            objects.append(_seen(cls, Box(x, y, x + wide, y + high), task))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / name)
        records.append(Record(Where(name), name, size=SIZE, objects=tuple(objects), split=split))
    return records


def _seen(cls: str, box: Box, task: str) -> Seen:
    if task in ("segment", "obb"):
        corners = (box.x1, box.y1, box.x2, box.y1, box.x2, box.y2, box.x1, box.y2)
        middle = ((box.x1 + box.x2) / 2, box.y1) if task == "segment" else ()
        return Seen(cls, None, Polygon(((*corners[:2], *middle, *corners[2:]),)))
    points = Points(((box.x1, box.y1, 2), (box.x2, box.y2, 2), (0, 0, 0)), ("first", "last", "none"))
    return Seen(cls, box, points=points if task == "pose" else None)


def written(folder: Path, task: str, images: str = "link") -> Path:
    records = scenes(folder / "pool", task)
    kind = {"detect": "boxes", "pose": "points"}.get(task, "masks")
    how = Writing("labelled", kind, lambda name: str(folder / "pool" / name), images)
    extra = {"flip_idx": ["1", "0", "2"]}
    assert Yolo().write(folder / "set", Head(CLASSES, extra=extra), records, how) == []
    return folder / "set"


def trained(folder: Path, task: str, images: str = "link") -> Path:
    """Weights after one epoch; the set is read without a complaint."""
    data = written(folder, task, images) / "data.yaml"
    suffix = {"segment": "-seg", "pose": "-pose", "obb": "-obb"}.get(task, "")
    told = yolo(
        folder,
        *(task, "train", f"model=yolov8n{suffix}.yaml", f"data={data}", "epochs=1", "batch=4", "workers=0"),
        *("amp=False", "name=train"),
    )
    for split in ("train", "val"):
        assert re.search(rf"labels/{split}\S* .*\.\.\. {SPLITS[split]} images, 0 backgrounds, 0 corrupt", told), told[
            -3000:
        ]
    for word in ("ignoring corrupt", "duplicate labels removed", "No labels found"):
        assert word not in told
    return folder / "runs" / "train" / "weights" / "last.pt"


def predictions(folder: Path, task: str, weights: Path, *, conf: bool = True) -> Path:
    source = folder / "flat"
    source.mkdir(exist_ok=True)
    for picture in (folder / "set" / "images" / "val").rglob("*.png"):
        shutil.copy(picture, source)
    yolo(
        folder,
        *(task, "predict", f"model={weights}", f"source={source}", "conf=0.0001", "max_det=6", "save_txt=True"),
        *(f"save_conf={conf}", "save=False", f"name=predict{conf}"),
    )
    return folder / "runs" / f"predict{conf}"


def test_a_written_set_trains_and_predictions_come_back(tmp_path):
    weights = trained(tmp_path, "detect", "copy")
    found = predictions(tmp_path, "detect", weights)
    assert Yolo().sniff(found, "predictions").sure >= 0.6
    _, records = Yolo().read(found, "predictions", Hints())
    by_name = {record.image: record.objects for record in records}
    assert set(by_name) <= {"8", "9"}
    assert by_name
    told = yolo(
        tmp_path,
        *("detect", "val", f"model={weights}", f"data={tmp_path}/set/data.yaml", "save_json=True", "conf=0.0001"),
        *("workers=0", "name=val", "max_det=6"),
    )
    assert "0 corrupt" in told
    rows = json.loads((tmp_path / "runs" / "val" / "predictions.json").read_text())
    assert {str(row["image_id"]) for row in rows} <= {"8", "9"}
    # one model, two files: classes count from 0 in the one, from 1 in the other
    for name, objects in by_name.items():
        mine = [(seen.cls, round(seen.score, 3)) for seen in objects]
        theirs = [(row["category_id"] - 1, round(row["score"], 3)) for row in rows if str(row["image_id"]) == name]
        assert {cls for cls, _ in mine} <= {0, 1}
        assert abs(max(score for _, score in mine) - max(score for _, score in theirs)) < 0.01
    without = predictions(tmp_path, "detect", weights, conf=False)
    with pytest.raises(FormatError, match="save_conf=True"):
        Yolo().read(without, "predictions", Hints())
    # corrected by people they are labels
    _, records = Yolo().read(without, "answers", Hints())
    assert sum(len(record.objects) for record in records) > 0


@pytest.mark.parametrize("task", ["segment", "pose", "obb"])
def test_sets_of_other_tasks_train_too(tmp_path, task):
    weights = trained(tmp_path, task)
    found = predictions(tmp_path, task, weights)
    texts = list((found / "labels").glob("*.txt"))
    if not texts:  # a net that has seen one epoch may find no outline at all
        assert task == "segment"
        return
    if task == "pose":
        with pytest.raises(FormatError, match="kpt_shape"):
            Yolo().read(found, "predictions", Hints())
        shutil.copy(tmp_path / "set" / "data.yaml", found)
    head, records = Yolo().read(found, "predictions", Hints(kind="masks" if task == "segment" else None))
    for record in records:
        for seen in record.objects:
            assert 0 <= seen.score <= 1
            assert seen.cls in (0, 1)
            assert (seen.points is not None) == (task == "pose")
            assert (seen.outline is not None) == (task != "pose")
    assert head.classes == (CLASSES if task == "pose" else ())


#: run by the environment's own Python: the results of a model for each picture of a folder
RESULTS = """
import json, sys
from pathlib import Path
from ultralytics import YOLO
weights, folder, out = sys.argv[1:]
model = YOLO(weights)
found = [(str(path), model.predict(path, conf=1e-4, max_det=6, imgsz=64, verbose=False)[0])
         for path in sorted(Path(folder).rglob("*.png"))]
out = Path(out)
for name, options in (("pixels", {}), ("fractions", {"normalize": True})):
    by_image = {path: json.loads(result.to_json(**options)) for path, result in found}
    (out / f"{name}.json").write_text(json.dumps(by_image))
(out / "texts.json").write_text(json.dumps({path: result.to_json() for path, result in found}))
(out / "folder").mkdir()
for path, result in found:
    (out / "folder" / f"{Path(path).stem}.json").write_text(result.to_json())
"""


def test_json_of_one_model_says_the_same_in_every_form(tmp_path):
    """The class of every box is right, though the project orders its classes otherwise."""
    weights = trained(tmp_path, "detect", "copy")
    told = yolo(
        tmp_path,
        *("detect", "val", f"model={weights}", f"data={tmp_path}/set/data.yaml", "save_json=True", "conf=0.0001"),
        *("workers=0", "name=val", "max_det=6"),
    )
    assert "0 corrupt" in told
    script = tmp_path / "results.py"
    script.write_text(RESULTS)
    environment = os.environ | {"YOLO_CONFIG_DIR": str(tmp_path), "YOLO_OFFLINE": "true"}
    pictures = tmp_path / "set" / "images" / "val"
    program = [f"{ENVIRONMENT}/bin/python", str(script), str(weights), str(pictures), str(tmp_path)]
    subprocess.run(program, check=True, env=environment, cwd="/", timeout=600)
    # categories count from 1 here, and only a list says so
    rows = tmp_path / "runs/val/predictions.json"
    with pytest.raises(FormatError, match="no list says which is which"):
        said(CocoResults(), rows, pictures)
    expected = said(CocoResults(), rows, pictures, names=dict(enumerate(CLASSES, 1)))
    assert {item for item, *_ in expected} == {"cam 0/8.png", "cam 1/9.png"}
    assert {cls for _, cls, *_ in expected} <= set(CLASSES)
    for name in ("pixels.json", "texts.json", "folder", "fractions.json"):
        found = said(UltralyticsJson(), tmp_path / name, pictures)
        assert [one[:2] for one in found[:1]] == [one[:2] for one in expected[:1]], name
        # pictures are padded in other ways when a set is validated
        assert found[0][2] == pytest.approx(expected[0][2], abs=0.05), name
        assert found == said(UltralyticsJson(), tmp_path / "pixels.json", pictures), name


def said(form, path: Path, root: Path, **wishes) -> list[tuple]:
    """Picture, class, score and corners to a tenth of a pixel, the surest first."""
    sizes = {path.relative_to(root).as_posix(): SIZE for path in root.rglob("*.png")}
    kind = KINDS.create("boxes")
    known = Known(kind, set(sizes), CLASSES[::-1], root, sizes.__getitem__)
    incoming = Incoming(path, form, "predictions", known, Wishes(**wishes))
    rows = []
    for item, record in incoming:
        for seen in record.objects:
            plain = in_pixels(seen, SIZE) if record.fractions else seen
            corners = tuple(round(value, 1) for value in extent(plain, "a box") or ())
            rows.append((item, incoming.naming.of(seen.cls), round(seen.score or 0, 4), corners))
    incoming.refuse_unknown()
    return sorted(rows, key=lambda row: (-row[2], row))
