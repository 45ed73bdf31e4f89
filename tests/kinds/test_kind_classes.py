"""Classes of pictures as records and back."""

from __future__ import annotations

import pytest

from labelwise.contracts.kind import Naming
from labelwise.contracts.record import Box, Head, Record, Seen, Where
from labelwise.errors import DataError, FormatError
from labelwise.kinds.classes import Classes

NAMES = ("cat", "dog", "ünï")
KIND = Classes()


def naming(head=None):
    return Naming(str, NAMES, head or Head())


def record(*objects, **more):
    return Record(Where("a.csv", "row", 2), "a.png", objects=objects, **more)


@pytest.mark.parametrize("name", NAMES)
def test_a_class_comes_back(name):
    assert KIND.from_record(KIND.to_record("a.png", name, NAMES), naming(), None) == name


def test_an_index_becomes_its_name():
    assert KIND.from_record(KIND.to_record("a.png", 1, NAMES), naming(), None) == "dog"
    assert KIND.objects(1, NAMES) == ["dog"]


def test_a_guess_comes_back_with_its_probability_and_is_no_label():
    guess = {"class": "dog", "score": 0.75}
    found = KIND.to_record("a.png", guess, NAMES)
    assert found.state == "untouched"
    assert KIND.from_record(found, naming(), None) == guess
    assert KIND.objects(guess) == ["dog"]
    with pytest.raises(DataError):
        KIND.check(guess, NAMES, None)


def test_what_a_person_let_stand_is_a_label_without_probability():
    assert KIND.from_record(record(Seen("dog", score=0.75)), naming(), None) == "dog"


def test_boxes_are_no_class_of_the_picture():
    boxed = Seen("cat", Box(0, 0, 1, 1))
    assert KIND.from_record(record(boxed), naming(), None) is None
    assert KIND.from_record(record(boxed, Seen("dog")), naming(), None) == "dog"
    assert KIND.from_record(record(), naming(), None) is None
    assert KIND.from_record(record(Seen(None)), naming(), None) is None


def test_one_class_said_twice_is_one_and_two_are_refused():
    assert KIND.from_record(record(Seen("cat"), Seen("cat")), naming(), None) == "cat"
    with pytest.raises(FormatError, match=r"'a\.csv', row 2: the classes 'cat' and 'dog' for one image"):
        KIND.from_record(record(Seen("cat"), Seen("dog")), naming(), None)


def test_a_class_that_the_project_leaves_out_is_none():
    assert KIND.from_record(record(Seen("void")), Naming(lambda name: "", NAMES, Head()), None) is None


@pytest.mark.parametrize("raw", ["cow", 3, -1, True, None, 1.0, {"size": [1, 1], "objects": []}, ["cat"]])
def test_what_is_no_class_is_refused(raw):
    with pytest.raises(DataError):
        KIND.check(raw, NAMES, None)


def test_what_it_tells():
    assert KIND.counts(["cat", "dog", "cat"], NAMES) == {"cat": 2, "dog": 1, "ünï": 0}
    assert KIND.short("cat") == "'cat'"
    assert KIND.cost("cat") == {"images": 1.0}
    assert not KIND.empty("cat")
    assert KIND.merge(["cat", "cat"]) == "cat"
    with pytest.raises(DataError, match="2 different classes"):
        KIND.merge(["cat", "dog"])
