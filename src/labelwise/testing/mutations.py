"""Broken copies of sample files, for readers that may refuse them and must do nothing else.

Each copy has one to four mutations, drawn from a seed: bytes, lines, numbers and texts of any text format, the
structure of JSON, and the files of a folder. A reader may raise errors of the house with one line, and nothing else; it
may not take more than a few seconds, nor write anything.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from labelwise.contracts.format import Format, Hints, Reads
from labelwise.contracts.record import Mask
from labelwise.errors import LabelwiseError

HUGE = "1" + "0" * 400
NUMBERS = (HUGE, f"-{HUGE}", "1e999", "-1e999", "NaN", "Infinity", "-1", "0", "-0.0", "0.5", "1e-320", "1.0", "65536",
           "2147483648", "18446744073709551616", "20000", "99999999999", "007", "1,5", "٣", "")  # fmt: skip
TEXTS = ("", " ", "\t", "../../../etc/passwd", "/etc/passwd", "..", ".", "/", "..\\..\\x", "C:\\x\\a.jpg", "x" * 5000,
         "\0", "\n", "é", "e\u0301", "\U0001f600", "\u202e", "a/b.jpg", "%2e%2e%2f", "=1+1", "{}", "[", "#1", "a\rb",
         "-", "null", "true", "skip", "../" * 200, "\ufeff")  # fmt: skip
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 0.5, 40.0, 1e308, 10**400, -(10**400), 2**63, float("nan"), float("inf")),
    *TEXTS,
    *([], {}, [[]], [None], [[[[[[[[]]]]]]]], [1, 2, 3, 4], [1, 2], ["a"], {"a": 1}, {"": None}, [0] * 2000),
    *("1", "0", "1.0", [10**400], [float("nan")] * 4, {"size": [20000, 20000], "counts": [400_000_000]}),
    *({"size": [4, 6], "counts": "~"}, {"counts": [1]}, "/" * 300, {"id": {"id": {"id": []}}}),
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_TEXT = re.compile(rb"[A-Za-z_][A-Za-z_0-9./-]*")
_MARK = re.compile(rb"[][{}<>\"',:;/\\=]")


def survive(
    form: Format, use: Reads, samples: Sequence[Path], folder: Path, count: int, hints: Hints | None = None
) -> None:
    """A format reads broken copies of its samples, or refuses them in one line; ``sniff`` never raises.

    Args:
        form: the format.
        use: what it reads them for.
        samples: files or folders that it reads when they are whole.
        folder: where the copies go; nothing else may lie there.
        count: of copies.
        hints: given to the reader.

    Raises:
        AssertionError: with the number of the mutation, which ``broken`` makes again.
    """

    def read(path: Path) -> None:
        assert 0 <= form.sniff(path, use).sure <= 1
        head, records = form.read(path, use, hints or Hints())
        assert head is not None
        for record in records:
            for mask in (record.pixels, record.maps, *(thing.outline for thing in record.objects)):
                if isinstance(mask, Mask):
                    mask.read()

    refused = survive_reading(read, samples, folder, count)
    assert refused > 0, "no mutation was refused: the reader checks nothing"


def survive_reading(
    read: Callable[[Path], object], samples: Sequence[Path], folder: Path, count: int, seconds: float = 3.0
) -> int:
    """Calls a reader on broken copies; returns how many it refused.

    Args:
        read: the reader.
        samples: files or folders that it reads when they are whole.
        folder: where the copies go; nothing else may appear there.
        count: of copies.
        seconds: of processor time that one may take.
    """
    for sample in samples:
        read(sample)
    refused = 0
    for number in range(count):
        sample = samples[number % len(samples)]
        path, said = broken(sample, folder, number)
        before = _files(folder)
        began = time.process_time()
        try:
            read(path)
        except LabelwiseError as error:
            refused += 1
            text = str(error).replace(str(folder), "")
            assert "\n" not in text, f"mutation {number} ({said}): {text}"
            assert len(text) <= 400, f"mutation {number} ({said}): {len(text)} characters: {text}"
        except BaseException as error:
            raise AssertionError(f"mutation {number} of {sample.name!r} ({said}): {error!r:.300}") from error
        took = time.process_time() - began
        assert took < seconds, f"mutation {number} ({said}): {took:.1f} seconds"
        assert _files(folder) == before, f"mutation {number} ({said}): the reader writes"
    return refused


def broken(sample: Path, folder: Path, seed: int) -> tuple[Path, str]:
    """A broken copy of a file or folder, in place of the last one; and what was done to it."""
    rng = random.Random(seed)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = folder / sample.name
    if sample.is_dir():
        shutil.copytree(sample, path, symlinks=True)
    else:
        shutil.copy(sample, path)
    said = []
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        files = sorted(file for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())
        if not files:
            break
        texts = [file for file in files if file.suffix.lower() not in (".jpg", ".png", ".bmp", ".tif", ".gif")]
        file = rng.choice(texts if texts and rng.random() < 0.9 else files)
        if path.is_dir() and rng.random() < 0.1:
            said.append(_moved(file, files, rng))
            continue
        said.append(f"{file.name}: ")
        data = file.read_bytes()
        data, what = _changed(file, data, rng)
        said[-1] += what
        file.write_bytes(data)
    return path, "; ".join(said)


def _files(folder: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_size for path in folder.rglob("*")}


def _changed(file: Path, data: bytes, rng: random.Random) -> tuple[bytes, str]:
    if file.suffix.lower() == ".json" and rng.random() < 0.7:
        with contextlib.suppress(ValueError, RecursionError):
            return _json(json.loads(data), rng)
    change = rng.choice((_token, _token, _token, _bytes, _lines, _whole))
    return change(data, rng)


def _token(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    pattern, values = rng.choice(((_NUMBER, NUMBERS), (_TEXT, TEXTS), (_MARK, ("", "[", "}", "<", '"', ",", ";"))))
    found = list(pattern.finditer(data))
    if not found:
        return _bytes(data, rng)
    at = rng.choice(found)
    value = rng.choice(values) if rng.random() < 0.8 else rng.choice(found)[0].decode("utf-8", "replace")
    return data[: at.start()] + value.encode() + data[at.end() :], f"{at[0]!r:.20} -> {value!r:.30}"


def _bytes(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    at, size = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 5, 50))
    what = rng.choice(("flip", "cut", "twice", "insert"))
    piece = {
        "flip": bytes(byte ^ (1 << rng.randrange(8)) for byte in data[at : at + size]),
        "cut": b"",
        "twice": data[at : at + size] * 2,
        "insert": data[at : at + size]
        + rng.choice((b"\0", b"\xff", b"\r", b"\n", b"\xc3", b"<!--", b"&", b'"', b"\\")),
    }[what]
    return data[:at] + piece + data[at + size :], f"{what} {size} at {at}"


def _lines(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    lines = data.splitlines(keepends=True) or [b""]
    one, two = rng.randrange(len(lines)), rng.randrange(len(lines))
    what = rng.choice(("swap", "drop", "twice", "empty", "join"))
    if what == "swap":
        lines[one], lines[two] = lines[two], lines[one]
    else:
        new = {"drop": b"", "twice": lines[one] * 2, "empty": b"\n" + lines[one], "join": lines[one].rstrip() + b" "}
        lines[one] = new[what]
    return b"".join(lines), f"{what} line {one + 1}"


def _whole(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    what = rng.choice(("empty", "cut off", "bom", "utf-16", "twice", "crlf"))
    changed = {
        "empty": b"",
        "cut off": data[: rng.randrange(len(data) + 1)],
        "bom": b"\xef\xbb\xbf" + data,
        "utf-16": data.decode("latin-1").encode("utf-16"),
        "twice": data * 2,
        "crlf": data.replace(b"\n", b"\r\n"),
    }[what]
    return changed, what


def _moved(file: Path, files: Sequence[Path], rng: random.Random) -> str:
    other = rng.choice(files)
    what = rng.choice(("gone", "folder", "as other", "renamed", "link", "capitals"))
    if what == "as other":
        shutil.copy(other, file) if other != file else None
        return f"{file.name} is {other.name}"
    file.unlink()
    if what == "folder":
        file.mkdir()
    elif what == "renamed":
        other.parent.joinpath(f"{rng.randrange(9)} {file.name}").write_bytes(b"")
    elif what == "link":
        file.symlink_to(rng.choice((file, file.parent, Path("/dev/zero"), Path("/nowhere"))))
    elif what == "capitals":
        file.with_name(file.name.upper()).write_bytes(b"x")
    return f"{file.name}: {what}"


# ---- the structure of JSON ------------------------------------------------------------------------------------------


def _json(value: Any, rng: random.Random) -> tuple[bytes, str]:
    nodes = list(_nodes(value))
    where, key = rng.choice(nodes) if nodes else (None, None)
    what = rng.choice(("value", "value", "value", "drop", "other", "twice", "key", "wrap", "text"))
    if where is None:
        return json.dumps(rng.choice(VALUES)).encode(), "all of it"
    old = where[key]
    if what == "value":
        where[key] = rng.choice(VALUES)
    elif what == "drop":
        del where[key]
    elif what == "other":
        there, thing = rng.choice(nodes)
        where[key] = json.loads(json.dumps(there[thing]))
    elif what == "wrap":
        where[key] = rng.choice(([old], {"a": old}, [old] * 3))
    elif what == "text":
        where[key] = str(old)
    elif isinstance(where, list) and isinstance(key, int):
        where.insert(key, old)
    elif what == "key":
        del where[key]
        where[rng.choice(TEXTS)] = old
    text = json.dumps(value)
    if what == "twice" and isinstance(where, dict):
        text = text.replace(f'"{key}": ', f'"{key}": {json.dumps(rng.choice(VALUES))}, "{key}": ', 1)
    return text.encode(), f"{what} at {key!r:.30} ({old!r:.30})"


def _nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a value: what holds it, and its key or index there."""
    places = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for place in list(places):
        yield value, place
        yield from _nodes(value[place])
