import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.contracts.format import Hints
from labelwise.contracts.oracle import Pick, Round
from labelwise.errors import FormatError
from labelwise.formats.json_labels import JsonLabels
from labelwise.formats.picks_json import write_picks

ASKED = Round(
    3,
    (Pick("a \xe9\n.png", "/data/a \xe9\n.png", 0, 0.5, "cat", 0.75), Pick("b.png", "/data/b.png", 1)),
    "margin",
    classes=("cat", "dog"),
)
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)


def read(path):
    head, records = JsonLabels().read(path, "answers", Hints())
    return head, list(records)


def test_what_people_see(tmp_path):
    path = tmp_path / "picks.json"
    write_picks(path, ASKED)
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
        st.tuples(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip), NUMBERS, NUMBERS),
        unique_by=lambda item: item[0],
        max_size=4,
    )
)
def test_any_picks_come_back_unanswered(tmp_path_factory, items):
    path = tmp_path_factory.mktemp("picks") / "picks.json"
    picks = tuple(Pick(name, name, rank, score, None, p) for rank, (name, score, p) in enumerate(items))
    write_picks(path, Round(0, picks, "random"))
    _, records = read(path)
    assert [record.state for record in records] == ["untouched"] * len(picks)
    for record, pick in zip(records, picks, strict=True):
        assert record.image == pick.id or f"{record.image}#{record.region}" == pick.id
        known = {"path": pick.path, "rank": pick.rank, "strategy_score": pick.score, "probability": pick.probability}
        assert record.extra == {key: value for key, value in known.items() if value is not None}


def test_halves_of_characters_are_written_and_refused(tmp_path):
    """No image of a project is called so; a file that names one is damaged."""
    write_picks(tmp_path / "p.json", Round(0, (Pick("bad\udcff.png", "bad\udcff.png", 0),), "random"))
    with pytest.raises(FormatError, match="half of a character"):
        read(tmp_path / "p.json")


def test_filled_in_it_is_read(tmp_path):
    path = tmp_path / "picks.json"
    write_picks(path, ASKED)
    data = json.loads(path.read_text(encoding="utf-8"))
    data["items"][0]["label"] = "dog"
    data["items"][1]["skipped"] = True
    path.write_text(json.dumps(data), encoding="utf-8")
    head, records = read(path)
    assert head.classes == ("cat", "dog")
    assert [(record.image, record.state, [thing.cls for thing in record.objects]) for record in records] == [
        ("a \xe9\n.png", "answered", ["dog"]),
        ("b.png", "skipped", []),
    ]


def test_numpy_scores_are_written(tmp_path):
    write_picks(tmp_path / "p.json", Round(0, (Pick("a", "a", 0, np.float32(0.5)),), "random"))
    assert json.loads((tmp_path / "p.json").read_text())["items"][0]["score"] == 0.5


def test_scores_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(FormatError, match="'a' has score inf"):
        write_picks(tmp_path / "p.json", Round(0, (Pick("a", "a", 0, float("inf")),), "random"))
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"version": 2}, "update labelwise"),
        ({"version": "1"}, "version '1'"),
        ({"version": None}, "update labelwise"),
        ({"items": [{"id": ["a"], "label": "cat"}]}, "item 1: .* is no id"),
        ({"items": [{"label": "cat"}]}, "item 1: no id"),
        ({"items": [7]}, "item 1: 7 is no object"),
    ],
)
def test_damaged_files_are_one_line(tmp_path, change, match):
    path = tmp_path / "picks.json"
    write_picks(path, ASKED)
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change))
    with pytest.raises(FormatError, match=match) as error:
        read(path)
    assert "\n" not in str(error.value)
