"""From the records of a study to the numbers of its report: curves on one grid, rows of the table, the headline.

Dimension key: R seeds, B budgets (label counts), S strategies.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from labelwise.campaign.records import RoundRecord, RunRecord, Study
from labelwise.config import BASELINES, baseline_of
from labelwise.errors import DataError, unknown
from labelwise.report import wording
from labelwise.report.noise import Noise, noise_of
from labelwise.report.starved import falling, short_trainings
from labelwise.report.statistics import (
    WAYS,
    Divergence,
    FloatArray,
    Interval,
    Paired,
    Savings,
    Scale,
    area,
    correct,
    diverged,
    interval,
    mean_ranks,
    paired,
    penalty_matrix,
    savings,
)

NAN = float("nan")
ENOUGH_SEEDS = 5
ALPHA = 0.05
LOWER_IS_BETTER = ("nll", "ece", "loss", "brier", "error")


@dataclass(frozen=True)
class Curves:
    """One metric of every run on one grid of label counts.

    Args:
        metric: its name.
        sign: 1 where higher is better, else -1.
        labels_B: the grid: the label counts that most runs share.
        seeds: row r of every array is this seed.
        values: strategy -> (R, B) as measured; NaN where a run has no value.
        present: strategy -> (R, B), whether the run has a round there, measured well or not.
        losses: strategy -> (R, B) training losses.
        off_grid: strategies with label counts of their own: their values are interpolated between rounds.
    """

    metric: str
    sign: int
    labels_B: FloatArray
    seeds: tuple[int, ...]
    values: dict[str, FloatArray]
    present: dict[str, npt.NDArray[np.bool_]]
    losses: dict[str, FloatArray]
    off_grid: tuple[str, ...]

    @property
    def oriented(self) -> dict[str, FloatArray]:
        """The values with higher = better."""
        return {name: self.sign * v for name, v in self.values.items()}


@dataclass(frozen=True)
class Row:
    """One strategy in the table of a study.

    Args:
        strategy: its label.
        runs: how many runs it has.
        finished: of these.
        final: the primary metric at the last budget.
        area: area under the curve, divided by the range.
        against: paired comparison of areas with the baseline; None for the baseline.
        at_end: paired comparison at the last budget.
        savings: one for each of ``statistics.WAYS``.
        others: the other metrics at the last budget.
        floor: noise floor of the difference of areas: as far apart trainings lie by chance; NaN where it is not known.
        floor_at_end: likewise at the last budget.
        select_seconds: mean per round with picks.
        collect_seconds: likewise, the inference pass.
        fit_seconds: mean per round.
        peak_mb: highest over rounds and runs.
    """

    strategy: str
    runs: int
    finished: int
    final: Interval
    area: Interval
    against: Paired | None
    at_end: Paired | None
    savings: tuple[Savings, ...]
    others: dict[str, Interval]
    floor: float
    floor_at_end: float
    select_seconds: float
    collect_seconds: float
    fit_seconds: float
    peak_mb: float

    @property
    def within_noise(self) -> bool:
        """Whether the difference of areas is none: trainings on the same labels lie as far apart."""
        return self.against is not None and abs(self.against.difference.mean) <= self.floor and self.floor > 0


@dataclass(frozen=True)
class Summary:
    """All that a report says in numbers.

    Args:
        study: what it is of.
        curves: the primary metric.
        scale: x scale of the areas.
        baseline: the strategy that the others are compared with; None if there are no runs.
        rows: in the order of the study.
        by_budget: strategy -> one comparison per budget, all of them one Holm family.
        penalty: (S, S), in the order of ``rows``.
        ranks: mean rank by area.
        flags: rounds that look diverged.
        full: the metric with all labels.
        noise: what trainings on the same labels say of the differences; None where there were none.
        notes: what a reader has to know before believing the rest.
    """

    study: Study
    curves: Curves
    scale: Scale
    baseline: str | None
    rows: list[Row]
    by_budget: dict[str, list[Paired]]
    penalty: FloatArray
    ranks: dict[str, Interval]
    flags: list[Divergence]
    full: Interval | None
    noise: Noise | None
    notes: list[str]

    def row(self, strategy: str) -> Row:
        """The row of one strategy."""
        return next(r for r in self.rows if r.strategy == strategy)

    @property
    def flagged(self) -> dict[tuple[str, int], Divergence]:
        """(strategy, seed) -> its first flag."""
        out: dict[tuple[str, int], Divergence] = {}
        for flag in self.flags:
            out.setdefault((flag.strategy, self.curves.seeds[flag.seed_index]), flag)
        return out


def summarise(study: Study, *, scale: Scale = "linear", baseline: str | None = None) -> Summary:
    """Compute every number of the report of ``study``.

    Args:
        study: finished or not; a run without rounds counts as unfinished.
        scale: x scale of the areas under the curve.
        baseline: label to compare with; default: random, else stratified_random, else the first strategy.

    Raises:
        ConfigError: ``baseline`` is not in the study.
        DataError: two runs of one strategy and seed, or label counts that fall.
    """
    curves = curves_of(study)
    names = list(curves.values)
    base = baseline_of(names) if baseline is None else baseline
    if base is not None and base not in names:
        raise unknown("baseline", base, names)
    areas = {n: _areas(curves, curves.values[n], scale) for n in names}
    rivals = [n for n in names if n != base]
    against = dict(zip(rivals, correct([paired(areas[n], areas[base]) for n in rivals if base]), strict=True))
    by_budget = _by_budget(curves, base)
    flags = diverged(curves.oriented, present=curves.present, losses=curves.losses, chance=chance_of(study))
    rows = [_row(study, curves, n, base, areas[n], against.get(n), by_budget.get(n)) for n in names]
    noise = noise_of(study, curves.labels_B, scale)
    summary = Summary(
        study=study,
        curves=curves,
        scale=scale,
        baseline=base,
        rows=rows if noise is None else [_with_floor(row, noise) for row in rows],
        by_budget=by_budget,
        penalty=penalty_matrix(curves.oriented) if names else np.empty((0, 0)),
        ranks=mean_ranks({n: curves.sign * a for n, a in areas.items()}) if names else {},
        flags=flags,
        full=interval(study.full) if study.full else None,
        noise=noise,
        notes=[],
    )
    return replace(summary, notes=_notes(summary, areas))


def headline(summary: Summary) -> str:
    """The result in words, with its interval; no claim that the numbers do not carry."""
    base, metric = summary.baseline, wording.metric_name(summary.study.primary)
    if base is None or not any(r.final.n or r.area.n for r in summary.rows):
        return "No run has been finished yet: nothing to compare."
    if told := unlearnt(summary):
        return told
    best = best_row(summary)
    if best is None or best.against is None:
        row = summary.row(base)
        at = wording.count(summary.curves.labels_B[-1], "label")
        return f"{base} alone reached {metric} {wording.plus_minus(row.final)} at {at}: nothing to compare it with."
    if best.against.difference.n < 2:
        return _single(summary, best, metric)
    text = _judged(summary, best, metric)
    if best.against.difference.n < ENOUGH_SEEDS:
        text += f" With only {best.against.difference.n} seeds this is a hint, not a claim."
    return text


def unlearnt(summary: Summary) -> str:
    """That nothing was learnt, where no mean over the seeds beats answers that look at no image; "" elsewhere.

    Differences between strategies are noise then, whatever their tests say.
    """
    study, curves = summary.study, summary.curves
    means = {
        (name, int(labels)): float(np.mean(column[np.isfinite(column)]))
        for name, values_RB in curves.values.items()
        for labels, column in zip(curves.labels_B.tolist(), values_RB.T, strict=True)
        if np.isfinite(column).any()
    }
    if study.chance is None or not study.higher_is_better or not means:
        return ""
    name, labels = max(means, key=lambda cell: means[cell])
    best, metric = means[name, labels], wording.metric_name(study.primary)
    if study.chance.beaten(best):
        return ""
    on = f" on {wording.count(study.chance.images, 'test image')}" if study.chance.images else ""
    more = ", or measure on more test images" if study.chance.images else ""
    return (
        f"Nothing was learnt: the best mean {metric} of all rounds, {wording.value(best)} ({name} with "
        f"{wording.count(labels, 'label')}), does not stand out from the {wording.value(study.chance.level)} that "
        f"{study.chance.answer} gives{on}. Strategies cannot be told apart by this: train longer, with more "
        f"labels{more}."
    )


def best_row(summary: Summary) -> Row | None:
    """The strategy furthest ahead of the baseline by area, a reliable lead before any other; None without a rival."""
    rivals = [
        (verdict(summary, r) > 0, summary.curves.sign * r.against.difference.mean, -i)
        for i, r in enumerate(summary.rows)
        if r.against is not None and r.against.difference.n
    ]
    return summary.rows[-max(rivals)[2]] if rivals else None


def verdict(summary: Summary, row: Row) -> int:
    """1: better than the baseline by the corrected test on areas, -1: worse, 0: no reliable difference.

    A difference that trainings on the same labels have by chance is none, whatever the test says.
    """
    if row.against is None or not row.against.p_holm < ALPHA or row.within_noise:
        return 0
    return 1 if summary.curves.sign * row.against.difference.mean > 0 else -1


def curves_of(study: Study, metric: str | None = None) -> Curves:
    """One metric of all runs on a common grid of label counts.

    Args:
        study: the records.
        metric: default: the primary one.
    """
    runs = _by_strategy(study)
    seeds = tuple(sorted({run.seed for run in study.runs}))
    grid = _grid(study.runs)
    name = metric or study.primary
    values = {s: _on_grid(by_seed, seeds, grid, lambda r: r.metrics.get(name, NAN)) for s, by_seed in runs.items()}
    sign = (1 if study.higher_is_better else -1) if name == study.primary else -1 if name in LOWER_IS_BETTER else 1
    counts = {s: {r.labels for run in by_seed.values() for r in run.rounds} for s, by_seed in runs.items()}
    return Curves(
        metric=name,
        sign=sign,
        labels_B=grid,
        seeds=seeds,
        values=values,
        present={s: _present(by_seed, seeds, grid) for s, by_seed in runs.items()},
        losses={s: _on_grid(by_seed, seeds, grid, lambda r: r.train_loss) for s, by_seed in runs.items()},
        off_grid=tuple(s for s, c in counts.items() if not c <= set(grid.tolist())),
    )


def costs_of(study: Study, curves: Curves) -> dict[str, dict[str, FloatArray]]:
    """Unit -> strategy -> (R, B) cumulated cost, for units that grow otherwise than the number of labels does."""
    units = sorted({u for run in study.runs for r in run.rounds for u in r.cost})
    out = {}
    for unit in units:
        cost = _cost(unit)
        differences = {round(cost(r) - r.labels, 6) for run in study.runs for r in run.rounds}
        grows = any(len({cost(r) for r in run.rounds}) > 1 for run in study.runs)
        if len(differences) > 1 and grows:
            out[unit] = {
                s: _on_grid(by_seed, curves.seeds, curves.labels_B, _cost(unit))
                for s, by_seed in _by_strategy(study).items()
            }
    return out


def picks_by_class(study: Study) -> dict[str, dict[str, float]]:
    """Strategy -> class -> labels that its picks brought (without the initial set), mean over seeds."""
    out: dict[str, dict[str, float]] = {}
    for strategy, by_seed in _by_strategy(study).items():
        grown = [
            {c: n - run.rounds[0].class_counts.get(c, 0) for c, n in run.rounds[-1].class_counts.items()}
            for run in by_seed.values()
            if len(run.rounds) > 1 and run.rounds[-1].class_counts
        ]
        if grown:
            classes = dict.fromkeys(c for g in grown for c in g)
            out[strategy] = {c: float(np.mean([g.get(c, 0) for g in grown])) for c in classes}
    return out


def classes_of(study: Study) -> list[str]:
    """Names of the classes: as stated, else as they occur."""
    stated = study.pool.get("classes")
    if isinstance(stated, list | tuple) and stated:
        return [str(c) for c in stated]
    counted = study.pool.get("class_counts")
    found = dict.fromkeys(str(c) for c in counted) if isinstance(counted, Mapping) else {}
    found.update(dict.fromkeys(c for run in study.runs for r in run.rounds for c in r.class_counts))
    return list(found)


def chance_of(study: Study) -> float | None:
    """The primary metric of guessing: 1/C for accuracies, else None."""
    classes = len(classes_of(study))
    return 1 / classes if study.primary in ("accuracy", "balanced_accuracy") and classes > 1 else None


def unpaired_seeds(study: Study) -> list[int]:
    """Seeds in which the strategies did not start from the same labels, or those of one learner from the same model.

    A head that is detached from the model makes another training, and the same model: to the digit the same loss and
    metrics.
    """
    starts: dict[int, list[RunRecord]] = {}
    for run in study.runs:
        if run.rounds:
            starts.setdefault(run.seed, []).append(run)
    return sorted(seed for seed, runs in starts.items() if not all(map(_alike, runs, _first_of_learner(runs))))


def _first_of_learner(runs: list[RunRecord]) -> list[RunRecord]:
    """For each run the first that trains the same learner, whose labels are held against the first's of all."""
    firsts: dict[str, RunRecord] = {}
    for run in runs:
        firsts.setdefault(run.learner, run)
    same_labels = all(_labels(first) == _labels(runs[0]) for first in firsts.values())
    return [firsts[run.learner] if same_labels else runs[0] for run in runs]


