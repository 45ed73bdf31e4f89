"""Predictions that mmdet saves: numbers of classes, one file for each image."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bounded
from labelwise.contracts.format import Hints
from labelwise.contracts.record import Box, Seen
from labelwise.errors import FormatError, LabelwiseError
from labelwise.formats.mmdet import MMDet

NAN = float("nan")
RLE = {"size": [4, 6], "counts": [1, 11, 12]}
PACKED = {"size": [4, 6], "counts": "1;<"}


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def read(path, **hints):
    head, records = MMDet().read(path, "predictions", Hints(**hints))
    return head, list(records)


PREDICTION = {"labels": [1, 0], "scores": [0.9, 0.25], "bboxes": [[1.5, 2.5, 10.0, 20.25], [0, 0, 3, 4]]}


def samples(folder: Path) -> list[Path]:
    """As ``DetInferencer`` leaves them: boxes, boxes with masks, nothing found, turned boxes."""
    put(folder / "boxes/preds/000000000139.json", PREDICTION)
    put(folder / "boxes/preds/nothing.json", {"labels": [], "scores": [], "bboxes": []})
    put(folder / "boxes/vis/readme.txt", "x")
    put(folder / "masks/a b.json", PREDICTION | {"masks": [RLE, PACKED]})
    put(folder / "turned/a.json", {"labels": [1], "scores": [0.5], "bboxes": [[12, 11, 4, 2, 1.5707963267948966]]})
    return [folder / "boxes", folder / "masks", folder / "turned"]


def test_mmdet(tmp_path):
    boxes, masks, turned = samples(tmp_path)
    head, records = read(boxes)
    assert (head.classes, head.numbers) == ((), {})
    assert [(r.image, r.bare, r.state, len(r.objects)) for r in records] == [
        ("000000000139", True, "answered", 2), ("nothing", True, "empty", 0)]  # fmt: skip
    assert records[0].objects[0] == Seen(1, Box(1.5, 2.5, 10.0, 20.25), score=0.9)
    _, [record] = read(masks)
    assert [seen.outline.read().sum() for seen in record.objects] == [11, 11]
    assert read(turned)[1][0].objects[0].box == Box(10, 10, 14, 12, 90)
    assert read(masks / "a b.json")[1][0].image == "a b"
    assert [MMDet().sniff(path, "predictions").sure for path in (boxes, masks, turned, masks / "a b.json")] == [
        0.95
    ] * 4
    assert MMDet().sniff(masks, "predictions").kinds == ("boxes", "masks")
    one = put(tmp_path / "all.json", {"predictions": [PREDICTION], "visualization": []})
    assert "names none of them" in MMDet().sniff(one, "predictions").why
    assert MMDet().sniff(tmp_path / "nothing", "predictions").sure == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": [1]}, "has 1 labels, 2 scores, 2 bboxes; give as many of each"),
        ({"labels": 3}, "it has no list labels"),
        ({"masks": []}, "has 2 labels"),
        ({"labels": ["cat", 0]}, "object 1: its label is 'cat'"),
        ({"scores": [0.5, 10**400]}, "object 2: its score is 1000"),
        ({"scores": [0.5, -1]}, "object 2: its score is -1"),
        ({"bboxes": [[1, 2, 3], [0, 0, 3, 4]]}, r"object 1: its box is \[1, 2, 3\]"),
        ({"bboxes": [[1, 2, NAN, 4], [0, 0, 3, 4]]}, "object 1: its box is"),
        ({"bboxes": [[9, 2, 3, 4], [0, 0, 3, 4]]}, "object 1: x1 9 lies behind x2 3"),
        ({"bboxes": [[9, 2, -3, 4, 0], [0, 0, 3, 4]]}, "object 1: .* negative"),
        ({"masks": [RLE, {"size": [4, 6], "counts": [3]}]}, "object 2: the mask's run lengths"),
    ],
)
def test_broken_predictions_of_mmdet(tmp_path, changes, words):
    put(tmp_path / "preds/a.json", PREDICTION)
    put(tmp_path / "preds/b.json", PREDICTION | changes)
    with pytest.raises(FormatError, match=words) as caught:
        read(tmp_path)
    assert "b.json" in str(caught.value)
    (tmp_path / "other").mkdir()
    with pytest.raises(FormatError, match="no JSON file"):
        read(tmp_path / "other")


@pytest.mark.heavy
def test_bombs_cost_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    huge = {"size": [1 << 20, 1 << 20], "counts": [0, 1 << 40]}
    files = [PREDICTION | {"masks": [huge, huge]}, {"labels": [0], "scores": [0.5], "bboxes": [[[]] * 1_000_000]}]
    calls = [("mmdet", str(put(tmp_path / f"{n}.json", data)), "predictions") for n, data in enumerate(files)]
    costs = bounded.calls("reading:everything", calls, megabytes=600)
    assert [cost.error for cost in costs] == ["FormatError", "FormatError"]


def test_only_our_own_errors(tmp_path):
    empty = put(tmp_path / "empty.json", "")
    for path in (tmp_path / "missing", tmp_path / "missing.json", empty, Path("/dev/null")):
        assert MMDet().sniff(path, "predictions").sure == 0
        with pytest.raises(LabelwiseError):
            read(path)
