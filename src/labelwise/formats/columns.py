"""What the columns of a table mean: whether its first row is a header, which cells name pictures, what else is known.

A header must never become data, and data never a header, because either puts a label on a picture that has none. What
decides is what the cells look like: names of pictures end like pictures or lie as files below the root; a header is a
word that tables use, or a word above a column of pictures. Where nothing decides, the table is refused.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from labelwise.errors import FormatError
from labelwise.formats.delimited import SAMPLE, Sheet, look_into, unescape
from labelwise.formats.files import there_is
from labelwise.formats.scan import ENDINGS
from labelwise.formats.splits import role_of


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


#: words for the picture, as ``normal`` gives them, in order of preference
IMAGES = _words("""
    id name file path image filename item
    filepath imagepath imagename imagefile imagefilename imagefilepath img imgpath imgname imgfile relativepath relpath
    relativefilepath fullpath absolutepath filepaths filenames imagepaths imagenames imagefilepaths images files paths
    photo photopath picture pic frame framename framepath imageid imgid idcode fileid itemid sampleid imageids ids
    identifier uuid guid uid imageurl imageuri url uri src source key sample thumbnail attachment
""")
#: words for the class, likewise
LABELS = _words("""
    label class target category labelname classname categoryname targetname classlabel labels classes targets categories
    groundtruth gt truth answer choice annotation species breed diagnosis dx tag y labeltext labelstr classtext
    imagelabel imageclass labelid classid categoryid targetid labelindex classindex labelidx classidx classnumber
""")
#: words for what a model says
PREDICTED = (*_words("predicted prediction predictedlabel predictedclass pred predlabel predclass top1 yhat"), *LABELS)
SCORES = _words("score confidence probability prob conf predictedscore predictedprobability")
#: words for the split: of these, other words in cells are refused; the weak ones mean other things as well
SPLITS = _words("split role subset partition datasplit datasetsplit splitname subsetname")
_WEAK_SPLITS = _words("set dataset fold phase usage stage mode part use purpose")
GROUPS = _words("""
    group patient video site scene groupid patientid videoid siteid sceneid subject subjectid sequence sequenceid caseid
    slideid lesionid
""")
#: words for what is said of an answer: field -> words
ANSWERS = {
    "skipped": ("skipped",),
    "reason": ("reason", "comment", "note"),
    "annotator": _words("annotator annotatedby labelledby labeledby completedby labeller labeler worker"),
    "seconds": ("seconds", "leadtime"),
    "images": ("images",),
    "boxes": ("boxes",),
    "clicks": ("clicks",),
    "pixels": ("pixels",),
}
#: words of what labelwise writes beside them
OWN = ("rank", "strategy", "strategyscore", "round", "path", "entropyvalue")
#: words that name neither a class nor anything that is asked here: never guessed to be a label
OTHERS = _words("""
    width height size depth channels xmin ymin xmax ymax bbox area date time datetime timestamp created createdat
    updatedat annotationid md5 sha1 sha256 age sex gender lat lon latitude longitude index row number license author
    title
