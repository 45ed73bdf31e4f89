"""Addresses under which annotation tools serve pictures, as paths of files."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import PurePosixPath
from urllib.parse import unquote

from labelwise.formats.scan import ENDINGS

_SCHEME = re.compile(r"^([a-z][a-z0-9+.-]*)://[^/?#]*", re.IGNORECASE)
#: of an upload to Label Studio: the project's number says nothing of folders
_UPLOAD = re.compile(r"^/?data/upload/(?:\d+/)?")
_RESOLVED = re.compile(r"[?&]fileuri=([^&#]+)")
_LOCAL = re.compile(r"[?&]d=([^&#]*)")
_MARKS = ("/data/upload/", "/data/local-files/", "/tasks/")


def is_picture(text: object) -> bool:
    """Whether a value of a task looks like the address or the name of a picture.

    Example:
        >>> is_picture("/data/upload/3/ab12cd34-a"), is_picture("photos/a.JPG"), is_picture("a cat")
        (True, True, False)
    """
    if not isinstance(text, str) or len(text) > 10_000:
        return False
    if _SCHEME.match(text) or text.startswith(_MARKS):
        return True
    return PurePosixPath(text.partition("?")[0]).suffix.lower() in ENDINGS


def path_of(address: str) -> str:
    """The path of the file that an address means; of a server's, everything behind its name.

    Example:
        >>> path_of("/data/local-files/?d=photos%2Fa%20b.jpg"), path_of("/data/upload/3/ab12cd34-a.jpg")
        ('photos/a b.jpg', 'ab12cd34-a.jpg')
        >>> path_of("s3://bucket/day/a.jpg"), path_of("https://example.org/day/a%20b.jpg?size=2")
        ('/day/a.jpg', '/day/a b.jpg')
    """
    if hidden := _RESOLVED.search(address):
        address = _decoded(unquote(hidden[1]))
    if local := _LOCAL.search(address):
        return unquote(local[1])
    if upload := _UPLOAD.match(address):
        return address[upload.end() :].partition("?")[0]
    if scheme := _SCHEME.match(address):
        rest = address[scheme.end() :]
        # keys of object stores are written as they are, addresses of the web are encoded
        if scheme[1].lower() in ("http", "https"):
            inner = rest.partition("?")[0].partition("#")[0]
            return path_of(inner) if inner.startswith(_MARKS[:2]) else unquote(inner)
        return rest
    return address


def _decoded(text: str) -> str:
    """What base64 hides; text that is none as it is."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return text
