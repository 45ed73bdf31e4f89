"""The result of a study in the terminal: a table that fits 80 columns, and the headline in words."""

from __future__ import annotations

import math
from collections.abc import Callable

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from labelwise.campaign.records import Study
from labelwise.errors import visible
from labelwise.report import summary as summaries
from labelwise.report import wording
from labelwise.report.statistics import Interval
from labelwise.report.summary import Row, Summary, summarise, verdict

WIDE = 110
VERDICTS = {1: "green", -1: "red", 0: ""}


def headline(study: Study | Summary) -> str:
    """The result of ``study`` in one or two sentences, with its interval."""
    return summaries.headline(study if isinstance(study, Summary) else summarise(study))


def study_table(study: Study | Summary, *, width: int | None = None) -> Table:
    """One row per strategy: last value, mean over the curve, difference to the baseline, labels saved, time, memory.

    Args:
        study: the records, or their summary where it is at hand.
        width: columns of the terminal; default: as rich finds it. Below 110, intervals go on a second line.

    Returns:
        A table to be printed with ``rich.console.Console``.
    """
    summary = study if isinstance(study, Summary) else summarise(study)
    wide = (Console().width if width is None else width) >= WIDE
    metric = wording.metric_name(summary.study.primary)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, caption_justify="left")
    table.caption = escape(_caption(summary, metric))
    longest = max((len(visible(r.strategy)) for r in summary.rows), default=8)
    table.add_column("strategy", overflow="fold", min_width=max(8, min(longest, 24 if wide else 17)))
    base = summary.baseline or "baseline"
    at = f"at {summary.curves.labels_B[-1]:,.0f}" if summary.curves.labels_B.size else ""
    heads = [f"{metric}\n{at}", "mean of\ncurve", f"against\n{base}", "p", "labels\nsaved"]
    heads += ["select\ns/round", "train\ns/fit", "peak\nmemory"] if wide else ["pick s\nfit s", "peak\nMiB"]
    for head in heads:
        table.add_column(escape(head), justify="right", no_wrap=wide, overflow="fold")
    for row in summary.rows:
        table.add_row(*_cells(summary, row, wide=wide))
    return table


def _noise(summary: Summary) -> str:
    """The noise floor in the caption, for all rows: they are compared over the same seeds, or nearly."""
    row = next((row for row in summary.rows if math.isfinite(row.floor)), None)
    if summary.noise is None or row is None:
        return ""
    if summary.noise.fixed:
        return " Training has no noise: the same labels give the same model."
    again = wording.count(summary.noise.trainings, "training")
    return (
        f" Noise floor of training: ±{wording.value(row.floor)} of the mean, ±{wording.value(row.floor_at_end)} at the "
        f"end ({again} again on the same labels); a gain below it is none."
    )


def _cells(summary: Summary, row: Row, *, wide: bool) -> list[str]:
    gap = " " if wide else "\n"
    name = escape(visible(row.strategy))
    if any(strategy == row.strategy for strategy, _ in summary.flagged):
        name += " [yellow]![/]"
    cells = [name, _two(row.final, gap), _two(row.area, gap)]
    if row.against is None:
        cells += ["", "", ""]
    else:
        colour = VERDICTS[verdict(summary, row)]
        difference = _two(row.against.difference, gap, wording.signed) + (f"{gap}none" if row.within_noise else "")
        cells += [f"[{colour}]{difference}[/]" if colour else difference, wording.p_value(row.against.p_holm)]
        cells.append(_saved(row, gap))
    if wide:
        return [*cells, _s(row.select_seconds), _s(row.fit_seconds), wording.megabytes(row.peak_mb)]
    peak = f"{row.peak_mb:,.0f}" if math.isfinite(row.peak_mb) else wording.NONE
    return [*cells, f"{_s(row.select_seconds)}\n{_s(row.fit_seconds)}", peak]


def _two(interval: Interval, gap: str, write: Callable[[float], str] = wording.value) -> str:
    text = write(interval.mean)
    return f"{text}{gap}±{wording.value(interval.half)}" if math.isfinite(interval.half) else text


def _saved(row: Row, gap: str) -> str:
    if not row.savings or row.savings[-1].pairs == 0:
        return wording.NONE
    last = row.savings[-1]
    if last.reached == 0:
        return "not" + gap + "reached"
    text = wording.percent(last.saved.mean)
    if last.reached < last.pairs:
        return f"{text}{gap}in {last.reached}/{last.pairs}"
    if math.isfinite(last.saved.low):
        text += f"{gap}±{wording.percent(last.saved.half)}"
    return text


def _s(number: float) -> str:
    return wording.seconds(number).removesuffix(" s")


def _caption(summary: Summary, metric: str) -> str:
    labels, seeds = summary.curves.labels_B, len(summary.curves.seeds)
    if not labels.size:
        return "no round finished yet"
    flagged = " ! looks diverged." if summary.flagged else ""
    return (
        f"{wording.count(seeds, 'seed')}, {labels[0]:,.0f} to {labels[-1]:,.0f} labels ({summary.scale} scale); "
        f"±: 95 % t interval; p: paired t-test on the mean {metric}, Holm-corrected; saved: labels saved at "
        f"{summary.baseline}'s best {metric}.{_noise(summary)}{flagged}"
    )
