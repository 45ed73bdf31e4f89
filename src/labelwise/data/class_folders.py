"""What the folders of a tree of pictures say: splits, classes, and pictures that belong to neither."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from labelwise.contracts.source import Role
from labelwise.errors import few
from labelwise.formats.splits import role_of

#: folders beside those of classes that hold what is not labelled yet
UNLABELLED = frozenset(
    {"unlabelled", "unlabeled", "notlabelled", "notlabeled", "nolabel", "nolabels", "unsorted", "unclassified", "unsup"}
    | {"todo", "tolabel", "inbox", "unannotated", "pending", "unknown"}
)
#: folders that hold pictures of any class: a tree that has one beside others has no folders of classes
CONTAINERS = frozenset({"images", "image", "imgs", "img", "jpegimages"})
#: pictures beside folders that are few enough to be an icon, a preview, a figure of a README: so many, or this share
_FEW, _SHARE = 3, 0.05
_MARKS = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Arrangement:
    """What folders say.

    Args:
        roles: roles of the pictures below folders that name a split, those of the pool included.
        truth: picture -> class.
        classes: sorted; None where the folders name none.
        left_out: pictures that lie beside the folders and belong to no class and no split.
        splits: folders that name a split, as paths.
        notes: what was guessed or left out, one line each.
    """

    roles: Mapping[str, Role] = field(default_factory=dict)
    truth: Mapping[str, str] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    left_out: frozenset[str] = frozenset()
    splits: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def below(self, item: str) -> str:
        """The path of a picture below the folder of its split."""
        for folder in self.splits:
            if item.startswith(f"{folder}/"):
                return item[len(folder) + 1 :]
        return item


def arranged(ids: Sequence[str], labels: str, roles: str) -> Arrangement:
    """Reads splits and classes out of folders, by the rules that ``ImageFolder`` documents.

    Args:
        ids: POSIX paths of the pictures.
        labels: ``auto``, ``folders`` or ``none``.
        roles: likewise.

    Example:
        >>> found = arranged(["Train/cat/1.png", "Train/dog/2.png", "Test/dog/3.png"], "auto", "auto")
        >>> found.classes, found.roles["Test/dog/3.png"]
        (('cat', 'dog'), 'test')
    """
    reading = _Reading(tuple(ids))
    if roles != "none":
        reading.split(forced=roles == "folders")
    if labels != "none":
        reading.label(forced=labels == "folders")
    classes = tuple(sorted(set(reading.truth.values()))) or None
    return Arrangement(
        reading.roles,
        reading.truth,
        classes,
        frozenset(reading.left_out),
        frozenset(reading.prefix + top for top in reading.tops),
        tuple(reading.notes),
    )


class _Reading:
    """Reads splits first, then the classes below each."""

    def __init__(self, ids: tuple[str, ...]) -> None:
        self.ids = ids
        self.roles: dict[str, Role] = {}
        self.truth: dict[str, str] = {}
        self.left_out: set[str] = set()
        self.notes: list[str] = []
        #: the one folder that all pictures lie in, if any, and the folders of splits in it
        self.prefix = ""
        self.tops: frozenset[str] = frozenset()
        #: folders name splits, and not in a way that can be taken: none of them is a class
        self.unclear = False

    # ---- splits -----------------------------------------------------------------------------------------------------

    def split(self, *, forced: bool) -> None:
        """Takes folders that name splits, if those beside them allow it."""
        self.prefix = self._prefix()
        top_of = [self._top(item) for item in self.ids]
        tops = set(top_of)
        named = {top: role for top in tops if top and (role := role_of(top)) is not None}
        waiting = {top for top in tops - named.keys() if _plain(top) in UNLABELLED}
        beside = [item for item, top in zip(self.ids, top_of, strict=True) if top not in named and top not in waiting]
        if not named or (beside and not forced and not self._strays(beside, named)):
            self.prefix = ""
            return
        self.tops = frozenset(named)
        if "pool" not in named.values() and not waiting and not forced:
            self.notes.append(
                f"the folder(s) {_some(named)} name splits, and none is there to learn from: all images are taken for "
                "the pool"
            )
        else:
            learnt = {} if forced else dict.fromkeys(waiting, "pool")
            role_by: dict[str, Role] = {**named, **learnt}  # type: ignore[dict-item]
            self.roles = {item: role_by[top] for item, top in zip(self.ids, top_of, strict=True) if top in role_by}
        if beside and not forced:
            self._leave_out(beside, f"beside the folders {_some(named)}")

    def _prefix(self) -> str:
        """The one folder that all pictures lie in, when there are splits in it; else ""."""
        first = self.ids[0].partition("/")[0] + "/" if self.ids else ""
        if not all(item.startswith(first) for item in self.ids) or role_of(first[:-1]) is not None:
            return ""
        inside = {item[len(first) :].partition("/")[0] for item in self.ids if item.count("/") > 1}
        return first if any(role_of(folder) is not None for folder in inside) else ""

    def _top(self, item: str) -> str:
        """The first folder of a picture; "" where it lies in none."""
        top, mark, _ = item[len(self.prefix) :].partition("/")
        return top if mark else ""

    def _strays(self, beside: Sequence[str], named: Mapping[str, Role]) -> bool:
        """Whether the pictures beside folders that name splits are few and unlike those; says why they are not."""
        start, apart = len(self.prefix), set(beside)
        depths = {item[start:].count("/") for item in self.ids if item not in apart}
        loose = all("/" not in item[start:] for item in beside)
        if _few(len(beside), len(self.ids) - len(beside)) and (loose or min(depths, default=0) > 1):
            return True
        if depths == {1} and all(item[start:].count("/") == 1 for item in beside):
            other = min(self._top(item) for item in beside)
            self.notes.append(
                f"the folder(s) {_some(named)} are classes here, not splits, because {other!r:.60} lies beside them"
            )
        elif len(set(named.values())) > 1:
            self.unclear = True
            self.notes.append(
                f"the folders {_some(named)} may be splits, and {len(beside):,} image(s) lie beside them, such as "
                f"{beside[0]!r:.80}: neither splits nor classes were taken from folders"
            )
        return False

    # ---- classes ----------------------------------------------------------------------------------------------------

    def label(self, *, forced: bool) -> None:
        """Takes folders as classes, where each picture lies in one."""
        if self.unclear and not forced:
            return
        parts: dict[str, dict[str, str]] = {}  # folder of a split, or "" -> picture -> its path below that
        start = len(self.prefix)
        for item in self.ids:
            if item not in self.left_out:
                top, _, rest = item[start:].partition("/")
                key, below = (top, rest) if top in self.tops and rest else ("", item[start:])
                parts.setdefault(key, {})[item] = below
        parts = {split: _unpacked(split, paths) for split, paths in parts.items()}
        found = [_Part(f" in {split!r:.60}" if split else "", paths, forced) for split, paths in parts.items()]
        self.notes += [part.refused for part in found if part.refused]
        truth = {item: name for part in found for item, name in part.truth.items()}
        if not forced and len(set(truth.values())) < 2:
            return
        self.truth = truth
        self.notes += [part.said for part in found if part.said]
        if left := [item for part in found for item in part.strays]:
            self._leave_out(left, "beside the folders of classes")

    def _leave_out(self, items: Sequence[str], where: str) -> None:
        self.left_out |= set(items)
        self.notes.append(f"left out: {len(items):,} image(s) {where} ({_some(items)})")


class _Part:
    """The classes of the pictures of one split.

    Args:
        where: the split, for notes.
        paths: picture -> its path below the folder of the split.
        forced: the first folder is the class, however the others lie.
    """

    def __init__(self, where: str, paths: Mapping[str, str], forced: bool) -> None:
        self.truth: dict[str, str] = {}
        self.strays: list[str] = []
        self.refused = self.said = ""
        waiting = {item for item, path in paths.items() if "/" in path and _plain(path.partition("/")[0]) in UNLABELLED}
        named = {item: path.partition("/")[0] for item, path in paths.items() if "/" in path and item not in waiting}
        if not forced and named:
            loose = [item for item, path in paths.items() if "/" not in path]
            deep = [item for item in named if paths[item].count("/") > 1]
            why = _why_not(named, loose, deep)
            if why is not None:
                if why and len(set(named.values())) > 1:
                    self.refused = f"the folders{where} are no classes, because {why} (--labels folders takes them)"
                return
            self.strays = loose
        self.truth = named
        if waiting and named:
            folders = {paths[item].partition("/")[0] for item in waiting}
            self.said = f"the folder(s) {_some(folders)}{where} are no class: {len(waiting):,} image(s) without label"


def _unpacked(split: str, paths: dict[str, str]) -> dict[str, str]:
    """Paths below the folder that an archive repeated when it was unpacked: ``train/train/cat/1.jpg``."""
    folders = {path.partition("/")[0] for path in paths.values() if "/" in path}
    inner = next(iter(folders), "")
    same = bool(split) and role_of(inner) is not None and role_of(inner) == role_of(split)
    if len(folders) != 1 or not same or not all("/" in path for path in paths.values()):
        return paths
    return {item: path.partition("/")[2] for item, path in paths.items()}


def _why_not(found: Mapping[str, str], loose: Sequence[str], deep: Sequence[str]) -> str | None:
    """Why folders are no classes, "" where that needs no word; None where they are."""
    if deep:
        flat = len(found) - len(deep)
        return f"{deep[0]!r:.80} lies deeper than others" if flat else ""
    if loose and not _few(len(loose), len(found)):
        return f"{len(loose):,} image(s) lie beside them, such as {loose[0]!r:.80}"
    names = sorted(set(found.values()))
    container = next((name for name in names if _plain(name) in CONTAINERS), None)
    return None if container is None else f"one is called {container!r:.60}"


def _few(count: int, rest: int) -> bool:
    return count < rest and count <= max(_FEW, int(rest * _SHARE))


def _plain(folder: str) -> str:
    return _MARKS.sub("", folder.casefold())


def _some(names: Iterable[str]) -> str:
    return few(sorted(names))
