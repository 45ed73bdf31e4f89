"""A study as one self-contained HTML page: headline, curves, table, savings, picks, checklist, settings.

Everything shown is computed in ``summary``; here it is only put into words and pictures for the template.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from labelwise.campaign.records import Mistakes, RoundRecord, Study, plain
from labelwise.errors import visible
from labelwise.report import wording
from labelwise.report.checklist import checklist
from labelwise.report.curves import (
    FAINT_SEEDS,
    FAINT_STRATEGIES,
    Look,
    balance_shares,
    cost_curves,
    learning_curves,
    order_of,
)
from labelwise.report.judged import Judged, judged, judged_lead, said
from labelwise.report.mistakes import shown_mistakes
from labelwise.report.page import render, write_page
from labelwise.report.renderings import picture
from labelwise.report.statistics import NAN, Savings, Scale
from labelwise.report.summary import (
    Row,
    Summary,
    best_row,
    classes_of,
    costs_of,
    headline,
    picks_by_class,
    summarise,
    unlearnt,
    verdict,
)
from labelwise.report.thumbs import ImageOf, Thumbnails
from labelwise.report.trainings import by_row, shown_trainings

GLYPHS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "X": "✖", "<": "◀", ">": "▶", "p": "⬟", "h": "⬢"}
MOST_CLASSES = 30
MOST_ROUNDS = 10
MOST_THUMBS = 600


@dataclass(frozen=True, slots=True)
class Mark:
    """Name of a strategy with the sign and colours of its curve."""

    name: str
    glyph: str
    light: str
    dark: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table: a value, a smaller line below, a word of judgement."""

    text: str
    note: str = ""
    word: str = ""
    tone: str = ""


def write_study_report(
    study: Study,
    path: str | os.PathLike[str],
    *,
    image_of: ImageOf | None = None,
    scale: Scale = "linear",
    log_x: bool = False,
    per_round: int = 12,
    baseline: str | None = None,
) -> Path:
    """Write the report of a study as one HTML file that needs no network.

    Args:
        study: the records, finished or not.
        path: the file; its folder is made.
        image_of: the image of an id, or None; default: opens the paths in ``study.examples``. With neither, the page
            shows no pictures of the picks.
        scale: x scale of the areas under the curve.
        log_x: draw the curves over log2 of the labels.
        per_round: most pictures shown of a round.
        baseline: label to compare with; default: random if it is there.

    Returns:
        The path written.

    Raises:
        StateError: the file cannot be written.
        DataError: the records contradict each other.
    """
    summary = summarise(study, scale=scale, baseline=baseline)
    marks, by_judge = marks_of(summary), judged(summary)
    context = {
        "title": study.name,
        "kicker": "labelwise comparison",
        "meta": _meta(summary),
        "headline": headline(summary),
        "metric": wording.metric_name(study.primary),
        "baseline": summary.baseline or "",
        "tiles": _tiles(summary),
        "notes": summary.notes,
        "curves": picture(lambda look: learning_curves(summary, look=look, log_x=log_x), headline(summary)),
        "curves_caption": _curves_caption(summary),
        "results": _results(summary, marks),
        "judged": None if by_judge is None else _judged(by_judge, marks, log_x=log_x),
        "by_budget": _by_budget(summary, marks),
        "others": _others(summary, marks),
        "saved": _saved(summary, marks),
        "costs": _costs(summary, log_x=log_x),
        "balance": _balance(summary, marks),
        "trainings": shown_trainings(by_row(study.runs), order_of(summary), summary.baseline),
        "mistakes": shown_mistakes(_mistakes(summary), classes_of(study)),
        "galleries": _galleries(summary, marks, image_of or _examples(study), per_round),
        "matrix": _matrix(summary, marks),
        "checklist": [(g, list(lines)) for g, lines in itertools.groupby(checklist(summary), key=lambda x: x.group)],
        "command": str(study.settings.get("command") or ""),
        "seeds": ", ".join(map(str, summary.curves.seeds)) or "none",
        "settings": facts({k: v for k, v in study.settings.items() if k != "command"}),
        "environment": facts(study.environment),
        "pool": facts(study.pool),
        "footer": "Written by labelwise. One file, no network: send it as it is.",
    }
    return write_page(path, render("study.html.j2", **context))


