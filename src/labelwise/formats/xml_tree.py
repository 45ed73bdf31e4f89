"""XML files that came from elsewhere: elements with their lines, and nothing that XML can do to a reader.

A document type is refused on sight: entities are the way to bombs and to other files, and annotations need none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from labelwise.errors import FormatError

#: elements within elements; annotations have four
DEEPEST = 32
#: elements in one file of one annotation, or in one child of the root of a streamed file
MOST = 1_000_000
#: bytes of such a file, or of what lies between two marks of a streamed one
LARGEST = 64_000_000
_CHUNK = 1 << 20
_ODD = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


@dataclass(slots=True)
class Element:
    """One element.

    Args:
        tag: its name.
        line: where it begins in the file.
        attributes: name -> value.
        children: in order.
        text: between its tags, without white space around it.
    """

    tag: str
    line: int
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, tag: str) -> list[Element]:
        """Children of this name."""
        return [child for child in self.children if child.tag == tag]

    def plain(self) -> Any:
        """Text where there is nothing else; else a mapping, with a list where a name comes several times."""
        if not self.children and not self.attributes:
            return self.text
        found: dict[str, Any] = {f"@{name}": value for name, value in self.attributes.items()}
        for child in self.children:
            found.setdefault(child.tag, []).append(child.plain())
        found = {
            tag: value[0] if isinstance(value, list) and len(value) == 1 else value for tag, value in found.items()
        }
        return found | ({"#text": self.text} if self.text else {})


class _Builder:
    """Builds elements while a parser goes through a file.

    Args:
        shown: the file, for messages.
        streamed: children of the root are put into ``done`` instead of being kept.
    """

    def __init__(self, shown: str, *, streamed: bool = False) -> None:
        self.shown, self.streamed = shown, streamed
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.EntityDeclHandler = self._doctype
        self.parser.ExternalEntityRefHandler = self._doctype
        self.open: list[Element] = []
        self.texts: list[list[str]] = []
        self.root: Element | None = None
        self.done: list[Element] = []
        self.held = 0

    def feed(self, data: bytes, *, last: bool) -> None:
        """Takes a piece of the file.

        Raises:
            FormatError: no valid XML, or what annotations never need.
        """
        try:
            self.parser.Parse(data, last)
        except expat.ExpatError as error:
            raise FormatError(
                f"{self.shown}, line {error.lineno}: no valid XML ({expat.ErrorString(error.code)})"
            ) from None
        except (ValueError, LookupError) as error:  # an encoding that Python does not know
            raise FormatError(f"{self.shown}: no valid XML ({' '.join(str(error).split()):.100})") from None

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        element = Element(tag, self.parser.CurrentLineNumber, attributes)
        self.held += 1
        if not self.open:
            self.root = element
        elif not self.streamed or len(self.open) > 1:
            self.open[-1].children.append(element)
        self.open.append(element)
        self.texts.append([])
        if len(self.open) > DEEPEST:
            raise FormatError(
                f"{self.shown}, line {element.line}: more than {DEEPEST} elements lie within each other; this is no "
                "annotation"
            )
        if self.held > MOST:
            raise FormatError(
                f"{self.shown}, line {element.line}: more than {MOST:,} elements where one annotation should be"
            )

    def _end(self, tag: str) -> None:
        element = self.open.pop()
        element.text = "".join(self.texts.pop()).strip()
        if self.streamed and len(self.open) == 1:
            self.done.append(element)
            self.held = 0

    def _characters(self, text: str) -> None:
        if self.texts:
            self.texts[-1].append(text)

    def _doctype(self, *declared: Any) -> int:
        raise FormatError(
            f"{self.shown}, line {self.parser.CurrentLineNumber}: a document type or an entity is declared, which an "
            "annotation never needs and which can do harm: nothing of the file is read; delete the declaration"
        )


def read_xml(path: str | os.PathLike[str]) -> Element:
    """The root element of a small file, with all that is in it.

    Raises:
        FormatError: missing, not XML (with the line), a document type or an entity, nested beyond reason, or larger
            than one annotation can be.

    Cost:
        Memory: some ten times the file for usual annotations, 0.4 GB at most beside the text.
    """
    shown = repr(os.fspath(path))
    builder = _Builder(shown)
    with _opened(path, shown) as file:
        if os.fstat(file.fileno()).st_size > LARGEST:
            raise FormatError(f"{shown} has more than {LARGEST:,} bytes, which no annotation of one image has")
        builder.feed(file.read(), last=True)
    assert builder.root is not None, "a document without an element is no XML"
    return builder.root


def stream_xml(path: str | os.PathLike[str]) -> Iterator[Element]:
    """The root element as it begins, without children; then each of its children as soon as it is whole.

    Nothing is kept, so that files may be larger than memory.

    Raises:
        FormatError: as :func:`read_xml`, while elements are drawn.

    Cost:
        Memory: of the largest child of the root, 0.5 GB at most.
    """
    shown = repr(os.fspath(path))
    builder = _Builder(shown, streamed=True)
    given = fed = 0
    with _opened(path, shown) as file:
        while True:
            data = file.read(_CHUNK)
            fed += len(data)
            builder.feed(data, last=not data)
            if builder.root is not None and not given:
                given = 1
                yield Element(builder.root.tag, builder.root.line, builder.root.attributes)
            yield from builder.done
            builder.done.clear()
            if not data:
                return
            if fed - builder.parser.CurrentByteIndex > LARGEST:
                raise FormatError(f"{shown}: one element has more than {LARGEST:,} bytes, which no annotation has")


def _opened(path: str | os.PathLike[str], shown: str) -> BinaryIO:
    try:
        if not Path(path).is_file() and Path(path).exists():
            raise FormatError(f"{shown} is no file: give the XML file itself")
        return Path(path).open("rb")
    except FileNotFoundError:
        raise FormatError(f"{shown} does not exist: check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise FormatError(f"{shown} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def quoted(text: str) -> str:
    """Text as it stands between tags and in attributes.

    Example:
        >>> quoted('a "b" & <c>')
        'a &quot;b&quot; &amp; &lt;c&gt;'
    """
    return escape(text, {'"': "&quot;", "\n": "&#10;", "\t": "&#9;", "\r": "&#13;"})


def checked_text(text: str, shown: str) -> str:
    """Text that is to be written as XML.

    Raises:
        FormatError: a character that XML cannot hold.
    """
    if odd := _ODD.search(text):
        raise FormatError(f"{shown!r:.100} would hold the character {odd[0]!r}, which XML cannot hold: rename it")
    return text


def write_element(tag: str, value: Any, depth: int = 0) -> str:
    r"""What :meth:`Element.plain` gave, as XML again, indented by tabs; numbers are written out.

    Example:
        >>> write_element("size", {"width": 4, "depth": "3"})
        '<size>\n\t<width>4</width>\n\t<depth>3</depth>\n</size>\n'
    """
    if isinstance(value, list):
        return "".join(write_element(tag, one, depth) for one in value)
    indent = "\t" * depth
    if not isinstance(value, dict):
        return f"{indent}<{tag}>{escape(str(value))}</{tag}>\n"
    attributes = "".join(f" {key[1:]}={quoteattr(str(v))}" for key, v in value.items() if key.startswith("@"))
    inner = "".join(write_element(key, v, depth + 1) for key, v in value.items() if key[:1] not in ("@", "#"))
    text = escape(str(value.get("#text", "")))
    return f"{indent}<{tag}{attributes}>{text}\n{inner}{indent}</{tag}>\n" if inner else (
        f"{indent}<{tag}{attributes}>{text}</{tag}>\n"
    )  # fmt: skip
