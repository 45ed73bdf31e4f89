"""The contract test of formats: what every format promises, whoever wrote it.

In a test of a format of one's own::

    def test_it_keeps_the_contract(tmp_path):
        check_format(MyFormat(), samples(tmp_path / "good"), tmp_path / "work")

``samples`` writes small files or folders as the tools of that format write them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from labelwise.contracts.format import Format, Hints, Reads, Sniff, Writes, Writing
from labelwise.contracts.record import Head, Mask, Record, Seen, State
from labelwise.errors import LabelwiseError
from labelwise.testing.mutations import survive

#: a format takes a file as its own from here on
SURE = 0.5
_STATES, _READS, _WRITES = get_args(State), get_args(Reads), get_args(Writes)


def check_format(
    form: Format, samples: Sequence[Path], folder: Path, hints: Hints | None = None, *, mutations: int = 100
) -> None:
    """Holds a format to its contract: it recognises its samples and nothing else, reads, writes and reads again.

    Args:
        form: the format.
        samples: files or folders as its tools write them, each recognised for one use at least; () for a format that
            reads nothing.
        folder: an empty folder to work in; made where it is missing.
        hints: given to the reader, such as the classes of a project.
        mutations: broken copies of its samples that the reader meets for each use.

    Raises:
        AssertionError: the first promise that is broken, in words.
    """
    hints = hints or Hints()
    folder.mkdir(parents=True, exist_ok=True)
    _check_class(form)
    _check_strangers(form, folder / "strangers")
    assert bool(samples) == bool(form.reads), f"{form.name}: give samples where it reads, and none where it does not"
    read: dict[Reads, list[Path]] = {}
    for number, sample in enumerate(samples):
        uses = [use for use in _READS if use in form.reads and _reads(form, sample, use, hints)]
        for use in uses:
            _check_read(form, sample, use, hints)
            read.setdefault(use, []).append(sample)
        assert uses, f"{form.name} does not recognise {sample.name!r}: {form.sniff(sample, sorted(form.reads)[0])}"
        _check_written(form, sample, uses, folder / f"again{number}", hints)
    assert set(read) == set(form.reads), f"{form.name}: no sample is read for {sorted(form.reads - set(read))}"
    for use, fits in read.items():
        survive(form, use, fits, folder / f"broken_{use}", mutations, hints)


# ---- the class ------------------------------------------------------------------------------------------------------


def _check_class(form: Format) -> None:
    """Names, options and docstrings."""
    cls, name = type(form), form.name
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name), f"{name!r} is no name: lower case, digits, _"
    assert dataclasses.is_dataclass(cls), f"{name}: @dataclass(frozen=True)"
    assert cls.__dataclass_params__.frozen, f"{name}: a format is frozen"  # type: ignore[attr-defined]
    assert cls() == cls(), f"{name}: two with the same options are equal"
    assert form.title.strip(), f"{name}: give it a title"
    assert "\n" not in form.title, f"{name}: a title is one line"
    assert form.kinds, f"{name}: name the kinds of label that it holds"
    assert form.reads or form.writes, f"{name}: it neither reads nor writes"
    assert form.reads <= set(_READS), f"{name} reads for {sorted(form.reads)}: allowed are {_READS}"
    assert form.writes <= set(_WRITES), f"{name} writes for {sorted(form.writes)}: allowed are {_WRITES}"
    assert form.ending == "" or re.fullmatch(r"\.\w+", form.ending), f"{name}: an ending begins with a point"
    documented = "\n".join(part.__doc__ or "" for part in (cls, cls.read))
    first = (cls.__doc__ or "").partition("\n")[0]
    assert first.endswith((".", ":")), f"{name}: its docstring begins with a sentence"
    assert "emory" in documented, f"{name}: its docstring says what memory it takes"


def _check_strangers(form: Format, folder: Path) -> None:
    """What is nobody's file is not this format's."""
    folder.mkdir(exist_ok=True)
    strangers = {
        "empty": b"",
        "empty.json": b"",
        "empty.csv": b"",
        "picture.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        "zeros.npz": b"PK\x03\x04" + b"\0" * 100,
        "letter.txt": b"Dear Sir,\n\nnothing here is a label.\n",
        "object.json": b'{"name": "something else", "version": 3}',
        "list.json": b"[1, 2, 3]",
        "page.xml": b"<html><body>no labels</body></html>",
    }
    for name, data in strangers.items():
        (folder / name).write_bytes(data)
    (folder / "folder").mkdir(exist_ok=True)
    for path in [*(folder / name for name in (*strangers, "folder", "gone")), Path("/dev/null")]:
        for use in _READS:
            told = form.sniff(path, use)
            assert isinstance(told, Sniff), f"{form.name}: sniff gives a Sniff"
            assert told.sure < SURE, f"{form.name} takes {path.name!r} for its own: {told}"
            assert told.why.strip(), f"{form.name}: say what {path.name!r} missed"
            assert "\n" not in told.why, f"{form.name}: half a sentence, not lines"


# ---- reading --------------------------------------------------------------------------------------------------------


def _reads(form: Format, sample: Path, use: Reads, hints: Hints) -> bool:
    """Whether a sample is read for a use; a file without scores, say, is no file of predictions."""
    if form.sniff(sample, use).sure < SURE:
        return False
    try:
        _read(form, sample, use, hints)
    except LabelwiseError:
        return False
    return True


def _check_read(form: Format, sample: Path, use: Reads, hints: Hints) -> None:
    """The same records twice, with places that people find."""
    told = form.sniff(sample, use)
    assert set(told.kinds) <= form.kinds, f"{form.name}: sniff names kinds {told.kinds} that it does not hold"
    head, records = _read(form, sample, use, hints)
    assert (head, same(records)) == (head, same(_read(form, sample, use, hints)[1])), (
        f"{form.name}: read twice, two answers"
    )
    for note in head.notes:
        assert "\n" not in note, f"{form.name}: a note is one line: {note!r}"
        assert len(note.replace(str(sample), "")) <= 300, f"{form.name}: a note is a line: {note!r}"
    if use == "data":
        assert form.root(sample).is_dir(), f"{form.name}: root of {sample.name!r} is no folder"
    assert records, f"{form.name}: {sample.name!r} holds no record for {use}"
    for record in records:
        assert record.where.file, f"{form.name}: a record says where it stands"
        assert record.state in _STATES, f"{form.name}: {record.where}: state {record.state!r}"
        assert record.image or record.number is not None, f"{form.name}: {record.where} names no picture"
        assert record.state == "answered" or not (record.state == "skipped" and record.objects), (
            f"{form.name}: {record.where} is skipped and labelled"
        )
        for thing in record.objects:
            assert isinstance(thing, Seen), f"{form.name}: {record.where} holds {thing!r:.60}"
            assert thing.cls is None or isinstance(thing.cls, str | int), (
                f"{form.name}: {record.where}: {thing.cls!r:.60}"
            )
            assert thing.score is None or 0 <= thing.score <= 1, f"{form.name}: {record.where}: score {thing.score}"


def _read(form: Format, path: Path, use: Reads, hints: Hints) -> tuple[Head, list[Record]]:
    head, records = form.read(path, use, hints)
    return head, list(records)


# ---- writing --------------------------------------------------------------------------------------------------------


def _check_written(form: Format, sample: Path, uses: Sequence[Reads], folder: Path, hints: Hints) -> None:
    """What was written is read as it was; picks come back unanswered."""
    folder.mkdir()
    use = next((use for use in uses if use != "predictions"), None)
    if use is None or not form.writes & {"labelled", "asked"}:
        return
    head, records = _read(form, sample, use, hints)
    kinds = form.sniff(sample, use).kinds or tuple(sorted(form.kinds))
    head, records = _matched(head, records, hints)
    labelled = [record for record in records if record.state in ("answered", "empty")]
    if "labelled" in form.writes and labelled:
        first = folder / f"first{form.ending}"
        how = _writing(form, kinds[0], labelled, folder)
        _written(form, first, head, labelled, how)
        head_b, once = _read(form, first, use, hints)
        assert len(once) == len(labelled), f"{form.name}: {len(labelled)} labels written, {len(once)} read again"
        for old, new in zip(_by_name(labelled), _by_name(once), strict=True):
            assert new.state == old.state, f"{form.name}: {old.image!r} was {old.state} and comes back {new.state}"
            told, kept = _classes(old, head, hints), _classes(new, head_b, hints)
            assert kept == told, f"{form.name}: {old.image!r} had {told} and comes back with {kept}"
        second = folder / f"second{form.ending}"
        _written(form, second, *_matched(head_b, once, hints), how)
        again = _read(form, second, use, hints)[1]
        _check_same(form, once, again)
    if "asked" in form.writes:
        asked = [
            dataclasses.replace(record, state="untouched", extra={"answered": False, "rank": n, "strategy": "random"})
            for n, record in enumerate(records)
        ]
        path = folder / f"asked{form.ending}"
        _written(form, path, head, asked, Writing("asked", kinds[0]))
        if "answers" in form.reads:
            states = set()
            with contextlib.suppress(LabelwiseError):  # a folder without one label is no folder of labels
                states = {record.state for record in _read(form, path, "answers", hints)[1]}
            assert states <= {"untouched"}, f"{form.name}: picks that nobody worked on come back as {states}"


def _writing(form: Format, kind: str, records: Sequence[Record], folder: Path) -> Writing:
    """Labels of a set; where that is a folder, with pictures, without which some formats are no set."""
    if form.ending:
        return Writing("labelled", kind)
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    size = next((size for record in records if (size := record.size or (record.pixels and record.pixels.size))), (8, 6))
    picture = folder / "picture.png"
    Image.new("RGB", size).save(picture)
    return Writing("labelled", kind, path_of=lambda image: str(picture), images="copy")


def _matched(head: Head, records: Sequence[Record], hints: Hints) -> tuple[Head, list[Record]]:
    """Records as they are written: of pictures, whose names have endings, with classes by name."""
    names = hints.names or head.numbers or dict(enumerate(head.classes))
    kept = [
        dataclasses.replace(
            record,
            image=f"{record.image}.jpg" if record.bare else record.image,
            bare=False,
            objects=tuple(dataclasses.replace(thing, cls=_name(thing.cls, names)) for thing in record.objects),
        )
        for record in records
        if record.image
    ]
    found = {thing.cls for record in kept for thing in record.objects if isinstance(thing.cls, str)}
    return dataclasses.replace(head, classes=head.classes or tuple(sorted(found)), numbers={}), kept


def _name(cls: str | int | None, names: Mapping[int, str]) -> str | None:
    return names.get(cls, str(cls)) if isinstance(cls, int) else cls


def _check_same(form: Format, once: Sequence[Record], again: Sequence[Record]) -> None:
    """Equal but for the folder that a format puts its pictures into."""
    for old, new in zip(_by_name(once), _by_name(again), strict=True):
        one, other = f"/{old.image}", f"/{new.image}"
        assert one.endswith(other) or other.endswith(one), f"{form.name}: {old.image!r} comes back as {new.image!r}"
        (before,), (after,) = same([old]), same([new])
        odd = [key for key in before if key != "image" and before[key] != after[key]]
        assert not odd, f"{form.name}: {odd[0]} of {old.image!r} was {before[odd[0]]!r:.200}, is {after[odd[0]]!r:.200}"


def _written(form: Format, path: Path, head: Head, records: Sequence[Record], how: Writing) -> None:
    try:
        said = form.write(path, head, records, how)
    except LabelwiseError as error:
        raise AssertionError(f"{form.name} does not write what it read: {error}") from error
    assert isinstance(said, list), f"{form.name}: write returns a list of lines"
    assert all(isinstance(line, str) and "\n" not in line for line in said), f"{form.name}: {said!r:.200}"
    assert path.exists(), f"{form.name}: nothing was written at {path.name!r}"


# ---- comparing ------------------------------------------------------------------------------------------------------


def same(records: Sequence[Record]) -> list[Any]:
    """Records without the place they were read at, masks as pixels: equal where files say the same."""
    return [{**_plain(record), "where": None} for record in records]


def _plain(value: Any) -> Any:
    if isinstance(value, Mask):
        return (value.size, value.at, value.read().tolist())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _by_name(records: Sequence[Record]) -> list[Record]:
    """In the order of the names without their folders, which a format may change."""
    return sorted(
        records, key=lambda record: (str(record.image).rpartition("/")[2], str(record.image), record.region or "")
    )


def _classes(record: Record, head: Head, hints: Hints) -> list[str | None]:
    """Names of the classes of objects, sorted."""
    names = hints.names or head.numbers or dict(enumerate(head.classes))
    found = [
        names.get(thing.cls, str(thing.cls)) if isinstance(thing.cls, int) else thing.cls for thing in record.objects
    ]
    return sorted(found, key=str)