def marks_of(summary: Summary) -> dict[str, Mark]:
    """Strategy -> its mark in tables, the same as in the curves."""
    out = {}
    for name, index in order_of(summary).items():
        base = name == summary.baseline
        light, dark = (Look(dark=d).style(index, baseline=base) for d in (False, True))
        out[name] = Mark(name, GLYPHS.get(light["marker"], "★"), light["color"], dark["color"])
    return out


def facts(values: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """(key, text, whether it is nested JSON), for a list of settings."""
    out = []
    for key, value in values.items():
        value = plain(value)
        nested = isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, dict | list) for v in value))
        if nested:
            text = json.dumps(value, indent=1, ensure_ascii=False)
            text = text if len(text) > 120 else json.dumps(value, ensure_ascii=False)
        elif isinstance(value, list):
            text = ", ".join(str(v) for v in value) or "none"
        else:
            text = "none" if value is None else "yes" if value is True else "no" if value is False else str(value)
        out.append((key.replace("_", " "), text, nested))
    return out


def thumb(
    thumbnails: Thumbnails, item: str, text: str = "", given: str = "", *, differs: bool = False
) -> dict[str, Any]:
    """One picture of a strip: data URI or None, id, file name, a line of text, and what people said of it."""
    return {
        "uri": thumbnails.uri(item),
        "id": item,
        "name": PurePosixPath(item).name or item,
        "text": text,
        "given": given,
        "differs": differs,
    }


def _meta(summary: Summary) -> str:
    study, labels = summary.study, summary.curves.labels_B
    parts = [study.task, wording.count(len(summary.rows), "strategy", "strategies")]
    parts.append(wording.count(len(summary.curves.seeds), "seed"))
    if labels.size:
        parts.append(f"{labels[0]:,.0f} to {labels[-1]:,.0f} labels")
    for key, words in (("items", "images in the pool"), ("test", "in the test set")):
        if isinstance(study.pool.get(key), int):
            parts.append(f"{study.pool[key]:,} {words}")
    classes = len(classes_of(study))
    if classes:
        parts.append(wording.count(classes, "class", "classes"))
    return " · ".join(parts)


def _tiles(summary: Summary) -> list[dict[str, str]]:
    best, labels = best_row(summary), summary.curves.labels_B
    metric = wording.metric_name(summary.study.primary)
    if summary.baseline is None or not labels.size:
        return []
    tiles = []
    for row in filter(None, (best, summary.row(summary.baseline))):
        note = f"±{wording.value(row.final.half)}" if math.isfinite(row.final.half) else ""
        tiles.append(
            {
                "value": wording.value(row.final.mean),
                "label": f"{metric} of {row.strategy} at {labels[-1]:,.0f} labels",
                "note": note,
            }
        )
    if best is not None and best.savings and not unlearnt(summary):
        last = best.savings[-1]
        value, note = wording.percent(last.saved.mean), _savings_note(last)
        if last.reached and verdict(summary, best) <= 0:  # a number that big would be taken for a claim
            value, note = "unclear", f"{value}, {note}" if note else value
        tiles.append({"value": value, "label": f"labels saved by {best.strategy}", "note": note})
    if summary.full is not None and summary.full.n:
        note = f"±{wording.value(summary.full.half)}" if math.isfinite(summary.full.half) else ""
        tiles.append({"value": wording.value(summary.full.mean), "label": f"{metric} with all labels", "note": note})
    return tiles


