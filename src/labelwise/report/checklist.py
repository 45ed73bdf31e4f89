"""The checklist against bad evaluation: each line enforced, warned about, or printed with the actual value.

*Enforced*: checked on the records of this very study, or held by labelwise for every study (and by its tests).
*Printed*: a fact that the reader has to weigh. *Warned*: missing, or short of what a claim needs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from labelwise.campaign.records import Study
from labelwise.errors import visible
from labelwise.report import wording
from labelwise.report.summary import ENOUGH_SEEDS, Summary, classes_of, unpaired_seeds

Status = Literal["enforced", "printed", "warned", "not applicable"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line: what is asked, how it stands, and the value."""

    group: str
    question: str
    status: Status
    value: str


def checklist(summary: Summary) -> list[Line]:
    """Every line of the checklist for this study, in order."""
    groups = {
        "Design of the study": _design(summary),
        "Cost": _cost(summary),
        "Randomness and statistics": _randomness(summary),
        "Leaks and errors": [*_leaks(summary), *_measured(summary)],
    }
    return [Line(group, *line) for group, lines in groups.items() for line in lines]


_Line = tuple[str, Status, str]


def _design(summary: Summary) -> list[_Line]:
    study, labels = summary.study, summary.curves.labels_B
    first = int(labels[0]) if labels.size else 0
    classes = len(classes_of(study))
    regime = f"{first} labels" + (f", {first / classes:.3g} per class" if classes else "")
    steps = sorted({int(b - a) for a, b in itertools.pairwise(labels.tolist())})
    stratified = [r.strategy for r in summary.rows if r.strategy.startswith("stratified_random")]
    return [
        ("Several data distributions", "warned", f"one data set: {_distribution(study)}. The result holds for it only"),
        ("Several starting budgets, regime in labels per class", "warned", f"one start: {regime}"),
        (
            "Several query sizes",
            "warned" if len(steps) < 2 else "printed",
            f"{', '.join(map(str, steps)) or 'none'} labels per round, {max(labels.size - 1, 0)} rounds",
        ),
        _said(study, "tuning", "Classifier tuned for every method by one rule, its validation labels counted"),
        _said(study, "pretraining", "Self-supervised or other pretraining, and what it saw"),
        (
            "Random tuned like the methods; task-aware random beside it",
            "printed" if stratified else "warned",
            f"{', '.join(stratified)} was run" if stratified else "stratified_random was not run",
        ),
        ("Same framework, augmentation and schedule for all rows", *_learner(study)),
        (
            "Methods that change network or loss reported in two ways",
            *_two_ways(study),
        ),
        _said(study, "candidates", "Equal sub-sampling of candidates"),
    ]


def _two_ways(study: Study) -> tuple[Status, str]:
    """Whether rows that train something else are shown by their picks alone, too."""
    heads, judge = study.settings.get("auxiliaries"), study.settings.get("judge")
    apart = study.settings.get("judged")
    several = len({run.learner for run in study.runs}) > 1
    if apart:
        return "enforced", f"as trained, and their picks judged by {_text(judge)}: {_text(apart)}"
    if judge is not None and heads:
        return "enforced", f"{_text(judge)}, the judge, trains every row: its heads leave the model as it is"
    if heads or several:
        what = _text(heads) if heads else "rows have learners of their own"
        return "warned", f"{what}: compare round 0 as well, and name a judge for the picks alone"
    return "not applicable", "no strategy here trains a part of its own"


def _learner(study: Study) -> tuple[Status, str]:
    """What all runs are trained with: augmentation, and how many steps; or which learner trains which rows."""
    rows: dict[str, list[str]] = {}
    for run in study.runs:
        if run.strategy not in rows.setdefault(run.learner, []):
            rows[run.learner].append(run.strategy)
    if len(rows) > 1:
        return "warned", f"{len(rows)} learners: {'; '.join(f'{name}: {_text(of)}' for name, of in rows.items())}"
    transforms = study.settings.get("transforms")
    named = [transforms["train"]] if isinstance(transforms, Mapping) and transforms.get("train") else []
    steps = sorted({r.steps for run in study.runs for r in run.rounds if r.losses})
    if steps:
        least, most = f"{steps[0]:,}", f"{steps[-1]:,}"
        named.append(f"{least} steps" if least == most else f"{least} to {most} steps")
    text = "one learner and recipe for all runs"
    return "enforced", f"{text}: {', '.join(map(_text, named))}" if steps else text