""")
_REGION = re.compile(r"#\d+$")
_NUMBER = re.compile(r"\s*[+-]?\d+([.,]\d+)?(e[+-]?\d+)?\s*", re.IGNORECASE)
_WHOLE = re.compile(r"\s*\d+\s*")
_DELIMITERS = (",", ";", "\t", "|")
#: share of cells that have to look like names of pictures
_MOST = 0.5
#: files that are looked for below the root
_LOOKED_FOR = 20
#: names that a note lists
_LISTED = 6


def normal(name: str) -> str:
    """A column's name as it is compared: ``Image Path``, ``image_path`` and ``imagePath`` are one.

    Example:
        >>> normal(" Image Path"), normal("image_path"), normal("Größe")
        ('imagepath', 'imagepath', 'grösse')
    """
    return re.sub(r"[\W_]+", "", name).casefold()


def is_picture(cell: str) -> bool:
    """Whether a cell ends like the file of a picture, or like a region of one.

    Example:
        >>> is_picture("a/b.JPG"), is_picture("a.png#12"), is_picture("https://x.org/a.jpg?s=1"), is_picture("label")
        (True, True, True, False)
    """
    cell = cell.strip()
    if "://" in cell:
        cell = cell.partition("?")[0]
    stem, _, ending = _REGION.sub("", cell).rpartition(".")
    return bool(stem) and f".{ending.lower()}" in _ENDING_SET


_ENDING_SET = frozenset(ENDINGS)


@dataclass(frozen=True)
class Columns:
    """A table whose columns are known.

    Args:
        sheet: the file.
        delimiter: between cells.
        written: names of columns as written; "" for all of them where the file has no header.
        first: number of the last row before the data: 0 without a header.
        image: position of the column that names pictures.
        guessed: whether that column was found by its cells alone.
        sample: the first rows of data, unescaped and of equal length.
        notes: what people should know, one line each.
    """

    sheet: Sheet
    delimiter: str
    written: tuple[str, ...]
    first: int
    image: int
    guessed: bool
    sample: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of columns as they are compared."""
        return tuple(map(normal, self.written))

    @property
    def header(self) -> bool:
        """Whether the first row names the columns."""
        return self.first > 0

    def cells(self, column: int) -> list[str]:
        """Cells of a column in the first rows; empty ones are left out."""
        return [row[column] for row in self.sample if row[column].strip()]

    def named(self, words: Iterable[str]) -> list[int]:
        """Positions of the columns that have one of these names, in the order of the words; not that of pictures."""
        return [self._at[word] for word in words if word in self._at]

    @cached_property
    def _at(self) -> dict[str, int]:
        """Name as compared -> the first column of that name, that of pictures left out."""
        return {name: n for n, name in reversed(list(enumerate(self.names))) if name and n != self.image}

    def rows(self) -> Generator[tuple[int, list[str]], None, None]:
        """Every row of data with its number; cells are still escaped, and rows may be short or long.

        Whoever may stop half-way closes it, as ``with closing(columns.rows())`` does.
        """
        with contextlib.closing(self.sheet.rows(self.delimiter)) as rows:
            yield from itertools.dropwhile(lambda row: row[0] <= self.first, rows)

    def split(self) -> tuple[int | None, list[str]]:
        """The column of splits, and what has to be said of it."""
        if strong := self.named(SPLITS):
            return strong[0], []
        weak = self.named(_WEAK_SPLITS)
        for column in weak:
            if (cells := self.cells(column)) and all(role_of(cell) is not None for cell in cells):
                return column, []
        known = {self.image, *self.named((*LABELS, *GROUPS, *OWN)), *weak}
        for column, name in enumerate(self.written):
            words = set(self.cells(column)) if name and column not in known else set()
            if len({role_of(word) for word in words}) > 1 and all(role_of(word) is not None for word in words):
                return column, [f"{self.sheet.shown}: {name!r:.40} is read as the split: {listed(sorted(words))}"]
        return None, []

    def unread(self, used: Collection[int | None]) -> list[str]:
        """A note that names the columns nobody reads; none where there are none."""
        own = set(self.named((*OWN, *IMAGES[:11]))) | {self.image, *used}
        left = [name for n, name in enumerate(self.written) if name and n not in own]
        return [f"{self.sheet.shown}: columns that are not read: {listed(left)}"] if left else []

    def fit(self, row: Sequence[str], number: int) -> tuple[str, ...]:
        """Cells of a row, unescaped, as many as there are columns.

        Raises:
            FormatError: more cells than columns.
        """
        width = len(self.written)
        if len(row) > width:
            self.refuse_long(row, number)
        return tuple(unescape(cell) for cell in [*row[:width], *[""] * (width - len(row))])

    def is_blank(self, row: Sequence[str], number: int) -> bool:
        """True for a row without any content, of those that name no picture.

        Raises:
            FormatError: it has some.
        """
        if any(cell.strip() for cell in row):
            raise FormatError(f"{self.sheet.shown}, row {number}: no image is named; fill in or delete the row")
        return True

    def refuse_long(self, row: Sequence[str], number: int) -> None:
        """Refuses a row with more cells than columns, unless they are empty."""
        width = len(self.written)
        if any(cell.strip() for cell in row[width:]):
            raise FormatError(
                f'{self.sheet.shown}, row {number}: {len(row)} cells, but there are {width} columns; put "quotes" '
                "around cells with commas"
            )


