"""A test set in the people's loop: drawn from what is not labelled yet, asked about, and kept out of all else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from labelwise.campaign.events import HOLDOUT, Event, HeldOut
from labelwise.campaign.setting import unreadable
from labelwise.contracts.oracle import Pick, Round
from labelwise.errors import ConfigError, DataError, StateError, UnmetNeed, few
from labelwise.exchange.incoming import Wishes
from labelwise.project.presence import refuse_absent_disk
from labelwise.rng import generator
from labelwise.selection.arrays import as_tensor
from labelwise.selection.clustering import kmeans

if TYPE_CHECKING:
    from labelwise.campaign.pool import Pool
    from labelwise.project.project import Project

#: images of a stratum, at least: strata of one image each would leave nothing to draw
FEWEST = 5


@dataclass(frozen=True)
class Drawing:
    """How images for testing are drawn.

    Args:
        stratified: over clusters of frozen features.
        active: by the model's doubt, each with the chance that its weight in metrics comes from.
        predictions: somebody else's, whose doubt it is; with ``active``.
        wishes: how to read them.
    """

    stratified: bool = False
    active: bool = False
    predictions: Path | None = None
    wishes: Wishes = field(default_factory=Wishes)


def hold_out(project: Project, count: int, how: Drawing) -> Round:
    """Draws images for testing out of those that are not labelled yet, and opens a round that asks about them.

    Drawn at random each image has the same chance, so what is measured on them holds for the pool. Stratified, clusters
    of frozen features give images in proportion to their size: the same on average, and less a matter of luck. Images
    of a group (a video, a patient) are drawn together.

    Drawn by doubt (``labelwise.estimating.sampled``), images on which the model may be wrong come first, and metrics
    weigh each by the chance of its draw, so that they stay unbiased and need fewer labels where the model is good.

    Args:
        project: held by the caller.
        count: images; with groups the least number that whole groups make up.
        how: they are drawn.

    Raises:
        ConfigError: more than are left, or fewer than one; ways that exclude each other.
        DataError: nothing that is left can be read.
        StateError: by doubt, and no model is trained.
        UnmetNeed: by doubt, and no weight could make up for unequal chances.
    """
    if how.active and how.stratified:
        raise ConfigError("--active and --stratified are two ways to draw: give one of them")
    if how.predictions is not None and not how.active:
        raise ConfigError("--predictions say what a model doubts, and only --active draws by that: add --active")
    refuse_absent_disk(project)
    pool = project.pool
    free = [pool.ids[p] for p in pool.unlabelled if not pool.items[p].is_region]
    if not 1 <= count < max(2, len(free)):
        raise ConfigError(
            f"{count:,} images were asked for, and {len(free):,} are not labelled yet: hold out 1 to "
            f"{len(free) - 1:,}, something has to be left to learn from"
        )
    rng = generator(project.config.seed, "hold out", pool.round)
    notes: list[str] = []
    if how.active:
        events, chosen, broken, notes = _by_doubt(project, free, count, how)
        drawn = "by the model's doubt, doubtful ones more often"
    else:
        ordered = _in_turns(_strata(project, free, count, rng) if how.stratified else [free], rng)
        chosen, broken = _readable(project, _whole_groups(pool, ordered), count)
        events = _events(pool, chosen)
        drawn = f"over {_strata_of(len(free), count)} clusters of frozen features" if how.stratified else "at random"
    notes = [
        f"{len(chosen):,} of {len(free):,} images that are not labelled yet, drawn {drawn}: no model is trained on "
        "them and none is asked about again",
        *notes,
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


def _by_doubt(
    project: Project, free: list[str], count: int, how: Drawing
) -> tuple[list[Event], list[str], list[str], list[str]]:
    """Events, images, those that cannot be read, and notes; images that cannot be read are nobody's test images."""
    from labelwise.campaign.weighing import refuse_unweighable
    from labelwise.contracts.learner import Examples
    from labelwise.estimating.sampled import FLOOR, draw
    from labelwise.project.learning import Learning
    from labelwise.signals.plain import Uncertainty

    pool = project.pool
    grouped = {pool.items[pool.position(item)].group for item in free} - {None}
    if grouped:
        raise UnmetNeed(
            f"--active draws image by image, and images of this project lie in {len(grouped):,} groups (videos, "
            "patients) that stay together: 'labelwise holdout' without --active draws whole groups"
        )
    learner, notes = Learning(project).predictor(how.predictions, how.wishes)
    if learner is None:
        raise StateError(
            "--active draws by the doubt of a model, and none is trained yet: label a round and run 'labelwise fit' "
            "first, or leave --active out"
        )
    refuse_unweighable(learner.task, learner)
    doubt = Uncertainty(measure="least_confidence")
    table = learner.collect(Examples(project.source, tuple(free)), frozenset({doubt}), progress=project.progress)
    if not table.ids or len(table.ids) <= count:
        raise DataError(
            f"{len(table.ids):,} of {len(free):,} images can be read and have a prediction: fewer than that can be "
            f"held out, and {count:,} were asked for"
        )
    found = draw(
        np.clip(np.asarray(table[doubt], dtype=np.float64), 0, None),
        count,
        generator(project.config.seed, "hold out by doubt", pool.round),
    )
    chosen = [table.ids[row] for row in found.rows_M]
    events: list[Event] = [
        HeldOut(item, pool.round, rank, float(chance), found.among)
        for rank, (item, chance) in enumerate(zip(chosen, found.chance_M, strict=True))
    ]
    told = (
        f"metrics weigh each of them by the chance of its draw ({FLOOR:.0%} of the draws were plainly at random): "
        "answer them in their order, and all of them, for an estimate without bias"
    )
    return events, chosen, list(table.failed), [*notes, told]


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