def _curves_caption(summary: Summary) -> str:
    seeds = len(summary.curves.seeds)
    if not summary.curves.labels_B.size:
        return "No round has been finished yet."
    text = f"Mean {wording.metric_name(summary.study.primary)} over {wording.count(seeds, 'seed')}"
    thin = seeds <= FAINT_SEEDS and len(summary.rows) <= FAINT_STRATEGIES
    if seeds > 1:
        text += " with 95 % t intervals as bands" + ("; thin lines are single seeds" if thin else "")
    text += f". Dashed: {summary.baseline}, the baseline."
    return text + (" Dotted: trained on all labels." if summary.full is not None else "")


def _results(summary: Summary, marks: Mapping[str, Mark]) -> dict[str, Any]:
    metric, labels = wording.metric_name(summary.study.primary), summary.curves.labels_B
    at = f" at {labels[-1]:,.0f}" if labels.size else ""
    heads = [f"{metric}{at}", "mean over curve", f"against {summary.baseline}", "effect", "labels saved"]
    heads += ["selection per round", "training per fit", "peak memory"]
    rows = []
    for row in summary.rows:
        cells = [
            Cell(wording.value(row.final.mean), _half(row.final.half)),
            Cell(wording.value(row.area.mean), _half(row.area.half)),
            *_against(summary, row),
            _savings_cell(row.savings[-1]) if row.savings else Cell(""),
            Cell(wording.seconds(row.select_seconds), _inference(row.collect_seconds)),
            Cell(wording.seconds(row.fit_seconds)),
            Cell(wording.megabytes(row.peak_mb)),
        ]
        tag = "diverged" if any(s == row.strategy for s, _ in summary.flagged) else ""
        rows.append({"mark": marks[row.strategy], "tag": tag, "cells": cells})
    low, high = (f"{labels[0]:,.0f}", f"{labels[-1]:,.0f}") if labels.size else ("0", "0")
    lead = (
        f"Mean over the curve: area under {metric} from {low} to {high} labels ({summary.scale} scale), divided by the "
        f"range. Difference, 95 % t interval and p (paired t-test over seeds, Holm-corrected over "
        f"{wording.count(max(len(summary.rows) - 1, 0), 'strategy', 'strategies')}) are about this area. Effect: mean "
        f"difference in standard deviations of the differences. Intervals are not corrected. Labels saved: at "
        f"{summary.baseline}'s best {metric}. A fit that several strategies share counts for each."
        f"{_noise(summary)}"
    )
    return {"heads": heads, "rows": rows, "lead": lead}


def _judged(found: Judged, marks: Mapping[str, Mark], *, log_x: bool) -> dict[str, Any]:
    """The second view: curves and results of the picks alone, by one learner that was trained on them."""
    summary, words = found.summary, headline(found.summary)
    results = _results(summary, marks)
    timed = 3  # of selection and memory, which are the run's own
    return {
        "judge": found.judge,
        "lead": judged_lead(found),
        "curves": picture(lambda look: learning_curves(summary, look=look, log_x=log_x), words),
        "caption": _curves_caption(summary),
        "headline": words,
        "results": {
            "heads": results["heads"][:-timed],
            "rows": [row | {"cells": row["cells"][:-timed]} for row in results["rows"]],
        },
        "training": said(found),
    }


def _noise(summary: Summary) -> str:
    """How the noise floor was measured."""
    noise = summary.noise
    if noise is None:
        return ""
    if noise.fixed:
        return " The noise of training is none: the same labels give the same model."
    return (
        f" Noise: {wording.count(noise.trainings, 'training')} again on the labels of {summary.baseline}'s first and "
        f"last round, with other orders, weights and augmentation (standard deviation of one training "
        f"{wording.value(noise.first.deviation)} and {wording.value(noise.last.deviation)}); 95 of 100 differences "
        "that are due to chance alone stay below what is given, and a gain below it is none."
    )


