"""YAML as text: words stay words, and nothing that YAML can do harms."""

from __future__ import annotations

import pytest

import bounded
from labelwise.errors import FormatError
from labelwise.formats.yaml_text import MOST_BYTES, read_yaml_text

WORDS = [
    *("no", "yes", "on", "off", "true", "null", "~", "1.0", "1e3", "0x1f", "0o7", "12:30:45", "2001-12-14", "1_000"),
    *(".inf", ".nan", "=", "<<", "y", "N"),
]


def _read(tmp_path, text):
    (tmp_path / "a.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml_text(tmp_path / "a.yaml")


def test_every_scalar_is_the_text_that_was_written(tmp_path):
    found = _read(tmp_path, "names: [" + ", ".join(WORDS) + "]\n")
    assert found == {"names": WORDS}
    found = _read(tmp_path, "names:\n" + "".join(f"  {number}: {word}\n" for number, word in enumerate(WORDS)))
    assert found == {"names": {str(number): word for number, word in enumerate(WORDS)}}
    assert _read(tmp_path, "no: yes\ntest:\npath: ''\n'1': \"a: b\"\n? x\n") == {
        "no": "yes", "test": "", "path": "", "1": "a: b", "x": ""}  # fmt: skip
    assert _read(tmp_path, "") == ""
    assert _read(tmp_path, b"\xef\xbb\xbfa: b") == {"a": "b"}
    assert _read(tmp_path, "a: !!python/object/apply:os.system [ls]\nb: !!int x") == {"a": ["ls"], "b": "x"}
    assert _read(tmp_path, "a: &x [1, 2]\nb: *x\nc: &y z\nd: *y\n") == {
        "a": ["1", "2"],
        "b": ["1", "2"],
        "c": "z",
        "d": "z",
    }


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LAUGHS, r"line \d+: more than 100,000 values"),
        ("[" * 3000, "more than 24 lists and mappings|maximum nesting depth"),
        ("- " * 3000 + "a", "more than 24 lists and mappings|maximum nesting depth"),
        ("{a: " * 3000, "more than 24 lists and mappings|maximum nesting depth"),
        ("a: &x [*x]", "line 1: .*nothing that is known|found undefined alias"),
        ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' stands twice"),
        ("? [1, 2]\n: 3\n", "a key is a list or a mapping"),
        ("? {a: 1}\n: 3\n", "a key is a list or a mapping"),
        ("a: 1\n---\nb: 2\n", "line 2: a second document"),
        ("names: [a,\n b: {", "no valid YAML"),
        ("a:\tb\n\tc: d", "no valid YAML"),
        ("a: \x07", "no valid YAML"),
        (b"a: \xff\xfe", "not valid UTF-8"),
        (b"\xff\xfe\x00\xd8:\x00", "not UTF-8"),
        ("x" * (MOST_BYTES + 1), "bytes; settings and class lists have at most"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, text, words):
    with pytest.raises(FormatError, match=words) as caught:
        _read(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value).replace(str(tmp_path), "")) < 250


@pytest.mark.heavy
def test_the_largest_of_files_cost_little(tmp_path):
    texts = {
        "list": "- a\n" * (MOST_BYTES // 4),
        "flow": "[" + "a," * (MOST_BYTES // 2 - 2) + "]",
        "quoted": '"' + "\\U0001F600" * (MOST_BYTES // 10 - 1) + '"',
        "keys": "".join(f"k{n}:\n" for n in range(MOST_BYTES // 9)),
        "comment": "#" * (MOST_BYTES - 1),
        "anchors": "".join(f"- &a{n} x\n" for n in range(MOST_BYTES // 14)),
        "laughs": LAUGHS,
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    arguments = [(str(tmp_path / f"{name}.yaml"),) for name in texts]
    bounded.calls("labelwise.formats.yaml_text:read_yaml_text", arguments, megabytes=300, seconds=5)
