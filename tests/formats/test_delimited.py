import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labelwise.errors import FormatError, StateError
from labelwise.formats.delimited import LINE, escape, look_into, read_text, unescape, write_rows
from labelwise.formats.files import write_whole

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
NASTY = [
    "=1+1",
    "+a",
    "-a",
    "@a",
    "\ta",
    "\ra",
    "\na",
    "'=a",
    "''=a",
    "'a",
    "＝a",
    'a"b',
    "a;=b",
    "a\tb",
    "a\r\nb",
    " ",
    "'",
]


def put(tmp_path, data):
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    return path


@given(TEXT)
@example("'=x")
def test_unescape_gives_back_every_text(text):
    assert unescape(escape(text)) == text


@pytest.mark.parametrize("cell", NASTY)
def test_no_cell_starts_a_formula(cell):
    assert escape(cell)[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@given(st.lists(st.tuples(TEXT, st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=5))
@example([(cell, -1.5) for cell in NASTY])
def test_written_rows_read_back_with_pythons_csv(rows):
    found = list(csv.reader(io.StringIO(write_rows(rows), newline=""), strict=True))
    assert [(unescape(name), float(value)) for name, value in found] == rows


def test_plain_rows_are_what_pythons_csv_writes():
    rows = [("name", "entropy_value"), ("a b.png", 0.1), ("c,d.png", -2.0), ('q"q.png', 1e-9), ("\xe9.png", 3)]
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    assert write_rows(rows) == buffer.getvalue()


def test_numpy_numbers_are_written_as_numbers():
    import numpy as np

    assert write_rows([("a", np.float32(0.5)), ("b", np.float64(0.25))]) == "a,0.5\r\nb,0.25\r\n"


def test_rows_are_numbered_as_a_spreadsheet_counts(tmp_path):
    sheet = look_into(put(tmp_path, b'sep=;\r\nid;label\r\n\r\n"a\n.png";b\r\n'))
    assert (sheet.delimiter, sheet.skipped, sheet.whole) == (";", 1, True)
    assert [row for row in sheet.rows(";") if row[1]] == [(2, ["id", "label"]), (4, ["a\n.png", "b"])]
    assert sheet.first_rows(";") == [(2, ["id", "label"]), (4, ["a\n.png", "b"])]


def test_only_the_beginning_is_looked_into_and_rows_stream(tmp_path):
    path = put(tmp_path, b"id,label\n" + b"a.png,cat\n" * 50_000)
    sheet = look_into(path)
    assert not sheet.whole
    assert len(sheet.head) < 70_000
    assert sheet.head.endswith("\n")
    assert sum(1 for _ in sheet.rows(",")) == 50_001
    wide = look_into(put(tmp_path, (",".join(f"c{n}" for n in range(50_000)) + "\n1,2\n3,4\n5,6\n").encode()))
    assert [len(row) for _, row in wide.first_rows(",")] == [50_000, 2, 2, 2]


def test_a_line_without_end_is_refused(tmp_path):
    path = put(tmp_path, b"id,label\n" + b"x" * (LINE + 1) + b"\n")
    with pytest.raises(FormatError, match="a line of more than"):
        list(look_into(path).lines())


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ("id,label\na,b".encode("utf-16-le"), "UTF-16"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "no text at all"),
        ("id,label\n\xe9,b".encode("latin-1"), "line 2: not valid UTF-8"),
    ],
)
def test_what_is_no_text_is_one_line(tmp_path, data, match):
    path = put(tmp_path, data)
    for read in (lambda path: list(look_into(path).lines()), read_text):
        with pytest.raises(FormatError, match=match) as error:
            read(path)
        assert "\n" not in str(error.value)


def test_missing_file_and_folder(tmp_path):
    for read in (look_into, read_text):
        with pytest.raises(FormatError, match="does not exist"):
            read(tmp_path / "gone.csv")
        with pytest.raises(FormatError, match="cannot be read"):
            read(tmp_path)


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    write_whole(path, b"old")
    assert path.stat().st_mode & 0o777 in (0o644, 0o664, 0o666, 0o600)

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(StateError, match="No space left on device"):
            write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(StateError, match=r"cannot write .*folder exists"):
        write_whole(tmp_path / "gone" / "a.csv", b"new")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
