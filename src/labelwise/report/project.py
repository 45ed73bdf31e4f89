"""A real project as one HTML page: progress, the model so far, labels by class, the picks of each round.

There is one run and no baseline here, so the page compares nothing and claims no saving.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelwise.campaign.measuring import CHOSEN, CROSS_VALIDATED
from labelwise.campaign.records import Mistakes, RoundRecord
from labelwise.contracts.oracle import Pick
from labelwise.errors import visible
from labelwise.report import wording
from labelwise.report.curves import single_curve
from labelwise.report.forecast import MEASURED, Told, forecast_curve
from labelwise.report.html import facts, thumb
from labelwise.report.mistakes import shown_mistakes
from labelwise.report.page import render, write_page
from labelwise.report.renderings import picture
from labelwise.report.statistics import wilson
from labelwise.report.thumbs import ImageOf, Thumbnails
from labelwise.report.trainings import last_parts, shown_trainings

STATES = ("labelled", "pending", "skipped", "unlabelled")
#: longest side of a picture, in pixels: shown smaller, and opened as large as it is
LARGE = 320
#: pictures of a page, plain ones and such with labels in them
MOST_THUMBS, MOST_DRAWN = 480, 160
#: disputed images that are listed
MOST_DISPUTED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectState:
    """What is known of one project today.

    Args:
        name: title of the page.
        task: e.g. ``classification``.
        strategy: the label of the strategy in use.
        progress: state -> images, for labelled, pending, skipped, unlabelled.
        regions: likewise of regions of images, where they are asked about; {} else.
        rounds: one record per fit, in order; metrics may be empty where nothing is held out.
        picks: round -> what was asked in it.
        class_counts: class -> labels so far; classes without a label count 0.
        cost: unit -> cost so far.
        primary: metric drawn first.
        measured_on: what the metrics are measured on, in words, e.g. ``120 validation images``.
        settings: the resolved configuration.
        environment: as in a study.
        warnings: printed at the top.
        next_steps: commands to run next.
        mistakes: of the model trained last, on the test images.
        disputed: image -> what each annotator says of it, in words, and whether that is what counts.
        given: item -> its label in a few words, where labels are not drawn into the pictures.
        fates: round -> accepted, corrected, drawn -> how many guesses of the model, or objects, went that way.
        advice: what more labels are likely to bring; None where that cannot be said.
        no_advice: why it cannot; "" where nobody would expect it.
    """

    name: str
    task: str
    strategy: str
    progress: Mapping[str, int]
    regions: Mapping[str, int] = field(default_factory=dict)
    rounds: Sequence[RoundRecord] = ()
    picks: Mapping[int, Sequence[Pick]] = field(default_factory=dict)
    class_counts: Mapping[str, int] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    primary: str = "accuracy"
    measured_on: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    next_steps: Sequence[str] = ()
    mistakes: Mistakes | None = None
    disputed: Mapping[str, Sequence[tuple[str, str, bool]]] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)
    fates: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    advice: Told | None = None
    no_advice: str = ""


def write_project_report(
    state: ProjectState,
    path: str | os.PathLike[str],
    *,
    image_of: ImageOf | None = None,
    per_round: int = 48,
    side: int | None = None,
) -> Path:
    """Write the report of one project as one self-contained HTML file.

    Args:
        state: what is known of it.
        path: the file; its folder is made.
        image_of: the image of an id, or None; without it no pictures are shown.
        per_round: most pictures shown of a round.
        side: longest side of a picture in pixels, where there is something to see in it.

    Returns:
        The path written.

    Raises:
        StateError: the file cannot be written.
    """
    curve = _curve(state)
    rounds, lead = _picks(state, image_of, per_round, side)
    context = {
        "title": state.name,
        "kicker": "labelwise project",
        "meta": f"{state.task} · {state.strategy} · {wording.count(len(state.picks), 'round')} asked",
        "headline": _headline(state),
        "progress": _progress(state),
        "costs": [{"value": f"{v:,.0f}", "label": f"cost in {k}"} for k, v in state.cost.items() if k != "images"],
        "warnings": list(state.warnings),
        "next_steps": list(state.next_steps),
        "curve": curve,
        "curve_caption": _caption(state),
        "advice": _advice(state),
        "fits": _fits(state),
        "trainings": shown_trainings({"": last_parts(state.rounds)}, {}, None),
        "fates": _fates(state),
        "balance": _balance(state),
        "disputed": _disputed(state),
        "mistakes": shown_mistakes(_named(state), list(state.class_counts)),
        "rounds": rounds,
        "wide": side is not None,
        "rounds_lead": lead,
        "settings": facts(state.settings),
        "environment": facts(state.environment),
        "footer": "Written by labelwise. One file, no network: send it as it is.",
    }
    return write_page(path, render("project.html.j2", **context))


def _primary(state: ProjectState) -> str:
    """The first metric on test images; where no round has it, its cross-validated one."""
    held_out = any(math.isfinite(r.metrics.get(state.primary, math.nan)) for r in state.rounds)
    return state.primary if held_out else CROSS_VALIDATED + state.primary


def _curve(state: ProjectState) -> Any:
    """How good the model was after each round, with intervals where the images were counted."""
    name = _primary(state)
    measured = [r for r in state.rounds if math.isfinite(r.metrics.get(name, math.nan))]
    if not measured:
        return None
    labels = [float(r.labels) for r in measured]
    line = {name: [r.metrics[name] for r in measured]}
    ends = [interval_of(record, name) for record in measured]
    bands = {name: ends} if any(math.isfinite(low) for low, _ in ends) else None
    alt = f"{wording.metric_name(name)} over labels"
    return picture(lambda look: single_curve(labels, line, y_label=name, bands=bands, look=look), alt)


def _advice(state: ProjectState) -> dict[str, Any]:
    """What more labels are likely to bring, in words, as a curve and as a table; or why that cannot be said."""
    if (told := state.advice) is None:
        return {"lines": [_sentence(state.no_advice)]} if state.no_advice else {}
    heads, rows = told.table
    alt = f"{wording.metric_name(told.metric)} over labels, carried on"
    return {
        "lines": [_sentence(line) for line in told.lines],
        "picture": picture(lambda look: forecast_curve(told, look), alt),
        "heads": heads[1:],
        "rows": [{"name": row[0], "cells": row[1:]} for row in rows],
        "notes": [*told.notes, MEASURED],
    }


def _sentence(line: str) -> str:
    return line if line[1:2].isupper() else f"{line[0].upper()}{line[1:]}"  # mAP stays what it is


def interval_of(record: RoundRecord, name: str) -> tuple[float, float]:
    """Both ends of the 95 % interval of a metric of a round; NaN where there is none."""
    if name in record.ends:
        low, high = record.ends[name]
        return low, high
    return wilson(record.metrics[name], record.tested) if name == "accuracy" else (math.nan, math.nan)


def _named(state: ProjectState) -> dict[str, list[Mistakes]]:
    if state.mistakes is None:
        return {}
    labels = state.progress.get("labelled", 0) + state.regions.get("labelled", 0)
    return {f"{state.strategy}, {wording.count(labels, 'label')}": [state.mistakes]}


def _headline(state: ProjectState) -> str:
    text = _how_far(state.progress, "image")
    if state.regions:
        text += f"; {_how_far(state.regions, 'region')}"
    name = _primary(state)
    last = next((r for r in reversed(state.rounds) if math.isfinite(r.metrics.get(name, math.nan))), None)
    if last is not None:
        text += f". The last model, of {wording.count(last.labels, 'label')}: {wording.metric_name(name)} "
        text += wording.value(last.metrics[name])
        low, high = interval_of(last, name)
        if math.isfinite(low):
            text += f" (95 % interval {wording.value(low)} to {wording.value(high)}, on {last.tested:,} images)"
    return text + "."


def _how_far(progress: Mapping[str, int], noun: str) -> str:
    counts = {s: progress.get(s, 0) for s in STATES}
    text = f"{counts['labelled']:,} of {wording.count(sum(counts.values()), noun)} labelled"
    return text + (f", {counts['pending']:,} asked and not answered yet" if counts["pending"] else "")


def _progress(state: ProjectState) -> list[dict[str, Any]]:
    """Images, and regions of images by themselves, by what has happened to them."""
    found = []
    for noun, progress in (("image", state.progress), ("region", state.regions)):
        counts = {s: progress.get(s, 0) for s in STATES}
        total = max(1, sum(counts.values()))
        parts = [{"name": s, "count": f"{n:,}", "width": round(100 * n / total, 3)} for s, n in counts.items()]
        if progress:
            found.append({"noun": noun, "says": _how_far(progress, noun), "parts": parts})
    return found


def _caption(state: ProjectState) -> str:
    where = f"Measured on {state.measured_on}. " if state.measured_on else ""
    if _primary(state).startswith(CROSS_VALIDATED):
        where = f"{CHOSEN[0].upper()}{CHOSEN[1:]}. "
    return f"{where}One run: it shows how far the model is, not what the strategy saved; that needs labelwise compare."


def _fits(state: ProjectState) -> dict[str, Any]:
    metrics = list(dict.fromkeys(m for r in state.rounds for m in r.metrics))
    heads = ["labels", *map(wording.metric_name, metrics), "picked", "training", "selection"]
    rows = []
    for r in state.rounds:
        values = [wording.value(r.metrics.get(m, math.nan)) for m in metrics]
        times = [wording.seconds(r.fit_seconds), wording.seconds(r.collect_seconds + r.select_seconds)]
        rows.append({"name": str(r.round), "cells": [f"{r.labels:,}", *values, f"{len(r.picked):,}", *times]})
    notes = [f"Round {r.round}: {note}" for r in state.rounds for note in r.notes]
    return {"heads": heads, "rows": rows, "notes": notes}


def _fates(state: ProjectState) -> dict[str, Any]:
    """What people made of the model's guesses, round by round: the share accepted says whether they help."""
    rows = []
    for number, counts in state.fates.items():
        kept, changed, drawn = (counts.get(word, 0) for word in ("accepted", "corrected", "drawn"))
        share = f"{100 * kept / (kept + changed):.0f} %" if kept + changed else "-"
        rows.append({"name": str(number), "cells": [f"{kept:,}", f"{changed:,}", f"{drawn:,}", share]})
    return {"heads": ["accepted", "corrected", "drawn by hand", "accepted of the guesses"], "rows": rows}


