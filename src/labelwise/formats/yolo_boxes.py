"""Boxes of YOLO txt as raw labels: what was called before every file came in one way; goes with its callers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from labelwise.errors import FormatError, unknown
from labelwise.formats.boxes import BoxLabels, number, sides, tally
from labelwise.formats.delimited import read_text
from labelwise.formats.files import write_whole
from labelwise.formats.yolo_layout import YAMLS, checked, label_path
from labelwise.formats.yolo_lines import check_box

#: where the class list may stand
LISTS = ("classes.txt", "obj.names", "labels.txt")
#: digits behind the point of a corner in pixels: more than the fractions carry
DIGITS = 8
#: text files that are no labels
_OTHERS = frozenset({"classes", "labels", "train", "val", "valid", "test", "requirements"})
#: fractions may be this much too large, by rounding
_SLACK = 1e-5


def read_yolo(
    folder: str | os.PathLike[str], names: Iterable[str], size_of: Callable[[str], tuple[int, int]]
) -> BoxLabels:
    """Read the labels of some images. Images without a file have none.

    Args:
        folder: holds images, labels and the class list.
        names: the images, as paths relative to ``folder``.
        size_of: tells (width, height) of an image.

    Raises:
        FormatError: with file and line: a line that is no box, a class outside the list, coordinates that are no
            fractions, a file of labels without its image; or no class list.
    """
    root = Path(folder)
    classes, extra = read_classes(root)
    files = {label_path(name): name for name in names}
    present = {path.relative_to(root).as_posix() for path in root.rglob("*.txt")}
    for file in sorted(present - files.keys()):
        path = PurePosixPath(file)
        listed = path.stem.lower() in _OTHERS or path.stem.lower().startswith("readme") or len(path.parts) == 1
        if not listed:
            raise FormatError(
                f"{str(root / file)!r}: there is no image for this file of labels; add the image, or delete the file"
            )
    labels = {
        name: {"size": (size := list(size_of(name))), "objects": read_boxes(root / file, classes, size)}
        for file, name in files.items()
        if file in present
    }
    return BoxLabels(labels, classes, {}, extra, tally(labels))


def label_files(folder: Path) -> list[tuple[Path, str]]:
    """Files of labels in a folder (in its ``labels``, where it has one), with the image's name without ending."""
    root = folder / "labels" if (folder / "labels").is_dir() else folder
    files = sorted(path for path in root.rglob("*.txt") if path.name not in LISTS)
    return [(file, file.relative_to(root).with_suffix("").as_posix()) for file in files]


