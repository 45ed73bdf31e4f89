"""What the COCO files of a set say together: classes without groups, numbers, key points, notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from labelwise.contracts.format import Hints
from labelwise.contracts.record import Head
from labelwise.errors import FormatError
from labelwise.formats.class_colours import colour_of, in_order
from labelwise.formats.coco_file import Category, CocoFile, Id

T = TypeVar("T")

BACKGROUND = "background"
#: in ``info``: what pixels of no annotation are
UNANNOTATED = "unannotated"


def head_of(files: Sequence[CocoFile], hints: Hints) -> Head:
    """The head of a set of files, which may list other categories each.

    A category without objects that is only a group of others (a name in their ``supercategory``) is no class; of two
    categories of one name the one without objects is none.

    Raises:
        FormatError: two categories of one name that both have objects; where key points are wanted, two of one name in
            a category, or a skeleton of points that it does not have.
    """
    notes: list[str] = []
    if hints.kind == "points":
        for file in files:
            _check_bodies(file)
    kept = _without_groups(files, notes)
    for file in files:
        notes += [f"{file.path.name!r:.60}: {text.format(n=f'{n:,}')}" for text, n in file.odd.items() if n]
    names = tuple(dict.fromkeys(category.name for category in kept))
    numbers = _agreeing((category.id, category.name) for category in kept)
    head = Head(
        classes=names,
        numbers={number: name for number, name in numbers.items() if isinstance(number, int)},
        images=_agreeing((number, name) for file in files for number, name in file.images.items()),
        says_empty=any(file.marked for file in files),
        skeleton=_skeleton(kept, notes),
        palette=in_order({category.name: colour_of(category.raw.get("color")) for category in kept}, names),
        notes=tuple(dict.fromkeys(notes)),
        extra=_extra(files),
    )
    return _of_masks(head, files, hints) if hints.kind == "masks" else head


def _without_groups(files: Sequence[CocoFile], notes: list[str]) -> list[Category]:
    """Categories that are classes, file by file."""
    used: Counter[str] = Counter()
    above: dict[str, str] = {}
    for file in files:
        for own, category in file.categories.items():
            used[category.plain] += file.used[own]
            if category.above and category.above.strip() != category.plain:
                above.setdefault(category.above.strip(), category.name)
    groups: dict[str, Category] = {}
    kept: list[Category] = []
    for file in files:
        for category in _one_of_a_name(file, notes):
            own_kind = category.above.strip() == category.plain  # "person" is a kind of "person" in COCO itself
            grouped = category.plain in above and not used[category.plain] and not own_kind
            if grouped and (any(used.values()) or (category.id == 0 and _is_lone(category))):
                groups.setdefault(category.plain, category)
            else:
                kept.append(category)
    if groups:
        first = next(iter(groups.values()))
        more = f", and {len(groups) - 1} more" if len(groups) > 1 else ""
        notes.append(
            f"category {first.id} {first.name!r:.40} is a group without objects ({above[first.plain]!r:.40} belongs to "
            f"it{more}): no class"
        )
    return kept


def _is_lone(category: Category) -> bool:
    """Whether a category is a kind of nothing, as the group is that Roboflow puts above all others (as number 0)."""
    return category.above.strip().lower() in ("", "none")


def _one_of_a_name(file: CocoFile, notes: list[str]) -> list[Category]:
    """The categories of a file, each name once."""
    by_name: dict[str, Category] = {}
    for row, category in enumerate(_in_file_order(file), 1):
        other = by_name.get(category.plain)
        if other is None:
            by_name[category.plain] = category
            continue
        if file.used[other.id] and file.used[category.id]:
            raise FormatError(
                f"{str(file.path)!r}, category {row}: name {category.name!r:.60} is given twice; rename one of the two"
            )
        by_name[category.plain] = max(other, category, key=lambda one: (file.used[one.id], not _is_lone(one)))
        notes.append(
            f"{file.path.name!r:.60} lists {category.name!r:.40} twice, as {other.id} and {category.id}: the one "
            "without objects is left out"
        )
    kept = {category.id for category in by_name.values()}
    return [category for own, category in file.categories.items() if own in kept]


def _in_file_order(file: CocoFile) -> list[Category]:
    entries = file.rest.get("categories", ())
    order = {id(entry): place for place, entry in enumerate(entries)}
    return sorted(file.categories.values(), key=lambda category: order.get(id(category.raw), 0))


def _agreeing(pairs: Iterable[tuple[Id, T]]) -> dict[Id, T]:
    """Numbers that stand for one thing in all files."""
    found: dict[Id, T] = {}
    twice: set[Id] = set()
    for number, thing in pairs:
        if found.setdefault(number, thing) != thing:
            twice.add(number)
    return {number: thing for number, thing in found.items() if number not in twice}


def _skeleton(
    categories: Sequence[Category], notes: list[str]
) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]] | None:
    """Names of key points and pairs of their positions, from 0; of the first category that has some."""
    found = [category for category in categories if category.points]
    if not found:
        return None
    if len({category.points for category in found}) > 1:
        notes.append(f"categories have different key points: the skeleton is that of {found[0].name!r:.40}")
    count = len(found[0].points)
    limbs = found[0].raw.get("skeleton")
    pairs = [
        (limb[0] - 1, limb[1] - 1)
        for limb in (limbs if isinstance(limbs, list) else ())
        if isinstance(limb, list) and len(limb) == 2 and all(type(n) is int and 1 <= n <= count for n in limb)
    ]
    return found[0].points, tuple(pairs)


def _check_bodies(file: CocoFile) -> None:
    for row, category in enumerate(_in_file_order(file), 1):
        where, names = f"{str(file.path)!r}, category {row} ({category.name!r:.40})", category.points
        if twice := [name for place, name in enumerate(names) if name in names[:place]]:
            raise FormatError(f"{where}: two key points are called {twice[0]!r:.60}; give each its own name")
        limbs = category.raw.get("skeleton") if names else None
        for limb in limbs if isinstance(limbs, list) else ():
            ends = limb if isinstance(limb, list) else []
            if len(ends) != 2 or not all(type(end) is int and 1 <= end <= len(names) for end in ends):
                raise FormatError(
                    f"{where}: the skeleton has {limb!r:.40}; give pairs of numbers of key points, from 1 to "
                    f"{len(names)}"
                )


def _extra(files: Sequence[CocoFile]) -> dict[str, Any]:
    """What the files say of themselves, the first one's where they differ, and all categories."""
    found: dict[str, Any] = {}
    categories: dict[Id, Any] = {}
    for file in reversed(files):
        found |= {key: value for key, value in file.rest.items() if key not in ("images", "annotations", "categories")}
    for file in files:
        for category in _in_file_order(file):
            categories.setdefault(category.id, category.raw)
    return {**found, "categories": list(categories.values())}


def _of_masks(head: Head, files: Sequence[CocoFile], hints: Hints) -> Head:
    """Pixels of no object are background, unless that was drawn or the file says that they have no class."""
    info = head.extra.get("info")
    said = info.get(UNANNOTATED) if isinstance(info, Mapping) else None
    if said == "ignore" or any(file.drawn(BACKGROUND) for file in files):
        return replace(head, bare="nothing")
    if BACKGROUND in head.classes or (hints.classes and BACKGROUND not in hints.classes):
        return head
    black = (0, 0, 0)
    palette = None if head.palette is None or black in head.palette else (black, *head.palette)
    return replace(head, classes=(BACKGROUND, *head.classes), palette=palette)
