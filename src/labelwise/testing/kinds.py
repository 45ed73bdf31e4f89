"""The contract test of kinds of label: what every kind promises, whoever wrote it.

In a test of a kind of one's own::

    def test_it_keeps_the_contract():
        check_kind(MyKind(), [label, another], classes=("cat", "dog"))
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from PIL import Image

from labelwise.contracts.kind import Kind, Naming, Panel, Raw
from labelwise.contracts.record import Head
from labelwise.errors import DataError, FormatError
from labelwise.kinds import KINDS
from labelwise.testing.configuration import check_frozen
from labelwise.testing.mutations import VALUES

#: most characters of a message
_LINE = 300


def check_kind(kind: Kind, raws: Sequence[Raw], classes: tuple[str, ...]) -> None:
    """Holds a kind to its contract: labels become records and come back, and what is no label is refused in one line.

    Args:
        kind: the kind.
        raws: labels, of all forms that it knows, that name two classes at least between them.
        classes: names in index order.

    Raises:
        AssertionError: the first promise that is broken, in words.
    """
    _check_class(kind)
    named = {name for raw in raws for name in kind.objects(raw, classes)}
    assert len(named) > 1, f"{kind.name}: give labels that name two classes at least, these name {sorted(named)}"
    for raw in raws:
        before = copy.deepcopy(raw)
        _check_label(kind, raw, classes)
        _check_record(kind, raw, classes)
        _check_sizes(kind, raw, classes)
        _check_refusals(kind, raw, classes)
        _check_pictures(kind, raw, classes)
        assert raw == before, f"{kind.name} changes the labels that it is given: {raw!r:.80}"
    counts = kind.counts(raws, classes)
    assert list(counts)[: len(classes)] == list(classes), f"{kind.name}: counts name every class, in their order"
    assert sum(counts.values()) == sum(len(kind.objects(raw, classes)) for raw in raws), f"{kind.name}: counts"
    for line in kind.tally(raws):
        assert "\n" not in line, f"{kind.name}: what is odd is told in a line: {line!r}"


def _check_class(kind: Kind) -> None:
    cls: type[Any] = type(kind)
    name = kind.name
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name), f"{name!r} is no name: lower case, digits, _"
    check_frozen(kind)
    assert cls() == cls(), f"{name}: two with the same options are equal"
    assert kind.noun.strip(), f"{name}: say what one of them is called"
    assert kind.task.strip(), f"{name}: say which task trains on it"
    assert kind.fewest >= 1, f"{name}: a project has one class at least"
    first = (cls.__doc__ or "").partition("\n")[0]
    assert first.endswith((".", ":")), f"{name}: its docstring begins with a sentence"


def _check_label(kind: Kind, raw: Raw, classes: tuple[str, ...]) -> None:
    """What one label says of itself."""
    what = f"{kind.name}: {raw!r:.80}"
    kind.check(raw, classes, None)
    assert _text(json.loads(_text(raw))) == _text(raw), f"{what} is no JSON"
    assert kind.owns(raw), f"{what} is not owned by its kind"
    others = [KINDS.create(name) for name in KINDS.names()]
    strangers = [other.name for other in others if type(other) is not type(kind) and other.owns(raw)]
    assert not strangers, f"{what} is owned by {strangers} too: give it a form of its own"
    assert set(kind.objects(raw, classes)) <= set(classes), f"{what} names classes that are none"
    cost = kind.cost(raw)
    assert cost.get("images") == 1.0, f"{what}: its cost says that it is one image"
    assert all(math.isfinite(value) and value >= 0 for value in cost.values()), f"{what} costs {cost}"
    assert kind.same(raw, copy.deepcopy(raw)), f"{what} does not say the same as itself"
    assert not (kind.empty(raw) and kind.objects(raw, classes)), f"{what} is empty and names classes"
    assert "\n" not in kind.short(raw), f"{what}: a few words are one line"
    assert len(kind.short(raw)) <= 80, f"{what}: a few words are short"
    assert kind.merge([raw]) == raw, f"{what} merged alone is another"
    kind.check(kind.merge([raw, raw]), classes, None)
    assert kind.parts(raw, {}) == {}, f"{what} answers regions that nobody asked"


def _check_record(kind: Kind, raw: Raw, classes: tuple[str, ...]) -> None:
    """There and back, with the classes as they are, in another order and under other names."""
    what = f"{kind.name}: {raw!r:.80}"
    record = kind.to_record("a/b.png", raw, classes)
    assert record.image == "a/b.png", f"{what} becomes a record of {record.image!r}"
    assert record.state in ("answered", "empty", "untouched"), f"{what} becomes {record.state}"
    for known in (None, record.size):
        found = kind.from_record(record, _naming(classes, classes), known)
        assert _text(found) == _text(raw), f"{what} comes back as {found!r:.80}"
    turned = kind.from_record(record, _naming(classes, classes[::-1]), record.size)
    kind.check(turned, classes[::-1], record.size)
    assert _sorted(kind, turned, classes[::-1]) == _sorted(kind, raw, classes), f"{what}: classes in another order"
    renamed = {name: f"{name} (too)" for name in classes}
    again = kind.from_record(record, _naming(classes, tuple(renamed.values()), renamed), record.size)
    wanted = sorted(renamed[name] for name in kind.objects(raw, classes))
    assert _sorted(kind, again, tuple(renamed.values())) == wanted, f"{what}: classes under other names"


def _check_sizes(kind: Kind, raw: Raw, classes: tuple[str, ...]) -> None:
    """Labels that were drawn at another size than the picture has are refused with both sizes."""
    record = kind.to_record("a/b.png", raw, classes)
    if record.size is None:
        return
    kind.check(raw, classes, record.size)
    other = (record.size[0] + 1, record.size[1] + 2)
    for refused in (
        lambda: kind.check(raw, classes, other),
        lambda: kind.from_record(record, _naming(classes, classes), other),
    ):
        message = _refused(refused, f"{kind.name}: a label at another size than its picture")
        for width, height in (record.size, other):
            assert f"{width} x {height}" in message, f"{kind.name}: name {width} x {height} in {message!r}"
    assert str(record.where) in message, f"{kind.name}: say where it stands: {message!r}"


def _check_refusals(kind: Kind, raw: Raw, classes: tuple[str, ...]) -> None:
    """What is no label is refused, in one line and by nothing but DataError; what is taken has the right form."""
    for value in (None, {}, [[]], 10**400, float("nan"), object(), b"", {"size": 3}, {1: 2}):
        _refused(lambda value=value: kind.check(value, classes, None), f"{kind.name}: {value!r:.40}")
    if kind.objects(raw, classes):
        _refused(lambda: kind.check(raw, (), None), f"{kind.name}: a label of classes that the project does not have")
    for broken in _broken(raw):
        try:
            kind.check(broken, classes, None)
        except DataError as error:
            _one_line(str(error), f"{kind.name}: {broken!r:.60}")
            continue
        # what was taken can be used
        assert set(kind.objects(broken, classes)) <= set(classes), f"{kind.name} takes {broken!r:.80}"
        kind.cost(broken)
        kind.short(broken)


def _broken(raw: Raw) -> Iterator[Any]:
    """The label with each of its parts replaced by each strange value, or left out."""
    for way in _ways(raw):
        if not way:
            continue
        for value in VALUES:
            yield _changed(raw, way, value)
        yield _changed(raw, way, None, drop=True)


def _ways(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield way
    if isinstance(value, Mapping):
        for key, inner in value.items():
            # what files say beside is kept as it is
            if key != "extra":
                yield from _ways(inner, (*way, key))
    elif isinstance(value, list | tuple):
        for key, inner in enumerate(value[:4]):
            yield from _ways(inner, (*way, key))


def _changed(raw: Raw, way: tuple[Any, ...], value: Any, *, drop: bool = False) -> Any:
    changed = copy.deepcopy(raw)
    inner = changed
    for key in way[:-1]:
        inner = inner[key]
    if drop:
        del inner[way[-1]]
    else:
        inner[way[-1]] = value
    return changed


def _check_pictures(kind: Kind, raw: Raw, classes: tuple[str, ...]) -> None:
    """A picture with nothing, with one label, and with two."""
    image = Image.new("RGB", (40, 30))
    panels = (Panel("predicted", raw), Panel("labelled", raw))
    for shown in ((), panels[:1], panels, (Panel("", raw),)):
        drawn = kind.draw(image, shown, classes)
        assert isinstance(drawn, Image.Image), f"{kind.name} draws {type(drawn).__name__}"
    assert image.getbbox() is None, f"{kind.name} draws into the picture that it is given"


# ---- helpers of these tests -----------------------------------------------------------------------------------------


def _naming(own: tuple[str, ...], classes: tuple[str, ...], names: Mapping[str, str] | None = None) -> Naming:
    """A file that names these classes, in a project that has them in its own order, perhaps under other names."""

    def of(cls: str | int | None) -> str:
        name = own[cls] if isinstance(cls, int) else cls
        found = (names or {}).get(str(name), name)
        if found not in classes:
            raise FormatError(f"unknown class {found!r}")
        return str(found)

    return Naming(of, classes, Head(classes=own))


def _sorted(kind: Kind, raw: Raw, classes: tuple[str, ...]) -> list[str]:
    return sorted(kind.objects(raw, classes))


def _text(raw: Raw) -> str:
    """As JSON: 1 is not 1.0 there."""
    return json.dumps(raw, sort_keys=True, allow_nan=False)


def _refused(call: Any, what: str) -> str:
    """The message that refuses it."""
    try:
        call()
    except DataError as error:
        return _one_line(str(error), what)
    raise AssertionError(f"{what} is taken")


def _one_line(message: str, what: str) -> str:
    assert message.strip(), f"{what} is refused without a word"
    assert "\n" not in message, f"{what} is refused in several lines"
    assert len(message) <= _LINE, f"{what} is refused in {len(message)} characters, {_LINE} are a line"
    return message


__all__ = ["check_kind"]
