"""Which labels of a pool are doubtful, by models that have not learnt from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labelwise.campaign.events import AskedAgain
from labelwise.campaign.measuring import FOLDS, trained_without
from labelwise.errors import ConfigError, DataError
from labelwise.rng import generator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labelwise.campaign.examples import PoolExamples
    from labelwise.campaign.loop import Campaign
    from labelwise.contracts.doubt import Doubt
    from labelwise.contracts.progress import Progress

#: labels, at least
FEWEST = 2 * FOLDS
#: what chose a labelled image, in place of a strategy
RELABEL = "relabel"


def label_doubts(examples: PoolExamples, progress: Progress) -> Mapping[str, Doubt]:
    """How doubtful each label of the pool is: item -> doubt, without items that nothing can be said of.

    Five models are trained, each without a fifth of the labels, and speak of that fifth. Folds are drawn at random, the
    same while the labelled items are; images of one group lie in one fold. Weights in use stay as they are.

    Raises:
        DataError: fewer than ten labels, or labels of regions.
        UnmetNeed: labels of this task cannot be looked over, or this learner says nothing to hold them against.

    Cost: five trainings on four fifths of the labels, and one pass over the labelled images.
    """
    setting, pool, task = examples.setting, examples.pool, examples.setting.task
    if any(pool.items[p].is_region for p in pool.labelled):
        raise DataError("labels of regions cannot be looked over yet: they can be for whole images and subjects")
    if len(pool.labelled) < FEWEST:
        raise DataError(f"{len(pool.labelled)} labels are too few to hold them against one another: label {FEWEST}")
    data = examples.data()
    rows: dict[str, Any] = {}
    parts = trained_without(examples, data, generator(setting.seed, "label doubts"))
    for done, (own, part) in enumerate(parts, 1):
        rows.update(task.looks_over.against(task, own, part))
        progress("looking over labels", done, FOLDS)
    targets = dict(zip(data.labelled.ids, data.labelled.targets or (), strict=True))
    said = {}
    for item in rows:
        given = pool.labels.of(pool.position(item))
        said[item] = [(one.annotator, targets[item] if len(given) == 1 else task.load(one.target)) for one in given]
    return task.looks_over.doubts(task, rows, {item: targets[item] for item in rows}, said)


def ranking(campaign: Campaign, doubts: Mapping[str, Doubt]) -> tuple[list[str], list[str]]:
    """Items, the most doubtful first, without what was looked at again before; and what to know of it."""
    pool = campaign.pool
    again = {pool.ids[p] for p in pool.asked.again if pool.labels.of(p)}
    ranked = sorted(
        (item for item in doubts if item not in again),
        key=lambda item: (-doubts[item].score, item),
    )
    notes = []
    if again:
        notes.append(f"{len(again):,} labels left out: they were asked again before")
    if missing := len(pool.labelled) - len(doubts):
        notes.append(f"{missing:,} labels were not judged: unreadable images, or classes with fewer than 3 labels")
    return ranked, notes


def ask_again(campaign: Campaign, share: float, count: int) -> tuple[list[AskedAgain], list[str]]:
    """The labels that are asked again in a round, those that look wrong alone; and what to know of it.

    Args:
        campaign: the project's.
        share: of the round, above 0 and at most 1.
        count: of the round.

    Raises:
        ConfigError: a share that is none.
        DataError: too few labels.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"--relabel is {share:g}: give the share of a round that looks again, above 0 and at most 1")
    doubts = label_doubts(campaign.examples, campaign.progress)
    ranked, notes = ranking(campaign, doubts)
    wanted = max(1, round(share * count))
    chosen = [item for item in ranked if doubts[item].suspect][:wanted]
    number = campaign.pool.round
    events = [AskedAgain(item, number, rank, doubts[item].score, RELABEL) for rank, item in enumerate(chosen)]
    said = f"{len(chosen):,} of the picks have a label that looks wrong: the same answer confirms it"
    if len(chosen) < wanted:
        said += f"; {wanted:,} were wanted, and no other of {len(ranked):,} labels does"
    return events, [*notes, said]