def _cost(summary: Summary) -> list[_Line]:
    study = summary.study
    last = [run.rounds[-1] for run in study.runs if run.rounds]
    units = sorted({u for r in last for u in r.cost})
    held = {k: study.settings[k] for k in ("validation", "reference") if study.settings.get(k) is not None}
    timed = [r for r in summary.rows if r.fit_seconds == r.fit_seconds]
    initial = study.settings.get("initial", "not recorded")
    return [
        (
            "Budget in the real unit, at least two shown",
            "printed" if len(units) > 1 else "warned",
            ", ".join(units) or "no cost recorded, labels only",
        ),
        (
            "Labels for validation, reference and the initial set counted",
            "printed",
            f"initial {_text(initial)}; "
            + (
                ", ".join(f"{k} {_text(v)}" for k, v in held.items())
                if held
                else "validation and reference: none stated"
            ),
        ),
        (
            "Selection time, training time and peak memory beside the metric",
            "printed" if timed else "warned",
            "in the table" if timed else "not recorded",
        ),
    ]


def _randomness(summary: Summary) -> list[_Line]:
    study, seeds = summary.study, len(summary.curves.seeds)
    unpaired = unpaired_seeds(study)
    keyed = all(run.rounds[0].fit_key for run in study.runs if run.rounds)
    several = len({run.learner for run in study.runs}) > 1
    agree = (
        "labels of round 0 agree in every seed, its fits between rows of one learner"
        if several
        else ("labels and fit of round 0 agree between strategies in every seed")
    )
    paired: tuple[Status, str] = ("enforced", agree)
    if unpaired:
        paired = ("warned", f"the start differs in seed {', '.join(map(str, unpaired))}")
    elif not keyed:
        paired = ("warned", "only label counts of round 0 could be compared: the fits carry no key")
    cpu, gpu = study.environment.get("cpu"), study.environment.get("gpu")
    span = (
        f"{summary.curves.labels_B[0]:g} to {summary.curves.labels_B[-1]:g}" if summary.curves.labels_B.size else "none"
    )
    tests = f"paired t and signed-rank tests, Holm over {max(len(summary.rows) - 1, 0)} strategies" if seeds > 1 else ""
    return [
        ("Paired seeds: same initial set, split, weights and order of data", *paired),
        _said(study, "streams", "Separate random streams, all stated"),
        (
            f"At least {ENOUGH_SEEDS} seeds for a claim",
            "enforced" if seeds >= ENOUGH_SEEDS else "warned",
            wording.count(seeds, "seed") + f": {', '.join(map(str, summary.curves.seeds))}",
        ),
        (
            "Hardware recorded",
            "printed" if cpu or gpu else "warned",
            f"{_text(cpu)}; GPU: {_text(gpu) if gpu else 'none'}",
        ),
        (
            "Paired tests per budget and on the area, corrected; penalty matrix; ranks; effect sizes",
            "printed" if tests else "warned",
            tests or "impossible with one seed",
        ),
        ("Noise of training measured; a gain below it is none", *_noise(summary)),
        ("Full curves; area over a stated range and x scale", "printed", f"{span} labels, {summary.scale} scale"),
        (
            "Diverged runs flagged, not dropped",
            "warned" if summary.flagged else "enforced",
            wording.count(len(summary.flagged), "run") + " flagged",
        ),
        _said(study, "retrain", "From scratch or warm start"),
    ]


def _noise(summary: Summary) -> tuple[Status, str]:
    """Whether the same labels were trained on again, and how far such trainings lie apart."""
    noise, settings = summary.noise, summary.study.settings
    if noise is None:
        why = {"warm": "training goes on from the round before, so no round can be trained again"}
        asked = "again: 0" if settings.get("again") == 0 else "no training on the same labels again"
        return "warned", f"not measured: {why.get(str(settings.get('retrain')), asked)}"
    if noise.fixed:
        return "enforced", "training has no noise: the same labels give the same model"
    row = next((row for row in summary.rows if math.isfinite(row.floor)), None)
    floor = "" if row is None else f", {wording.noise_floor(row.floor)} of the mean over the curve"
    within = [row.strategy for row in summary.rows if row.within_noise]
    return (
        "printed",
        f"{wording.count(noise.trainings, 'training')} again, standard deviation "
        f"{wording.value(noise.first.deviation)} in the first round and {wording.value(noise.last.deviation)} in the "
        f"last{floor}" + (f"; none by that: {', '.join(within)}" if within else ""),
    )