def columns_of(
    path: str | os.PathLike[str], *, root: Path | None = None, classes: Collection[str] = (), images: Sequence[str] = ()
) -> Columns:
    """Looks into a table and decides what its columns are.

    Args:
        path: the file: comma, semicolon, tab or bar between cells.
        root: the folder that names of pictures are relative to, where it is known; by default that of the file.
        classes: of the project: a first row that holds one of them is no header.
        images: further names that a column of pictures may have.

    Raises:
        FormatError: no table, an empty one, no column of pictures, or a first row that may be a header or not.
    """
    sheet = look_into(path)
    delimiter = sheet.delimiter or _delimiter(sheet)
    rows = sheet.first_rows(delimiter, SAMPLE + 1)
    if not rows:
        raise FormatError(f"{sheet.shown} is empty: it needs a line id,label and one line per image")
    width = len(rows[0][1])
    cells = [[*map(unescape, row[:width]), *[""] * (width - len(row))] for _, row in rows]
    seen = _Seen(sheet, cells, Path(path).parent if root is None else root, (*IMAGES, *images), frozenset(classes))
    header = seen.is_header()
    written = tuple(cell.strip() for cell in cells[0]) if header else ("",) * width
    counted = Counter(name.lower() for name in written if name)
    if twice := next((name for name, count in counted.items() if count > 1), None):
        raise FormatError(f"{sheet.shown} has two columns called {twice!r:.60}: rename or delete one")
    data = tuple(map(tuple, cells[1:] if header else cells))
    image, guessed, notes = seen.image(header)
    return Columns(sheet, delimiter, written, rows[0][0] if header else 0, image, guessed, data, tuple(notes))


