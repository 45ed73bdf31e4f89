"""Lists that say what the values or colours of masks stand for, as data sets and tools lay them beside the masks."""

from __future__ import annotations

import csv
import io
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from labelwise.contracts.record import IGNORE
from labelwise.errors import FormatError
from labelwise.formats.delimited import read_text
from labelwise.formats.index_png import IGNORE_COLOUR, Colour
from labelwise.formats.json_file import read_json
from labelwise.formats.mask_coding import MaskCoding

#: files that list the classes of a folder of masks, one a line, the first standing as 0
CLASS_FILES = ("classes.txt", "class_names.txt", "labels.txt", "codes.txt")
#: a file of this name says colours as well: ``name:r,g,b:parts:actions``
COLOUR_FILE = "labelmap.txt"
#: classes of these names mean that a pixel has none
NO_CLASS = frozenset({"unlabelled", "unlabeled", "void", "ignore", "ignored", "__ignore__"})
#: the first line of lists whose second line is class 0: this one was counted as -1
_FIRST_IGNORED = "__ignore__"
#: larger files are no lists of classes
_MOST_BYTES = 1 << 20
_NUMBERED = re.compile(r"^\s*(\d{1,3})\s*[\s:=,;)]\s*(\S.*?)\s*$", re.ASCII)
_BYTE = re.compile(r"\s*(\d{1,3})\s*", re.ASCII)
#: columns of tables: names, values, colours
_NAMES = ("name", "class", "class_name", "classname", "label", "label_name")
_VALUES = ("pixel value", "pixel_value", "value", "idx", "index", "class_index", "id", "class_id", "label_id")
_COLOURS = (("r", "g", "b"), ("red", "green", "blue"))


def find_coding(folder: Path) -> MaskCoding | None:
    """What the lists in a folder say of its masks; None where there is none.

    Known are ``labelmap.txt`` (CVAT, VOC), ``label_colors.txt`` (CamVid), ``class_dict.csv``, ``_classes.csv``
    (Roboflow), ``objectInfo150.txt`` or ``.csv`` (ADE20K), ``obj_class_to_machine_color.json`` (Supervisely), and names
    one a line in ``classes.txt``, ``class_names.txt``, ``labels.txt`` or ``codes.txt``.

    Raises:
        FormatError: such a list is empty, names a class twice, has a broken line (with the row), or two of them name
            other classes.
    """
    found = [(name, _READERS[name](folder / name)) for name in _READERS if (folder / name).is_file()]
    for (name, one), (other, two) in itertools.pairwise(found):
        if one.classes != two.classes:
            raise FormatError(
                f"{str(folder)!r:.120}: {name} and {other} name other classes ({_few(one.classes)} and "
                f"{_few(two.classes)}): delete one of the two"
            )
    return found[0][1] if found else None


def coding_among(folders: Iterable[Path]) -> MaskCoding | None:
    """What the lists in several folders say of the masks of one set; None where there is none.

    Raises:
        FormatError: as :func:`find_coding`, and where two of them say different things.
    """
    found: tuple[Path, MaskCoding] | None = None
    for folder in folders:
        one = find_coding(folder)
        if one is None:
            continue
        if found is not None and not _alike(found[1], one):
            raise FormatError(
                f"the lists of classes in {str(found[0])!r:.100} and {str(folder)!r:.100} differ "
                f"({_few(found[1].classes)} and {_few(one.classes)}): make them alike"
            )
        if found is None or found[1].palette is None:
            found = (folder, one)
    return None if found is None else found[1]


def _alike(one: MaskCoding, two: MaskCoding) -> bool:
    colours = one.palette is None or two.palette is None or one.palette == two.palette
    return colours and (one.classes, one.codes) == (two.classes, two.codes)


def _few(names: Sequence[str]) -> str:
    return ", ".join(f"{name:.20}" for name in names[:3]) + (", ..." if len(names) > 3 else "")


def read_classes(path: Path) -> MaskCoding:
    """Class names, one a line, the first standing as 0; a class called unlabelled, void or ignore is none.

    Lines may begin with their numbers, as in ``0 background``.

    Raises:
        FormatError: no name, or one twice; with the row.
    """
    return coding_of_lines(_text(path).splitlines(), str(path))


