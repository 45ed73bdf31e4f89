import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.contracts.oracle import Pick, Round
from labelwise.errors import FormatError
from labelwise.formats.labels_table import check_answers, read_labels
from labelwise.formats.picks_json import read_picks, write_picks

ASKED = Round(
    3,
    (Pick("a \xe9\n.png", "/data/a \xe9\n.png", 0, 0.5, "cat", 0.75), Pick("b.png", "/data/b.png", 1)),
    "margin",
    classes=("cat", "dog"),
)
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)


def test_round_trip_and_what_people_see(tmp_path):
    path = tmp_path / "picks.json"
    write_picks(path, ASKED)
    assert read_picks(path) == ASKED
    data = json.loads(path.read_text(encoding="utf-8"))
    assert data["items"][1] == {
        **{"id": "b.png", "path": "/data/b.png", "rank": 1, "score": None, "predicted": None, "probability": None},
        **{"label": "", "skipped": False, "reason": ""},
    }
    assert (data["round"], data["strategy"], data["classes"]) == (3, "margin", ["cat", "dog"])
    assert data["labelwise"]
    assert "\xe9" in path.read_text(encoding="utf-8")


@given(
    st.lists(
        st.tuples(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), NUMBERS, NUMBERS),
        unique_by=lambda item: item[0],
        max_size=4,
    )
)
def test_round_trip_of_any_picks(tmp_path_factory, items):
    path = tmp_path_factory.mktemp("picks") / "picks.json"
    picks = tuple(Pick(name, name, rank, score, None, p) for rank, (name, score, p) in enumerate(items))
    asked = Round(0, picks, "random")
    write_picks(path, asked)
    assert read_picks(path) == asked


def test_halves_of_characters_are_written_and_refused(tmp_path):
    """No image of a project is called so; a file that names one is damaged."""
    asked = Round(0, (Pick("bad\udcff.png", "bad\udcff.png", 0),), "random")
    write_picks(tmp_path / "p.json", asked)
    with pytest.raises(FormatError, match="half of a character"):
        read_picks(tmp_path / "p.json")


def test_filled_in_it_is_imported(tmp_path):
    path = tmp_path / "picks.json"
    write_picks(path, ASKED)
    assert read_labels(path).answers == ()
    assert read_labels(path).unanswered == 2
    data = json.loads(path.read_text(encoding="utf-8"))
    data["items"][0]["label"] = "dog"
    data["items"][1]["skipped"] = True
    path.write_text(json.dumps(data), encoding="utf-8")
    answers = check_answers(read_labels(path), {p.id for p in ASKED.picks}, ASKED.classes, root=None)
    assert [(answer.id, answer.target) for answer in answers] == [("a \xe9\n.png", "dog"), ("b.png", None)]
    assert read_picks(path) == ASKED


def test_numpy_scores_are_written(tmp_path):
    write_picks(tmp_path / "p.json", Round(0, (Pick("a", "a", 0, np.float32(0.5)),), "random"))
    assert read_picks(tmp_path / "p.json").picks[0].score == 0.5


def test_scores_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(FormatError, match="'a' has score inf"):
        write_picks(tmp_path / "p.json", Round(0, (Pick("a", "a", 0, float("inf")),), "random"))
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": "other"}, "is no picks file"),
        ({"version": 2}, "update labelwise"),
        ({"version": "1"}, "version '1'"),
        ({"items": 5}, "is damaged"),
        ({"items": [{"id": "a"}]}, "damaged .KeyError"),
        ({"items": [{"id": "a", "path": "a", "rank": 0}] * 2}, "an id stands there twice"),
        ({"items": [{"id": 7, "path": "a", "rank": 0}]}, "item 1: id is 7"),
        ({"items": [{"id": "a", "path": "a", "rank": 0, "score": "x"}]}, "item 1: score is 'x'"),
        ({"items": [{"id": "a", "path": "a", "rank": 0, "score": float("nan")}]}, "item 1: score is nan"),
        ({"classes": None}, "is damaged"),
    ],
)
def test_damaged_files_are_one_line(tmp_path, change, match):
    path = tmp_path / "picks.json"
    write_picks(path, ASKED)
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change))
    with pytest.raises(FormatError, match=match) as error:
        read_picks(path)
    assert "\n" not in str(error.value)


def test_other_files(tmp_path):
    (tmp_path / "a.json").write_text("[1, 2]")
    with pytest.raises(FormatError, match="is no picks file"):
        read_picks(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(FormatError, match="no valid JSON"):
        read_picks(tmp_path / "a.json")