def _balance(state: ProjectState) -> dict[str, Any]:
    counts = dict(state.class_counts)
    top, total = max(counts.values(), default=0), sum(counts.values())
    empty = [visible(c) for c, n in counts.items() if n == 0]
    lead = f"{wording.count(total, 'label')} in {wording.count(len(counts), 'class', 'classes')}."
    if empty and total:
        lead += f" No label yet: {', '.join(empty[:12])}{' and more' if len(empty) > 12 else ''}."
    rows = [{"name": c, "count": f"{n:,}", "width": round(100 * n / max(top, 1), 2)} for c, n in counts.items()]
    return {"rows": rows if total else [], "lead": lead}


def _disputed(state: ProjectState) -> dict[str, Any]:
    """A row for each image on which annotators differ: each says who, what, and whether it counts."""
    found = list(state.disputed.items())
    lead = f"{wording.count(len(found), 'image')} on which annotators differ. The majority counts, in a tie the later."
    if len(found) > MOST_DISPUTED:
        lead += f" The first {MOST_DISPUTED} are listed."
    rows = [
        {"name": item, "said": [{"who": who or "not named", "what": what, "counts": best} for who, what, best in said]}
        for item, said in found[:MOST_DISPUTED]
    ]
    return {"rows": rows, "lead": lead}


