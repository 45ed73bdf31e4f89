"""Which picture of the project a file means by a name: the only place that decides it.

In this order, and nothing else:

1. the id itself; a path inside the data root;
2. the same path told otherwise: NFC or NFD, backslashes, percent-encoding, an address of a server;
3. a path that is a tail of the id, or of which the id is a tail, where what is dropped is a folder that only holds
   pictures (``images/``, an upload folder), the data root's own name, or another machine's root;
4. the file name alone, only where the file names no folder and the name is unique; a folder that is called as a split
   (``labels/train/``) is none that a file names, where the project has no such folders;
5. the name without what a tool put around it (the hash of an upload, ``.rf.HASH``), where the rest is unique;
6. a number, only through a list that says what it stands for.

A folder that contradicts is no match: ``cam2/0001.jpg`` is never ``cam1/0001.jpg``.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote

from labelwise.formats.nearest import nearest_ids
from labelwise.formats.scan import ENDINGS
from labelwise.formats.splits import role_of

#: folders that only hold pictures: they may stand in a path or be missing from it
CONTAINERS = frozenset(
    {"images", "image", "imgs", "img", "jpegimages", "pictures", "data", "files", "upload", "uploads", "media"}
    | {"obj_train_data", "obj_valid_data", "obj_test_data", "local-files", "leftimg8bit"}
)
#: how a name was found, in the words of the line that people read, the surest first
PATH, PREFIX, NAME, MANGLED, NUMBER = (
    "by path",
    "by path below another root",
    "by file name",
    "by name as uploaded",
    ("by number, through the list of images"),
)
#: pictures of one file name beyond which names are looked up together with their folder
_MANY = 64
_UPLOADED = re.compile(r"^[0-9a-f]{8}(?:-|__)(?=.)")
_ROBOFLOW = re.compile(r"_([A-Za-z0-9]{3,4})\.rf\.[0-9A-Za-z]{16,64}(?=\.[A-Za-z0-9]+$|$)")
#: what Roboflow turns into one hyphen
_UNWRITTEN = re.compile(r"[^A-Za-z0-9_]+")
_ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]+://[^/?]*/?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Match:
    """A picture that was found, and how.

    Args:
        item: its id.
        how: in the words of the line that people read.
        split: folders that are called as splits and that the project does not have: dropped from the name.
    """

    item: str
    how: str
    split: str = ""


@dataclass
class Matcher:
    """Finds pictures by what files call them; indices beyond the ids are built when a name first needs them.

    Args:
        ids: of the project's pictures, POSIX paths below ``root``.
        root: the data root; None where there is none.
        numbers: number -> id, where the pictures came with a list that numbers them.

    Example:
        >>> matcher = Matcher({"cam1/0001.jpg", "b.png"})
        >>> matcher.find("images/b.png").how, matcher.find("cam2/0001.jpg")
        ('by path', None)
    """

    ids: Collection[str]
    root: str | os.PathLike[str] | None = None
    numbers: Mapping[int | str, str] = field(default_factory=dict)
    #: how many names were found how
    told: Counter[str] = field(default_factory=Counter)
    #: folders of another root that were dropped from names
    dropped: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._known: Collection[str] = self.ids if isinstance(self.ids, Set | Mapping) else set(self.ids)
        real = () if self.root is None else (os.path.abspath(self.root), os.path.realpath(self.root))  # noqa: PTH100
        self._roots = tuple(dict.fromkeys(Path(path).as_posix().rstrip("/") for path in real))
        self._elsewhere: dict[str, bool] = {}
        self._folders_of: dict[bool, Mapping[str, list[str]]] = {}

    def find(self, name: str, *, bare: bool = False) -> Match | None:
        """The picture that a file calls ``name``; None where there is none, or none without doubt.

        Args:
            name: as written.
            bare: the ending of the file is missing from the name.
        """
        if name in self._known and not bare:
            return Match(name, PATH)
        spellings = _spellings(name)
        for spelling in spellings:
            if match := self._of_path(spelling, bare or not _is_picture(spelling)):
                return match
        for spelling in spellings:
            plain, split = _without_splits(spelling)
            if split and not self._has_splits and (match := self._of_path(plain, bare or not _is_picture(plain))):
                self.dropped[split] += 1
                return replace(match, split=split)
        return None

    def numbered(self, number: int | str, names: Mapping[int | str, str]) -> Match | None:
        """The picture that a number stands for, through a list of names or the project's own."""
        for key in _keys(number):
            if key in names:
                found = self.find(names[key]) or self.find(names[key], bare=True)
                return None if found is None else Match(found.item, NUMBER)
        for key in _keys(number):
            if key in self.numbers and self.numbers[key] in self._known:
                return Match(self.numbers[key], NUMBER)
        return None

    def count(self, match: Match) -> str:
        """Takes note of a match, for ``said``; gives its item."""
        self.told[match.how] += 1
        return match.item

    def said(self) -> str:
        """How names were found, in one line: ``296 of 296 by path``; "" where none was looked for."""
        total = sum(self.told.values())
        order = (PATH, PREFIX, NAME, MANGLED, NUMBER)
        parts = [f"{self.told[how]:,} {how}" for how in order if self.told[how]]
        if len(parts) == 1 and total:
            parts = [f"{total:,} of {parts[0]}"]
        folders = ", ".join(repr(f"{folder}/") for folder, _ in self.dropped.most_common(3))
        return ", ".join(parts) + (f" (without {folders})" if folders else "")

    def leaves(self, name: str) -> bool:
        """Whether a name is a path out of the data root, or of another folder of this machine."""
        plain = next(iter(_spellings(name)), "")
        return _leaves(plain) or (plain.startswith("/") and self._inside(plain) is None and self._is_here(plain))

    def why_not(self, name: str, *, bare: bool = False) -> str:
        """Why a name is no picture of the project, with the nearest ones."""
        plain = next(iter(_spellings(name)), "")
        if self.leaves(name):
            return f"path {name!r:.80} leaves the data root: write paths below it"
        fits = self._index(bare or not _is_picture(plain)).get(posixpath.basename(plain), [])
        fits = fits or self._as_washed(posixpath.basename(plain))
        if len(fits) > 1 and not posixpath.dirname(plain):
            return f"{name!r:.80} may be {fits[0]!r:.60} or {fits[1]!r:.60}: write the path below the data root"
        if fits and posixpath.dirname(plain):
            return f"{name!r:.80} is none of the {len(self._known):,} images: {fits[0]!r:.80} lies in another folder"
        near = nearest_ids(plain, self._known)
        hint = f"; did you mean {' or '.join(f'{item!r:.60}' for item in near)}?" if near else ""
        return f"{name!r:.80} is none of the {len(self._known):,} images{hint}"

    # ---- paths ------------------------------------------------------------------------------------------------------

    def _of_path(self, path: str, bare: bool) -> Match | None:
        """By a normalised path."""
        if path in self._known and not bare:
            return Match(path, PATH)
        inside = self._inside(path)
        if inside is not None and not bare and inside in self._known:
            return Match(inside, PATH)
        wanted = path if inside is None else inside
        if _leaves(wanted):
            return None
        direct = self._fitting(wanted, self._index(bare), bare)
        if direct is not None or inside is not None:
            return direct
        return self._as_uploaded(wanted, bare)

    def _inside(self, path: str) -> str | None:
        """An absolute path of this machine, below the root; through links too."""
        if not path.startswith("/"):
            return None
        try:
            linked = (Path(path).parent.resolve() / posixpath.basename(path)).as_posix()
        except (OSError, ValueError, RuntimeError):
            linked = path
        for form in (path, linked):
            for root in self._roots:
                if form.startswith(f"{root}/"):
                    return form[len(root) + 1 :]
        return None

    def _fitting(self, path: str, index: Mapping[str, list[str]], bare: bool) -> Match | None:
        """The one picture whose folders agree with a path."""
        fits = index.get(path.rpartition("/")[2], [])
        if not fits:  # half a million unknown names are refused in seconds
            return None
        by_how: dict[str, list[str]] = defaultdict(list)
        if len(fits) > _MANY:  # numbered frames of many folders: only those of a folder called alike are looked at
            fits = self._by_folder(bare).get("/".join(path.split("/")[-2:]), [])
        for item in fits:
            if (how := self._agree(path, item, bare)) is not None:
                by_how[how].append(item)
        for how in (PATH, PREFIX, NAME):
            if len(by_how[how]) == 1:
                if how == PREFIX:
                    self.dropped[_prefix(path, by_how[how][0])] += 1
                return Match(by_how[how][0], how)
            if by_how[how]:
                whole = [item for item in by_how[how] if _plain(item, bare) == path]
                return Match(whole[0], how) if len(whole) == 1 else None
        return None

    def _agree(self, path: str, item: str, bare: bool) -> str | None:
        """How a path and an id mean the same file; None where a folder contradicts."""
        told, own = _telling(path), _telling(_plain(item, bare))
        speaks = bool(told)
        while told and own and told[-1] == own[-1]:
            told.pop()
            own.pop()
        if not told:
            return PATH if speaks or not own else NAME
        if own:
            return None
        if self._is_root(told):
            return PATH
        if path.startswith("/"):
            return None if self._is_here(path) else PREFIX
        return PREFIX if len(told) < len(_telling(path)) else None

    def _is_root(self, parts: list[str]) -> bool:
        """Whether folders are the last ones of the data root: ``photos`` where the root is ``/data/photos``."""
        return any(_folders(f"{root}/x")[-len(parts) :] == parts for root in self._roots)

    def _is_here(self, path: str) -> bool:
        """Whether the folder of an absolute path exists on this machine: then it is another one than the root."""
        folder = posixpath.dirname(path)
        if folder not in self._elsewhere:
            self._elsewhere[folder] = Path(folder).is_dir()
        return self._elsewhere[folder]

    def _as_uploaded(self, path: str, bare: bool) -> Match | None:
        """By the name that is left without what a tool put around it, on either side."""
        if any(not part.isdigit() for part in _telling(path)):
            if (flat := _unmangled(path.rpartition("/")[2])) is None:
                return None
            found = self._fitting(posixpath.join(posixpath.dirname(path), flat), self._index(bare), bare)
            return None if found is None else Match(found.item, MANGLED)
        base = posixpath.basename(path)
        names = [name for name in (_unmangled(base), _unflattened(base)) if name is not None]
        if names:
            # the hash makes the name unique, so that a number of a project before it says nothing
            names.append(base)
        for name in names:
            fits = [
                item for item in self._index(bare).get(posixpath.basename(name), ()) if self._agree(name, item, bare)
            ]
            if len(fits) == 1:
                return Match(fits[0], MANGLED)
        fits = self._mangled.get(_plain(base, bare) if bare else base, []) or self._as_washed(base)
        return Match(fits[0], MANGLED) if len(fits) == 1 else None

    def _as_washed(self, name: str) -> list[str]:
        """Pictures that Roboflow would call by a name, which says neither folders nor what is no letter or digit."""
        return self._washed.get(_washed(_unmangled(name) or ""), []) if _ROBOFLOW.search(name) else []

    # ---- indices, built when first needed ---------------------------------------------------------------------------

    def _index(self, bare: bool) -> Mapping[str, list[str]]:
        return self._stems if bare else self._names

    @cached_property
    def _names(self) -> Mapping[str, list[str]]:
        """File name, NFC -> ids."""
        return _grouped((posixpath.basename(_nfc(item)), item) for item in sorted(self._known))

    @cached_property
    def _stems(self) -> Mapping[str, list[str]]:
        """File name without ending, NFC -> ids."""
        return _grouped((posixpath.basename(_plain(item, True)), item) for item in sorted(self._known))

    @cached_property
    def _has_splits(self) -> bool:
        """Whether folders of the project are called as splits: then a split that a file names may contradict."""
        folders = {posixpath.dirname(item) for item in self._known}
        return any(_without_splits(f"{folder}/x")[1] for folder in folders)

    def _by_folder(self, bare: bool) -> Mapping[str, list[str]]:
        """Folder and file name -> ids."""
        if bare not in self._folders_of:
            pairs = ((_plain(item, bare), item) for item in sorted(self._known))
            self._folders_of[bare] = _grouped(("/".join(plain.split("/")[-2:]), item) for plain, item in pairs)
        return self._folders_of[bare]

    @cached_property
    def _mangled(self) -> Mapping[str, list[str]]:
        """The name that a picture had before a tool took it in -> ids."""
        pairs = ((_unmangled(posixpath.basename(_nfc(item))), item) for item in sorted(self._known))
        return _grouped((name, item) for name, item in pairs if name is not None)

    @cached_property
    def _washed(self) -> Mapping[str, list[str]]:
        """File name as Roboflow keeps it -> ids."""
        return _grouped((_washed(posixpath.basename(_nfc(item))), item) for item in sorted(self._known))


