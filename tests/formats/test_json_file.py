"""The one reader of JSON: whatever the file, one line with the place, and no more memory than it weighs."""

from __future__ import annotations

import json
import os

import pytest

import bounded
from labelwise.errors import FormatError
from labelwise.formats import json_file
from labelwise.formats.json_file import DEPTH, dump_json, read_json, start_of_json
from labelwise.processes import free_memory


def _read(tmp_path, content):
    file = tmp_path / "a.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_json(file)


@pytest.mark.parametrize(
    "text",
    [
        "\N{BYTE ORDER MARK}[]",
        '{"a[{": "}]\\"[[", "b": [1, 2.5, null, true, {"c": {}}], "é\\\\": "\\\\\\"", "\\ud83d\\ude00": "\\\\ud83d"}',
        "[" * DEPTH + "]" * DEPTH,
        '["' + "[" * 3 * DEPTH + '"]',
        '{"a": 1, "b": 2, "a": 1}',
        '"text"',
        "17",
        "1" + "0" * 4000,
    ],
)
def test_what_python_reads_is_read_the_same(tmp_path, monkeypatch, text):
    for size in (json_file._CHUNK, 1, 2, 3, 7):  # strings and escapes across the borders of what is looked at at once
        monkeypatch.setattr(json_file, "_CHUNK", size)
        assert _read(tmp_path, text) == json.loads(text.removeprefix("\N{BYTE ORDER MARK}"))