def read_classes(root: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Class names in index order, and what else ``data.yaml`` holds.

    Raises:
        FormatError: no class list, or one that is none.
    """
    for name in YAMLS:
        if (root / name).is_file():
            return _from_yaml(root / name)
    for place in (root, root / "labels"):
        for name in LISTS:
            if (place / name).is_file():
                lines = read_text(place / name).splitlines()
                return checked([line.strip() for line in lines if line.strip()], repr(str(place / name))), {}
    raise FormatError(f"{str(root)!r} has no class list: add data.yaml (names: [...]) or classes.txt (a name a line)")


def classes_or(root: Path, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Names by index: the folder's class list where it has one, else these.

    Raises:
        FormatError: neither is there, or the list names others.
    """
    shown = repr(str(root))
    if not any((place / name).is_file() for place in (root, root / "labels") for name in (*YAMLS, *LISTS)):
        if not classes:
            raise FormatError(f"{shown}: the classes are not known: add data.yaml (names: [...]) or classes.txt")
        return classes
    own, _ = read_classes(root)
    if classes and (strange := [name for name in own if name not in classes]):
        raise unknown(f"class in {shown}", strange[0], classes, error=FormatError)
    return own


def _from_yaml(path: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
    shown = repr(str(path))
    try:
        data = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f", line {mark.line + 1}"
        raise FormatError(f"{shown}{place}: no valid YAML ({getattr(error, 'problem', None) or error})") from None
    names = data.get("names") if isinstance(data, dict) else None
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise FormatError(
                f"{shown}: names have the keys {list(names)!r:.80}; give them 0, 1, 2, ... without a hole"
            )
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list):
        raise FormatError(f"{shown} has no list called names: add names: [class of index 0, class of index 1, ...]")
    count = data.get("nc", len(names))
    if count != len(names):
        raise FormatError(f"{shown}: nc is {count!r:.20}, and there are {len(names)} names; correct one of the two")
    rest = {key: value for key, value in data.items() if key not in ("names", "nc")}
    return checked([str(name).strip() for name in names], shown), rest


# ---- lines ----------------------------------------------------------------------------------------------------------


def read_boxes(path: Path, classes: Sequence[str], size: Sequence[int]) -> list[dict[str, Any]]:
    """Objects in one file of labels, in pixels of an image of this size.

    Raises:
        FormatError: see :func:`read_yolo`.
    """
    things = []
    for row, line in enumerate(read_text(path).splitlines(), 1):
        if line.strip():
            where = f"{str(path)!r}, line {row}"
            index, values = read_line(line, len(classes), where)
            things.append({"class": classes[index], **_thing(values, sides(size[0], size[1], where), where)})
    return things


def read_line(line: str, classes: int, where: str) -> tuple[int, list[float]]:
    """Class index and the numbers behind it.

    Raises:
        FormatError: something that is no number, or a class outside the list.
    """
    try:
        values = [float(part) for part in line.split()]
    except ValueError:
        raise FormatError(f"{where}: {line.strip()!r:.60} holds something else than numbers") from None
    for value in values:
        number(value, where, "a value")
    if not values[0].is_integer() or not 0 <= values[0] < classes:
        raise FormatError(f"{where}: class {line.split()[0]} is not in the list, which has 0 to {classes - 1}")
    return int(values[0]), values[1:]


def _thing(values: list[float], size: list[int], where: str) -> dict[str, Any]:
    if len(values) >= 6 and len(values) % 2 == 0:
        if not all(-_SLACK <= value <= 1 + _SLACK for value in values):
            raise FormatError(
                f"{where}: a corner of the polygon is no fraction from 0 to 1; divide by the image's sides"
            )
        xs, ys = values[0::2], values[1::2]
        box = [min(xs) * size[0], min(ys) * size[1], max(xs) * size[0], max(ys) * size[1]]
        return {"box": [round(value, DIGITS) for value in box], "extra": {"polygon": values}}
    if len(values) not in (4, 5):
        raise FormatError(
            f"{where}: {len(values)} numbers behind the class; give x y width height, these and a confidence, or at "
            "least three corners"
        )
    box = [
        round(side * value, DIGITS) for side, value in zip([*size, *size], check_box(values[:4], where), strict=True)
    ]
    return {"box": box} | ({"score": values[4]} if len(values) == 5 else {})


# ---- writing --------------------------------------------------------------------------------------------------------


def write_yolo(folder: str | os.PathLike[str], found: BoxLabels) -> list[str]:
    """Write files of labels and ``data.yaml`` below a folder that is made where it is missing.

    Returns:
        What the format has no place for and is therefore left out, one line each.

    Raises:
        FormatError: a class outside ``found.classes``.
        StateError: when a file cannot be written.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    left = 0
    for name, label in found.labels.items():
        things = [thing for thing in label["objects"] if _has_place(thing, label["size"])]
        left += len(label["objects"]) - len(things)
        file = root / label_path(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, "".join(f"{line(thing, found.classes, label['size'])}\n" for thing in things).encode())
    names = dict(enumerate(found.classes))
    own = {key: value for key, value in found.extra.items() if key not in _COCO}
    head = own or {"path": ".", "train": "images", "val": "images"}
    text = yaml.safe_dump({**head, "nc": len(names), "names": names}, sort_keys=False, allow_unicode=True)
    write_whole(root / "data.yaml", text.encode())
    if not left:
        return []
    return [f"{left:,} box(es) left out that YOLO txt has no place for: crowds, difficult ones, centres off the image"]


def _has_place(thing: Mapping[str, Any], size: Sequence[int]) -> bool:
    x1, y1, x2, y2 = thing["box"]
    marked = thing.get("crowd") or thing.get("difficult")
    return not marked and 0 <= x1 + x2 <= 2 * size[0] and 0 <= y1 + y2 <= 2 * size[1]


#: what a COCO file says of itself
_COCO = frozenset({"info", "licenses", "categories"})


def line(thing: Mapping[str, Any], classes: Sequence[str], size: Sequence[int]) -> str:
    """One object as a line: the shortest numbers that are read again as the same box.

    Example:
        >>> line({"class": "dog", "box": [10, 20, 30, 40]}, ("cat", "dog"), (100, 80))
        '1 0.2 0.375 0.2 0.25'
    """
    if thing["class"] not in classes:
        raise unknown("class", thing["class"], classes, error=FormatError)
    index = classes.index(thing["class"])
    polygon = thing.get("extra", {}).get("polygon")
    if polygon is not None and _thing(polygon, list(size), "polygon")["box"] == thing["box"]:
        return " ".join(map(_text, [index, *polygon]))
    x1, y1, x2, y2 = thing["box"]
    exact = ((x1 + x2) / 2 / size[0], (y1 + y2) / 2 / size[1], (x2 - x1) / size[0], (y2 - y1) / size[1])
    wanted = [round(value, DIGITS) for value in thing["box"]]
    for digits in (6, 8, 10, 12, 17):
        values = [round(value, digits) for value in exact]
        again = (
            values[0] - values[2] / 2,
            values[1] - values[3] / 2,
            values[0] + values[2] / 2,
            values[1] + values[3] / 2,
        )
        if [round(side * v, DIGITS) for side, v in zip([*size, *size], again, strict=True)] == wanted:
            break
    score = [] if thing.get("score") is None else [thing["score"]]
    return " ".join(map(_text, [index, *values, *score]))


def _text(value: float) -> str:
    """A number without an exponent, as short as it is exact."""
    return str(int(value)) if float(value).is_integer() else format(Decimal(repr(value)), "f")
