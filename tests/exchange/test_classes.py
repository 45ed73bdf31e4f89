"""Classes of a file in the project's words: by name, and by number only through a list."""

from __future__ import annotations

import unicodedata

import pytest

from labelwise.contracts.record import Head
from labelwise.errors import FormatError
from labelwise.exchange.classes import BACKGROUNDS, ClassMap

PROJECT = ("cat", "dog", "Grün")


def test_names_count_and_the_order_of_the_file_does_not():
    named = ClassMap(Head(classes=("Grün", "dog", "cat")), PROJECT)
    assert [named(n) for n in range(3)] == ["Grün", "dog", "cat"]
    assert named("dog") == "dog"
    assert named(unicodedata.normalize("NFD", "Grün")) == "Grün"


def test_numbers_of_the_file_go_before_positions():
    named = ClassMap(Head(classes=("dog", "cat"), numbers={17: "dog", 18: "cat"}), PROJECT)
    assert [named(17), named(18)] == ["dog", "cat"]
    with pytest.raises(FormatError, match="class 0 is not in the list of names \\(17 dog, 18 cat\\)"):
        named(0)


def test_the_list_of_the_user_goes_before_all():
    assert ClassMap(Head(classes=("dog", "cat")), PROJECT, {0: "cat"})(0) == "cat"


def test_the_set_that_the_project_came_from_is_asked_last():
    assert ClassMap(Head(), PROJECT, origin=lambda: {1: "dog"})(1) == "dog"


def test_numbers_without_a_list_are_refused_with_what_they_would_be():
    with pytest.raises(FormatError, match=r"--names FILE .*0 = cat, 1 = dog, 2 = Grün"):
        ClassMap(Head(), PROJECT)(1)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(FormatError, match=r"unknown class 'Dog' \(did you mean 'dog'\?\); the project has cat, dog"):
        ClassMap(Head(), PROJECT)("Dog")


def test_a_background_that_the_project_has_not_is_no_class():
    assert ClassMap(Head(), PROJECT, optional=BACKGROUNDS)("background") == ""
    assert ClassMap(Head(), ("background", "cat"), optional=BACKGROUNDS)("background") == "background"


def test_a_project_without_classes_takes_the_list_or_what_occurs():
    listed = ClassMap(Head(classes=("dog", "cat")))
    listed(1)
    assert listed.found() == ("dog", "cat")
    free = ClassMap(Head())
    assert [free("b"), free("a"), free("b")] == ["b", "a", "b"]
    assert free.found() == ("a", "b")


@pytest.mark.parametrize("cls", [None, "", "  "])
def test_an_object_without_class_is_refused(cls):
    with pytest.raises(FormatError, match="no class"):
        ClassMap(Head(), PROJECT)(cls)
