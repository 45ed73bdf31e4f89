"""Key points as records and back, to the digit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from labelwise.contracts.kind import Naming, Panel
from labelwise.contracts.record import Box, Head, Points, Record, Seen, Where
from labelwise.drawing.boxes import SIDE
from labelwise.drawing.colours import COLOURS_LIGHT
from labelwise.errors import DataError, FormatError
from labelwise.kinds.points import Points as PointsKind

NAMES = ("person", "fly")
KIND = PointsKind()
NAMING = Naming(str, NAMES, Head())

numbers = st.one_of(st.integers(-50, 700), st.floats(-50, 700, allow_nan=False))
extras = st.dictionaries(
    st.sampled_from(["id", "area", "num_keypoints", "segmentation", "x"]), st.integers(), max_size=3
)


@st.composite
def raws(draw):
    def thing(scored):
        count = draw(st.integers(0, 4))
        found = {
            "class": draw(st.sampled_from(NAMES)),
            "points": [[draw(numbers), draw(numbers), draw(st.integers(0, 2))] for _ in range(count)],
        }
        if count and draw(st.booleans()):
            found["names"] = [f"n{place}" for place in range(count)]
        if draw(st.booleans()):
            xs, ys = sorted(draw(st.tuples(numbers, numbers))), sorted(draw(st.tuples(numbers, numbers)))
            found["box"] = [xs[0], ys[0], xs[1], ys[1]]
        found |= {flag: True for flag in ("crowd", "difficult") if draw(st.booleans())}
        found |= {"score": draw(st.floats(0, 1))} if scored else {}
        extra = draw(extras)
        return found | ({"extra": extra} if extra else {})

    scored = draw(st.booleans())
    raw = {"size": [40, 30], "objects": [thing(scored) for _ in range(draw(st.integers(0, 3)))]}
    # a label of objects none of which has points is one of boxes
    if raw["objects"] and not any(found["points"] for found in raw["objects"]):
        raw["objects"][0]["points"] = [[1, 2, 2]]
        raw["objects"][0].pop("names", None)
    raw |= {"skeleton": [[0, 1]]} if draw(st.booleans()) else {}
    extra = draw(extras)
    return raw | ({"extra": extra} if extra else {})


@pytest.mark.heavy
@settings(max_examples=100, deadline=None)
@given(raws())
def test_every_raw_label_comes_back_to_the_digit(raw):
    KIND.check(raw, NAMES, (40, 30))
    found = KIND.from_record(KIND.to_record("a.png", raw, NAMES), NAMING, (40, 30))
    assert json.dumps(found, sort_keys=True) == json.dumps(raw, sort_keys=True)


def record(*objects, **more):
    return Record(Where("a.json", "image", 1), "a.png", size=(40, 30), objects=objects, **more)


def test_names_and_limbs_come_from_the_head_of_the_file():
    head = Head(skeleton=(("head", "tail"), ((0, 1),)))
    seen = Seen("fly", Box(1, 1, 9, 9), points=Points(((1, 2, 2), (0, 0, 0))))
    found = KIND.from_record(record(seen), Naming(str, NAMES, head), None)
    assert found == {
        "size": [40, 30],
        "objects": [{"class": "fly", "points": [[1, 2, 2], [0, 0, 0]], "names": ["head", "tail"], "box": [1, 1, 9, 9]}],
        "skeleton": [[0, 1]],
    }


def test_fractions_become_pixels():
    seen = Seen("fly", points=Points(((0.5, 0.1, 2),)))
    found = KIND.from_record(record(seen, fractions=True), NAMING, (40, 30))
    assert found["objects"][0]["points"] == [[20, 3, 2]]


def test_boxes_alone_are_no_key_points_and_stay_beside_some():
    box = Seen("fly", Box(1, 1, 9, 9))
    assert KIND.from_record(record(box), NAMING, None) is None
    both = KIND.from_record(record(box, Seen("fly", points=Points(((1, 2, 1),)))), NAMING, None)
    assert [thing["points"] for thing in both["objects"]] == [[], [[1, 2, 1]]]


def test_labels_of_another_size_are_refused():
    with pytest.raises(FormatError, match="40 x 30 pixels and has 30 x 40"):
        KIND.from_record(record(Seen("fly", points=Points(((1, 2, 2),)))), NAMING, (30, 40))


@pytest.mark.parametrize(
    "point", [[1, 2], [1, 2, 3], [1, 2, -1], [1, float("nan"), 2], ["1", 2, 2], None, [1, 10**400, 2]]
)
def test_what_is_no_point_is_refused(point):
    with pytest.raises(DataError, match="point 0 of object 0") as caught:
        KIND.check({"size": [4, 4], "objects": [{"class": "fly", "points": [point]}]}, NAMES, None)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "thing", [{"class": "fly"}, {"class": "fly", "points": 3}, {"class": "fly", "points": [[1, 2, 2]], "names": []}]
)
def test_an_object_needs_points(thing):
    with pytest.raises(DataError, match="object 0"):
        KIND.check({"size": [4, 4], "objects": [thing]}, NAMES, None)


def test_what_it_tells():
    raw = {"size": [4, 4], "objects": [{"class": "fly", "points": [[1, 2, 2], [9, 9, 1], [0, 0, 0]]}]}
    assert KIND.objects(raw) == ["fly"]
    assert KIND.cost(raw) == {"images": 1.0, "clicks": 2.0}
    assert KIND.short(raw) == "2 points of 1 object"
    assert KIND.tally([raw]) == ["1 point(s) that lie outside their image"]
    assert KIND.owns(raw)
    assert not KIND.owns({"size": [4, 4], "objects": [{"class": "fly", "box": [0, 0, 1, 1]}]})
    assert KIND.same(raw, {**raw, "extra": {"id": 3}})
    assert KIND.objects(KIND.merge([raw, raw])) == ["fly", "fly"]


def test_key_points_are_drawn_where_they_were_placed_with_their_limbs():
    points = [[50, 50, 2], [150, 50, 2], [0, 0, 0]]
    raw = {"size": [200, 100], "objects": [{"class": "fly", "points": points}], "skeleton": [[0, 1], [1, 2]]}
    image = Image.new("RGB", (200, 100))
    sheet = np.asarray(KIND.draw(image, [Panel("labelled", raw)], NAMES)).astype(int)[: SIDE // 2]
    colour = [int(COLOURS_LIGHT[1][k : k + 2], 16) for k in (1, 3, 5)]
    rows, columns = np.nonzero((np.abs(sheet - colour) < 3).all(2))
    scale = SIDE / 200
    assert (columns.min(), columns.max()) == pytest.approx((50 * scale, 150 * scale), abs=5)
    assert (rows.min(), rows.max()) == pytest.approx((50 * scale, 50 * scale), abs=5)
    assert int(scale * 100) in columns.tolist(), "the limb between them"
    assert KIND.draw(image, [], NAMES) is image