def _spellings(name: str) -> list[str]:
    """A name as written, and as it is meant, as normalised NFC paths; nothing for an empty one."""
    found: dict[str, None] = {}
    for text in dict.fromkeys((name.strip(), unquote(name.strip()) if "%" in name else name.strip())):
        if "?d=" in text:
            text = unquote(text.partition("?d=")[2].partition("&")[0])
        if address := _ADDRESS.match(text):
            rest = text[address.end() :].partition("?")[0]
            text = rest if PureWindowsPath(rest).drive else f"/{rest}"
        if "\\" in text and "/" not in text:
            text = PureWindowsPath(text).as_posix()
        if (":" in text or "\\" in text) and (drive := PureWindowsPath(text).drive):
            text = text[len(drive) :]
        plain = posixpath.normpath(_nfc(text)) if text else ""
        if plain not in ("", "."):
            found[plain.replace("//", "/")] = None
    return list(found)


def _keys(number: int | str) -> tuple[int | str, ...]:
    """A number as number and as text."""
    if isinstance(number, int):
        return number, str(number)
    plain = number.strip()
    return (number, plain, int(plain)) if plain.isdecimal() and len(plain) < 20 else (number, plain)


def _grouped(pairs: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for key, item in pairs:
        found[key].append(item)
    return found


def _nfc(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _is_picture(path: str) -> bool:
    return posixpath.splitext(path)[1].lower() in ENDINGS


def _plain(item: str, bare: bool) -> str:
    """An id as it is compared: NFC, without its ending where names have none."""
    item = _nfc(item)
    stem, ending = posixpath.splitext(item)
    return stem if bare and ending.lower() in ENDINGS else item


def _folders(path: str) -> list[str]:
    return [part for part in path.split("/")[:-1] if part not in ("", ".")]


def _telling(path: str) -> list[str]:
    """Folders of a path that tell files apart."""
    return [part for part in _folders(path) if part.lower() not in CONTAINERS]


def _without_splits(path: str) -> tuple[str, str]:
    """A path without folders that are called as splits, and these.

    Example:
        >>> _without_splits("train/images/a.jpg"), _without_splits("cam1/a.jpg")
        (('images/a.jpg', 'train'), ('cam1/a.jpg', ''))
    """
    folders = path.split("/")[:-1]
    splits = [part for part in folders if role_of(part) is not None]
    if not splits or path.startswith("/"):
        return path, ""
    kept = [part for part in folders if role_of(part) is None]
    return "/".join([*kept, path.rpartition("/")[2]]), "/".join(splits)


def _prefix(path: str, item: str) -> str:
    """What a path has before the folders of an id."""
    folders, own = _folders(path), _folders(_nfc(item))
    return ("/" if path.startswith("/") else "") + "/".join(folders[: len(folders) - len(own)])


def _leaves(path: str) -> bool:
    return path == ".." or path.startswith("../")


def _unmangled(name: str) -> str | None:
    """The name before a tool took it in; None for one that no tool touched.

    Example:
        >>> _unmangled("ab12cd00-cat 1.jpg"), _unmangled("cat_jpg.rf.0123456789abcdef0123456789abcdef.jpg")
        ('cat 1.jpg', 'cat.jpg')
    """
    if match := _ROBOFLOW.search(name):
        return f"{name[: match.start()]}.{match[1]}"
    return name[match.end() :] if (match := _UPLOADED.match(name)) else None


def _washed(name: str) -> str:
    """A file name as Roboflow keeps it, its ending in small letters.

    Example:
        >>> _washed("my photo (1).JPG"), _washed("my-photo-1-.jpg")
        ('my-photo-1-.jpg', 'my-photo-1-.jpg')
    """
    stem, ending = posixpath.splitext(name)
    return _UNWRITTEN.sub("-", stem) + ending.lower()


def _unflattened(name: str) -> str | None:
    """A path whose folders were written into the name: ``cam1__0001.jpg``."""
    return name.replace("__", "/") if "__" in name.strip("_") else None