def shown_of_a_round(rounds: int, per_round: int = 48, *, drawn: bool = False) -> int:
    """How many pictures of each round a page with so many rounds has room for; fewer with labels drawn into them."""
    return max(6, min(per_round, (MOST_DRAWN if drawn else MOST_THUMBS) // rounds))


def _picks(
    state: ProjectState, image_of: ImageOf | None, per_round: int, side: int | None
) -> tuple[list[dict[str, Any]], str]:
    if image_of is None or not state.picks:
        return [], ""
    most = shown_of_a_round(len(state.picks), per_round, drawn=side is not None)
    thumbnails = Thumbnails(image_of, size=side or LARGE, quality=75)
    rounds = []
    for number, picks in sorted(state.picks.items(), reverse=True):
        ordered = sorted(picks, key=lambda p: p.rank)[:most]
        thumbs = [_thumb(thumbnails, p, state.given.get(p.id)) for p in ordered]
        about = wording.count(len(picks), "pick") + (f", the first {most} shown" if len(picks) > most else "")
        rounds.append({"number": number, "about": about, "thumbs": thumbs})
    lead = "The newest round first, most wanted first, with what the model thought and what people said."
    if thumbnails.failed:
        lead += f" {wording.count(len(thumbnails.failed), 'image')} could not be decoded."
    return rounds, lead


def _thumb(thumbnails: Thumbnails, pick: Pick, given: str | None) -> dict[str, Any]:
    """A pick with what the model thought when it was asked, and what people said since."""
    if given is None:
        return thumb(thumbnails, pick.id, _says(pick))
    said = f"predicted {_says(pick)}" if pick.predicted is not None else _says(pick)
    return thumb(
        thumbnails, pick.id, said, f"labelled {given}", differs=pick.predicted is not None and given != pick.predicted
    )


def _says(pick: Pick) -> str:
    if pick.predicted is None:
        return "" if pick.score is None else wording.value(pick.score)
    name = visible(pick.predicted)
    return name if pick.probability is None else f"{name} {wording.percent(pick.probability)}"
