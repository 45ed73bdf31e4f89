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
from labelwise.drawing.points import posed
from labelwise.errors import DataError, FormatError
from labelwise.kinds.bodies import Body, bodies
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
        points = [[draw(numbers), draw(numbers), draw(st.integers(0, 2))] for _ in range(count)]
        points = [[x, y, seen if 0 <= x <= 40 and 0 <= y <= 30 else 0] for x, y, seen in points]
        found = {"class": draw(st.sampled_from(NAMES)), "points": points}
        if count and draw(st.booleans()):
            found["scores"] = draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
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
    longest = max((len(found["points"]) for found in raw["objects"]), default=2)
    raw |= {"skeleton": [[0, 1]]} if longest > 1 and draw(st.booleans()) else {}
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
    assert KIND.cost(raw) == {"images": 1.0, "points": 2.0, "clicks": 2.0}
    boxed = {**raw, "objects": [{**raw["objects"][0], "box": [0, 0, 4, 4]}]}
    assert KIND.cost(boxed) == {"images": 1.0, "points": 2.0, "clicks": 4.0}
    assert KIND.short(raw) == "2 points of 1 object"
    assert KIND.tally([raw]) == ["1 point(s) that lie outside their image: they count as not seen"]
    bare = {"size": [4, 4], "objects": [{"class": "fly", "points": [[0, 0, 0]]}, {"class": "fly", "points": []}]}
    assert KIND.tally([bare]) == ["2 object(s) without any point that was placed: nothing to train on"]
    assert KIND.tally([{"size": [4, 4], "objects": [{"class": "fly", "points": [[0, 0, 0]], "crowd": True}]}]) == []
    assert KIND.owns(raw)
    assert not KIND.owns({"size": [4, 4], "objects": [{"class": "fly", "box": [0, 0, 1, 1]}]})
    assert KIND.same(raw, {**raw, "extra": {"id": 3}})
    assert KIND.objects(KIND.merge([raw, raw])) == ["fly", "fly"]
    assert KIND.merge([raw, {**raw, "skeleton": [[0, 1]]}])["skeleton"] == [[0, 1]]


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


# ---- names, limbs, confidences --------------------------------------------------------------------------------------


def test_points_outside_the_picture_are_marked_and_keep_their_place():
    points = Points(((41, 5, 2), (40.4, 30, 2), (-9, 5, 1), (3, 4, 1)))
    found = KIND.from_record(record(Seen("fly", points=points)), NAMING, None)
    assert found["objects"][0]["points"] == [[41, 5, 0], [40.4, 30, 2], [-9, 5, 0], [3, 4, 1]]
    assert KIND.tally([found]) == ["2 point(s) that lie outside their image: they count as not seen"]


def test_confidences_of_points_are_kept():
    points = Points(((1, 2, 2), (0, 0, 0)), ("head", "tail"), (0.9, 0.2))
    found = KIND.from_record(record(Seen("fly", points=points, score=0.5), state="untouched"), NAMING, None)
    assert found["objects"][0]["scores"] == [0.9, 0.2]
    assert KIND.to_record("a.png", found, NAMES).objects[0].points == points


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (Points(((1, 2, 2), (3, 4, 2)), ("head", "head")), "two points of object 0 are called 'head'"),
        (Points(((1, 2, 2), (3, 4, 2)), ("head",)), "has 2 points and the names"),
        (Points(((1, 2, 2),), (), (1.5,)), "give one from 0 to 1 for each point"),
    ],
)
def test_names_that_do_not_fit_are_refused_with_file_and_row(points, said):
    with pytest.raises(FormatError, match=said) as caught:
        KIND.from_record(record(Seen("fly", points=points)), NAMING, None)
    assert "'a.json', image 1" in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("limb", [[0, 2], [0], [0, -1], "01", [0, 1.5], 3])
def test_a_skeleton_of_points_that_are_not_there_is_refused(limb):
    raw = {"size": [4, 4], "objects": [{"class": "fly", "points": [[1, 2, 2], [3, 3, 2]]}], "skeleton": [limb]}
    with pytest.raises(DataError, match="from 0 to 1") as caught:
        KIND.check(raw, NAMES, None)
    assert len(str(caught.value)) < 300