def _labels(run: RunRecord) -> tuple[int, dict[str, int]]:
    return run.rounds[0].labels, run.rounds[0].class_counts


def _alike(run: RunRecord, first: RunRecord) -> bool:
    if _labels(run) != _labels(first):
        return False
    one, other = run.rounds[0], first.rounds[0]
    shared = one.metrics.keys() & other.metrics.keys()
    measured = bool(shared) and all(one.metrics[name] == other.metrics[name] for name in shared)
    return one.fit_key == other.fit_key or (measured and one.train_loss == other.train_loss)


def _by_strategy(study: Study) -> dict[str, dict[int, RunRecord]]:
    out: dict[str, dict[int, RunRecord]] = {}
    for run in study.runs:
        by_seed = out.setdefault(run.strategy, {})
        if run.seed in by_seed:
            raise DataError(f"study {study.name!r} holds two runs of {run.strategy!r} with seed {run.seed}: keep one")
        by_seed[run.seed] = run
    return out


def _grid(runs: list[RunRecord]) -> FloatArray:
    """The label counts that most runs follow; a shorter run counts for every longer one that begins like it."""
    for run in runs:
        counts = [r.labels for r in run.rounds]
        if counts != sorted(counts):
            raise DataError(f"{run.strategy!r} seed {run.seed}: label counts fall from round to round: {counts}")
    paths = Counter(tuple(dict.fromkeys(r.labels for r in run.rounds)) for run in runs if run.rounds)
    if not paths:
        return np.zeros(0)
    votes = {p: sum(n for q, n in paths.items() if p[: len(q)] == q) for p in paths}
    return np.array(max(votes, key=lambda p: (votes[p], len(p))), dtype=np.float64)