def _against(summary: Summary, row: Row) -> tuple[Cell, Cell]:
    test = row.against
    if test is None:
        return Cell("baseline"), Cell("")
    if not test.difference.n:
        return Cell(wording.NONE), Cell(wording.NONE)
    word, tone = {1: ("better", "good"), -1: ("worse", "bad"), 0: ("unclear", "")}[verdict(summary, row)]
    word = "none, within the noise of training" if row.within_noise else word
    if not math.isfinite(test.p_holm):
        return Cell(wording.signed(test.difference.mean), "no interval, no test"), Cell(wording.NONE)
    rank = f", signed-rank {wording.p_value(test.p_wilcoxon_holm)}" if math.isfinite(test.p_wilcoxon_holm) else ""
    floor = f"; noise ±{wording.value(row.floor)}" if row.floor > 0 else ""
    note = f"{wording.limits(test.difference)}{floor}"
    word = f"{word}, p {wording.p_value(test.p_holm)}{rank}"
    return Cell(wording.signed(test.difference.mean), note, word, tone), Cell(wording.signed(test.effect, 1))


def _by_budget(summary: Summary, marks: Mapping[str, Mark]) -> dict[str, Any]:
    lead = (
        "Mean paired difference and Holm-corrected p of the paired t-test, all cells being one family. A dash: all "
        "seeds agree, as where the start is shared."
    )
    rows = []
    for name, tests in summary.by_budget.items():
        cells = []
        for at, test in enumerate(tests):
            gain = summary.curves.sign * test.difference.mean
            floor = NAN if summary.noise is None else summary.noise.at(at, test.difference.n)
            tone = "" if not test.p_holm < 0.05 or abs(gain) <= floor else "good" if gain > 0 else "bad"
            if not test.difference.n or (test.difference.mean == 0 and not math.isfinite(test.p_t)):
                cells.append(Cell("–"))
            else:
                said = f"p {wording.p_value(test.p_holm)}" + (f"; noise ±{wording.value(floor)}" if floor > 0 else "")
                cells.append(Cell(wording.signed(test.difference.mean), said, "", tone))
        rows.append({"mark": marks[name], "cells": cells})
    return {"heads": [f"{n:,.0f}" for n in summary.curves.labels_B], "rows": rows, "lead": lead}


def _others(summary: Summary, marks: Mapping[str, Mark]) -> dict[str, Any]:
    names = list(dict.fromkeys(m for row in summary.rows for m in row.others))
    rows = [
        {
            "mark": marks[row.strategy],
            "cells": [wording.plus_minus(row.others[m]) if m in row.others else wording.NONE for m in names],
        }
        for row in summary.rows
    ]
    return {"heads": [wording.metric_name(m) for m in names], "rows": rows if names else []}


def _saved(summary: Summary, marks: Mapping[str, Mark]) -> dict[str, Any]:
    rows = [
        {"mark": marks[row.strategy], "cells": [_savings_cell(s, labels=True) for s in row.savings]}
        for row in summary.rows
        if row.savings
    ]
    asked = next((row.savings for row in summary.rows if row.savings), ())
    heads = []
    for s in asked:
        way = "best" if s.way == 1 else f"{wording.percent(s.way)} of the way"
        heads.append(f"{way}: {wording.value(s.target)}" if math.isfinite(s.target) else way)
    lead = (
        f"The target of each seed lies on {summary.baseline}'s own curve: 50, 75 and 90 % of its way from its first to "
        "its best value, and that best value. Labels needed come from linear interpolation on the running maximum "
        "of each curve, the initial labels counted; saved is 1 - needed / needed by the baseline, mean and 95 % t "
        "interval over paired seeds. Where a seed does not reach the target this is said, and nothing is extrapolated."
    )
    return {"heads": heads, "rows": rows, "lead": lead}


def _savings_cell(savings: Savings, *, labels: bool = False) -> Cell:
    if not savings.pairs:
        return Cell(wording.NONE)
    if not savings.reached:
        return Cell("not reached", f"in {wording.count(savings.pairs, 'seed')}")
    needed = f"{savings.labels_method:,.0f} instead of {savings.labels_baseline:,.0f}" if labels else ""
    return Cell(wording.percent(savings.saved.mean), _savings_note(savings), needed)


