import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.oracle import Pick
from labelwise.contracts.record import Head, Record, Where
from labelwise.errors import ConfigError, FormatError
from labelwise.formats.csv_table import Csv
from labelwise.formats.delimited import unescape
from labelwise.formats.scores_csv import Superannotate, scores_table

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=10)


def test_bytes_are_those_of_the_published_format():
    picks = [Pick("b", "/data/b.jpg", 1, -0.25), Pick("a", "/data/a b.jpg", 0, np.float32(1.5)), Pick("c", "c", 2)]
    # a pick without a score: the order chosen
    assert scores_table(picks) == b"name,entropy_value\r\n/data/a b.jpg,1.5\r\n/data/b.jpg,-0.25\r\nc,0.0\r\n"


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "a;=1+1", 'a"\n=1'])
def test_no_spreadsheet_runs_a_name(tmp_path, name):
    path = tmp_path / "scores.csv"
    path.write_bytes(scores_table([Pick(name, name, 0, 0.5)]))
    with path.open(newline="", encoding="utf-8") as file:
        cell, score = list(csv.reader(file))[1]
    assert cell[0] not in "=+-@\t\r"
    assert float(score) == 0.5
    assert unescape(cell) == name
    for separator in ";\t":  # as spreadsheets of other languages split the line
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.reader(file, delimiter=separator):
                assert all(part[:1] not in ("=", "+", "-", "@") for part in row)


@given(st.dictionaries(NAMES, st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6))
def test_round_trip(tmp_path_factory, scores):
    path = tmp_path_factory.mktemp("scores") / "scores.csv"
    picks = [Pick(name, name, rank, score) for rank, (name, score) in enumerate(scores.items())]
    path.write_bytes(scores_table(picks))
    with path.open(newline="", encoding="utf-8") as file:
        rows = [(unescape(name), float(score)) for name, score in list(csv.reader(file))[1:]]
    # equal scores stay in the order chosen
    assert rows == sorted(scores.items(), key=lambda pair: -pair[1])


def test_bad_scores(tmp_path):
    path, record = tmp_path / "scores.csv", Record(Where("x"), "a", extra={"strategy_score": float("nan")})
    with pytest.raises(FormatError, match="'a' has score nan"):
        Superannotate().write(path, Head(), [record], Writing("asked", "classes"))
    assert not path.exists()


def test_the_format_writes_picks_and_reads_nothing(tmp_path):
    form, path = Superannotate(), tmp_path / "scores.csv"
    picked = [
        Record(Where("x"), "b.jpg", state="untouched", extra={"path": "/d/b.jpg", "rank": 1, "strategy_score": -0.25}),
        Record(Where("x"), "a.jpg", state="untouched", extra={"path": "/d/a.jpg", "rank": 0, "strategy_score": 1.5}),
        Record(Where("x"), "c.jpg", region="3", state="untouched", extra={"rank": 2}),
    ]
    assert form.write(path, Head(), picked, Writing("asked", "boxes")) == []
    assert path.read_bytes() == b"name,entropy_value\r\n/d/a.jpg,1.5\r\n/d/b.jpg,-0.25\r\nc.jpg#3,0.0\r\n"
    assert form.sniff(path, "answers").sure == 0
    with pytest.raises(ConfigError, match="written here, not read"):
        form.read(path, "answers", Hints())
    # filled in, it is a table of answers
    path.write_text("name,entropy_value,label\na.jpg,1.5,cat\nb.jpg,0.5,\n")
    assert Csv().sniff(path, "answers").sure >= 0.9
