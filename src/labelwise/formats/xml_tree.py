"""Small XML files that came from elsewhere: elements with their lines, and nothing that XML can do to a reader.

A document type is refused on sight: entities are the way to bombs and to other files, and annotations need none.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from labelwise.errors import FormatError

#: elements within elements; annotations have four
DEEPEST = 32


@dataclass
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
    def __init__(self, shown: str) -> None:
        self.shown = shown
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.EntityDeclHandler = self._doctype
        self.parser.ExternalEntityRefHandler = self._doctype
        self.open: list[Element] = []
        self.root: Element | None = None

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        element = Element(tag, self.parser.CurrentLineNumber, attributes)
        if self.open:
            self.open[-1].children.append(element)
        else:
            self.root = element
        self.open.append(element)
        if len(self.open) > DEEPEST:
            raise FormatError(
                f"{self.shown}, line {element.line}: more than {DEEPEST} elements lie within each other; this is no "
                "annotation"
            )

    def _end(self, tag: str) -> None:
        element = self.open.pop()
        element.text = element.text.strip()

    def _characters(self, text: str) -> None:
        if self.open:
            self.open[-1].text += text

    def _doctype(self, *declared: Any) -> int:
        raise FormatError(
            f"{self.shown}, line {self.parser.CurrentLineNumber}: a document type or an entity is declared, which an "
            "annotation never needs and which can do harm: nothing of the file is read; delete the declaration"
        )


def read_xml(path: str | os.PathLike[str]) -> Element:
    """The root element of a file.

    Raises:
        FormatError: missing, not XML (with the line), a document type or an entity, or nested beyond reason.
    """
    shown = repr(os.fspath(path))
    builder = _Builder(shown)
    try:
        builder.parser.Parse(Path(path).read_bytes(), True)
    except FileNotFoundError:
        raise FormatError(f"{shown} does not exist: check the path") from None
    except OSError as error:
        raise FormatError(f"{shown} cannot be read: {error.strerror}") from None
    except expat.ExpatError as error:
        raise FormatError(f"{shown}, line {error.lineno}: no valid XML ({expat.ErrorString(error.code)})") from None
    except (ValueError, LookupError) as error:  # an encoding that Python does not know
        raise FormatError(f"{shown}: no valid XML ({error})") from None
    assert builder.root is not None, "a document without an element is no XML"
    return builder.root


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
