"""SLEAP's CSV: instances of frames, scores of predictions, and what is refused."""

from __future__ import annotations

import pytest

from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.record import Head, Points, Record, Seen, Where
from labelwise.errors import FormatError
from labelwise.formats.sleap_csv import SleapCsv

FORM = SleapCsv()
TEXT = """track,frame_idx,instance.score,nose.x,nose.y,nose.score,tail.x,tail.y,tail.score
,0,0.75,3,4.5,0.5,10.25,11,1.01
female,3,0.5,5,6,0.25,,,
male,3,,7,8,1,9,10,0.125
,5,,,,,,,
"""


def samples(folder):
    """As SLEAP writes it, and with names of pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "video.analysis.csv").write_text(TEXT)
    names = ("image", "a.png", "b.png", "b.png", "c.png")
    named = [f"{name},{line}" for name, line in zip(names, TEXT.splitlines(), strict=True)]
    (folder / "named.csv").write_text("\n".join(named))
    return [folder / "video.analysis.csv", folder / "named.csv"]


def put(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_text(text)
    return path


def read(path, use="data", **hints):
    head, records = FORM.read(path, use, Hints("points", **hints))
    return head, list(records)


def test_instances_of_a_frame_are_its_objects(tmp_path):
    path = put(tmp_path, TEXT)
    head, [first, second, third] = read(path)
    assert (head.classes, head.skeleton) == (("subject",), (("nose", "tail"), ()))
    assert head.notes == ("1 row(s) without any point: no instance",)
    points = Points(((3, 4.5, 2), (10.25, 11, 2)), ("nose", "tail"))
    assert first == Record(Where(str(path), "row", 2), number=0, objects=(Seen("subject", points=points),))
    assert [one.points.points for one in second.objects] == [((5, 6, 2), (0, 0, 0)), ((7, 8, 2), (9, 10, 2))]
    assert (third.number, third.state) == (5, "empty")


def test_scores_are_those_of_predictions(tmp_path):
    _, [first, second, _] = read(put(tmp_path, TEXT), "predictions", classes=("fly",))
    assert (first.objects[0].cls, first.objects[0].score, first.objects[0].points.scores) == ("fly", 0.75, (0.5, 1.0))
    assert [one.points.scores for one in second.objects] == [(0.25, 0.0), (1.0, 0.125)]


def test_a_column_of_names_names_pictures(tmp_path):
    _, records = read(samples(tmp_path)[1])
    assert [record.image for record in records] == ["a.png", "b.png", "c.png"]
    assert [record.state for record in records] == ["answered", "answered", "empty"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("tail.x", "nose.x", "the column 'nose.x' stands twice"),
        ("frame_idx", "frame", "is no analysis of SLEAP"),
        (",0,0.75", ",-1,0.75", "row 2: frame_idx is '-1'"),
        ("3,4.5", "3,", "row 2: 'nose' has only one of x and y"),
        ("3,4.5", "3,up", "row 2: 'nose'.y is 'up'"),
        ("1.01\n", "1.01,4\n", "row 2: 10 cells, and the header has 9"),
    ],
)
def test_broken_files_are_refused_with_the_row(tmp_path, old, new, said):
    with pytest.raises(FormatError, match=said) as caught:
        read(put(tmp_path, TEXT.replace(old, new, 1)))
    assert "a.csv" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_what_has_no_place_is_said(tmp_path):
    one = Record(Where("a"), "a.png", objects=(Seen("fly", points=Points(((1, 2, 1),), ("nose",))), Seen("fly")))
    said = FORM.write(tmp_path / "a.csv", Head(("fly",)), [one], Writing("labelled", "points"))
    assert said == ["1 object(s) without points left out", "1 hidden point(s) written as visible ones"]
    skipped = Record(Where("c"), "c.png", state="skipped")
    said = FORM.write(tmp_path / "b.csv", Head(("fly", "bee")), [one, skipped], Writing("labelled", "points"))
    assert said[:2] == [
        "2 object(s) written without their class: SLEAP knows one",
        "1 image(s) left out: skipped, which SLEAP has no word for",
    ]
    other = Record(Where("b", "row", 2), "b.png", objects=(Seen("fly", points=Points(((1, 2, 1),), ("ear",))),))
    with pytest.raises(FormatError, match="'b', row 2: an object has the points ear, others nose"):
        FORM.write(tmp_path / "a.csv", Head(("fly",)), [one, other], Writing("labelled", "points"))