@dataclass(frozen=True)
class _Seen:
    """The first rows of a table, before it is known what they are."""

    sheet: Sheet
    cells: list[list[str]]
    root: Path
    words: tuple[str, ...]
    classes: frozenset[str]

    def is_header(self) -> bool:
        """Whether the first row names the columns.

        Raises:
            FormatError: it may be either.
        """
        first, names = self.cells[0], [normal(cell) for cell in self.cells[0]]
        pictures = [n for n, cell in enumerate(first) if self._is_file(cell, n)]
        below = [self._share(n) for n in range(len(first))]
        known = [n for n, name in enumerate(names) if name in self.words]
        if pictures:
            # a column of pictures from the first row on; a header may still be called a.png where its cells are none
            alone = len(self.cells) == 1
            return bool(known) and not any(alone or below[n] >= _MOST for n in pictures)
        if known:
            return True
        if any(share >= _MOST for share in below):
            if self._repeats(first):
                raise FormatError(
                    f"{self.sheet.shown}, row 1: {', '.join(first)!r:.80} may be a header or data: it names no picture "
                    "and one of its cells comes again below; write a line path,label above it"
                )
            return True
        return self._by_words(names)

    def _by_words(self, names: Sequence[str]) -> bool:
        """Where nothing looks like a picture: names without an ending, as stems and numbers are."""
        first = self.cells[0]
        numbers = [n for n in range(len(first)) if _NUMBER.fullmatch(first[n])]
        if self.classes & set(first) or self._repeats(first):
            return False
        if any(name in (*LABELS, *SPLITS) for name in names) and not numbers:
            return True
        if numbers:
            return False
        # a word above numbers is their name
        if any(_all(_NUMBER, self._below(n)) for n in range(len(first))) or (self.classes and self._known_below()):
            return True
        raise FormatError(
            f"{self.sheet.shown} has no column that names the image: row 1 ({', '.join(map(repr, first))!s:.50}) may "
            f"be a header or data; write a line id,label above it, or call a column {' or '.join(IMAGES[:5])}"
        )

    def image(self, header: bool) -> tuple[int, bool, list[str]]:
        """The column that names pictures, whether its cells alone told, and what has to be said of it."""
        names = [normal(cell) for cell in self.cells[0]] if header else [""] * len(self.cells[0])
        rank = {word: n for n, word in reversed(list(enumerate(self.words)))}
        known = sorted((n for n, name in enumerate(names) if name in rank), key=lambda n: rank[names[n]])
        taken = (*LABELS, *SPLITS, *GROUPS)
        start = 1 if header else 0
        shares = [0.0 if name in taken else self._share(n, start) for n, name in enumerate(names)]
        pictures = [n for n in known if shares[n] >= _MOST]
        if known and (pictures or not any(share >= _MOST for share in shares)):
            chosen = (pictures or known)[0]
            return chosen, False, [self._instead(chosen, known[0])] if chosen != known[0] else []
        if found := [n for n, share in enumerate(shares) if share >= _MOST]:
            what = f"{self.cells[0][found[0]].strip()!r:.40}" if header else f"{found[0] + 1}"
            said = header or found[0] > 0
            note = f"{self.sheet.shown}: images are named by column {what}, whose cells end like files of pictures"
            return found[0], True, [note] if said else []
        if len(names) <= 2:  # names without ending, and perhaps a label
            return self._stems(names), True, []
        listed = ", ".join(map(repr, (cell.strip() for cell in self.cells[0])))
        raise FormatError(
            f"{self.sheet.shown} has no column that names the image (columns: {listed:.90}): call one of them "
            f"{' or '.join(IMAGES[:5])}"
        )

    def _stems(self, names: Sequence[str]) -> int:
        """Of two columns without a picture: that which is no label, else the first."""
        return 1 if len(names) == 2 and names[0] in LABELS else 0

    def _instead(self, chosen: int, other: int) -> str:
        first = self.cells[0]
        return (
            f"{self.sheet.shown}: images are named by the column {first[chosen].strip()!r:.40}, not by "
            f"{first[other].strip()!r:.40}: its cells are names of files"
        )

    def _share(self, column: int, start: int = 1) -> float:
        """Which share of the cells of a column below the first row are names of pictures."""
        cells = [row[column] for row in self.cells[start:] if row[column].strip()]
        if not cells:
            return 0.0
        if is_picture(cells[0]) or any(map(is_picture, cells)):
            return sum(map(is_picture, cells)) / len(cells)
        looked = cells[:_LOOKED_FOR]
        return sum(self._is_file(cell, column) for cell in looked) / len(looked)

    def _is_file(self, cell: str, column: int) -> bool:
        """Whether a cell is the name of a picture, by its ending or because there is such a file."""
        if is_picture(cell):
            return True
        if column >= _LOOKED_FOR or _NUMBER.fullmatch(cell):
            return False
        path = PurePosixPath(cell.strip().replace("\\", "/"))
        if not path.suffix or path.is_absolute() or ".." in path.parts or len(cell) > 1000:
            return False
        return there_is(self.root / path)

    def _below(self, column: int) -> list[str]:
        return [row[column] for row in self.cells[1:] if row[column].strip()]

    def _repeats(self, first: Sequence[str]) -> bool:
        """Whether a text of the first row comes again below it, in its column, as classes do and headers do not."""
        return any(cell.strip() and cell in self._below(n) for n, cell in enumerate(first))

    def _known_below(self) -> bool:
        return any(set(self._below(n)) & self.classes for n in range(len(self.cells[0])))


def _all(pattern: re.Pattern[str], cells: Sequence[str]) -> bool:
    return bool(cells) and all(pattern.fullmatch(cell) for cell in cells)


def whole_numbers(cells: Sequence[str]) -> bool:
    """Whether all cells are whole numbers, and there are some."""
    return _all(_WHOLE, cells)


def any_numbers(cells: Sequence[str]) -> bool:
    """Whether all cells are numbers, and there are some."""
    return _all(_NUMBER, cells)


def listed(names: Sequence[str]) -> str:
    """Names for a message, the first of them."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(f"{name!r:.40}" for name in names[:_LISTED]) + more


def _delimiter(sheet: Sheet) -> str:
    """The one that makes the first row name pictures; else that makes a column of pictures, or two columns."""
    rows = {delimiter: [row for _, row in sheet.first_rows(delimiter, 20)] for delimiter in _DELIMITERS}
    split = {delimiter: found for delimiter, found in rows.items() if found and len(found[0]) > 1}
    for delimiter, found in split.items():
        if any(normal(cell) in IMAGES for cell in found[0]):
            return delimiter
    for delimiter, found in split.items():
        width = len(found[0])
        if sum(len(row) == width and any(map(is_picture, row)) for row in found) > _MOST * (len(found) - 1):
            return delimiter
    return next((delimiter for delimiter, found in split.items() if len(found[0]) == 2), next(iter(split), ","))
