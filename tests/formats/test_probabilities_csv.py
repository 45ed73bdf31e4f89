"""Tables with the probability of each class."""

from __future__ import annotations

import pytest

from labelwise.contracts.format import Hints
from labelwise.errors import FormatError
from labelwise.formats.probabilities_csv import ProbabilitiesCsv

FORM = ProbabilitiesCsv()


def samples(folder):
    """Small tables as models write them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "probs.csv").write_text("id,cat,dog\na.jpg,0.25,0.75\nb.jpg,1,0\n")
    (folder / "softmax.csv").write_text(
        "filename;predicted;prob_cat;prob_dog;prob_owl\na.jpg;cat;0,33;0,33;0,33\nb.jpg;dog;1e-05;0,99999;0\n"
    )
    return [folder / "probs.csv", folder / "softmax.csv"]


def read(tmp_path, text, **hints):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    head, records = FORM.read(path, "predictions", Hints(**hints))
    return head, list(records)


def test_rows_are_probabilities_in_the_order_of_the_classes(tmp_path):
    head, (first, second) = read(tmp_path, "id,dog,cat\na.jpg,0.25,0.75\nb,1,0\n", classes=("cat", "dog"))
    assert head.classes == ("dog", "cat")
    assert (first.image, first.objects[0].probs, first.objects[0].cls) == ("a.jpg", (0.25, 0.75), None)
    assert (second.image, second.bare) == ("b", True)
    assert head.notes == ()


def test_columns_are_found_by_the_classes_or_by_numbers(tmp_path):
    text = "id,prob_cat,prob_dog,seconds\na.jpg,0.25,0.75,3\n"
    head, _ = read(tmp_path, text, classes=("cat", "dog"))
    assert head.classes == ("cat", "dog")
    assert head.notes == (f"'{tmp_path}/t.csv': columns that are not read: 'seconds'",)
    head, _ = read(tmp_path, "id,p_cat,p_dog\na.jpg,0.25,0.75\n")
    assert head.classes == ("cat", "dog")
    head, _ = read(tmp_path, "id,p_cat,dog\na.jpg,0.25,0.75\n")
    assert head.classes == ("p_cat", "dog")
    with pytest.raises(FormatError, match="no column of probabilities for 1 of 2 classes: 'owl'"):
        read(tmp_path, "id,cat,dog\na.jpg,0.25,0.75\n", classes=("cat", "owl"))
    head, _ = read(tmp_path, "id,ka\u0308fer,dog\na.jpg,0.25,0.75\n", classes=("k\xe4fer", "dog"))
    assert head.classes == ("k\xe4fer", "dog")


def test_rounded_rows_are_divided_by_their_sum_and_said(tmp_path):
    head, (record,) = read(tmp_path, "id,cat,dog,owl\na.jpg,0.33,0.33,0.33\n")
    assert sum(record.objects[0].probs) == pytest.approx(1)
    assert head.notes == (
        f"'{tmp_path}/t.csv': 1 row(s) sum to 1 only as far as their digits allow: divided by their sum",
    )


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("id,cat,dog\na.jpg,0.25,0.5\n", "row 2: probabilities sum to 0.75"),
        ("id,cat,dog\na.jpg,0.25,0.75\nb.jpg,2.5,-1.5\n", "row 3: 'cat' is '2.5'; give a probability from 0 to 1"),
        ("id,cat,dog\na.jpg,nan,1\n", "no columns of probabilities"),
        ("id,cat,dog\n" + "a.jpg,0.5,0.5\n" * 300 + "b.jpg,nan,1\n", "row 302: 'cat' is 'nan'"),
        (f"id,cat,dog\na.jpg,1,0\nb.jpg,1{'0' * 400},0\n", "row 3: 'cat' is '1000"),
        ("id,cat,dog\na.jpg,1,0\n,1,0\n", "row 3: no image is named"),
        ("id,cat\na.jpg,1\n", "no columns of probabilities"),
        ("id,label\na.jpg,cat\n", "no columns of probabilities"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, text, match):
    with pytest.raises(FormatError, match=match) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)


def test_sniff(tmp_path):
    for path in samples(tmp_path):
        assert FORM.sniff(path, "predictions").sure >= 0.9
    for text in ("image,label,score\na.jpg,cat,0.5\n", "id,x,y\na.jpg,17,30\n", ""):
        (tmp_path / "t.csv").write_text(text)
        assert FORM.sniff(tmp_path / "t.csv", "predictions").sure < 0.5
    assert FORM.sniff(tmp_path, "predictions").sure == 0