def _savings_note(savings: Savings) -> str:
    if not savings.reached:
        return "target not reached"
    if savings.reached < savings.pairs:
        return f"reached in {savings.reached} of {savings.pairs}"
    if not math.isfinite(savings.saved.low):
        return "one seed" if savings.pairs == 1 else ""
    return f"{100 * savings.saved.low:.0f} to {wording.percent(savings.saved.high)}"


def _costs(summary: Summary, *, log_x: bool) -> list[dict[str, Any]]:
    def drawn(unit: str) -> dict[str, Any]:
        alt = f"{wording.metric_name(summary.study.primary)} over cost in {unit}"
        return picture(lambda look: cost_curves(summary, unit, look=look, log_x=log_x), alt)

    return [{"unit": unit, "picture": drawn(unit)} for unit in costs_of(summary.study, summary.curves)]


def _balance(summary: Summary, marks: Mapping[str, Mark]) -> dict[str, Any] | None:
    shares, pool = balance_shares(summary)
    counts = picks_by_class(summary.study)
    if not shares:
        return None
    classes = list(dict.fromkeys([*classes_of(summary.study), *(c for s in shares.values() for c in s)]))
    lead = "Share of each class in what a strategy picked, the initial set left out, mean over seeds."
    if pool:
        lead += " The upright line is the share of the class in the pool."
    never = {n: sum(s.get(c, 0) == 0 for c in classes) for n, s in shares.items()}
    missed = [f"{n} ({k})" for n, k in never.items() if k]
    if missed:
        lead += f" Classes never picked: {', '.join(missed)}."
    if len(classes) > MOST_CLASSES:
        spread = {c: max(abs(s.get(c, 0) - pool.get(c, 0)) for s in shares.values()) for c in classes}
        kept = set(sorted(classes, key=lambda c: -spread[c])[:MOST_CLASSES])
        lead += f" Shown: the {MOST_CLASSES} of {len(classes)} classes that differ most."
        classes = [c for c in classes if c in kept]
    top = max([*(s.get(c, 0) for s in shares.values() for c in classes), *(pool.get(c, 0) for c in classes), 1e-9])
    rows = [
        {
            "name": c,
            "pool": wording.percent(pool[c]) if c in pool else "",
            "at": round(100 * pool[c] / top, 2) if c in pool else None,
            "cells": [
                {
                    "text": f"{wording.percent(s.get(c, 0))} ({counts[n].get(c, 0):.3g})",
                    "width": round(100 * s.get(c, 0) / top, 2),
                }
                for n, s in shares.items()
            ],
        }
        for c in classes
    ]
    return {"marks": [marks[n] for n in shares], "rows": rows, "lead": lead}


def _mistakes(summary: Summary) -> dict[str, list[Mistakes]]:
    """Strategy -> what the last model of each seed gets wrong, the furthest ahead first, the baseline last."""
    ahead = sorted(
        summary.rows,
        key=lambda row: (row.strategy == summary.baseline, -summary.curves.sign * row.area.mean),
    )
    found: dict[str, list[Mistakes]] = {row.strategy: [] for row in ahead}
    for run in sorted(summary.study.runs, key=lambda run: run.seed):
        if run.mistakes is not None and run.strategy in found:
            found[run.strategy].append(run.mistakes)
    return {name: seeds for name, seeds in found.items() if seeds}


