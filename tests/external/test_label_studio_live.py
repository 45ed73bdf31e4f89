"""The live round trip with a real Label Studio: tasks go out, two people work, answers come back."""

from __future__ import annotations

import json
import subprocess

import label_studio_session as session
import numpy as np
import pytest
from label_studio_server import ENVIRONMENT

from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.record import Box, Head, Mask, Polygon, Record, Seen, Where
from labelwise.formats.label_studio import LabelStudio
from labelwise.formats.label_studio_brush import brush_mask, brush_runs

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(
        not ENVIRONMENT, reason="LABELWISE_LABEL_STUDIO names no environment (label_studio.sh makes one)"
    ),
]
FORM = LabelStudio()
CLASSES = ("car", "bus")


def read(path, data, use="answers", kind="boxes"):
    path.write_bytes(data)
    head, records = FORM.read(path, use, Hints(kind, CLASSES))
    return head, list(records)


def asked():
    """Picks with what a model would draw, the most useful first."""
    boxes = {"day/a.png": Box(5, 6, 25, 16), "day/b ü.png": Box(10, 10, 22, 18, 30), "night/a.png": None}
    return [
        Record(
            Where("x"),
            name,
            size=session.PICTURES[name],
            state="untouched",
            objects=() if box is None else (Seen("car", box, score=0.75),),
            extra={"rank": rank, "round": 2, "strategy_score": 1.5 - rank},
        )
        for rank, (name, box) in enumerate(boxes.items())
    ]


def test_picks_go_out_in_their_order_and_come_back_as_answers(people, tmp_path):
    owner, other, files = people
    path = tmp_path / "asked.json"
    FORM.write(path, Head(classes=CLASSES), asked(), Writing("asked", "boxes", options={"prefix": session.address("")}))
    project = owner.project("asked", path.with_suffix(".interface.xml").read_text(), files / "pool")
    tasks = json.loads(path.read_text())
    numbers = owner.tasks(project, tasks)
    assert all(owner.ask(task["data"]["image"]).startswith(b"\x89PNG") for task in tasks), "pictures are served"
    _, records = read(tmp_path / "before.json", owner.export(project, "JSON"))
    assert [record.state for record in records] == ["untouched"] * 3, "guesses are no answers"
    how = {"sampling": "Uncertainty sampling", "model_version": "labelwise-round-2"}
    owner.json(f"/api/projects/{project}", how, method="PATCH")
    assert owner.json(f"/api/projects/{project}/next")["data"]["labelwise_id"] == "day/a.png", "the first pick first"
    guesses = [owner.json(f"/api/tasks/{number}/")["predictions"][0]["result"] for number in numbers]
    owner.annotate(numbers[0], [{**one, "origin": "prediction"} for one in guesses[0]], 2.5)
    other.annotate(numbers[1], [{**one, "origin": "prediction-changed"} for one in guesses[1]], 3)
    owner.annotate(numbers[2], [], 4, skip=True)
    _, records = read(tmp_path / "after.json", owner.export(project, "JSON"))
    assert [(record.image, record.state, record.origin, record.seconds) for record in records] == [
        ("day/a.png", "answered", "accepted", 2.5),
        ("day/b ü.png", "answered", "corrected", 3.0),
        ("night/a.png", "skipped", None, 4.0),
    ]
    assert records[0].objects[0].box == Box(5, 6, 25, 16)
    turned = records[1].objects[0].box
    assert (turned.x1, turned.y1, turned.x2, turned.y2, turned.rotation) == pytest.approx((10, 10, 22, 18, 30))


def test_labels_that_are_imported_come_back_to_the_pixel(people, tmp_path):
    owner, _, files = people
    cover = session.strokes((64, 48))
    objects = (
        Seen("car", Box(1, 2, 30.25, 40), origin="drawn", difficult=True, attributes={"colour": "red"}),
        Seen("bus", outline=Polygon(((1, 2, 3, 4.5, 5, 6),)), origin="drawn"),
        Seen("car", outline=Mask((64, 48), lambda: cover), origin="drawn"),
    )
    records = [
        Record(Where("x"), "day/a.png", size=(64, 48), objects=objects, seconds=2.5, split="train"),
        Record(Where("x"), "night/empty.png", state="empty"),
        Record(Where("x"), "night/skip.png", state="skipped"),
    ]
    path = tmp_path / "labels.json"
    FORM.write(
        path, Head(classes=CLASSES), records, Writing("labelled", "boxes", options={"prefix": session.address("")})
    )
    project = owner.project("labels", path.with_suffix(".interface.xml").read_text(), files / "pool")
    owner.tasks(project, json.loads(path.read_text()))
    _, back = read(tmp_path / "back.json", owner.export(project, "JSON"))
    assert [(one.image, one.state, one.split) for one in back] == [(one.image, one.state, one.split) for one in records]
    assert back[0].seconds == 2.5
    assert back[0].objects[:2] == objects[:2]
    np.testing.assert_array_equal(back[0].objects[2].outline.read(), cover)


@pytest.mark.parametrize("size", [(64, 48), (1, 1), (7, 300)])
def test_the_server_s_own_library_unpacks_what_is_written_and_packs_what_is_read(tmp_path, size):
    cover = np.random.default_rng(0).random(size[::-1]) < 0.4
    np.save(tmp_path / "cover.npy", cover)
    (tmp_path / "runs.json").write_text(json.dumps(brush_runs(cover)))
    program = (
        "import json, numpy as np; from label_studio_sdk.converter import brush;"
        "cover = np.load('cover.npy'); runs = json.load(open('runs.json'));"
        "np.save('theirs.npy', brush.decode_rle(runs).reshape(*cover.shape, 4)[:, :, 3] > 0);"
        "json.dump([int(v) for v in brush.mask2rle(cover.astype(np.uint8) * 255)], open('runs.json', 'w'))"
    )
    subprocess.run([f"{ENVIRONMENT}/bin/python", "-c", program], check=True, cwd=tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "theirs.npy"), cover)
    theirs = json.loads((tmp_path / "runs.json").read_text())
    np.testing.assert_array_equal(brush_mask(theirs, size, "runs.json").read(), cover)


def test_everything_that_two_people_can_do_is_read(people, tmp_path):
    """The session of ``tests/formats/data/label_studio``, on the server of today."""
    owner, other, files = people
    runs = {name: brush_runs(session.strokes(size)) for name, size in session.PICTURES.items()}
    session.save(tmp_path, owner, other, files, runs)
    _, records = read(tmp_path / "shapes.json", (tmp_path / "shapes.json").read_bytes(), kind=None)
    told = {(record.image, record.state, record.origin) for record in records}
    assert told == {
        ("pool/day/a.png", "answered", "drawn"),
        ("pool/day/b ü.png", "answered", "accepted"),
        ("pool/day/b ü.png", "answered", "drawn"),
        ("pool/night/a.png", "answered", "corrected"),
        ("pool/night/skip.png", "skipped", None),
        ("pool/night/empty.png", "empty", None),
        ("pool/night/untouched.png", "untouched", None),
        ("pool/turned.jpg", "answered", "drawn"),
    }
    turned = records[-1]
    assert (turned.size, turned.objects[0].box) == ((40, 90), Box(5, 6, 25, 16))
    np.testing.assert_array_equal(turned.objects[6].outline.read(), session.strokes((40, 90)))
    for name in ("classes.json", "classes.min.json", "classes.csv", "classes.tsv"):
        _, records = FORM.read(tmp_path / name, "answers", Hints("classes"))
        assert [seen.cls for record in records for seen in record.objects] == ["cat", "dog, small", "cat", "dog, small"]
