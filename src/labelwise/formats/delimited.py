"""Tables as people and spreadsheets write them: comma, semicolon or tab, with or without a byte-order mark."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import itertools
import os
import re
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from labelwise.contracts.format import Sniff
from labelwise.errors import FormatError

#: what makes a spreadsheet take a cell for a formula, full-width forms included
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
#: an empty line is no row
_NOTHING = '""'
_QUOTED = re.compile(r'[",;\t\r\n]')
#: a line that Excel understands and writes
_EXCEL = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)
#: rows that are looked at before a table is read
SAMPLE = 200
#: characters that a line may have: a header of a hundred thousand classes fits
LINE = 1 << 23
_HEAD = 1 << 16


def escape(cell: str) -> str:
    """A text cell that no spreadsheet runs: ``'`` goes in front of what would start a formula.

    Cells that look escaped already get one more ``'``, so that ``unescape`` gives back every text.

    Example:
        >>> escape("=1+1.png"), escape("'=1+1.png"), escape("cat.png")
        ("'=1+1.png", "''=1+1.png", 'cat.png')
    """
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unescape(cell: str) -> str:
    """The text that was escaped; other text as it is.

    Example:
        >>> unescape("'=1+1.png"), unescape("=1+1.png"), unescape("'tis.png")
        ('=1+1.png', '=1+1.png', "'tis.png")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def write_rows(rows: Iterable[Sequence[str | float]]) -> str:
    r"""Rows as CSV, lines ending in CR LF: what Python's ``csv`` writes, but safe for spreadsheets.

    Text is escaped; numbers stay numbers, in their shortest exact form. A cell with ``;`` or a tab is quoted too, since
    a spreadsheet of another language would split the line there and might find a formula behind it.

    Example:
        >>> write_rows([("name", "score"), ("a,b.png", -0.5)])
        'name,score\r\n"a,b.png",-0.5\r\n'
    """
    return "".join(f"{','.join(map(_cell, row)) or _NOTHING}\r\n" for row in rows)


def _cell(value: str | float) -> str:
    if not isinstance(value, str):
        return repr(value if isinstance(value, int) else float(value))
    value = escape(value)
    return '"' + value.replace('"', '""') + '"' if _QUOTED.search(value) else value


class NoTable(FormatError):
    """A file that is something else than a table."""


def no_table(error: FormatError, path: Path) -> Sniff:
    """What a format of tables says of a file that it cannot look into."""
    return Sniff(0.0 if isinstance(error, NoTable) else 0.1, str(error).replace(repr(os.fspath(path)), "it")[:140])


@dataclass(frozen=True)
class Sheet:
    """A delimited file that was looked into: its first rows are here, all of them are drawn by ``rows``.

    Args:
        path: the file.
        encoding: UTF-8 with or without byte-order mark, or UTF-16 with one, as spreadsheets save "Unicode text".
        skipped: lines before the first row, which are for Excel (``sep=;``).
        delimiter: that Excel's line names; None: find it.
        head: the beginning of the file as text, whole lines.
        whole: whether that is the whole file.
    """

    path: Path
    encoding: str
    skipped: int
    delimiter: str | None
    head: str
    whole: bool

    @property
    def shown(self) -> str:
        """The file, for messages."""
        return repr(os.fspath(self.path))

    def first_rows(self, delimiter: str, most: int = SAMPLE) -> list[tuple[int, list[str]]]:
        """The first rows that have any content, with their numbers; none after a row that is broken.

        Lines that are quoted wrongly are no matter here: ``rows`` refuses them.
        """
        found: list[tuple[int, list[str]]] = []
        reader = csv.reader(io.StringIO(self.head, newline=""), delimiter=delimiter)
        with contextlib.suppress(csv.Error):
            for number, row in enumerate(reader, 1 + self.skipped):
                if any(cell.strip() for cell in row):
                    found.append((number, row))
                if len(found) == most:
                    break
        return found

    def rows(self, delimiter: str) -> Generator[tuple[int, list[str]], None, None]:
        """Every row with its number, as a spreadsheet counts: the first line is row 1. Cells are still escaped.

        Memory: one row, and a line of at most ``LINE`` characters.

        Raises:
            FormatError: a broken quotation, a line without end, bytes that are no text; with the row.
        """
        number = self.skipped
        try:
            with contextlib.closing(self.lines()) as lines:
                kept = itertools.islice(lines, self.skipped, None)
                for number, row in enumerate(csv.reader(kept, delimiter=delimiter, strict=True), 1 + self.skipped):
                    yield number, row
        except csv.Error as error:
            raise FormatError(
                f"{self.shown}, row {number + 1}: {error}; check the quotation marks of that row"
            ) from None

    def lines(self) -> Generator[str, None, None]:
        """Every line with its end, one in memory at a time.

        Raises:
            FormatError: a line without end, bytes that are no text.
        """
        try:
            with self.path.open(encoding=self.encoding, newline="") as file:
                while line := file.readline(LINE):
                    if "\0" in line:
                        raise FormatError(f"{self.shown} is no text: it holds NUL bytes; save it as CSV UTF-8")
                    if len(line) == LINE and line[-1] not in "\r\n":
                        raise FormatError(f"{self.shown} has a line of more than {LINE:,} characters: is it text?")
                    yield line
        except UnicodeError:
            raise self._not_text() from None
        except OSError as error:
            raise FormatError(f"{self.shown} cannot be read: {error.strerror or error}") from None

    def _not_text(self) -> FormatError:
        """Where the file stops being text."""
        if self.encoding == "utf-16":
            return FormatError(f"{self.shown} is not valid UTF-16: save it as CSV UTF-8 and try again")
        line = 1
        with self.path.open("rb") as file, contextlib.suppress(UnicodeDecodeError):
            for line, data in enumerate(file, 1):  # noqa: B007
                data.decode()
        return FormatError(f"{self.shown}, line {line}: not valid UTF-8; save it as CSV UTF-8 and try again")


