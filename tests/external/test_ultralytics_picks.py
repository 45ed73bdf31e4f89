"""The example in which Ultralytics and labelwise take turns runs as it stands; and what a real detector's file picks.

See ``test_ultralytics.py`` for the environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from test_ultralytics import ENVIRONMENT, yolo
from test_ultralytics import pytestmark as _marks

from commands import as_json, run
from unpacked import unpacked

pytestmark = _marks
EXAMPLE = Path(__file__).parents[2] / "examples/ultralytics_loop.py"


def test_the_example_runs(tmp_path):
    own = {"YOLO_CONFIG_DIR": str(tmp_path), "YOLO_OFFLINE": "true", "OMP_NUM_THREADS": "2"}
    environment = os.environ | own | {"LABELWISE": str(Path(sys.executable).with_name("labelwise"))}
    done = subprocess.run(
        [f"{ENVIRONMENT}/bin/python", EXAMPLE, tmp_path],
        env=environment,
        capture_output=True,
        text=True,
        cwd="/",
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "after round 2: 24 labelled" in done.stdout


CELLS = ("RBC", "WBC", "Platelets")
#: images to train on, and of the pool; a quarter of their size
TRAINED, POOL, SIZE = 100, 60, (160, 120)
METHODS = (("margin",), ("ppal", "--set", "calibrate=false"), ("entropy_nms",))


def _cells(folder: Path) -> Path:
    """Small images of blood cells as a YOLO set: some to train on, and of the test images the pool."""
    source = unpacked("BCCD")
    for split, listed, count in (("train", "trainval", TRAINED), ("val", "test", POOL)):
        for part in ("images", "labels"):
            (folder / part / split).mkdir(parents=True)
        for name in (source / f"ImageSets/Main/{listed}.txt").read_text().split()[:count]:
            with Image.open(source / f"JPEGImages/{name}.jpg") as image:
                image.resize(SIZE).save(folder / f"images/{split}/{name}.png")
            tree = ElementTree.parse(source / f"Annotations/{name}.xml")
            rows = [_row(found, image.size) for found in tree.findall("object")]
            (folder / f"labels/{split}/{name}.txt").write_text("\n".join(rows))
    names = "\n".join(f"  {number}: '{name}'" for number, name in enumerate(CELLS))
    (folder / "data.yaml").write_text(f"path: {folder}\ntrain: images/train\nval: images/val\nnames:\n{names}\n")
    return folder / "data.yaml"


def _row(found: ElementTree.Element, size: tuple[int, int]) -> str:
    x1, y1, x2, y2 = (float(found.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax"))
    middle = ((x1 + x2) / 2 / size[0], (y1 + y2) / 2 / size[1], (x2 - x1) / size[0], (y2 - y1) / size[1])
    return " ".join(map(str, (CELLS.index(found.findtext("name", "")), *middle)))


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, dict[str, Path]]:
    """A project on images that a small detector has not seen, and two files of that detector."""
    folder, data = tmp_path_factory.mktemp("picks"), _cells(tmp_path_factory.mktemp("cells"))
    train = ("epochs=20", "batch=8", "nbs=8", "optimizer=AdamW", "lr0=0.002", "warmup_epochs=1", "amp=False")
    more = ("imgsz=160", "workers=0")
    yolo(folder, "detect", "train", "model=yolov8n.yaml", f"data={data}", "name=train", "val=False", *train, *more)
    weights, files = folder / "runs/train/weights/last.pt", {}
    for conf in ("0.001", "0.05"):
        say = ("save_json=True", f"conf={conf}", f"name=val{conf}")
        yolo(folder, "detect", "val", f"model={weights}", f"data={data}", *say, *more)
        files[conf] = folder / "runs" / f"val{conf}" / "predictions.json"
    (folder / "names.yaml").write_text("names:\n" + "".join(f"  {n}: '{name}'\n" for n, name in enumerate(CELLS, 1)))
    run("init", data.parent / "images/val", "-p", folder / "project", "--task", "detection", "--classes",
        ",".join(CELLS), "--labels", "none")  # fmt: skip
    return folder, files


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method[0])
def test_the_first_ten_picks_share_eight_whatever_the_confidence_of_the_file(method, written):
    folder, files = written
    rows = {conf: json.loads(path.read_text()) for conf, path in files.items()}
    assert len(rows["0.001"]) > 2 * len(rows["0.05"]) > 20 * POOL
    first = {}
    for conf, path in files.items():
        found = as_json("suggest", "-n", "all", "-s", *method, "--predictions", path, "--names", folder / "names.yaml",
                        "-p", folder / "project")  # fmt: skip
        first[conf] = {pick["id"] for pick in found["picks"][:10]}
        assert any("boxes score below 0.05" in note for note in found["notes"]) == (conf == "0.001")
    assert len(first["0.001"] & first["0.05"]) >= 8
