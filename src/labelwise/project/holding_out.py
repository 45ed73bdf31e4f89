"""A test set in the people's loop: drawn from what is not labelled yet, asked about, and kept out of all else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from labelwise.campaign.events import Event, HeldOut
from labelwise.campaign.pool import HOLDOUT
from labelwise.campaign.setting import unreadable
from labelwise.contracts.oracle import Pick, Round
from labelwise.errors import ConfigError, few
from labelwise.project.presence import refuse_absent_disk
from labelwise.rng import generator
from labelwise.selection.arrays import as_tensor
from labelwise.selection.clustering import kmeans

if TYPE_CHECKING:
    from labelwise.campaign.pool import Pool
    from labelwise.project.project import Project

#: images of a stratum, at least: strata of one image each would leave nothing to draw
FEWEST = 5


def hold_out(project: Project, count: int, *, stratified: bool = False) -> Round:
    """Draws images for testing out of those that are not labelled yet, and opens a round that asks about them.

    Drawn at random each image has the same chance, so what is measured on them holds for the pool. Stratified, clusters
    of frozen features give images in proportion to their size: the same on average, and less a matter of luck. Images
    of a group (a video, a patient) are drawn together.

    Args:
        project: held by the caller.
        count: images; with groups the least number that whole groups make up.
        stratified: over clusters of frozen features.

    Raises:
        ConfigError: more than are left, or fewer than one.
        DataError: nothing that is left can be read.
    """
    refuse_absent_disk(project)
    pool = project.pool
    free = [pool.ids[p] for p in pool.unlabelled if not pool.items[p].is_region]
    if not 1 <= count < max(2, len(free)):
        raise ConfigError(
            f"{count:,} images were asked for, and {len(free):,} are not labelled yet: hold out 1 to "
            f"{len(free) - 1:,}, something has to be left to learn from"
        )
    rng = generator(project.config.seed, "hold out", pool.round)
    ordered = _in_turns(_strata(project, free, count, rng) if stratified else [free], rng)
    chosen, broken = _readable(project, _whole_groups(pool, ordered), count)
    events = _events(pool, chosen)
    notes = [
        f"{len(chosen):,} of {len(free):,} images that are not labelled yet, drawn "
        + (f"over {_strata_of(len(free), count)} clusters of frozen features" if stratified else "at random")
        + ": no model is trained on them and none is asked about again"
    ]
    if len(pool.labelled) and project.records():
        notes.append("images that were chosen before are not among them: what is measured speaks of the rest")
    if broken:
        notes.append(f"{len(broken):,} image(s) that cannot be read were passed over: {few(broken)}")
    path = project.source.path
    picks = tuple(Pick(item, path(item), rank) for rank, item in enumerate(chosen))
    found = Round(pool.round, picks, HOLDOUT, classes=project.config.classes, notes=tuple(notes))
    campaign = project.campaign()
    campaign.write(events, record=campaign.describe(None, found))
    return found


def _strata_of(images: int, count: int) -> int:
    return max(1, min(count, images // FEWEST, 100))


def _strata(project: Project, free: list[str], count: int, rng: np.random.Generator) -> list[list[str]]:
    """Clusters of frozen features; images that cannot be read belong to none."""
    from labelwise.contracts.learner import Examples
    from labelwise.learners.features import FROZEN
    from labelwise.project.learning import Learning

    features = Learning(project).features
    table = features.collect(Examples(project.source, tuple(free)), frozenset({FROZEN}), progress=project.progress)
    found = kmeans(as_tensor(table[FROZEN]), _strata_of(len(table.ids), count), rng=rng)
    strata = defaultdict(list)
    for item, cluster in zip(table.ids, found.assignment_N.tolist(), strict=True):
        strata[cluster].append(item)
    return [strata[cluster] for cluster in sorted(strata)]


def _in_turns(strata: Sequence[list[str]], rng: np.random.Generator) -> list[str]:
    """All items in an order whose every beginning holds of each stratum its share; at random within a stratum.

    Item ``i`` of a stratum of ``n`` has the place ``(i + u) / n``, with one ``u`` in [0, 1) for each stratum: so every
    item has the same chance to come early.
    """
    placed = []
    for stratum in strata:
        shift = rng.random()
        shuffled = [stratum[i] for i in rng.permutation(len(stratum))]
        placed += [((rank + shift) / len(stratum), item) for rank, item in enumerate(shuffled)]
    return [item for _, item in sorted(placed)]


def _whole_groups(pool: Pool, ordered: Sequence[str]) -> list[list[str]]:
    """The items in order, those of one group together; groups that have a label already stay in the pool."""
    groups: dict[str, list[str]] = {}
    found: list[list[str]] = []
    taken = {item.group for p, item in enumerate(pool.items) if item.group is not None and not pool.is_free(p)}
    for item in ordered:
        group = pool.items[pool.position(item)].group
        if group is None:
            found.append([item])
        elif group in groups:
            groups[group].append(item)
        elif group not in taken:
            found.append(groups.setdefault(group, [item]))
    return found


def _readable(project: Project, groups: Sequence[list[str]], count: int) -> tuple[list[str], list[str]]:
    """Whole groups until there are enough images; and images that cannot be read."""
    chosen: list[str] = []
    broken: list[str] = []
    for group in groups:
        if len(chosen) >= count:
            break
        for item in group:
            (broken if unreadable(project.source, item) else chosen).append(item)
    return chosen, broken


def _events(pool: Pool, chosen: Sequence[str]) -> list[Event]:
    """The images are asked about, and leave the pool with their regions."""
    regions = defaultdict(list)
    for item in pool.items if pool.has_regions else ():
        if item.is_region:
            regions[item.path].append(item.id)
    asked = [HeldOut(item, pool.round, rank) for rank, item in enumerate(chosen)]
    return [*asked, *(HeldOut(item, pool.round) for image in chosen for item in regions[image])]