def look_into(path: str | os.PathLike[str]) -> Sheet:
    """The beginning of a delimited file; nothing beyond is read.

    Raises:
        FormatError: the file is missing, cannot be read, or is no text.
    """
    path = Path(path)
    shown = repr(os.fspath(path))
    data = _beginning(path, shown)
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    if encoding == "utf-8-sig" and b"\0" in data[:1000]:
        raise NoTable(f"{shown} is not UTF-8 text (UTF-16, or no text at all): save it as CSV UTF-8 and try again")
    whole = len(data) == path.stat().st_size
    # an invalid byte is refused when its row is drawn, with the line
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(data, final=whole)
    if not whole:
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text
    if text[:1000].lstrip().startswith(("{", "[{", "[[")):
        raise NoTable(f"{shown} is JSON, no table")
    hint = _EXCEL.match(text)
    return Sheet(path, encoding, int(hint is not None), hint and hint[1], text[hint.end() if hint else 0 :], whole)


def _beginning(path: Path, shown: str) -> bytes:
    """The first kilobytes, and more where a table is wide: three lines at least."""
    try:
        with path.open("rb") as file:
            data = file.read(_HEAD)
            while len(data) < LINE and data.count(b"\n") < 3 and (more := file.read(16 * _HEAD)):
                data += more
            return data
    except FileNotFoundError:
        raise FormatError(f"{shown} does not exist: check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        raise FormatError(f"{shown} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def read_text(path: str | os.PathLike[str], *, most: int | None = None) -> str:
    """A file as text: UTF-8 with or without byte-order mark, or UTF-16 with one; line ends as they are.

    Args:
        path: the file.
        most: bytes that such a file may have.

    Raises:
        FormatError: for a file that is missing, larger, or something else.
    """
    shown = repr(os.fspath(path))
    try:
        with open(path, "rb") as file:  # noqa: PTH123  (sets have a hundred thousand of them)
            data = file.read() if most is None else file.read(most + 1)
    except FileNotFoundError:
        raise FormatError(f"{shown} does not exist: check the path") from None
    except OSError as error:
        raise FormatError(f"{shown} cannot be read: {error.strerror}") from None
    if most is not None and len(data) > most:
        raise FormatError(f"{shown} has more than {most:,} bytes, which no such file has")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # as PowerShell writes lists
        with contextlib.suppress(UnicodeError):
            return data.decode("utf-16")
    if b"\0" in data[:1000]:
        raise FormatError(f"{shown} is not UTF-8 text (UTF-16, or no text at all): save it as CSV UTF-8 and try again")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FormatError(f"{shown}, line {line}: not valid UTF-8; save it as CSV UTF-8 and try again") from None