def _galleries(summary: Summary, marks: Mapping[str, Mark], image_of: ImageOf | None, per_round: int) -> dict[str, Any]:
    if image_of is None:
        return {"strategies": [], "lead": ""}
    first: dict[str, tuple[int, list[RoundRecord]]] = {}
    for run in sorted(summary.study.runs, key=lambda r: r.seed):
        picking = [r for r in run.rounds if r.picked]
        if picking and run.strategy not in first:
            first[run.strategy] = (run.seed, picking)
    shown = {name: _some(picking, MOST_ROUNDS) for name, (_, picking) in first.items()}
    most = max(4, min(per_round, MOST_THUMBS // max(1, sum(len(r) for r in shown.values()))))
    # small on the page, and large enough to be looked at
    thumbnails = Thumbnails(image_of, size=192, quality=75)
    strategies, best = [], best_row(summary)
    opened = best.strategy if best is not None else summary.baseline
    for name in (row.strategy for row in summary.rows if row.strategy in shown):
        seed, picking = first[name]
        about = f"seed {seed}, {wording.count(len(picking), 'round')}"
        if len(shown[name]) < len(picking):
            about += f", {len(shown[name])} shown"
        rounds = [_round(thumbnails, record, most) for record in shown[name]]
        strategies.append({"mark": marks[name], "about": about, "rounds": rounds, "open": name == opened})
    lead = f"The picks of one seed, most wanted first, at most {most} of a round."
    if thumbnails.failed:
        lead += f" {wording.count(len(thumbnails.failed), 'image')} could not be decoded."
    return {"strategies": strategies, "lead": lead}


def _examples(study: Study) -> ImageOf | None:
    if not study.examples:
        return None

    def image_of(item: str) -> Image.Image | None:
        if item not in study.examples:
            return None
        return Image.open(io.BytesIO(Path(study.examples[item]).read_bytes()))  # no file stays open

    return image_of


def _round(thumbnails: Thumbnails, record: RoundRecord, most: int) -> dict[str, Any]:
    scores = record.scores or []
    thumbs = [
        thumb(thumbnails, item, wording.value(scores[i]) if i < len(scores) else "")
        for i, item in enumerate(record.picked[:most])
    ]
    about = f"{wording.count(len(record.picked), 'pick')} by the model of {wording.count(record.labels, 'label')}"
    if record.notes:
        about += f"; {'; '.join(map(visible, record.notes))}"
    return {"number": record.round, "about": about, "thumbs": thumbs}


def _some(records: Sequence[RoundRecord], most: int) -> list[RoundRecord]:
    """All records, or ``most`` of them evenly, with the first and the last."""
    if len(records) <= most:
        return list(records)
    return [records[round(i * (len(records) - 1) / (most - 1))] for i in range(most)]


def _matrix(summary: Summary, marks: Mapping[str, Mark]) -> dict[str, Any] | None:
    if len(summary.rows) < 2 or len(summary.curves.seeds) < 2:
        return None
    rows = []
    for i, row in enumerate(summary.rows):
        shares = [float(v) for v in summary.penalty[i]]
        cells = [
            {"share": round(v, 3), "text": wording.percent(v)} if math.isfinite(v) else {"share": None, "text": ""}
            for v in shares
        ]
        rank = summary.ranks[row.strategy]
        text = f"{rank.mean:.1f}" if rank.n else wording.NONE
        if rank.n and math.isfinite(rank.low):
            text += f" ({rank.low:.1f} to {rank.high:.1f})"
        rows.append({"mark": marks[row.strategy], "cells": cells, "rank": text})
    penalties = []
    for column in summary.penalty.T:
        finite = [float(v) for v in column if math.isfinite(v)]
        penalties.append(wording.percent(sum(finite) / len(finite)) if finite else wording.NONE)
    lead = (
        "Share of budgets at which the row beats the column in a paired t-test at 95 %, not corrected. Penalty: mean "
        "of a column, lower is better. Mean rank: by area under the curve, 1 is best, with a bootstrap interval over "
        "seeds."
    )
    return {"marks": [marks[r.strategy] for r in summary.rows], "rows": rows, "penalties": penalties, "lead": lead}


def _half(half: float) -> str:
    return f"±{wording.value(half)}" if math.isfinite(half) else ""


def _inference(seconds: float) -> str:
    return f"+ {wording.seconds(seconds)} inference" if math.isfinite(seconds) else ""
