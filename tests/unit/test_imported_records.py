"""What other models say, out of records: arrays that are checked, and learners that need no training."""

from __future__ import annotations

import numpy as np
import pytest

import tiny
from labelwise.contracts.kind import Naming
from labelwise.contracts.learner import Examples
from labelwise.contracts.record import Box, Head, Mask, Points, Polygon, Record, Seen, Where
from labelwise.errors import FormatError, LabelwiseError, UnmetNeed
from labelwise.learners.gathered import matrix
from labelwise.signals import Embedding, Probs
from labelwise.signals.units import Units
from labelwise.tasks.classification import Classification
from labelwise.tasks.detection import Detection
from labelwise.tasks.segmentation import Segmentation

SOURCE = tiny.digits(8)
IDS = tuple(SOURCE.ids)
NAMES = ("cat", "dog")
PICTURES = Classification(NAMES)
OBJECTS = Detection(NAMES)
PIXELS = Segmentation(NAMES)


def naming(head=None, classes=NAMES):
    own = head or Head()

    def of(name):
        found = own.classes[name] if isinstance(name, int) else name
        if classes and found not in classes:
            raise FormatError(f"unknown class {found!r}")
        return found

    return Naming(of, classes or own.classes, own)


def rows(*objects, ids=IDS, **more):
    """A record for each image, with these objects."""
    return [
        (item, Record(Where("a.json", "row", n), item, objects=tuple(found), **more))
        for n, (item, found) in enumerate(zip(ids, objects, strict=False), 1)
    ]


def probs_of(learner, ids=IDS[:2]):
    return learner.collect(Examples(SOURCE, ids), frozenset({Probs()}))[Probs()]


def whole(**said):
    return [Seen(**said)]


# ---- arrays ---------------------------------------------------------------------------------------------------------


def test_views_of_one_array_in_its_order_are_that_array():
    table = np.random.default_rng(0).random((50, 3), dtype=np.float32)
    places = [Where("a")] * 50
    assert np.shares_memory(matrix([table[n] for n in range(50)], places, "probs"), table)
    assert np.array_equal(matrix([table[n] for n in range(49, -1, -1)], places, "probs"), table[::-1])
    assert np.array_equal(matrix([table[7], table[7], table[3]], places[:3], "probs"), table[[7, 7, 3]])


@pytest.mark.parametrize(
    "table",
    [
        np.arange(12, dtype=np.float64).reshape(4, 3),
        np.arange(12, dtype=np.float32).reshape(3, 4).T,
        np.arange(24, dtype=np.float32).reshape(4, 6)[:, ::2],
        np.arange(24, dtype=np.float32).reshape(4, 6)[:, 1:4],
        np.arange(12, dtype=np.int16).reshape(4, 3),
    ],
)
def test_views_of_any_array_give_its_numbers(table):
    found = matrix([table[n] for n in range(4)], [Where("a")] * 4, "probs")
    assert found.dtype == np.float32
    assert np.array_equal(found, table.astype(np.float32))


def test_a_row_in_the_middle_of_another_is_no_row_of_the_array():
    table = np.arange(24, dtype=np.float32).reshape(4, 6)
    found = matrix([table[0, :3], table[0, 1:4]], [Where("a")] * 2, "probs")
    assert found.tolist() == [[0, 1, 2], [1, 2, 3]]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e300, 10**400, True, "0.5", None, [1]])
def test_numbers_that_are_none_are_refused_with_the_row(bad):
    with pytest.raises(FormatError, match=r"'a\.csv', row 2: embeddings") as caught:
        matrix([[1, 2], [1, bad]], [Where("a.csv", "row", 1), Where("a.csv", "row", 2)], "embeddings")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("row", [None, [1], [1, 2, 3], "ab", 5, {}, [[1, 2], [3, 4]]])
def test_rows_of_another_form_are_refused_with_the_row(row):
    with pytest.raises(FormatError, match="row 2"):
        matrix([[1, 2], row], [Where("a.csv", "row", 1), Where("a.csv", "row", 2)], "embeddings")


# ---- classes of images ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "one", "two"),
    [
        (Head(), (0.9, 0.1), (0.2, 0.8)),
        (Head(classes=NAMES), [0.9, 0.1], [0.2, 0.8]),
        (Head(classes=("dog", "cat")), [0.1, 0.9], [0.8, 0.2]),
        (Head(), {"cat": 0.9, "dog": 0.1}, {"dog": 0.8, "cat": 0.2}),
    ],
)
def test_columns_follow_the_classes_of_the_project(head, one, two):
    learner = PICTURES.imported(rows(whole(probs=one), whole(probs=two)), naming(head), IDS)
    np.testing.assert_allclose(probs_of(learner), [[0.9, 0.1], [0.2, 0.8]], rtol=1e-6)
    assert learner.notes == (), "what has no row is said where the round is chosen"
    assert learner.embedding_width is None


