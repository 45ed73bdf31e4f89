"""Interfaces that people made: which control is meant, and what they have no place for."""

from __future__ import annotations

import pytest

from labelwise.contracts.record import Head
from labelwise.contracts.tool import Asked
from labelwise.errors import ConfigError, ToolError
from labelwise.exchange.tools.label_studio_interface import Interface


def control(tag, *labels, to="image", key="image"):
    return {"type": tag, "to_name": [to], "inputs": [{"type": "Image", "value": key}], "labels": list(labels)}


def project(**controls):
    return {"id": 3, "title": "mine", "parsed_label_config": controls}


def asked(kind="boxes", classes=("car",), skeleton=None):
    return Asked(kind, Head(classes=classes, skeleton=skeleton))


def test_the_only_control_of_its_sort_is_meant():
    found, notes = Interface.fitting(project(things=control("RectangleLabels", "car")), asked(), {})
    assert (found.chosen, notes) == ({"box": "things"}, [])


def test_of_several_one_has_to_be_named():
    two = project(a=control("Choices", "x"), b=control("Choices", "car"))
    with pytest.raises(ConfigError, match=r"has 2 Choices .*--control choice=NAME"):
        Interface.fitting(two, asked("classes"), {})
    assert Interface.fitting(two, asked("classes"), {"choice": "b"})[0].chosen == {"choice": "b"}
    with pytest.raises(ConfigError, match="has no Choices called 'c'"):
        Interface.fitting(two, asked("classes"), {"choice": "c"})


@pytest.mark.parametrize(
    ("kind", "tag"),
    [("boxes", "Choices"), ("classes", "RectangleLabels"), ("masks", "RectangleLabels"), ("points", "BrushLabels")],
)
def test_an_interface_without_a_place_for_the_labels_is_refused(kind, tag):
    with pytest.raises(ToolError, match=f"so that nobody can give {kind}") as told:
        Interface.fitting(project(a=control(tag, "car")), asked(kind), {})
    assert len(str(told.value)) <= 300


def test_classes_that_one_side_has_alone_are_said():
    _, notes = Interface.fitting(project(a=control("RectangleLabels", "car", "eel")), asked(classes=("car", "bus")), {})
    assert [note.split(" that ")[0] for note in notes] == ["1 class(es) or point(s)", "1 class(es)"]
    assert "bus" in notes[0]
    assert "eel" in notes[1]


def test_points_are_offered_by_their_names():
    own = project(p=control("KeyPointLabels", "nose", "tail"))
    assert Interface.fitting(own, asked("points", ("mouse",), (("nose", "tail"), ())), {})[1] == []


def result(number, name, control="box", **more):
    return {"id": number, "from_name": control, "to_name": "image", "type": "rectanglelabels",
            "value": {"rectanglelabels": [name]}, **more}  # fmt: skip


def test_guesses_speak_of_the_controls_that_are_there_and_the_others_are_left_out():
    own = project(things=control("RectangleLabels", "car", to="pic", key="$photo"))
    found, _ = Interface.fitting(own, asked(), {})
    part = {**result("d", "nose", "point", parentID="a"), "type": "keypointlabels"}
    results = [result("a", "car"), result("b", "bus"), result("c", "car", "brush"), part]
    task = {"data": {"image": "", "labelwise_id": "a.png"}, "predictions": [{"result": results}]}
    (note,) = found.renamed([task])
    assert note.startswith("3 predicted label(s) left out")
    (kept,) = task["predictions"][0]["result"]
    assert (kept["from_name"], kept["to_name"]) == ("things", "pic")
    assert found.shown(task, "/data/x.png")["data"] == {"photo": "/data/x.png", "labelwise_id": "a.png"}