def _on_grid(
    by_seed: Mapping[int, RunRecord], seeds: tuple[int, ...], grid: FloatArray, read: Callable[[RoundRecord], float]
) -> FloatArray:
    """(R, B): as recorded where a round has exactly that many labels, else interpolated between its neighbours."""
    out = np.full((len(seeds), grid.size), np.nan)
    for i, seed in enumerate(seeds):
        run = by_seed.get(seed)
        if run is None or not run.rounds:
            continue
        found = {float(r.labels): float(read(r)) for r in run.rounds}
        labels, values = np.array(list(found)), np.array(list(found.values()))
        inside = (grid >= labels[0]) & (grid <= labels[-1])
        out[i, inside] = np.interp(grid[inside], labels, values)
        out[i] = [found.get(x, y) for x, y in zip(grid.tolist(), out[i].tolist(), strict=True)]
    return np.where(np.isfinite(out), out, np.nan)


def _cost(unit: str) -> Callable[[RoundRecord], float]:
    # costs are cumulated: a unit that a record does not name was not paid yet
    return lambda r: r.cost.get(unit, 0.0) if r.cost else NAN


def _present(by_seed: Mapping[int, RunRecord], seeds: tuple[int, ...], grid: FloatArray) -> npt.NDArray[np.bool_]:
    counts = [{float(r.labels) for r in by_seed[s].rounds} if s in by_seed else set() for s in seeds]
    return np.array([[x in c for x in grid.tolist()] for c in counts], dtype=bool).reshape(len(seeds), grid.size)