def test_rows_come_in_any_order_and_the_digest_does_not_mind():
    found = rows(whole(probs=(0.9, 0.1)), whole(probs=(0.2, 0.8)))
    one, two = (PICTURES.imported(part, naming(), IDS[:2]) for part in (found, found[::-1]))
    assert one.weights == two.weights
    np.testing.assert_allclose(probs_of(two), [[0.9, 0.1], [0.2, 0.8]], rtol=1e-6)
    assert one.notes == ()


def test_embeddings_with_and_without_probabilities():
    both = PICTURES.imported(rows(whole(probs=(0.5, 0.5), embedding=[1, 2, 3])), naming(), IDS[:1])
    assert both.provides >= {"probs", "embedding"}
    assert both.embedding_width == 3
    for task in (PICTURES, OBJECTS, PIXELS):
        alone = task.imported(rows(whole(embedding=[1, 2, 3])), naming(), IDS[:1])
        assert alone.provides == {"embedding"}
        assert alone.collect(Examples(SOURCE, IDS[:1]), frozenset({Embedding()}))[Embedding()].tolist() == [[1, 2, 3]]


def test_a_file_names_the_classes_of_a_project_that_has_none():
    named = PICTURES.imported(rows(whole(probs=(0.1, 0.2, 0.7))), naming(Head(classes=("a", "b", "c")), ()), IDS)
    assert named.task.classes == ("a", "b", "c")
    counted = PICTURES.imported(rows(whole(probs=(0.1, 0.2, 0.7))), naming(classes=()), IDS)
    assert counted.task.classes == ("class 0", "class 1", "class 2")


def test_of_two_classes_the_score_of_one_says_that_of_the_other():
    learner = PICTURES.imported(rows(whole(cls="dog", score=0.75), whole(cls="cat", score=1)), naming(), IDS)
    assert probs_of(learner).tolist() == [[0.25, 0.75], [1, 0]]
    three = Classification(("cat", "dog", "owl"))
    with pytest.raises(UnmetNeed, match="a probability of every class"):
        three.imported(rows(whole(cls="dog", score=0.75)), naming(classes=three.classes), IDS)


