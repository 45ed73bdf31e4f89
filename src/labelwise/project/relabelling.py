"""Labels that are worth looking at again: listed, shown, and asked about like any pick."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from labelwise.campaign.doubting import RELABEL, label_doubts, ranking
from labelwise.campaign.events import AskedAgain
from labelwise.contracts.oracle import Pick
from labelwise.errors import ConfigError

if TYPE_CHECKING:
    from labelwise.project.project import Project

#: labels in a list where nobody says how many
MANY = 50


@dataclass(frozen=True)
class Doubtful:
    """One label that is worth looking at again.

    Args:
        id: of the item.
        path: where its image lies.
        label: what people said, in a few words.
        score: in [0, 1], higher = more likely wrong.
        suspect: contradicted firmly enough to be worth a second look.
        why: what speaks against it; "" where nothing can be said in words.
        annotators: who said so; () where nobody is named.
    """

    id: str
    path: str
    label: str
    score: float
    suspect: bool
    why: str
    annotators: tuple[str, ...] = ()


@dataclass(frozen=True)
class DoubtfulLabels:
    """Labels, the most doubtful first.

    Args:
        labels: those asked for.
        suspects: how many labels are suspect, listed or not.
        judged: how many labels were looked over.
        notes: what people should know, one line each.
        project: whose.
    """

    labels: tuple[Doubtful, ...]
    suspects: int
    judged: int
    notes: tuple[str, ...]
    project: Project = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def gallery(self, path: str | os.PathLike[str]) -> Path:
        """Writes one self-contained HTML page with the pictures, labels drawn where they can be.

        Raises:
            StateError: the file cannot be written.
        """
        from labelwise.project.giving import WIDE, pictures
        from labelwise.report.gallery import Section, Wording, write_sections

        project, drawn = self.project, self.project.kind.drawn
        picks = tuple(
            Pick(one.id, one.path, rank, one.score, one.label if not one.why else f"{one.label}: {one.why}")
            for rank, one in enumerate(self.labels)
        )
        words = Wording(
            f"{project.folder.resolve().name}: labels to look at again",
            ". ".join([f"{self.suspects:,} of {self.judged:,} labels look wrong", *self.notes]),
            kicker="labelwise relabel",
            noun="label",
            first="Most doubtful first",
            guesses="All labels",
            score="doubt",
        )
        picture, _ = pictures(project, [pick.id for pick in picks])
        shown = [Section("Doubtful labels", f"{len(picks):,} labels", picks)] if picks else []
        return write_sections(path, shown, image_of=picture, words=words, side=WIDE if drawn else None)


def relabel(project: Project, n: int = MANY) -> DoubtfulLabels:
    """The labels of a project that are most worth looking at again; nothing is asked and nothing changed.

    Five models are trained, each without a fifth of the labels, and what they say of that fifth is held against what
    people said. Labels that were asked again and confirmed since are left out.

    Args:
        project: with ten labels at least.
        n: how many.

    Raises:
        ConfigError: ``n`` below 1.
        DataError: too few labels.
        UnmetNeed: a task whose labels cannot be looked over.
    """
    if n < 1:
        raise ConfigError(f"asked for {n} labels; allowed is 1 and more")
    with project.changing():
        campaign = project.campaign()
        doubts = label_doubts(campaign.examples, project.progress)
        pool, kind = project.pool, project.kind
        ranked, notes = ranking(campaign, doubts)
        labels = []
        for item in ranked[:n]:
            given, found = pool.labels.of(pool.position(item)), doubts[item]
            who = tuple(one.annotator for one in given if one.annotator)
            short = kind.short(pool.target(pool.position(item)))
            path = project.source.path(item)
            labels.append(Doubtful(item, path, short, found.score, found.suspect, found.why, who))
        suspects = sum(doubts[item].suspect for item in ranked)
        return DoubtfulLabels(tuple(labels), suspects, len(doubts), tuple(notes), project)


def ask_again(project: Project, labels: Sequence[tuple[str, float]]) -> int:
    """Asks people to look at labels again: each waits like a pick, and counts until it is answered.

    Args:
        project: held by the caller.
        labels: (id, doubt), the most doubtful first. Those that wait already, or have no label any more, are left out.

    Returns:
        How many are asked.
    """
    pool, number = project.pool, project.pool.round
    there = [(item, score) for item, score in labels if pool.describe(pool.position(item)) == "labelled"]
    project.write([AskedAgain(item, number, rank, score, RELABEL) for rank, (item, score) in enumerate(there)])
    return len(there)