def _areas(curves: Curves, values_RB: FloatArray, scale: Scale) -> FloatArray:
    return area(curves.labels_B, values_RB, scale=scale) if curves.labels_B.size else np.full(len(curves.seeds), NAN)


def _by_budget(curves: Curves, base: str | None) -> dict[str, list[Paired]]:
    if base is None:
        return {}
    rivals = [n for n in curves.values if n != base]
    width = curves.labels_B.size
    tests = [paired(curves.values[n][:, b], curves.values[base][:, b]) for n in rivals for b in range(width)]
    corrected = correct(tests)
    return {n: corrected[i * width : (i + 1) * width] for i, n in enumerate(rivals)}


def _row(
    study: Study,
    curves: Curves,
    name: str,
    base: str | None,
    areas_R: FloatArray,
    against: Paired | None,
    by_budget: list[Paired] | None,
) -> Row:
    runs = [run for run in study.runs if run.strategy == name]
    rounds = [r for run in runs for r in run.rounds]
    picking = [r for r in rounds if r.picked]
    found: tuple[Savings, ...] = ()
    if base is not None and name != base and curves.labels_B.size:
        flipped = curves.oriented
        found = tuple(savings(curves.labels_B, flipped[name], flipped[base], way=way) for way in WAYS)
        found = tuple(replace(s, target=curves.sign * s.target) for s in found)
    return Row(
        strategy=name,
        runs=len(runs),
        finished=sum(run.finished and bool(run.rounds) for run in runs),
        final=interval(curves.values[name][:, -1]) if curves.labels_B.size else interval([]),
        area=interval(areas_R),
        against=against,
        at_end=by_budget[-1] if by_budget else None,
        savings=found,
        others=_others(study, curves, runs),
        floor=NAN,
        floor_at_end=NAN,
        select_seconds=_mean([r.select_seconds for r in picking]),
        collect_seconds=_mean([r.collect_seconds for r in picking]),
        fit_seconds=_mean([r.fit_seconds for r in rounds]),
        peak_mb=max((r.peak_mb for r in rounds if math.isfinite(r.peak_mb)), default=NAN),
    )


