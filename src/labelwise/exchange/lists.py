"""Lists that a user gives beside a file: which class a number is, and which picture."""

from __future__ import annotations

import json
import re
from pathlib import Path

from labelwise.errors import DataError, FormatError


def read_names(path: Path) -> dict[int, str]:
    """Number of a class -> name, out of a list of names (one a line, perhaps numbered), a data.yaml, or a COCO file.

    Raises:
        FormatError: no such file, or no list of classes in it.
    """
    from labelwise.formats.coco_file import read_categories
    from labelwise.formats.delimited import read_text
    from labelwise.formats.json_file import read_json
    from labelwise.formats.yaml_text import read_yaml_text

    if path.suffix.lower() in (".yaml", ".yml"):
        data = read_yaml_text(path)
        data = data.get("names", data) if isinstance(data, dict) else data
    elif path.suffix.lower() == ".json":
        data = read_json(path)
    else:
        data = numbered_lines([line.strip() for line in read_text(path).splitlines() if line.strip()])
    if isinstance(data, dict) and isinstance(data.get("categories"), list):
        found = read_categories(data["categories"], repr(str(path)))
        return {number: category.name for number, category in found.items() if isinstance(number, int)}
    if isinstance(data, list) and all(isinstance(name, str) for name in data):
        return dict(enumerate(data))
    if isinstance(data, dict) and data and all(type(number) is int for number in data.values()):
        turned = {number: str(name) for name, number in data.items()}  # as Keras and torchvision count: class_to_idx
        if len(turned) < len(data):
            raise FormatError(f"{str(path)!r} gives two classes one number: correct the list")
        return turned
    if isinstance(data, dict) and data and all(key.isdecimal() and isinstance(name, str) for key, name in data.items()):
        return {int(key): name for key, name in data.items()}
    raise FormatError(
        f"{str(path)!r} lists no classes: give a COCO file, a data.yaml, a text with a name a line, or JSON such as "
        f"{json.dumps({'0': 'cat', '1': 'dog'})}"
    )


def numbered_lines(lines: list[str]) -> list[str] | dict[str, str]:
    """Names, one a line; number -> name where every line begins with another number.

    Example:
        >>> numbered_lines(["cat", "dog"]), numbered_lines(["1: cat", "2: dog"])
        (['cat', 'dog'], {'1': 'cat', '2': 'dog'})
    """
    found = [re.fullmatch(r"(\d{1,6})[\s:=,;]+(\S.*)", line, re.ASCII) for line in lines]
    numbered = {match[1]: match[2] for match in found if match is not None}
    return numbered if len(numbered) == len(lines) > 0 else lines


def read_images(path: Path) -> dict[int | str, str]:
    """Number of a picture -> name, out of a COCO file.

    Raises:
        FormatError: no such file, or no list of pictures in it.
    """
    from labelwise.formats.json_file import read_json

    data = read_json(path)
    listed = data.get("images") if isinstance(data, dict) else None
    try:
        found = {image["id"]: str(image["file_name"]) for image in listed or ()}
    except (TypeError, KeyError):
        found = {}
    if not found:
        raise FormatError(f"{str(path)!r} numbers no images: give a COCO file, with images that have id and file_name")
    if len(found) < len(listed or ()):
        raise DataError(f"{str(path)!r} gives a number to two images: give every image its own id")
    return found