@pytest.mark.parametrize(
    ("objects", "head", "match"),
    [
        ([whole(probs=(0.5, 0.5)), whole(probs=(0.5, 0.6))], Head(), r"row 2: probs sum to 1\.1"),
        ([whole(probs=(0.5, 0.5)), whole(probs=(-0.5, 1.5))], Head(), r"row 2: probs hold -0\.5"),
        ([whole(probs=(0.5, 0.5)), whole(probs=(float("nan"), 0.5))], Head(), "row 2: probs hold nan"),
        ([whole(probs=(5.0, -3.0))], Head(), "not logits"),
        ([whole(probs=(0.5, 0.3, 0.2))], Head(), "probs have 3 columns, and there are 2 classes"),
        ([whole(probs=(0.5, 0.5)), whole(probs=(1,))], Head(), "row 2: probs are"),
        (
            [whole(probs=(0.5, 0.5), embedding=[1]), whole(embedding=[1])],
            Head(),
            "row 2: no probs, and other rows have",
        ),
        ([whole(probs=(0.5, 0.5), embedding=[1]), whole(probs=(0.5, 0.5))], Head(), "row 2: no embeddings"),
        ([whole(probs={"cat": 1.0})], Head(), "columns"),
        (
            [whole(probs={"cat": 1, "dog": 0}), whole(probs={"cat": 1, "owl": 0})],
            Head(),
            "other classes than the other",
        ),
        ([whole(probs=(0.5, 0.5))], Head(classes=("cat", "cat")), "no column for 'dog'"),
        ([whole(probs=(0.5, 0.5))], Head(classes=("cat", "owl")), "unknown class 'owl'"),
        ([whole(probs=(0.5, 0.5)) * 2], Head(), "2 predictions for one image"),
        ([], Head(), "no image of this project"),
        ([whole()], Head(), "nothing is said of the image"),
        ([[Seen("cat", Box(0, 0, 1, 1), score=0.5)]], Head(), "nothing is said of the image as a whole"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(objects, head, match):
    with pytest.raises(LabelwiseError, match=match) as caught:
        PICTURES.imported(rows(*objects), naming(head), IDS)
    assert len(str(caught.value)) < 300


def test_one_image_twice_is_refused():
    found = rows(whole(probs=(0.5, 0.5)), whole(probs=(0.5, 0.5)), ids=(IDS[0], IDS[0]))
    with pytest.raises(FormatError, match=r"row 2: .* stands in 'a\.json', row 1 too"):
        PICTURES.imported(found, naming(), IDS)


@pytest.mark.parametrize("task", [OBJECTS, PIXELS])
def test_probabilities_of_images_are_of_no_use_where_images_have_many_answers(task):
    with pytest.raises(UnmetNeed, match="holds class probabilities of images"):
        task.imported(rows(whole(probs=(0.5, 0.5))), naming(), IDS)


def test_masks_of_another_model_say_nothing_of_how_sure_it_is():
    with pytest.raises(UnmetNeed, match="an embedding of each image"):
        PIXELS.imported(rows([Seen("cat", outline=Polygon(((0, 0, 5, 0, 5, 5),)), score=0.5)]), naming(), IDS)
    pixels = Mask((8, 8), lambda: np.zeros((8, 8), np.uint8))
    learner = PIXELS.imported(rows([], pixels=pixels), naming(), IDS)
    assert learner.provides == frozenset(), "they can be measured, and not chosen by"


# ---- boxes ----------------------------------------------------------------------------------------------------------


def seen(name="cat", box=(0, 0, 4, 2), score=0.5, **more):
    return Seen(name, Box(*box), score=score, **more)


def units(learner, *names, ids=IDS[:2]):
    signals = {name: Units(name) for name in names}
    table = learner.collect(Examples(SOURCE, ids), frozenset(signals.values()))
    return [table.ragged(signal)[0].tolist() for signal in signals.values()], table


def test_boxes_come_in_fractions_best_first_and_images_without_any_are_seen():
    found = rows([seen(score=0.25), seen("dog", (4, 4, 8, 8), 0.75)], [], size=(8, 8))
    learner = OBJECTS.imported(found, naming(), IDS)
    (boxes, scores, labels, probs), table = units(learner, "boxes", "scores", "labels", "probs", ids=IDS[:3])
    assert boxes == [[0.5, 0.5, 1, 1], [0, 0, 0.5, 0.25]]
    assert scores == [0.75, 0.25]
    assert labels == [1, 0]
    assert probs == [[0, 0.75], [0.25, 0]]
    assert table.ids == IDS[:2]
    assert set(table.failed) == {IDS[2]}
    assert learner.notes[0].startswith("1 of 2 images have no detection: they come last")


def test_images_that_a_list_does_not_name_were_looked_at():
    learner = OBJECTS.imported(rows([seen()], size=(8, 8)), naming(Head(omits_empty=True)), IDS)
    assert learner.notes[0].startswith("7 of 8 images have no detection: they come last")
    assert units(learner, "boxes", ids=IDS)[1].ids == IDS


def test_sizes_come_from_the_file_or_from_the_image_and_fractions_need_none():
    def boxes(found, size=None):
        return units(OBJECTS.imported(found, naming(), IDS, lambda item: size), "boxes", ids=IDS[:1])[0][0]

    assert boxes(rows([seen()], size=(8, 8)), (99, 99)) == [[0, 0, 0.5, 0.25]]
    assert boxes(rows([seen()]), (16, 16)) == [[0, 0, 0.25, 0.125]]
    assert boxes(rows([seen(box=(0, 0.25, 0.5, 1.5))], fractions=True)) == [[0, 0.25, 0.5, 1]]
    with pytest.raises(FormatError, match=r"the size of .* is not known"):
        boxes(rows([seen()]))
    turned = Seen("cat", Box(0.25, 0.25, 0.75, 0.75, rotation=90), score=0.5)
    assert boxes(rows([turned], fractions=True), (8, 4))[0] == pytest.approx([0.375, 0, 0.625, 1])


def test_outlines_have_boxes_and_key_points_alone_have_none():
    outline = Seen("cat", outline=Polygon(((0, 0, 4, 0, 4, 8),)), score=0.5)
    points = Seen("cat", points=Points(((1, 1, 2),)), score=0.5)
    learner = OBJECTS.imported(rows([outline, points], size=(8, 8)), naming(), IDS)
    assert units(learner, "boxes", ids=IDS[:1])[0][0] == [[0, 0, 0.5, 1]]


@pytest.mark.parametrize(
    ("probs", "exclusive", "wanted"),
    [
        ((0.75, 0.125), False, [[0.75, 0.125]]),
        ((0.75, 0.25), True, [[0.75, 0.25, 0]]),
        ((0.5, 0.25, 0.25), True, [[0.5, 0.25, 0.25]]),
    ],
)
def test_probabilities_say_themselves_whether_classes_exclude_each_other(probs, exclusive, wanted):
    learner = OBJECTS.imported(rows([seen(probs=probs)], size=(8, 8)), naming(), IDS)
    assert learner.found.exclusive is exclusive
    assert learner.found.probs_UC.tolist() == wanted


def test_columns_of_objects_follow_the_project_and_the_background_stays_last():
    head = Head(classes=("dog", "cat"))
    learner = OBJECTS.imported(rows([seen(probs=(0.25, 0.5, 0.25))], size=(8, 8)), naming(head), IDS)
    assert learner.found.probs_UC.tolist() == [[0.5, 0.25, 0.25]]


def test_vectors_of_objects_and_images():
    found = rows([seen(embedding=[1, 2], score=0.25), seen(embedding=[3, 4]), Seen(embedding=[5])], size=(8, 8))
    learner = OBJECTS.imported(found, naming(), IDS[:1])
    assert learner.found.unit_embedding_UD.tolist() == [[3, 4], [1, 2]]
    assert learner.found.embedding_ND.tolist() == [[5]]
    assert learner.embedding_width == 1
    assert learner.provides == {"probs", "boxes", "scores", "labels", "unit_embedding", "embedding"}


def test_classes_come_from_the_file_where_the_project_has_none():
    listed = OBJECTS.imported(rows([seen("owl")], size=(8, 8)), naming(Head(classes=("emu", "owl")), ()), IDS)
    assert listed.task.classes == ("emu", "owl")
    named = OBJECTS.imported(rows([seen("owl"), seen("emu")], size=(8, 8)), naming(classes=()), IDS)
    assert named.task.classes == ("emu", "owl")
    with pytest.raises(FormatError, match="does not know its classes yet"):
        OBJECTS.imported(rows([], size=(8, 8)), naming(classes=()), IDS)


@pytest.mark.parametrize(
    ("objects", "match"),
    [
        ([[seen(score=None)]], "row 1: a box without a score"),
        ([[seen(score=1.5)]], r"row 1: score is 1\.5"),
        ([[seen(score=float("nan"))]], "row 1: score is nan"),
        ([[seen("owl")]], "unknown class 'owl'"),
        ([[seen(probs=(0.5, 0.5)), seen()]], "row 1: no probs"),
        ([[seen(probs=(0.5, 1.5))]], r"row 1: probs hold 1\.5"),
        ([[seen(probs=(0.5, 0.5, 0.5))]], r"row 1: probs sum to 1\.5"),
        ([[seen(probs=(0.5,))]], "1 columns, and there are 2 classes: give one column each, or one more"),
        ([[seen(embedding=[1]), seen(embedding=[1, 2])]], "row 1: embeddings are"),
        ([[seen(), Seen(embedding=[1])], [seen()]], "row 2: no embeddings of images"),
        ([], "no image of this project"),
    ],
)
def test_detections_that_do_not_fit_are_refused_in_one_line(objects, match):
    with pytest.raises(FormatError, match=match) as caught:
        OBJECTS.imported(rows(*objects, size=(8, 8)), naming(), IDS)
    assert len(str(caught.value)) < 300


def test_an_image_in_two_rows_is_refused():
    with pytest.raises(FormatError, match=r"row 2: .* stands in 'a\.json', row 1 too"):
        OBJECTS.imported(rows([seen()], [seen()], ids=(IDS[0], IDS[0]), size=(8, 8)), naming(), IDS)


# ---- guesses --------------------------------------------------------------------------------------------------------


def test_guesses_are_raw_labels_with_scores():
    learner = PICTURES.imported(rows(whole(probs=(0.25, 0.75))), naming(), IDS)
    assert dict(PICTURES.guesses(learner, SOURCE, IDS[:2])) == {IDS[0]: {"class": "dog", "score": 0.75}}
    boxes = OBJECTS.imported(rows([seen(score=0.9), seen(score=0.1)], [], size=(8, 8)), naming(), IDS)
    width, height = SOURCE.size(IDS[0])
    assert dict(OBJECTS.guesses(boxes, SOURCE, IDS[:3])) == {
        IDS[0]: {
            "size": [width, height],
            "objects": [{"class": "cat", "box": [0, 0, width / 2, height / 4], "score": 0.9}],
        },
        IDS[1]: {"size": [width, height], "objects": []},
    }


def test_a_learner_that_says_nothing_of_them_guesses_nothing():
    for task in (PICTURES, OBJECTS, PIXELS):
        learner = task.imported(rows(whole(embedding=[1, 2])), naming(), IDS)
        with pytest.raises(UnmetNeed, match="leave the predictions out"):
            list(task.guesses(learner, SOURCE, IDS[:1]))
        assert list(task.doubts(learner, SOURCE, IDS[:1])) == []


def test_an_untrained_model_guesses_nothing():
    learner = tiny.torch_learner()
    assert list(learner.task.guesses(learner, SOURCE, IDS[:1])) == []