def test_numbers_that_json_has_not_are_left_to_the_format(tmp_path):
    found = _read(tmp_path, "[NaN, -Infinity, 1e999]")
    assert found[0] != found[0]
    assert found[1:] == [float("-inf"), float("inf")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", r"line 1, column 1: no valid JSON .*cut off"),
        ('{\n"images": [}', r"line 2, column 12: no valid JSON \(Expecting value\); write"),
        ('{"a": [1, 2', "seems to be cut off"),
        ('["abc', "seems to be cut off"),
        ("[" * (DEPTH + 1) + "]" * (DEPTH + 1), "nested too deeply: more than 100"),
        ("[" * 1_000_000, "nested too deeply"),
        ('["]]]]]]]]]]]]]]", ' + "[" * (DEPTH + 1) + "]" * (DEPTH + 2), "nested too deeply"),
        ('{"a":' * 500_000, "nested too deeply"),
        ("1" + "0" * 5000, "no valid JSON .*digits"),
        (b"\xff\xfe\0\xd8[\0", "not UTF-8 text"),
        (b'["a",\n"\xe9"]', "line 2: not valid UTF-8"),
        ('["a",\n"\\ud83d"]', r"line 2: \\ud83d is half of a character"),
        ('["\\\\\\uDE00"]', r"uDE00 is half of a character"),
        ('["\\ud83d\\ud83d\\ude00"]', "half of a character"),
        ('[{"id": 1, "box": [1], "box": [2]}]', r"'box' stands twice in one object, as \[1\] and as \[2\]"),
    ],
)
def test_what_is_refused_and_where(tmp_path, content, words):
    with pytest.raises(FormatError, match=words) as caught:
        _read(tmp_path, content)
    assert "a.json" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_keys_may_be_kept_as_they_stand(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('{"a": 1, "a": 2}')
    assert read_json(file, pairs=list) == [("a", 1), ("a", 2)]


def test_what_is_no_file(tmp_path):
    for path, words in (
        (tmp_path / "missing.json", "does not exist"),
        (tmp_path, "is a folder"),
        ("/dev/zero", "a device or a pipe"),
        (f"{tmp_path}/\0", "cannot be read"),
        (tmp_path / ("a" * 300), "cannot be read: File name too long"),
    ):
        with pytest.raises(FormatError, match=words):
            read_json(path)
    fifo = tmp_path / "pipe.json"
    os.mkfifo(fifo)
    with pytest.raises(FormatError, match="a device or a pipe"):
        read_json(fifo)
    assert start_of_json(fifo) == start_of_json(tmp_path) == start_of_json(tmp_path / "missing") == {}


def test_more_than_the_memory_that_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(json_file, "free_memory", lambda: 1000)
    with pytest.raises(FormatError, match=r"needs about .* split it"):
        _read(tmp_path, "[" + "1.5," * 200 + "1]")
    with pytest.raises(FormatError, match=r"has 0.0 GB, and .* are free; split it"):
        _read(tmp_path, "[" + "1.5," * 2000 + "1]")
    assert 1 << 20 < free_memory() < 1 << 62


BRACKETS = ("[],", "[[[[[[[[[[]]]]]]]]]],", '{"":1},', "{},", '{"":[]},')
ODD = ("\\" * 5_000_000, '"' * 5_000_000, "1" * 5_000_000, '["' + "\\ud83d" * 800_000)


@pytest.mark.heavy
def test_brackets_without_end_are_refused_before_they_are_read(tmp_path):
    for n, piece in enumerate(BRACKETS):
        (tmp_path / f"{n}.json").write_text("[" + piece * (16_000_000 // len(piece)) + "0]")
    files = [(str(tmp_path / f"{n}.json"),) for n in range(len(BRACKETS))]
    for cost in bounded.calls("labelwise.formats.json_file:read_json", files, megabytes=100):
        assert cost.error == "FormatError"
        assert "these are no labels" in cost.text


@pytest.mark.heavy
def test_odd_bytes_without_end_cost_no_more_than_they_weigh(tmp_path):
    for n, text in enumerate(ODD):
        (tmp_path / f"{n}.json").write_text(text)
    files = [(str(tmp_path / f"{n}.json"),) for n in range(len(ODD))]
    for cost in bounded.calls("labelwise.formats.json_file:read_json", files, megabytes=100, seconds=1):
        assert cost.error == "FormatError"


def test_the_beginning_of_a_file(tmp_path):
    file = tmp_path / "a.json"
    text = ' \n{"a": {"b": "x:y"}, "list": [{"c": 1, "d": [[1.5]]}, {"c": 2, "e": null}], "last": true}'
    whole = {"": {}, "a": {}, "a.b": "x:y", "list": [], "list[]": {}, "list[].c": 1, "list[].d": [], "list[].d[]": [],
             "list[].d[][]": 1.5, "list[].e": None, "last": True}  # fmt: skip
    file.write_text(text)
    assert start_of_json(file) == whole
    for stop in range(len(text)):  # whatever is cut off, what is found is right
        file.write_text(text[:stop])
        assert start_of_json(file).items() <= whole.items()
    for other in ("id,label\n", "", "<xml>", "\0\0", '"text"'):
        file.write_text(other)
        assert start_of_json(file) == {}
    file.write_text("[" * 100_000)
    assert start_of_json(file)[""] == []


def test_what_a_key_far_behind_the_beginning_holds(tmp_path):
    file = tmp_path / "a.json"
    file.write_text(
        json.dumps({"images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(9000)], "last": [{"a": 1}]})
    )
    assert start_of_json(file, "last") == {"": {}, "last": [], "last[]": {}, "last[].a": 1}
    assert start_of_json(file, "missing") == {}
    file.write_text("")
    assert start_of_json(file, "last") == {}


def test_the_beginning_of_a_large_file_is_all_that_is_looked_at(tmp_path):
    file = tmp_path / "a.json"
    with file.open("wb") as out:
        out.write(b'{"a": [')
        out.truncate(1 << 40)
    assert start_of_json(file) == {"": {}, "a": []}
    with pytest.raises(FormatError, match=r"has 1,099\.5 GB, and"):
        read_json(file)


def test_what_cannot_be_written():
    nested: list = []
    for _ in range(100_000):
        nested = [nested]
    for value in ([float("nan")], {1, 2}, nested):
        with pytest.raises(FormatError, match="cannot be written as JSON"):
            dump_json(value, "a.json")
    assert dump_json({"é": [1, 2.5]}, "a.json") == '{"é":[1,2.5]}\n'.encode()
