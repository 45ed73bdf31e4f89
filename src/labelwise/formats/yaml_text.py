"""YAML that people wrote: class lists as the text that was written (``no`` is a word there), settings with numbers.

Built from the parser's events, one after the other: no recursion, no object of any type but text, list and mapping, and
a limit on how much an alias may multiply.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

import yaml

from labelwise.errors import FormatError
from labelwise.formats.delimited import read_text

#: bytes of a file, values in it with every alias written out, lists and mappings within each other
MOST_BYTES, MOST_VALUES, DEEPEST = 2_000_000, 100_000, 24

#: keys of settings whose values are names, and stay text whatever they look like
NAMES = frozenset({"classes"})
#: characters of a number in settings; no setting is as large as that
_LONGEST = 40
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_BROKEN = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan", re.IGNORECASE)
_YES, _NO = frozenset({"true", "yes", "on"}), frozenset({"false", "no", "off"})

#: what YAML calls nothing
NOTHING = frozenset({"", "~", "null", "Null", "NULL"})
_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def read_yaml_text(path: str | os.PathLike[str]) -> Any:
    """The one document of a file, made of ``dict`` (with text as keys), ``list`` and ``str``; "" for an empty file.

    Raises:
        FormatError: missing, too large, no YAML (with the line), a key that stands twice, several documents, nested too
            deeply, or aliases that multiply.

    Cost:
        Memory: 200 MB at most.
    """
    shown = repr(os.fspath(path))
    return _built(_text(path, shown), _Tree(shown))


def read_settings(path: str | os.PathLike[str]) -> Any:
    """As ``read_yaml_text``, with numbers, true and false, and null; what stands under ``classes`` stays text.

    Dates, tags and other languages of YAML are not known here: ``2001-01-01`` is text.

    Raises:
        FormatError: as for ``read_yaml_text``, and for a tag, or a number that is not finite or endless.
    """
    shown = repr(os.fspath(path))
    return parse_settings(_text(path, shown), shown)


def parse_settings(text: str, shown: str) -> Any:
    """As ``read_settings``, of a text; ``shown`` says in errors where it stands.

    Example:
        >>> parse_settings("{lr: 1e-3, warm: no, classes: [no, 1], when: 2001-01-01, root: ~}", "here")
        {'lr': 0.001, 'warm': False, 'classes': ['no', '1'], 'when': '2001-01-01', 'root': None}
    """
    found = _built(text, _Settings(shown))
    return None if found == "" else found


def _text(path: str | os.PathLike[str], shown: str) -> str:
    try:
        size = Path(path).stat().st_size
    except OSError as error:
        raise FormatError(f"{shown} cannot be read: {error.strerror}") from None
    if size > MOST_BYTES:
        raise FormatError(f"{shown} has {size:,} bytes; settings and class lists have at most {MOST_BYTES:,}")
    return read_text(path)


def _built(text: str, tree: _Tree) -> Any:
    shown = tree.shown
    try:
        return tree.build(yaml.parse(text, Loader=_LOADER))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f", line {mark.line + 1}"
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise FormatError(f"{shown}{place}: no valid YAML ({reason:.120})") from None
    except (ValueError, RecursionError) as error:  # a character beyond Unicode, written as an escape
        raise FormatError(f"{shown}: no valid YAML ({error!s:.120})") from None


class _Tree:
    """Values as events tell them."""

    def __init__(self, shown: str) -> None:
        self.shown = shown
        #: open lists and mappings, each with its anchor and, of a mapping, the key that waits for its value
        self.open: list[tuple[Any, str | None]] = []
        self.keys: list[str | None] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.sizes: list[int] = []
        self.values = 0
        self.root: Any = ""

    def build(self, events: Any) -> Any:
        documents = 0
        for event in events:
            line = event.start_mark.line + 1
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise FormatError(f"{self.shown}, line {line}: a second document begins; keep one")
            elif isinstance(event, yaml.ScalarEvent):
                self._add(self.value_of(event, line), event.anchor, 1, line)
            elif isinstance(event, yaml.AliasEvent):
                if event.anchor not in self.anchors:
                    raise FormatError(
                        f"{self.shown}, line {line}: *{event.anchor:.40} stands for nothing that is known"
                    )
                value, size = self.anchors[event.anchor]
                self._add(value, None, size, line)
            elif isinstance(event, yaml.CollectionStartEvent):
                self.check_tag(event, line)
                self._begin({} if isinstance(event, yaml.MappingStartEvent) else [], event.anchor, line)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._end()
        return self.root

    def check_tag(self, event: Any, line: int) -> None:
        """Whether a type may be named; here it says nothing."""

    def value_of(self, event: Any, line: int) -> Any:
        """What a scalar means: its text."""
        return event.value

    def _add(self, value: Any, anchor: str | None, size: int, line: int) -> None:
        self.values += size
        if self.values > MOST_VALUES:
            raise FormatError(f"{self.shown}, line {line}: more than {MOST_VALUES:,} values: these are no settings")
        if anchor is not None:
            self.anchors[anchor] = (value, size)
        if self.sizes:
            self.sizes[-1] += size
        if not self.open:
            self.root = value
            return
        holder = self.open[-1][0]
        if isinstance(holder, list):
            holder.append(value)
        elif self.keys[-1] is None:
            self._key(value, holder, line)
        else:
            holder[self.keys[-1]] = value
            self.keys[-1] = None

    def _key(self, key: Any, holder: dict[str, Any], line: int) -> None:
        if not isinstance(key, str):
            raise FormatError(f"{self.shown}, line {line}: a key is a list or a mapping; write a word")
        if key in holder:
            raise FormatError(f"{self.shown}, line {line}: the key {key!r:.60} stands twice; keep one of the two")
        self.keys[-1] = key

    def _begin(self, value: Any, anchor: str | None, line: int) -> None:
        if len(self.open) >= DEEPEST:
            raise FormatError(
                f"{self.shown}, line {line}: more than {DEEPEST} lists and mappings lie within each other: these are "
                "no settings"
            )
        if self.open and isinstance(self.open[-1][0], dict) and self.keys[-1] is None:
            self._key(value, {}, line)
        self.open.append((value, anchor))
        self.keys.append(None)
        self.sizes.append(1)

    def _end(self) -> None:
        value, anchor = self.open.pop()
        self.keys.pop()
        size = self.sizes.pop()
        self.values -= size - 1  # counted one by one already
        self._add(value, anchor, size, 0)


class _Settings(_Tree):
    """Values as settings have them."""

    def check_tag(self, event: Any, line: int) -> None:
        """No type but text may be named: others would make any object."""
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            raise FormatError(f"{self.shown}, line {line}: the tag {event.tag!r:.60}: write the value without it")

    def value_of(self, event: Any, line: int) -> Any:
        """Numbers, true and false, null; text where it is quoted, a key or a name."""
        text: str = event.value
        is_key = bool(self.open) and isinstance(self.open[-1][0], dict) and self.keys[-1] is None
        self.check_tag(event, line)
        if is_key or not event.implicit[0] or NAMES & {key for key in self.keys[:1] if key}:
            return text
        if text in NOTHING:
            return None
        if text.lower() in _YES | _NO:
            return text.lower() in _YES
        if not (_WHOLE.fullmatch(text) or _BROKEN.fullmatch(text)):
            return text
        if len(text) > _LONGEST:
            raise FormatError(
                f"{self.shown}, line {line}: a number of {len(text):,} characters: too long for a setting"
            )
        if _WHOLE.fullmatch(text):
            return int(text)
        number = float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
        if not math.isfinite(number):
            raise FormatError(f"{self.shown}, line {line}: {text} is not finite, and settings are")
        return number
