"""DeepLabCut: ``labeled-data/VIDEO/CollectedData_SCORER.csv`` with the frames beside it, and what its models say.

Of a project, of ``labeled-data``, of one folder of frames, or one file. A frame is called after its path below the
folder of the pictures; frames of one video are a group. The animals of a file, one or several, are objects of one
class: that of the project where it has one only, else ``subject``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff, Writes, Writing
from labelwise.contracts.record import Head, Points, Record, Seen, Where
from labelwise.errors import FormatError, StateError
from labelwise.formats.files import there_is, write_whole
from labelwise.formats.fitting import lines
from labelwise.formats.glance import start_of
from labelwise.formats.pictures import place_pictures
from labelwise.formats.pose_rows import (
    SINGLE,
    SUBJECT,
    Frame,
    PoseFile,
    is_pose_header,
    kept_of,
    names_of,
    pose_table,
    read_pose,
)
from labelwise.formats.yaml_text import read_settings

_DATA = "labeled-data"
_LABELS, _GUESSES = "CollectedData_*.csv", "machinelabels*.csv"
_BLANKS = ("untouched", "empty")


@dataclass(frozen=True)
class DeepLabCut(Format):
    r"""DeepLabCut's CSV of labelled frames, and that of its predictions with likelihoods.

    A frame of which no point is marked counts as not labelled, since the file lists frames that nobody has looked at
    alike. Of predictions the likelihoods are kept for each point, and their mean for the animal; those of a whole video
    number their frames, and need a list of images (``--images``).

    Memory: about five times the largest file.

    Args:
        blank: what a frame without any point is: ``untouched``, or ``empty`` (looked at, and no animal there).

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "CollectedData_me.csv"
        >>> rows = "scorer,,,me,me", "bodyparts,,,nose,nose", "coords,,,x,y", "labeled-data,v1,a.png,3,4.5"
        >>> _ = file.write_text("\n".join(rows))
        >>> head, records = DeepLabCut().read(file, "answers", Hints())
        >>> record = next(records)
        >>> record.image, record.group, record.objects[0].points
        ('labeled-data/v1/a.png', 'v1', Points(points=((3, 4.5, 2),), names=('nose',), scores=()))
    """

    name: ClassVar[str] = "deeplabcut"
    title: ClassVar[str] = "DeepLabCut: labeled-data with CollectedData_*.csv, and predictions with likelihoods (CSV)"
    kinds: ClassVar[frozenset[str]] = frozenset({"points"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"data", "answers", "predictions"})
    writes: ClassVar[frozenset[Writes]] = frozenset({"asked", "labelled", "predictions"})
    ending: ClassVar[str] = ""

    blank: str = "untouched"

    def __post_init__(self) -> None:
        if self.blank not in _BLANKS:
            raise FormatError(f"blank is {self.blank!r:.40}; give {' or '.join(_BLANKS)}")

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """By the rows scorer, bodyparts and coords."""
        files = _files(path, use) if path.is_dir() else [path]
        own = [file for file in files if is_pose_header(start_of(file, 1 << 16).decode("utf-8-sig", "replace"))]
        if not own:
            return Sniff(0.0, "no CSV with the rows scorer, bodyparts and coords")
        scored = b"likelihood" in start_of(own[0], 1 << 16)
        if scored != (use == "predictions"):
            why = "points without likelihood" if use == "predictions" else "points of a model, with likelihood"
            return Sniff(0.6, why, ("points",))
        return Sniff(0.97, f"{own[0].name!r:.60}: scorer, bodyparts and coords", ("points",))

    def root(self, path: Path) -> Path:
        """``labeled-data`` of a project, the folder itself, or that of the file."""
        if path.is_dir():
            return path / _DATA if (path / _DATA).is_dir() else path
        return path.parent

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """A record for each row of all files; everything is read before the first is given.

        Raises:
            FormatError: no such file, files of other points than the first, a row that breaks its form; with file and
                row.
        """
        files = [read_pose(file) for file in (_files(path, use) if path.is_dir() else [path])]
        if not files:
            raise FormatError(f"{str(path)!r:.200} holds no {_LABELS if use != 'predictions' else _GUESSES} to read")
        names = _same_points(files)
        root = (hints.root or self.root(path)) if use == "data" else hints.root
        cls = hints.classes[0] if len(hints.classes) == 1 else SUBJECT
        counts: Counter[str] = Counter()
        records = [self._record(file, frame, cls, use, root, counts) for file in files for frame in file.frames()]
        head = Head(
            classes=(cls,),
            root=root if use == "data" else None,
            says_empty=self.blank == "empty",
            skeleton=(names, _limbs(path, names)),
            notes=lines(counts),
        )
        return head, iter(records)

    def _record(
        self, file: PoseFile, frame: Frame, cls: str, use: Reads, root: Path | None, counts: Counter[str]
    ) -> Record:
        guessed = use == "predictions"
        objects = tuple(
            Seen(
                cls, points=points if guessed else replace(points, scores=()), score=_mean(points) if guessed else None
            )
            for individual, points in frame.subjects.items()
            if individual != SINGLE
        )
        alone = SINGLE in frame.subjects
        counts["{n} frame(s) with points of no animal (individual 'single'): these are left out"] += alone
        bare = not objects and not guessed and self.blank == "untouched"
        counts[
            "{n} frame(s) without any point: not labelled (--format deeplabcut:blank=empty takes them as empty)"
        ] += bare
        video = PurePosixPath(frame.image).parent.name if frame.image else ""
        return Record(
            Where(str(file.path), "row", frame.row),
            None if frame.image is None else _name(frame.image, root),
            number=frame.number,
            objects=objects,
            state="answered" if objects else "untouched" if bare else "empty",
            group=video or None,
        )

    def write(self, path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
        """The frames in ``labeled-data/VIDEO``, with ``CollectedData_SCORER.csv`` beside them.

        What a model guesses goes into ``machinelabels-iter0.csv``, which DeepLabCut opens to be corrected and saves as
        labels; as long as nobody has done so there is no answer.
        Options: ``scorer`` (labelwise by default), ``bodyparts`` (names by ``;``) where no label names them.

        Raises:
            FormatError: nothing names the points, or objects with other points than others.
            StateError: a file cannot be written.
        """
        left: Counter[str] = Counter()
        listed = kept_of(records, head, left, "DeepLabCut", ("skipped",))
        told = [name.strip() for name in how.options.get("bodyparts", "").split(";")]
        names = names_of(listed, head, tuple(filter(None, told)), "DeepLabCut")
        if not names:
            raise FormatError(
                "no label names the points: say --format 'deeplabcut:bodyparts=nose;tail', in their order"
            )
        wanted = {str(record.image): _place(record, left) for record in listed}
        placed = place_pictures(path, wanted, how)
        scored = how.use != "labelled" and any(record.objects for record in listed)
        scorer = how.options.get("scorer", "labelwise")
        name = "machinelabels-iter0.csv" if scored else f"CollectedData_{scorer}.csv"
        videos: dict[PurePosixPath, list[tuple[str, Sequence[Points]]]] = {}
        for record in listed:
            place = wanted[str(record.image)]
            videos.setdefault(PurePosixPath(place).parent, []).append((place, _subjects(record, left)))
        _make(path / _DATA)
        for folder, frames in videos.items():
            _make(path / folder)
            write_whole(path / folder / name, pose_table(scorer, names, frames, scored=scored).encode())
        said = ["DeepLabCut trains on .h5 files: run deeplabcut.convertcsv2h5(config) once on what was written"]
        return [*lines(left), *placed.notes, *(said if how.use == "labelled" else [])]


# ---- files ----------------------------------------------------------------------------------------------------------


def _files(folder: Path, use: Reads) -> list[Path]:
    """Files of labels, or of a model's guesses, in a project, in ``labeled-data`` or in one folder of frames."""
    base = folder / _DATA if (folder / _DATA).is_dir() else folder
    for pattern in (_GUESSES, "*DLC*.csv") if use == "predictions" else (_LABELS,):
        if found := [*base.glob(pattern), *base.glob(f"*/{pattern}")]:
            return sorted(file for file in found if not file.parent.name.endswith("_labeled"))
    return []