def labelled(*things, **more):
    return {"size": [40, 30], "objects": list(things), **more}


def test_what_the_labels_of_a_set_share():
    fly = {"class": "fly", "points": [[1, 2, 2], [0, 0, 0]], "names": ["head", "tail"]}
    unnamed = {"class": "fly", "points": [[1, 2, 2], [5, 5, 1]]}
    person = {"class": "person", "points": [[1, 2, 2]]}
    nothing = {"class": "person", "points": []}
    found = bodies([labelled(nothing), labelled(unnamed), labelled(fly, person, skeleton=[[0, 1]])])
    assert found == {"fly": Body(("head", "tail"), ((0, 1),)), "person": Body(("1",), ())}
    assert bodies([]) == {}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"class": "fly", "points": [[1, 2, 2]]}, "have 2 points and 1"),
        ({"class": "fly", "points": [[1, 2, 2]] * 2, "names": ["head", "wing"]}, "one more called 'wing'"),
        ({"class": "fly", "points": [[1, 2, 2]] * 2, "names": ["tail", "head"]}, "another order"),
    ],
)
def test_objects_of_a_class_need_the_same_points(other, said):
    fly = {"class": "fly", "points": [[1, 2, 2], [0, 0, 0]], "names": ["head", "tail"]}
    with pytest.raises(DataError, match=said) as caught:
        bodies([labelled(fly), labelled(other)])
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("names", "places"),
    [
        (("snout", "leftear", "rightear", "tailbase"), (0, 2, 1, 3)),
        (("nose", "left_eye", "right_eye"), (0, 2, 1)),
        (("pawL_top", "pawR_top", "pawL", "pawR"), (0, 1, 3, 2)),
        (("L_hip", "R_hip", "TAIL", "LeftKnee", "RightKnee"), (1, 0, 2, 4, 3)),
        (("left_eye", "nose"), (0, 1)),
    ],
)
def test_mirrored_points_by_their_names(names, places):
    assert Body(names).mirrored == places


# ---- drawing --------------------------------------------------------------------------------------------------------


def colours_of(picture):
    return {tuple(colour) for colour in np.asarray(picture).reshape(-1, 3).tolist()}


def rgb(number):
    return tuple(int(COLOURS_LIGHT[number][k : k + 2], 16) for k in (1, 3, 5))


def test_points_have_the_colour_of_their_name_in_a_legend_that_wraps():
    names = [f"a longer name {number}" for number in range(9)]
    thing = {"class": "person", "points": [[10 + 10 * n, 40, 2] for n in range(9)], "names": names}
    image = Image.new("RGB", (200, 100))
    bare = {"size": [200, 100], "objects": [{**thing, "names": [], "points": []}]}
    plain = KIND.draw(image, [Panel("labelled", bare)], NAMES)
    found = KIND.draw(image, [Panel("labelled", {"size": [200, 100], "objects": [thing]})], NAMES)
    assert found.width == plain.width
    assert found.height > plain.height + 20
    assert {rgb(number) for number in range(8)} <= colours_of(found.crop((0, 0, found.width, 200)))
    legend = np.asarray(found)[plain.height :]
    assert (legend[:, :4] == 255).all() or (legend < 250).any()
    many = {**thing, "points": [[1, 2, 2]] * 100, "names": [str(number) for number in range(100)]}
    assert posed(image, NAMES, {"": {"size": [200, 100], "objects": [many]}}).height < 500


def test_a_point_that_a_model_is_unsure_of_has_a_wider_ring():
    def reach(score):
        thing = {"class": "fly", "points": [[100, 50, 2]], "names": ["head"], "scores": [score], "score": 0.5}
        raw = {"size": [200, 100], "objects": [thing]}
        panel = np.asarray(KIND.draw(Image.new("RGB", (200, 100)), [Panel("", raw)], NAMES))[:200]
        return np.ptp(np.nonzero((panel == rgb(0)).all(2))[1])

    assert reach(1.0) < reach(0.8) < reach(0.2)