def _with_floor(row: Row, noise: Noise) -> Row:
    if row.against is None:
        return row
    at_end = NAN if row.at_end is None else noise.at(-1, row.at_end.difference.n)
    return replace(row, floor=noise.over_curve(row.against.difference.n), floor_at_end=at_end)


def _others(study: Study, curves: Curves, runs: list[RunRecord]) -> dict[str, Interval]:
    last = [run.rounds[-1] for run in runs if run.rounds and run.rounds[-1].labels == curves.labels_B[-1]]
    names = dict.fromkeys(m for r in last for m in r.metrics if m != study.primary)
    return {m: interval([r.metrics.get(m, NAN) for r in last]) for m in names}


def _mean(values: list[float]) -> float:
    finite = [v for v in values if math.isfinite(v)]
    return sum(finite) / len(finite) if finite else NAN


def _single(summary: Summary, best: Row, metric: str) -> str:
    assert best.against is not None
    difference = best.against.difference
    seeds = len(summary.curves.seeds)
    lead = "In the only seed" if seeds == 1 else "In the one seed that both have"
    more = "above" if difference.mean > 0 else "below"
    return (
        f"{lead}, {best.strategy} was {wording.value(abs(difference.mean))} {more} {summary.baseline} in mean {metric} "
        f"over the curve{_beside(best)}. One seed allows no interval and no test: this is no evidence."
    )


def _beside(best: Row) -> str:
    """What stands beside a difference: the noise of training, and whether the difference is any."""
    floor = wording.noise_floor(best.floor)
    return f", {floor}{': none' if best.within_noise else ''}" if floor else ""