def _same_points(files: Sequence[PoseFile]) -> tuple[str, ...]:
    """The names of points that all animals of all files have, but for points of no animal among several."""
    first: tuple[str, ...] = ()
    for file in files:
        for individual, names in file.names.items():
            if individual == SINGLE:
                continue
            first = first or names
            if names != first:
                odd = next((name for name in (*names, *first) if (name in names) != (name in first)), names[0])
                of = f" of {individual!r:.40}" if individual else ""
                raise FormatError(
                    f"{str(file.path)!r:.150}: its points{of} are not those of the first file or animal, {odd!r:.40} "
                    "for one: all need the same body parts in the same order"
                )
    return first


def _limbs(path: Path, names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """The skeleton of ``config.yaml`` of the project."""
    folder = path if path.is_dir() else path.parent
    file = next((f for f in (p / "config.yaml" for p in (folder, *folder.absolute().parents[:3])) if f.is_file()), None)
    if file is None:
        return ()
    settings = read_settings(file)
    pairs = settings.get("skeleton") if isinstance(settings, Mapping) else None
    found = []
    for pair in pairs if isinstance(pairs, list) else ():
        ends = pair if isinstance(pair, list) else [pair]
        if len(ends) != 2 or not all(end in names for end in ends):
            raise FormatError(
                f"{str(file)!r:.150}: the skeleton has {pair!r:.60}; give pairs of {', '.join(names)!s:.80}"
            )
        found.append((names.index(ends[0]), names.index(ends[1])))
    return tuple(found)


def _name(written: str, root: Path | None) -> str:
    """The path of a frame below the root, where it lies there."""
    parts = written.split("/")
    for skipped in range(min(len(parts), 3)):
        tail = "/".join(parts[skipped:])
        if root is not None and there_is(root / tail):
            return tail
    return written


def _mean(points: Points) -> float | None:
    return round(sum(points.scores) / len(points.scores), 9) if points.scores else None


# ---- writing --------------------------------------------------------------------------------------------------------


def _place(record: Record, left: Counter[str]) -> str:
    """``labeled-data/VIDEO/FRAME``: DeepLabCut knows no other folders."""
    if record.image is None:
        raise FormatError(f"{record.where}: a frame needs the name of its picture, not its number")
    parts = [part for part in record.image.split("/") if part != _DATA]
    folder = "__".join(parts[:-1]) or record.group or "frames"
    left["{n} frame(s) of nested folders: these are joined to one name"] += len(parts) > 2
    return f"{_DATA}/{folder}/{parts[-1]}"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(f"{str(folder)!r:.200} cannot be made: {error.strerror}") from None


def _subjects(record: Record, left: Counter[str]) -> list[Points]:
    if record.fractions and record.size is None:
        raise FormatError(f"{record.where}: the size of {record.image!r:.80} is not known, and points are in pixels")
    found = []
    for seen in record.objects:
        if seen.points is None or not any(there for _, _, there in seen.points.points):
            left["{n} object(s) without points left out"] += 1
            continue
        left["{n} box(es) left out: DeepLabCut has no place for them"] += seen.box is not None
        left["{n} hidden point(s) written as visible ones"] += sum(there == 1 for _, _, there in seen.points.points)
        found.append(seen.points)
    return found
