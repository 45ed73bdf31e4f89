"""Looking at images by what they look like: more like these, near-duplicates, outliers; in a project or without one.

Nothing is trained and nothing is written but features that are kept: what is compared are frozen features.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from labelwise.assemble import open_features
from labelwise.contracts.learner import Examples
from labelwise.contracts.oracle import Pick
from labelwise.contracts.picture import picture_of
from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.source import is_region
from labelwise.data.shown import Shown, example
from labelwise.errors import ConfigError, DataError, few
from labelwise.learners.features import FROZEN
from labelwise.project.images import CONFIG_NAME
from labelwise.project.learning import Learning
from labelwise.project.opened import Opened
from labelwise.rng import generator
from labelwise.selection.arrays import as_tensor
from labelwise.selection.likeness import most_alike, outlyingness
from labelwise.selection.near_duplicates import Groups, near_duplicates
from labelwise.selection.progress import listening

if TYPE_CHECKING:
    from PIL import Image

    from labelwise.contracts.source import Source
    from labelwise.learners.features import FeatureSource
    from labelwise.project.project import Project

#: cosine of frozen features from which two images count as near-duplicates where nobody says
THRESHOLD = 0.95
#: images of an answer where nobody says how many
MANY = 50
#: outliers are told by their distance to so many-th nearest image
NEIGHBOUR = 10
#: longest side of a picture on a page, in pixels
_SIDE = 400


@dataclass(frozen=True)
class Looked:
    """Images with their frozen features.

    Args:
        name: of the folder or project.
        source: reads them.
        features: what they are compared by.
        ids: ascending; those that can be read.
        rows_ND: features of each.
        notes: what was left out.
        seed: of samples.
        progress: told on long work.
    """

    name: str
    source: Source
    features: FeatureSource
    ids: tuple[str, ...]
    rows_ND: Tensor
    notes: tuple[str, ...] = ()
    seed: int = 0
    progress: Progress = silent

    def picture(self, item: str, side: int = _SIDE) -> Image.Image | None:
        """A small picture of an image; None for one that cannot be read."""
        return picture_of(self.source, item, side)


@dataclass(frozen=True)
class Part:
    """Images that were found together.

    Args:
        name: what they are, in a few words.
        picks: the most telling first; ``predicted`` is the example that an image is like, where there are several.
    """

    name: str
    picks: tuple[Pick, ...]


@dataclass(frozen=True)
class Found:
    """What was found; iterates over all its images.

    Args:
        what: ``similar``, ``duplicates`` or ``outliers``.
        parts: groups of near-duplicates; of the others one part.
        notes: what people should know, one line each.
        among: the images that were looked at.
    """

    what: str
    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    among: Looked = field(repr=False)

    def __iter__(self) -> Any:
        return (pick for part in self.parts for pick in part.picks)

    def __len__(self) -> int:
        return sum(len(part.picks) for part in self.parts)

    def gallery(self, path: str | os.PathLike[str]) -> Path:
        """Writes one self-contained HTML page with the pictures, at most 2,000 of them.

        Raises:
            StateError: the file cannot be written.
        """
        from labelwise.report.gallery import Section, Wording, write_sections

        left, hidden, shown = _MOST, 0, list[Section]()
        for part in self.parts:
            kept = part.picks[:left] if len(part.picks) <= left or not shown else ()
            hidden += len(part.picks) - len(kept)
            left -= len(kept)
            if kept:
                shown.append(Section(part.name, f"{len(part.picks):,} images", kept))
        title, first, score = _WORDS[self.what]
        notes = [f"{hidden:,} more images are not on this page"] if hidden else []
        words = Wording(
            f"{self.among.name}: {title}",
            ". ".join([f"Among {len(self.among.ids):,} images, by their frozen features", *self.notes, *notes]),
            kicker=f"labelwise {self.what}",
            noun="image",
            first=first,
            guesses="Like any of the examples",
            score=score,
        )
        return write_sections(path, shown, image_of=self.among.picture, words=words)


#: pictures on a page
_MOST = 2000
#: title, order and number of each kind of answer, on a page
_WORDS = {
    "similar": ("more like these", "Most alike first", "similarity"),
    "duplicates": ("near-duplicates", "Group by group", "similarity"),
    "outliers": ("outliers", "Furthest from the others first", "distance"),
}


def look(data: Opened | Source | str | os.PathLike[str], *, progress: Progress = silent, **how: Any) -> Looked:
    """Images with their frozen features, kept on disk: an image is read once, however often it is looked at.

    Args:
        data: a project, or whatever ``open_source`` opens: a folder of photos, an ``.npz``, a list.
        progress: told on long work.
        how: for data without a project: keys of ``features`` (``backbone``, ``weights``, ``size``), ``cache``, a folder
            for the rows, and ``root``, what relative paths are relative to.

    Raises:
        DataError: no image that can be read.
        ConfigError: options beside a project, which has its own.
    """
    if isinstance(data, str | os.PathLike) and (Path(data) / CONFIG_NAME).is_file():
        data = Opened(Path(data), progress=progress)
    if isinstance(data, Opened):
        if how:
            raise ConfigError(f"{', '.join(how)}: a project says itself what its features are, in {CONFIG_NAME}")
        return _of_project(data, progress if data.progress is silent else data.progress)
    source, features, notes = open_features(data, how.pop("root", None), how.pop("cache", None), how)
    name = Path(data).resolve().name if isinstance(data, str | os.PathLike) else "these images"
    ids = [item for item in source.ids if source.roles.get(item, "pool") == "pool"]
    return _looked(Looked(name, source, features, tuple(ids), torch.empty(0), tuple(notes), 0, progress))


def _of_project(project: Opened, progress: Progress) -> Looked:
    """The images of a pool, or its subjects; what is held out is left alone, and regions are parts of images."""
    pool = project.pool
    ids = [i.id for p, i in enumerate(pool.items) if not is_region(i.region) and not pool.is_held_out(p)]
    name, seed = project.folder.resolve().name, project.config.seed
    features = Learning(cast("Project", project)).features  # reads what every opened project has
    return _looked(Looked(name, project.source, features, tuple(ids), torch.empty(0), (), seed, progress))


def _looked(wanted: Looked) -> Looked:
    """The same with its rows, without the images that cannot be read."""
    view = Examples(wanted.source, wanted.ids)
    table = wanted.features.collect(view, frozenset({FROZEN}), progress=wanted.progress)
    if not table.ids:
        raise DataError("there is no readable image to look at: check the data")
    notes = wanted.notes
    if table.failed:
        notes += (f"left out, because unreadable: {len(table.failed):,} ({few(list(table.failed))})",)
    return replace(wanted, ids=tuple(table.ids), rows_ND=as_tensor(table[FROZEN]), notes=notes)


def similar(
    data: Looked | Project | Source | str | os.PathLike[str], images: Sequence[str], n: int = MANY, **how: Any
) -> Found:
    """The images most like any of some examples, by the cosine of frozen features.

    Args:
        data: what to look among: see :func:`look`.
        images: examples: ids, paths of any picture, or boxes of either as ``IMAGE@x1,y1,x2,y2`` in pixels. Examples
            that are images of the data are not found again.
        n: how many.
        how: see :func:`look`.

    Raises:
        ConfigError: no example, ``n`` below 1, a box that is none.
        DataError: an example that is no image or cannot be read.

    Cost: one pass over the features, 2 N D operations an example; images that were never seen go through the backbone.

    Example:
        >>> found = lw.similar("photos/", ["photos/cat.jpg"], 20)      # doctest: +SKIP
        >>> [pick.id for pick in found], found.gallery("like-cat.html")    # doctest: +SKIP
    """
    if not images:
        raise ConfigError("no example was given: name an image, or a box of one as IMAGE@x1,y1,x2,y2")
    looked = data if isinstance(data, Looked) else look(data, **how)
    shown = Shown([example(text, looked.source) for text in images])
    table = looked.features.collect(Examples(shown, tuple(shown.ids)), frozenset({FROZEN}), progress=looked.progress)
    if table.failed:
        item, why = next(iter(table.failed.items()))
        raise DataError(f"example {shown.path(item)!r:.100}: {why:.180}")
    place = {item: row for row, item in enumerate(looked.ids)}
    own = {one.item for one in shown.examples.values() if one.source is looked.source and one.box is None}
    without = sorted(place[item] for item in own if item in place)
    with listening(looked.progress):
        found = most_alike(looked.rows_ND, as_tensor(table[FROZEN]), n, without=without)
    path, names = looked.source.path, [shown.path(item) for item in table.ids]
    rows = zip(found.index_K.tolist(), found.cosine_K.tolist(), found.example_K.tolist(), strict=True)
    picks = tuple(
        Pick(looked.ids[row], path(looked.ids[row]), rank, cosine, names[q] if len(names) > 1 else None)
        for rank, (row, cosine, q) in enumerate(rows)
    )
    notes = looked.notes
    if len(picks) < n:
        notes = (*notes, f"{n:,} were asked for, and there are {len(picks):,} images beside the examples")
    return Found("similar", (Part("Most alike", picks),), notes, looked)


def grouped(looked: Looked, threshold: float = THRESHOLD) -> tuple[Groups, list[str]]:
    """Groups of near-duplicates among images, and what to know of them.

    Raises:
        ConfigError: a threshold that is no cosine above 0.
    """
    rng = generator(looked.seed, "near duplicates")
    with listening(looked.progress):
        groups = near_duplicates(looked.rows_ND, threshold, rng=rng)
    if groups.exact:
        return groups, []
    note = f"{len(looked.ids):,} images are too many to compare all pairs, so most were passed over unseen: "
    if not groups.links:
        return groups, [f"{note}{groups.audited:,} images compared with all others have no near-duplicate to be missed"]
    share = 100 * groups.found / groups.links
    note += f"{groups.found:,} of {groups.links:,} links ({share:.1f} %) of {groups.audited:,} images compared with all"
    return groups, [f"{note} others were found"]


def duplicates(
    data: Looked | Project | Source | str | os.PathLike[str], threshold: float = THRESHOLD, **how: Any
) -> Found:
    """Groups of near-duplicates: images that hang together by cosines of frozen features of a threshold and more.

    A group is a connected component: it may be a chain whose ends are less alike than the threshold.

    Args:
        data: what to look among: see :func:`look`.
        threshold: smallest cosine of two near-duplicates, above 0 and at most 1.
        how: see :func:`look`.

    Returns:
        Groups, the largest first; in each the first image by its id, then the others by their similarity to that.

    Raises:
        ConfigError: a threshold outside its range.

    Cost: see :func:`labelwise.selection.near_duplicates.near_duplicates`.

    Example:
        >>> groups = lw.duplicates("photos/", 0.97).parts      # doctest: +SKIP
    """
    looked = data if isinstance(data, Looked) else look(data, **how)
    groups, notes = grouped(looked, threshold)
    members = sorted(groups.members(), key=lambda rows: (-len(rows), rows[0]))
    parts = tuple(Part(f"Group {number + 1}", _group(looked, rows)) for number, rows in enumerate(members))
    return Found("duplicates", parts, (*looked.notes, *notes), looked)


def _group(looked: Looked, rows: Sequence[int]) -> tuple[Pick, ...]:
    block = torch.nn.functional.normalize(looked.rows_ND[torch.tensor(rows)].double(), dim=1)
    cosines = (block @ block[0]).clamp(-1, 1).tolist()
    if not any(block[0]):
        cosines = [1.0] * len(rows)  # images without any feature are alike in that
    others = sorted(zip(rows[1:], cosines[1:], strict=True), key=lambda one: (-round(one[1], 9), one[0]))
    path = looked.source.path
    chosen = [(rows[0], None), *others]
    return tuple(Pick(looked.ids[row], path(looked.ids[row]), rank, value) for rank, (row, value) in enumerate(chosen))


def outliers(
    data: Looked | Project | Source | str | os.PathLike[str], n: int = MANY, *, neighbour: int = NEIGHBOUR, **how: Any
) -> Found:
    """The images least like any other: those whose tenth-nearest image is furthest off, by frozen features.

    Args:
        data: what to look among: see :func:`look`.
        n: how many.
        neighbour: which neighbour says how far an image lies off; a group of so many odd images is not found.
        how: see :func:`look`.

    Raises:
        ConfigError: ``n`` or ``neighbour`` below 1.
        DataError: fewer than two images.

    Cost: see :func:`labelwise.selection.likeness.outlyingness`.
    """
    if n < 1:
        raise ConfigError(f"asked for {n} outliers; allowed is 1 and more")
    looked = data if isinstance(data, Looked) else look(data, **how)
    with listening(looked.progress):
        found = outlyingness(looked.rows_ND, neighbour, rng=generator(looked.seed, "outliers"))
    order = torch.sort(found.score_N, descending=True, stable=True).indices[:n].tolist()
    path, score = looked.source.path, found.score_N.tolist()
    picks = tuple(Pick(looked.ids[r], path(looked.ids[r]), rank, score[r]) for rank, r in enumerate(order))
    notes = looked.notes
    if found.compared < len(looked.ids):
        notes = (*notes, f"each image was compared with {found.compared:,} of {len(looked.ids):,}, drawn at random")
    return Found("outliers", (Part("Outliers", picks),), notes, looked)


#: why an image is left out where one of each group is asked about
_ONE_OF, _KNOWN = "a near-duplicate of another that may be asked", "a near-duplicate of one that was asked before"


def spare(project: Project, threshold: float = THRESHOLD) -> tuple[dict[str, str], list[str]]:
    """Items that need not be asked because a near-duplicate is, or was: id -> why; and what to know of it.

    Of each group of near-duplicates the first image by its id may be asked, and none where one is labelled, asked or
    skipped already.

    Raises:
        ConfigError: a threshold that is no cosine above 0.
    """
    looked = look(project)
    groups, notes = grouped(looked, threshold)
    pool, found = project.pool, dict[str, str]()
    for rows in groups.members():
        items = [looked.ids[row] for row in rows]
        free = [item for item in items if pool.is_free(pool.position(item))]
        why = _KNOWN if len(free) < len(items) else _ONE_OF
        found |= dict.fromkeys(free if why == _KNOWN else free[1:], why)
    return found, notes