def _leaks(summary: Summary) -> list[_Line]:
    study = summary.study
    bad = _bad_picks(study)
    transforms = study.settings.get("transforms")
    pool = transforms.get("pool") if isinstance(transforms, Mapping) else None
    tested = "for every registered strategy, by labelwise's contract tests"
    return [
        (
            "Pool transforms deterministic at selection, model in eval mode",
            "enforced",
            f"selection uses the evaluation transforms{'' if pool is None else ': ' + _text(pool)}",
        ),
        _said(study, "early_stopping", "No early stopping on the test set"),
        _said(study, "initial_set", "How the initial set was drawn"),
        _said(study, "classes_from", "Number of classes and priors not taken from hidden labels"),
        _twins(study),
        (
            "Exactly the asked number of distinct, unlabelled items per round",
            "warned" if bad else "enforced",
            bad or "checked on every round of every run",
        ),
        ("Ties broken by seed, not by order", "enforced", _text(study.settings.get("ties", tested))),
        ("Selection does not depend on the order of the pool", "enforced", tested),
    ]


def _twins(study: Study) -> _Line:
    """Whether images that are measured on stand in the pool as well."""
    found, tests = study.pool.get("twins"), study.pool.get("test", 0)
    if found is None:
        return ("No test image is also in the pool", "warned", "not known: an older study")
    what = f"{found:,} of {tests:,} held-out images are also in the pool, byte for byte: duplicates that are memory"
    return ("No test image is also in the pool", "warned" if found else "enforced", what if found else "compared")


def _measured(summary: Summary) -> list[_Line]:
    study = summary.study
    metrics = list(dict.fromkeys(m for run in study.runs for r in run.rounds for m in r.metrics))
    boxes = study.task in ("detection", "keypoints")
    shares = {k: study.pool.get(k) for k in ("duplicates", "out_of_distribution")}
    return [
        (
            "Metrics beyond accuracy, calibration",
            "printed" if len(metrics) > 1 else "warned",
            ", ".join(wording.metric_name(m) for m in metrics) or "none",
        ),
        (
            "Intervals over images of the validation set (detection)",
            "warned" if boxes else "not applicable",
            "not computed" if boxes else f"task is {study.task}",
        ),
        (
            "A line for all labels: the headroom",
            "printed" if summary.full else "warned",
            f"{wording.metric_name(study.primary)} {wording.plus_minus(summary.full)}" if summary.full else "not run",
        ),
        (
            "Out-of-distribution and duplicate share of the pool",
            "warned" if None in shares.values() else "printed",
            "; ".join(
                f"{k.replace('_', ' ')}: {'not known' if v is None else wording.percent(float(v))}"
                for k, v in shares.items()
            ),
        ),
    ]


def _bad_picks(study: Study) -> str:
    """What is wrong with the picks as recorded; empty if nothing is. The last pick of a run may exhaust the pool."""
    batch = study.settings.get("batch")
    for run in study.runs:
        seen: set[str] = set()
        last = max((r.round for r in run.rounds if r.picked), default=-1)
        for r in run.rounds:
            short = isinstance(batch, int) and r.picked and r.round != last and len(r.picked) != batch
            if short:
                return f"{run.strategy}, seed {run.seed}, round {r.round}: {len(r.picked)} picked, {batch} asked"
            again = seen & set(r.picked)
            if again or len(set(r.picked)) < len(r.picked):
                name = visible(sorted(again)[0]) if again else "an item"
                return f"{run.strategy}, seed {run.seed}, round {r.round}: {name} was picked twice"
            seen.update(r.picked)
    return ""


def _distribution(study: Study) -> str:
    counted = study.pool.get("class_counts")
    parts = [f"{study.pool['items']:,} items"] if isinstance(study.pool.get("items"), int) else []
    classes = classes_of(study)
    if classes:
        parts.append(wording.count(len(classes), "class", "classes"))
    if isinstance(counted, Mapping) and counted and min(counted.values()) > 0:
        parts.append(f"largest class {max(counted.values()) / min(counted.values()):.2g} times the smallest")
    return ", ".join(parts) or study.name


def _said(study: Study, key: str, question: str) -> _Line:
    if key not in study.settings:
        return (question, "warned", "not recorded")
    return (question, "printed", _text(study.settings[key]))


def _text(value: Any) -> str:
    if value is None or value is False:
        return "none"
    if value is True:
        return "yes"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_text(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_text(v) for v in value)
    return str(value)