def coding_of_lines(lines: Sequence[str], shown: str) -> MaskCoding:
    """As :func:`read_classes`, of lines that were read."""
    lines = [line.strip() for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    if lines and lines[0] == _FIRST_IGNORED:  # written for -1: the next line is class 0
        lines = lines[1:]
    numbered = [_NUMBERED.match(line) for line in lines[: IGNORE + 2]]
    if len(lines) > 1 and all(numbered):
        values = [int(match[1]) for match in numbered if match]
        if values in (list(range(len(lines))), list(range(1, len(lines) + 1))):
            return coding_of([match[2] for match in numbered if match], shown, values=values)
    return coding_of(lines, shown)


def coding_of(
    names: Sequence[str],
    shown: str,
    colours: Sequence[Colour] | None = None,
    *,
    values: Sequence[int] | None = None,
) -> MaskCoding:
    """The coding in which the n-th name stands as n; names such as unlabelled and void mean no class.

    Args:
        names: of the classes.
        shown: the file, for messages.
        colours: of each name.
        values: what each name stands as, where that is not its place.

    Raises:
        FormatError: no name, an empty one, one twice, or a value that is no byte; with the row.
    """
    if len(names) > IGNORE + 1:
        raise FormatError(f"{shown!r} names {len(names)} classes: a mask of one byte a pixel has room for {IGNORE}")
    plain = [_nfc(name) for name in names]
    seen: dict[str, int] = {}
    for row, name in enumerate(plain, 1):
        if not name:
            raise FormatError(f"{shown!r}, row {row}: the line is empty; give one class name a line")
        if seen.setdefault(name, row) != row:
            raise FormatError(f"{shown!r}, row {row}: class {name!r:.60} stands there twice; rename one of the two")
    kept = [row for row, name in enumerate(plain) if name.lower() not in NO_CLASS]
    if not kept:
        raise FormatError(f"{shown!r} names no class: give one name a line, the first for the value 0")
    values = list(range(len(names))) if values is None else values
    _check_values(values, shown)
    index_of = {row: index for index, row in enumerate(kept)}
    codes = {value: index_of.get(row, IGNORE) for row, value in enumerate(values)}
    dropped = ", ".join(f"{plain[row]!r:.40} ({values[row]})" for row in range(len(plain)) if row not in index_of)
    said = (f"pixels of {dropped} have no class",) if dropped else ()
    found = MaskCoding(tuple(plain[row] for row in kept), codes, said=said)
    if colours is None:
        return found
    void = [colours[row] for row in range(len(names)) if row not in index_of]
    return replace(found, palette=tuple(colours[row] for row in kept), void=(IGNORE_COLOUR, *void))


def _check_values(values: Sequence[int], shown: str) -> None:
    of_value: dict[int, int] = {}
    for row, value in enumerate(values, 1):
        if not 0 <= value <= IGNORE:
            raise FormatError(f"{shown!r}, row {row}: the value {value} is no byte; give numbers from 0 to {IGNORE}")
        if of_value.setdefault(value, row) != row:
            raise FormatError(f"{shown!r}, row {row}: the value {value} stands for two classes; keep one")


def read_labelmap(path: Path) -> MaskCoding:
    """Names and colours, lines ``name:r,g,b:parts:actions``; what starts with ``#`` is a remark.

    Raises:
        FormatError: a line without three numbers from 0 to 255, with the row; as :func:`read_classes`.
    """
    names, colours = [], []
    for row, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, rest = line.partition(":")
        numbers = [_BYTE.fullmatch(part) for part in rest.partition(":")[0].split(",")]
        if len(numbers) != 3 or not all(match and int(match[1]) <= 255 for match in numbers):
            raise FormatError(f"{str(path)!r}, row {row}: {line!r:.60} is no name:r,g,b; give three numbers to 255")
        red, green, blue = (int(match[1]) for match in numbers if match)
        names.append(name.strip())
        colours.append((red, green, blue))
    return coding_of(names, str(path), colours)


def read_label_colors(path: Path) -> MaskCoding:
    """Colours and names, lines ``r g b name``.

    Raises:
        FormatError: a line without three numbers from 0 to 255 and a name, with the row.
    """
    names, colours = [], []
    for row, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts = line.split(None, 3)
        numbers = [_BYTE.fullmatch(part) for part in parts[:3]]
        if len(parts) != 4 or not all(match and int(match[1]) <= 255 for match in numbers):
            raise FormatError(f"{str(path)!r}, row {row}: {line!r:.60} is no line r g b name; give numbers to 255")
        red, green, blue = (int(match[1]) for match in numbers if match)
        names.append(parts[3].strip())
        colours.append((red, green, blue))
    return coding_of(names, str(path), colours)


def read_class_table(path: Path) -> MaskCoding:
    """A table with a column of names, and one of values or three of colours.

    Raises:
        FormatError: no such columns, or a cell that is no number to 255, with the row.
    """
    columns, rows = _table(path)
    name = next((columns[word] for word in _NAMES if word in columns), None)
    if name is None:
        raise FormatError(f"{str(path)!r} has no column that names classes: call one of them {' or '.join(_NAMES[:3])}")
    names = [row[name].strip() for row in rows]
    value = next((columns[word] for word in _VALUES if word in columns), None)
    colour = next((words for words in _COLOURS if all(word in columns for word in words)), None)
    values = None if value is None else [_byte(row[value], n, path) for n, row in enumerate(rows, 2)]
    colours = None
    if colour is not None:
        cells = [[_byte(row[columns[word]], n, path) for word in colour] for n, row in enumerate(rows, 2)]
        colours = [(red, green, blue) for red, green, blue in cells]
    return coding_of(names, str(path), colours, values=values)


def read_object_info(path: Path) -> MaskCoding:
    """ADE20K's list: a column ``Idx`` that counts from 1, and ``Name``; 0 means no class.

    Raises:
        FormatError: as :func:`read_class_table`.
    """
    found = read_class_table(path)
    if 0 in found.codes:
        return found
    said = (*found.said, f"the value 0 has no class: {path.name} counts from 1")
    return replace(found, codes={0: IGNORE, **found.codes}, said=said)


def read_machine_colors(path: Path) -> MaskCoding:
    """Supervisely's ``{"name": [r, g, b]}``: greys are values, and 0 is what nobody has drawn.

    Raises:
        FormatError: another form.
    """
    data = read_json(path)
    if not isinstance(data, dict) or not all(_is_colour(colour) for colour in data.values()):
        raise FormatError(f'{str(path)!r}: give {{"name": [red, green, blue]}} with numbers from 0 to 255')
    colours: list[Colour] = [(colour[0], colour[1], colour[2]) for colour in data.values()]
    if any(len(set(colour)) > 1 for colour in colours):
        return coding_of([*data], str(path), colours)
    found = coding_of([*data], str(path), colours, values=[colour[0] for colour in colours])
    if 0 in found.codes:
        return found
    said = (*found.said, f"the value 0 has no class: {path.name} does not name it")
    return replace(found, codes={0: IGNORE, **found.codes}, void=(*found.void, (0, 0, 0)), said=said)


def _is_colour(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(v) is int and 0 <= v <= 255 for v in value)


def _table(path: Path) -> tuple[Mapping[str, int], list[list[str]]]:
    """Columns by name, and the rows below the header, each as long as the header."""
    text = _text(path)
    first = text.partition("\n")[0]
    delimiter = max((",", "\t", ";"), key=first.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise FormatError(f"{str(path)!r}: {error}; check its quotation marks") from None
    if not rows:
        raise FormatError(f"{str(path)!r} is empty: give a header and one row for each class")
    columns = {cell.strip().lower(): place for place, cell in reversed([*enumerate(rows[0])])}
    return columns, [[*row, *[""] * (len(rows[0]) - len(row))] for row in rows[1:]]


def _byte(cell: str, row: int, path: Path) -> int:
    match = _BYTE.fullmatch(cell)
    if match is None or int(match[1]) > 255:
        raise FormatError(f"{str(path)!r}, row {row}: {cell!r:.40} is no number from 0 to 255")
    return int(match[1])


def _text(path: Path) -> str:
    try:
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise FormatError(f"{str(path)!r} has {size:,} bytes: it is no list of classes; rename or delete it")
    except OSError as error:
        raise FormatError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    return read_text(path)


def _nfc(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)


#: file -> its reader, those that say most first
_READERS: Mapping[str, Callable[[Path], MaskCoding]] = {
    COLOUR_FILE: read_labelmap,
    "label_colors.txt": read_label_colors,
    "class_dict.csv": read_class_table,
    "_classes.csv": read_class_table,
    "objectInfo150.txt": read_object_info,
    "objectInfo150.csv": read_object_info,
    "obj_class_to_machine_color.json": read_machine_colors,
    **dict.fromkeys(CLASS_FILES, read_classes),
}
