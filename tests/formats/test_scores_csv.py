import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.contracts.oracle import Pick
from labelwise.errors import FormatError
from labelwise.formats.scores_csv import read_scores, write_scores

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=10)


def test_bytes_are_those_of_the_published_format(tmp_path):
    path = tmp_path / "scores.csv"
    write_scores(
        path, [Pick("b", "/data/b.jpg", 1, -0.25), Pick("a", "/data/a b.jpg", 0, np.float32(1.5)), Pick("c", "c", 2)]
    )
    assert path.read_bytes() == b"name,entropy_value\r\n/data/a b.jpg,1.5\r\n/data/b.jpg,-0.25\r\nc,0.0\r\n"


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "a;=1+1", 'a"\n=1'])
def test_no_spreadsheet_runs_a_name(tmp_path, name):
    path = tmp_path / "scores.csv"
    write_scores(path, [Pick(name, name, 0, 0.5)])
    with path.open(newline="", encoding="utf-8") as file:
        cell, score = list(csv.reader(file))[1]
    assert cell[0] not in "=+-@\t\r"
    assert float(score) == 0.5
    assert read_scores(path) == [(name, 0.5)]
    for separator in ";\t":  # as spreadsheets of other languages split the line
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.reader(file, delimiter=separator):
                assert all(part[:1] not in ("=", "+", "-", "@") for part in row)


@given(st.dictionaries(NAMES, st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6))
def test_round_trip(tmp_path_factory, scores):
    path = tmp_path_factory.mktemp("scores") / "scores.csv"
    write_scores(path, [Pick(name, name, rank, score) for rank, (name, score) in enumerate(scores.items())])
    assert read_scores(path) == list(scores.items())


def test_bad_scores(tmp_path):
    path = tmp_path / "scores.csv"
    with pytest.raises(FormatError, match="'a' has score nan"):
        write_scores(path, [Pick("a", "a", 0, float("nan"))])
    assert not path.exists()
    for text, match in [
        ("name,score\na,1\n", "needed are name and entropy_value"),
        ("name,entropy_value\na,x\n", "row 2: score 'x'"),
        ("name,entropy_value\na,inf\n", "row 2: score 'inf'"),
        ("name,entropy_value\na,1\na,2\n", "row 3: 'a' stands there twice"),
    ]:
        path.write_text(text)
        with pytest.raises(FormatError, match=match):
            read_scores(path)