def _judged(summary: Summary, best: Row, metric: str) -> str:
    assert best.against is not None
    base, difference = summary.baseline, best.against.difference
    gain = summary.curves.sign * difference.mean
    numbers = (
        f"{wording.signed(difference.mean)} mean {metric} over the curve (95 % interval {wording.limits(difference)}, "
        f"{wording.count(difference.n, 'seed')}, corrected p {wording.p_value(best.against.p_holm)})"
    )
    numbers += _beside(best)
    rivals = sum(r.against is not None for r in summary.rows)
    if not (verdict(summary, best) > 0):
        if rivals == 1:
            return f"{best.strategy} was not reliably better than {base}: {numbers}."
        if gain > 0:
            return f"No strategy was reliably better than {base}. The best, {best.strategy}: {numbers}."
        return f"No strategy was better than {base}. The nearest, {best.strategy}: {numbers}."
    last = best.savings[-1]
    if last.pairs and last.reached == last.pairs and last.saved.low > 0:
        return (
            f"{best.strategy} reached {base}'s best {metric} of {wording.value(last.target)} with "
            f"{wording.percent(last.saved.mean)} fewer labels (95 % interval {round(100 * last.saved.low)} to "
            f"{wording.percent(last.saved.high)}, {wording.count(last.pairs, 'seed')})."
        )
    text = f"{best.strategy} was better than {base}: {numbers}."
    if last.pairs and last.reached < last.pairs:
        return f"{text} It reached {base}'s best {metric} in {last.reached} of {wording.count(last.pairs, 'seed')}."
    if last.pairs:
        return f"{text} Labels saved at {base}'s best {metric} are not certain: {wording.saved(last)}."
    return text


def _notes(summary: Summary, areas: Mapping[str, FloatArray]) -> list[str]:
    study, seeds = summary.study, len(summary.curves.seeds)
    told = falling(summary.curves.oriented, summary.curves.labels_B, summary.noise, study.primary)
    notes = [f"{line[0].upper()}{line[1:]}." for line in short_trainings(study)] + [told] * bool(told)
    notes += study.warnings
    if seeds == 1:
        notes.append("One seed: no interval, no test, no claim. Run at least 5.")
    elif 1 < seeds < ENOUGH_SEEDS:
        notes.append(
            f"{seeds} seeds: fewer than {ENOUGH_SEEDS}. Intervals are wide and the t-test leans on normality; with 3 "
            "runs one method has been found both significantly better and significantly worse than random."
        )
    if summary.baseline is not None and not summary.baseline.startswith(BASELINES):
        notes.append(f"Random was not run: everything is compared with {summary.baseline} instead.")
    unpaired = unpaired_seeds(study)
    if unpaired:
        named = ", ".join(str(s) for s in unpaired)
        notes.append(f"Strategies start from different labels or fits in seed {named}: differences include the start.")
    if summary.curves.off_grid:
        named = ", ".join(summary.curves.off_grid)
        notes.append(f"Other label counts than the rest, values interpolated between rounds: {named}.")
    missing = [f"{r.strategy} ({r.finished} of {seeds})" for r in summary.rows if r.finished < seeds]
    if missing:
        notes.append(f"Runs not finished, compared over the seeds at hand: {', '.join(missing)}.")
    for role in ("reference", "validation"):
        if (held := study.settings.get(role)) and isinstance(held, int):
            notes.append(
                f"{wording.count(held, f'{role} image')} had labels before the start, which are in no label count "
                "here: a method that needs them costs so much more."
            )
    return notes + _flag_notes(summary, areas)


def _flag_notes(summary: Summary, areas: Mapping[str, FloatArray]) -> list[str]:
    """Each diverged run in words, and what the comparison would be without them; shared fits are named once."""
    curves = summary.curves
    together: dict[tuple[int, float, str], list[str]] = {}
    for (strategy, seed), flag in summary.flagged.items():
        together.setdefault((seed, float(curves.labels_B[flag.budget_index]), flag.reason), []).append(strategy)
    notes = [
        f"Looks diverged: {', '.join(names)}, seed {seed}, at {wording.count(labels, 'label')}: {reason}. "
        "Kept in all numbers."
        for (seed, labels, reason), names in together.items()
    ]
    base = summary.baseline
    if not notes or base is None:
        return notes
    kept = {n: a.copy() for n, a in areas.items()}
    for flag in summary.flags:
        kept[flag.strategy][flag.seed_index] = NAN
    rivals = [r.strategy for r in summary.rows if r.against is not None]
    tests = correct([paired(kept[n], kept[base]) for n in rivals])
    concerned = {flag.strategy for flag in summary.flags}
    changed = [
        f"{n} {wording.signed(t.difference.mean)} ({wording.limits(t.difference)}, p {wording.p_value(t.p_holm)})"
        for n, t in zip(rivals, tests, strict=True)
        if n in concerned or base in concerned
    ]
    if changed:
        metric = wording.metric_name(summary.study.primary)
        notes.append(f"Without the flagged runs, mean {metric} over the curve against {base}: {'; '.join(changed)}.")
    return notes
