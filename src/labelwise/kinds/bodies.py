"""What the labels of key points of a set share: how many points an object of a class has, their names and limbs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from labelwise.contracts.kind import Raw
from labelwise.errors import DataError
from labelwise.formats.key_points import mirrored


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
