import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labelwise.errors import FormatError, StateError
from labelwise.formats.delimited import escape, read_table, unescape, write_rows
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


def read_bytes(tmp_path, data):
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    return read_table(path)


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


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_marks_and_line_ends(tmp_path, delimiter, bom, end):
    text = end.join([f"ID{delimiter} Label ", f"a.png{delimiter}cat", "", f'"b{delimiter}\n.png"{delimiter}d\xf6g', ""])
    table = read_bytes(tmp_path, bom + text.encode())
    assert table.columns == ("id", "label")
    assert table.rows == (("a.png", "cat"), (f"b{delimiter}\n.png", "d\xf6g"))
    assert table.numbers == (2, 4)


def test_excels_separator_line(tmp_path):
    table = read_bytes(tmp_path, b"sep=;\r\nid;label\r\na;b\r\n")
    assert table.rows == (("a", "b"),)
    assert table.numbers == (3,)


def test_header_may_be_missing_in_two_columns(tmp_path):
    assert read_bytes(tmp_path, b"a.png,cat\nb.png,dog\n").numbers == (1, 2)
    assert read_bytes(tmp_path, b"a;b.png\tcat\n").columns == ("id", "label")


def test_short_rows_are_filled_and_long_ones_refused(tmp_path):
    assert read_bytes(tmp_path, b"id,label,reason\na.png\nb.png,cat,,,\n").rows == (
        ("a.png", "", ""),
        ("b.png", "cat", ""),
    )
    with pytest.raises(FormatError, match="row 2: 3 cells, but there are 2 columns"):
        read_bytes(tmp_path, b"id,label\na,b.png,cat\n")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\n\n", "is empty"),
        ("id,label\na,b".encode("utf-16"), "UTF-16"),
        ("id,label\na,b".encode("utf-16-le"), "UTF-16"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "no text at all"),
        ("id,label\n\xe9,b".encode("latin-1"), "line 2: not valid UTF-8"),
        (b'id,label\n"a,b\n', "row 2: unexpected end of data"),
        (b'id,label\n"a"x,b\n', "row 2: .* quotation marks"),
        (b"foo,bar,baz\n1,2,3\n", "no column that names the image .*'foo', 'bar', 'baz'"),
        (b"id,label,Label\n1,2,3\n", "two columns called 'label'"),
        (b"id,label\n" + b"x" * 200_000 + b",b\n", "row 2: field larger"),
    ],
)
def test_broken_tables_are_one_line(tmp_path, data, match):
    with pytest.raises(FormatError, match=match) as error:
        read_bytes(tmp_path, data)
    assert "\n" not in str(error.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FormatError, match="does not exist"):
        read_table(tmp_path / "gone.csv")
    with pytest.raises(FormatError, match="cannot be read"):
        read_table(tmp_path)


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
