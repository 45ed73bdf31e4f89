"""Studies by size as tables: one row for each strategy, one column for each size; oracles marked, coverage beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labelwise.campaign.records import Study
from labelwise.report.statistics import Interval, interval
from labelwise.report.summary import curves_of
from labelwise.report.wording import NONE

#: metrics in per cent already
_PERCENT = ("class_coverage",)


@dataclass(frozen=True)
class SizeTable:
    """One metric by strategy and size.

    Args:
        title: what it shows.
        heads: of the columns.
        rows: cells as text, in the order of the study.
        values: strategy -> size -> (mean, half width of the 95 % interval), in per cent.
    """

    title: str
    heads: list[str]
    rows: list[list[str]]
    values: dict[str, dict[int, tuple[float, float]]]


def size_tables(studies: Mapping[str, Study]) -> list[SizeTable]:
    """Accuracy by each evaluator, and how many of the classes the selections hold.

    Args:
        studies: evaluator -> its study; they share their selections.
    """
    tables = []
    for study in studies.values():
        tables.append(_table(study, study.primary, f"{study.name}: top-1 accuracy, %"))
        balanced = _table(study, "balanced_accuracy", f"{study.name}: balanced accuracy, %")
        if balanced.rows != tables[-1].rows:  # the same where the test set is balanced
            tables.append(balanced)
    for study in list(studies.values())[:1]:
        tables.append(_table(study, "class_coverage", f"{study.name.partition(':')[0]}: classes covered, %"))
    return tables


def markdown(tables: Sequence[SizeTable]) -> str:
    """The tables for a README."""
    parts = []
    for table in tables:
        rows = [table.heads, ["---", *["--:"] * (len(table.heads) - 1)], *table.rows]
        parts.append(f"{table.title}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n")
    return "\n".join(parts)


def _table(study: Study, metric: str, title: str) -> SizeTable:
    curves = curves_of(study, metric)
    sizes = [int(size) for size in curves.labels_B.tolist()]
    scale = 1 if metric in _PERCENT else 100
    found = {
        strategy: [interval(values_RB[:, column] * scale) for column in range(len(sizes))]
        for strategy, values_RB in curves.values.items()
    }
    rows = [[strategy, *map(_cell, cells)] for strategy, cells in found.items()]
    if metric == study.primary and study.full:
        title += f" (all {int(study.pool['items']):,} labels: {100 * interval(study.full).mean:.1f})"
    values = {
        strategy: {size: (cell.mean, cell.half) for size, cell in zip(sizes, cells, strict=True)}
        for strategy, cells in found.items()
    }
    return SizeTable(title, ["strategy", *(f"{size:,}" for size in sizes)], rows, values)


def _cell(found: Interval) -> str:
    return NONE if found.n == 0 else f"{found.mean:.1f}" + (f" ±{found.half:.1f}" if found.n > 1 else "")
