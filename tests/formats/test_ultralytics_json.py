"""Results of Ultralytics' to_json(), in all the ways in which people save them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bounded
from labelwise.contracts.format import Hints
from labelwise.contracts.record import Box, Head, Points, Polygon, Seen
from labelwise.errors import FormatError, LabelwiseError
from labelwise.formats.ultralytics_json import UltralyticsJson

NAN = float("nan")


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def read(path, **hints):
    head, records = UltralyticsJson().read(path, "predictions", Hints(**hints))
    return head, list(records)


CORNERS = {"x1": 1.5, "y1": 2.5, "x2": 80.0, "y2": 60.0}
FOUND = {"name": "cat", "class": 15, "confidence": 0.75, "box": CORNERS}
SEGMENTS = {"x": [1.5, 80.0, 80.0], "y": [2.5, 2.5, 60.0]}
KEYPOINTS = {"x": [3.5, 0.0], "y": [4.5, 0.0], "visible": [0.93, 0.01]}
TURNED = {"x1": 13.0, "y1": 9.0, "x2": 13.0, "y2": 13.0, "x3": 11.0, "y3": 13.0, "x4": 11.0, "y4": 9.0}
SHAPES = {"boxes": {}, "masks": {"segments": SEGMENTS}, "points": {"keypoints": KEYPOINTS}}
TOP = [{"name": "tabby", "class": 281, "confidence": 0.5}, {"name": "lynx", "class": 287, "confidence": 0.25}]


def samples(folder: Path) -> list[Path]:
    """Ways in which people save the results of ``to_json()``."""
    found = {kind: [FOUND | more, FOUND | more | {"name": "dog", "class": 16}] for kind, more in SHAPES.items()}
    files = {
        "by_image.json": {"/data/pool/a.jpg": found["boxes"], "/data/pool/deep/b.png": []},
        "masks.json": {"a.jpg": found["masks"]},
        "points.json": {"a.jpg": found["points"]},
        "texts.json": {"a.jpg": json.dumps(found["boxes"], separators=(",", ":")), "b.jpg": "[]"},
        "entries.json": [{"path": "a.jpg", "results": found["boxes"]}, {"path": "b.jpg", "results": []}],
        "rows.json": [{"path": "a.jpg"} | FOUND, {"path": "b.jpg"} | FOUND, {"path": "a.jpg", "track_id": 3} | FOUND],
        "turned.json": {"a.jpg": [FOUND | {"box": TURNED}]},
        "classes.json": {"a.jpg": TOP, "b.jpg": TOP[::-1]},
        "one_image.json": found["boxes"],
    }
    put(folder / "folder/a.json", found["boxes"])
    put(folder / "folder/deep/b.c.json", [])
    return [put(folder / name, data) for name, data in files.items()] + [folder / "folder"]


def test_all_ways_to_save_results(tmp_path):
    paths = {path.name: path for path in samples(tmp_path)}
    for path in paths.values():
        assert UltralyticsJson().sniff(path, "predictions").sure >= 0.9, path.name
        head, records = read(path)
        assert records
        assert head == Head()
        assert not any(record.fractions for record in records)
    both = [Seen("cat", Box(1.5, 2.5, 80.0, 60.0), score=0.75), Seen("dog", Box(1.5, 2.5, 80.0, 60.0), score=0.75)]
    for name, images in (("by_image", ["/data/pool/a.jpg", "/data/pool/deep/b.png"]), ("texts", ["a.jpg", "b.jpg"]),
                         ("entries", ["a.jpg", "b.jpg"])):  # fmt: skip
        _, [first, second] = read(paths[f"{name}.json"])
        assert [first.image, second.image] == images
        assert (list(first.objects), second.objects) == (both, ())
        assert (first.bare, first.state, second.state) == (False, "answered", "empty")
    _, [first, second] = read(paths["folder"])
    assert [(first.image, first.bare), (second.image, second.bare)] == [("a", True), ("deep/b.c", True)]
    assert list(first.objects) == both
    _, [alone] = read(paths["one_image.json"])
    assert (alone.image, alone.bare) == ("one_image", True)
    _, [first, second] = read(paths["rows.json"])
    assert [len(first.objects), len(second.objects)] == [2, 1]
    assert first.objects[1].attributes == {"track_id": 3}


def test_shapes_of_ultralytics(tmp_path):
    paths = {path.name: path for path in samples(tmp_path)}
    kinds = {name: UltralyticsJson().sniff(paths[f"{name}.json"], "predictions").kinds for name in (
        "by_image", "masks", "points", "classes")}  # fmt: skip
    assert kinds == {"by_image": ("boxes",), "masks": ("boxes", "masks"), "points": ("boxes", "points"),
                     "classes": ("classes",)}  # fmt: skip
    _, [record] = read(paths["masks.json"])
    assert record.objects[0].outline == Polygon(((1.5, 2.5, 80.0, 2.5, 80.0, 60.0),))
    _, [record] = read(paths["points.json"])
    assert record.objects[0].points == Points(((3.5, 4.5, 2), (0.0, 0.0, 0)), scores=(0.93, 0.01))
    _, [record] = read(paths["turned.json"])
    assert (record.objects[0].box, record.objects[0].outline.parts[0]) == (None, tuple(TURNED.values()))
    _, records = read(paths["classes.json"])
    assert [record.objects for record in records] == [
        (Seen("tabby", score=0.5, probs={"tabby": 0.5, "lynx": 0.25}),)
    ] * 2


def test_names_that_are_numbers_are_numbers(tmp_path):
    """A model without names calls its classes "0", "1", ...: that is no name."""
    rows = [FOUND | {"name": "15"}, FOUND | {"name": "7"}, {k: v for k, v in FOUND.items() if k != "name"}]
    _, [record] = read(put(tmp_path / "a.json", {"a.jpg": rows}))
    assert [seen.cls for seen in record.objects] == [15, "7", 15]


def test_fractions_are_noticed_over_all_images(tmp_path):
    small = {"x1": 0.25, "y1": 0.5, "x2": 1.0, "y2": 0.75}
    data = {
        "a.jpg": [FOUND | {"box": small}],
        "b.jpg": [FOUND | {"box": small, "segments": {"x": [0, 1, 1], "y": [0, 0, 1]}}],
    }
    head, records = read(put(tmp_path / "a.json", data))
    assert [record.fractions for record in records] == [True, True]
    assert "taken as fractions" in head.notes[0]
    data["c.jpg"] = [FOUND]
    head, records = read(put(tmp_path / "a.json", data))
    assert ([record.fractions for record in records], head.notes) == ([False] * 3, ())
    put(tmp_path / "folder/a.json", data["a.jpg"])
    put(tmp_path / "folder/b.json", data["b.jpg"])
    assert [record.fractions for record in read(tmp_path / "folder")[1]] == [True, True]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("7", "holds 7; give {image: results}"),
        ({"a.jpg": 3}, "image 1: 3 are no results"),
        ({"a.jpg": "[1"}, "image 1, line 1, column 3: no valid JSON"),
        ({"a.jpg": "[" * 200 + "]" * 200}, "image 1 is nested too deeply"),
        ({"a.jpg": [3]}, "image 1, result 1: 3 is no object"),
        ({"a.jpg": [{k: v for k, v in FOUND.items() if k not in ("name", "class")}]}, "neither a name nor a class"),
        ({"a.jpg": [FOUND, FOUND | {"confidence": 10**400}]}, "image 1, result 2: confidence is 1000"),
        ({"a.jpg": [FOUND | {"confidence": 2}]}, "confidence is 2"),
        ({"a.jpg": [FOUND, FOUND | {"box": None}]}, "result 2: box is None"),
        ({"a.jpg": [FOUND | {"box": CORNERS | {"x2": NAN}}]}, "x2 of the box is nan"),
        ({"a.jpg": [FOUND | {"box": CORNERS | {"x2": -5}}]}, "x1 1.5 lies behind x2 -5"),
        ({"a.jpg": [FOUND | {"box": TURNED | {"y4": "1"}}]}, "corner of the box is '1'"),
        ({"a.jpg": [FOUND | {"segments": {"x": [1]}}]}, "segments is"),
        ({"a.jpg": [FOUND | {"segments": {"x": [1, 2, NAN], "y": [1, 2, 3]}}]}, "x of segments is nan"),
        ({"a.jpg": [FOUND | {"keypoints": [1]}]}, "keypoints is"),
        ({"a.jpg": [FOUND | {"keypoints": {**KEYPOINTS, "visible": [0.5]}}]}, "a probability for each point"),
        ({"a.jpg": [FOUND | {"keypoints": {**KEYPOINTS, "visible": [0.5, 2]}}]}, "probabilities from 0 to 1"),
        ([{"path": "a.jpg", "results": []}, {"path": 3}], "entry 2: .* does not name its image"),
        ([{"path": "a.jpg", "results": []}, {"path": "b"}], "entry 2: .* has no results"),
    ],
)  # fmt: skip
def test_broken_results_of_ultralytics(tmp_path, data, words):
    with pytest.raises(FormatError, match=words) as caught:
        read(put(tmp_path / "a.json", data))
    assert "a.json" in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_folders_that_hold_something_else(tmp_path):
    put(tmp_path / "a/a.json", [FOUND])
    put(tmp_path / "a/b.json", {"shapes": []})
    assert UltralyticsJson().sniff(tmp_path / "a", "predictions").sure == 0
    (tmp_path / "none").mkdir()
    assert UltralyticsJson().sniff(tmp_path / "none", "predictions").sure == 0
    with pytest.raises(FormatError, match="no JSON file"):
        read(tmp_path / "none")


@pytest.mark.heavy
def test_bombs_cost_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    files = [{"a.jpg": json.dumps([[]] * 2_000_000)}, {f"{n}.jpg": [FOUND] for n in range(20_000)}]
    calls = [
        ("ultralytics_json", str(put(tmp_path / f"{n}.json", data)), "predictions") for n, data in enumerate(files)
    ]
    costs = bounded.calls("reading:everything", calls, megabytes=600)
    assert [cost.error for cost in costs] == ["FormatError", ""]


def test_only_our_own_errors(tmp_path):
    empty = put(tmp_path / "empty.json", "")
    for path in (tmp_path / "missing", tmp_path / "missing.json", empty, Path("/dev/null")):
        assert UltralyticsJson().sniff(path, "predictions").sure == 0
        with pytest.raises(LabelwiseError):
            read(path)
