"""What the labels of key points of a set share: how many points an object of a class has, their names and limbs.

That is also what the task of key points has to know of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labelwise.contracts.kind import Raw
from labelwise.errors import DataError, brief
from labelwise.formats.sides import mirrored, other_side


@dataclass(frozen=True)
class Body:
    """The key points of all objects of a class.

    Args:
        names: of the points, in order; ``"1"``, ``"2"``, ... where nothing names them.
        limbs: pairs of positions, from 0.
    """

    names: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...] = ()

    @property
    def mirrored(self) -> tuple[int, ...]:
        """Position of each point in a mirrored picture, by names: ``left...`` and ``right...`` change places.

        Example:
            >>> Body(("nose", "left_eye", "right_eye", "tail", "earL", "earR")).mirrored
            (0, 2, 1, 3, 5, 4)
        """
        return mirrored(self.names)


def bodies(raws: Iterable[Raw]) -> dict[str, Body]:
    """Class -> its key points, of labels of kind ``points``; classes in the order in which they occur.

    Objects without points are no evidence.

    Raises:
        DataError: objects of one class with other numbers of points, or with other names.

    Example:
        >>> thing = {"class": "fly", "points": [[1, 2, 2], [0, 0, 0]], "names": ["head", "tail"]}
        >>> bodies([{"size": [9, 9], "objects": [thing], "skeleton": [[0, 1]]}])
        {'fly': Body(names=('head', 'tail'), limbs=((0, 1),))}
    """
    counts: dict[str, int] = {}
    names: dict[str, tuple[str, ...]] = {}
    limbs: dict[str, tuple[tuple[int, int], ...]] = {}
    for raw in raws:
        for thing in raw["objects"]:
            cls, count = thing["class"], len(thing["points"])
            if not count:
                continue
            if counts.setdefault(cls, count) != count:
                raise DataError(
                    f"objects of the class {cls!r:.60} have {counts[cls]} points and {count}: all need the same ones, "
                    "those that are not seen as [0, 0, 0]"
                )
            told = tuple(thing.get("names", ()))
            if told and names.setdefault(cls, told) != told:
                odd = next((name for name in told if name not in names[cls]), None)
                what = f"one more called {odd!r:.60}" if odd is not None else "the same in another order"
                raise DataError(
                    f"objects of the class {cls!r:.60} have points called {', '.join(names[cls])!s:.120}, and {what}: "
                    "all need the same names in the same order"
                )
            if raw.get("skeleton"):
                limbs.setdefault(cls, tuple((a, b) for a, b in raw["skeleton"] if max(a, b) < count))
    numbered = {cls: tuple(str(place) for place in range(1, count + 1)) for cls, count in counts.items()}
    return {cls: Body(names.get(cls, numbered[cls]), limbs.get(cls, ())) for cls in counts}


# ---- the task -------------------------------------------------------------------------------------------------------


def settled(options: Mapping[str, Any], raws: Iterable[Raw]) -> tuple[dict[str, Any], list[str]]:
    """Options of ``keypoints``: ``points``, ``limbs`` and ``pairs`` as labels have them, where nobody gave them.

    Args:
        options: that were given.
        raws: labels of the kind ``points``.

    Returns:
        The options, and what people should know of them, one line each.

    Raises:
        DataError: the labels have other points than those given, or contradict each other.

    Example:
        >>> thing = {"class": "fly", "points": [[1, 2, 2], [3, 4, 2]], "names": ["eyeL", "eyeR"]}
        >>> settled({}, [{"size": [9, 9], "objects": [thing], "skeleton": [[0, 1]]}])
        ({'points': ['eyeL', 'eyeR'], 'limbs': [['eyeL', 'eyeR']], 'pairs': [['eyeL', 'eyeR']]}, [])
    """
    found = bodies(raws)
    if not found:
        return dict(options), []
    if len(found) > 1:
        names = brief(list(found), 120)
        return dict(options), [
            f"the labels have key points of {len(found)} classes, {names}: a model learns those of one, so leave the "
            "others out before you train"
        ]
    body = next(iter(found.values()))
    known = {**options}
    if known.get("points"):
        _check_same(body, known["points"])
        body = Body(tuple(known["points"]), body.limbs if list(body.names) == list(known["points"]) else ())
    known["points"] = list(body.names)
    if body.limbs and "limbs" not in known:
        known["limbs"] = [[body.names[one], body.names[other]] for one, other in body.limbs if one != other]
    # images are mirrored unless somebody said otherwise
    mirrors = known.get("augment", "all") in ("flip", "all") or known.get("flip_test", False)
    return _sided(known, body) if mirrors and known.get("pairs") is None else (known, [])


def _check_same(body: Body, names: Sequence[str]) -> None:
    """Refuses labels of other points than the task's; those without names need as many."""
    numbered = body.names == tuple(str(place) for place in range(1, len(body.names) + 1))
    if len(body.names) == len(names) if numbered else set(body.names) == set(names):
        return
    more = [name for name in body.names if name not in names]
    less = [name for name in names if name not in body.names]
    what = f"{len(body.names)} points without names" if numbered else "other points"
    said = "" if numbered else f" (more: {brief(more, 60)}; missing: {brief(less, 60)})"
    raise DataError(
        f"the labels have {what}{said}, and the task has {brief(list(names), 90)}: call them alike, those that are not "
        "seen too, or correct task.points"
    )


def _sided(options: dict[str, Any], body: Body) -> tuple[dict[str, Any], list[str]]:
    """Pairs by the names of the points; and what is to be said where there are none, or where one has no partner."""
    order = mirrored(body.names)
    pairs = [[body.names[one], body.names[other]] for one, other in enumerate(order) if one < other]
    alone = [name for name, other in zip(body.names, order, strict=True) if _lacks(name, body.names[other])]
    if pairs or alone:
        options["pairs"] = pairs
    if alone:
        return options, [
            f"{brief(alone, 120)} say a side and have no partner on the other: taken for themselves in mirrored images "
            "(task.pairs names pairs)"
        ]
    if pairs:
        return options, []
    return options, [
        "no names of points tell left from right, and training mirrors images: name the pairs (task.pairs: [[NAME, "
        "NAME]]), or set task.augment: turn where a mirror image would be wrong"
    ]


def _lacks(name: str, other: str) -> bool:
    return name == other and other_side(name) is not None
