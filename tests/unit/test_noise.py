"""The noise floor of training: against a slow twin, against chance, and what reports make of it."""

from __future__ import annotations

import dataclasses
import io
import math

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

import tiny
from labelwise.campaign.records import RoundRecord, RunRecord, Study
from labelwise.config import RecipeConfig, parse
from labelwise.report.checklist import checklist
from labelwise.report.html import write_study_report
from labelwise.report.noise import Spread, floor_of, noise_of, spread
from labelwise.report.summary import headline, summarise, verdict
from labelwise.report.table import study_table
from labelwise.studies.comparison import Comparison

LABELS = (20, 40, 80)
WIDTHS = (0.04, 0.03, 0.02)
TRUE = (0.5, 0.6, 0.7)


def made(index, value, key):
    return RoundRecord(round=index, labels=LABELS[index], metrics={"accuracy": value}, fit_key=key)


def noisy_study(rng, *, seeds=5, gain=0.0, widths=WIDTHS, count=1):
    """Two strategies that differ by ``gain``, trainings by chance; the first training is theirs together."""

    def drawn(index):
        return TRUE[index] + rng.normal(0, widths[index])

    runs = []
    for seed in range(seeds):
        first = made(0, drawn(0), f"{seed}")
        again = [made(i, drawn(i), f"{seed} {i} {number}") for i in (0, 2) for number in range(count)]
        plain = [first, *(made(i, drawn(i), f"random {seed} {i}") for i in (1, 2))]
        better = [first, *(made(i, drawn(i) + gain, f"margin {seed} {i}") for i in (1, 2))]
        runs.append(RunRecord(strategy="random", seed=seed, rounds=plain, again=again))
        runs.append(RunRecord(strategy="margin", seed=seed, rounds=better))
    return Study(name="noise", task="classification", primary="accuracy", runs=runs, settings={"again": count})


def slow_floor(study, seeds):
    """By hand: pairs in loops, the trapezoid rule in words, the variance between the ends by a straight line."""
    halves = {0: [], 2: []}
    for run in study.runs:
        for again in run.again:
            difference = run.rounds[again.round].metrics["accuracy"] - again.metrics["accuracy"]
            halves[again.round].append(difference**2 / 2)
    first, last = np.mean(halves[0]), np.mean(halves[2])
    parts = []
    for b in (1, 2):  # the first budget is one training for both
        left = (LABELS[b] - LABELS[b - 1]) / 2
        right = (LABELS[b + 1] - LABELS[b]) / 2 if b + 1 < len(LABELS) else 0
        weight = (left + right) / (LABELS[-1] - LABELS[0])
        along = (LABELS[b] - LABELS[0]) / (LABELS[-1] - LABELS[0])
        parts.append((weight**2 * (1 - along) * first, weight**2 * along * last))
    a, b = sum(p[0] for p in parts), sum(p[1] for p in parts)
    freedom = (a + b) ** 2 / (a**2 / len(halves[0]) + b**2 / len(halves[2]))
    return stats.t.ppf(0.975, freedom) * math.sqrt(2 * (a + b) / seeds)


@pytest.mark.parametrize("number", range(3))
def test_the_floor_is_that_of_the_slow_twin(number):
    study = noisy_study(np.random.default_rng(number))
    row = summarise(study).row("margin")
    assert row.floor == pytest.approx(slow_floor(study, 5), rel=1e-9)
    pairs = [(run.rounds[-1].metrics["accuracy"], run.again[1].metrics["accuracy"]) for run in study.runs if run.again]
    deviation = math.sqrt(np.mean([(a - b) ** 2 / 2 for a, b in pairs]))
    assert row.floor_at_end == pytest.approx(stats.t.ppf(0.975, 5) * deviation * math.sqrt(2 / 5), rel=1e-9)


@pytest.mark.parametrize(
    ("seeds", "count", "draws"),
    [(5, 1, 300), *(pytest.param(*case, 2000, marks=pytest.mark.heavy) for case in ((3, 1), (5, 1), (5, 3)))],
)
def test_under_chance_alone_one_difference_in_twenty_is_above(seeds, count, draws):
    rng = np.random.default_rng(7)
    over = at_end = 0
    for _ in range(draws):
        study = noisy_study(rng, seeds=seeds, count=count)
        by_run = np.array([[r.metrics["accuracy"] for r in run.rounds] for run in study.runs])
        difference_B = (by_run[1::2] - by_run[::2]).mean(0)
        noise = noise_of(study, np.array(LABELS, dtype=float), "linear")
        over += abs(np.trapezoid(difference_B, LABELS) / (LABELS[-1] - LABELS[0])) > noise.over_curve(seeds)
        at_end += abs(difference_B[-1]) > noise.at(2, seeds)
    off = 4 * math.sqrt(0.05 * 0.95 / draws) + 0.01  # the freedom of a sum of variances is an approximation
    print(f"above the floor: {over / draws:.3f} over the curve, {at_end / draws:.3f} at the end")
    assert over / draws == pytest.approx(0.05, abs=off)
    assert at_end / draws == pytest.approx(0.05, abs=off)


def test_spread_leaves_out_what_is_not_finite_and_single_trainings():
    assert spread([[0.5, 0.7], [0.5], [0.6, float("nan")]]) == Spread(pytest.approx(0.02), 1)
    assert math.isnan(spread([[0.5]]).variance)
    assert math.isnan(floor_of([(1.0, spread([]))], 5))


@pytest.mark.heavy
def test_a_gain_within_the_noise_is_none_and_it_is_said(tmp_path):
    study = noisy_study(np.random.default_rng(1), widths=(0.0005,) * 3, gain=0.01)
    loud = [
        dataclasses.replace(
            run,
            again=[dataclasses.replace(r, metrics={"accuracy": r.metrics["accuracy"] + 0.04}) for r in run.again],
        )
        for run in study.runs
    ]
    quiet, loud = summarise(study), summarise(dataclasses.replace(study, runs=loud))
    assert (verdict(quiet, quiet.row("margin")), verdict(loud, loud.row("margin"))) == (1, 0)
    assert quiet.row("margin").against.p_holm == loud.row("margin").against.p_holm < 0.05
    text = headline(loud)
    assert text.startswith("margin was not reliably better than random: +0.0")
    assert text.endswith(f", noise floor of training ±{loud.row('margin').floor:.3f}: none.")
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(study_table(loud, width=120))
    shown = console.export_text()
    assert "none" in next(line for line in shown.splitlines() if line.startswith("margin"))
    assert "10 trainings again on the same labels" in " ".join(shown.split())
    page = write_study_report(loud.study, tmp_path / "r.html").read_text()
    assert "none, within the noise of training" in page
    (line,) = [line for line in checklist(loud) if line.question.startswith("Noise of training")]
    assert line.status == "printed"
    assert line.value.endswith("none by that: margin")


def test_pairs_that_happen_to_agree_at_one_end_are_judged_with_the_other():
    """Accuracies on few test images are coarse: two trainings often have the very same."""
    study = noisy_study(np.random.default_rng(3))

    def agreeing(run: RunRecord) -> RunRecord:
        last = run.rounds[-1]
        again = [dataclasses.replace(r, metrics=last.metrics) if r.round == last.round else r for r in run.again]
        return dataclasses.replace(run, again=again)

    alike = [agreeing(run) for run in study.runs]
    noise = summarise(dataclasses.replace(study, runs=alike)).noise
    assert noise.first.variance > 0
    assert 0 < noise.last.variance < noise.first.variance
    assert noise.last.freedom == 2 * noise.first.freedom


def test_what_was_not_measured_is_said():
    study = noisy_study(np.random.default_rng(0), count=0)
    summary = summarise(study)
    assert summary.noise is None
    assert math.isnan(summary.row("margin").floor)
    values = [
        next(line.value for line in checklist(summarise(one)) if line.question.startswith("Noise of training"))
        for one in (study, dataclasses.replace(study, settings={"again": 0, "retrain": "warm"}))
    ]
    assert values[0] == "not measured: again: 0"
    assert "goes on from the round before" in values[1]


def _recipe(**changes):
    values = {
        "data": {"source": "unused"},
        "input": {"size": tiny.SIDE, "channels": 1, "augment": "none"},
        "learner": {"kind": "torch", "model": "tiny:named_net", "phases": [{"epochs": 1, "min_steps": 0}]},
        "features": {"backbone": "pixels", "size": 8},
        "strategies": ["margin", "random"],
        "initial": 10,
        "batch": 5,
        "rounds": 1,
        "seeds": [0, 1],
        "full": False,
    }
    return parse(RecipeConfig, values | changes, where="test")


@pytest.mark.heavy
def test_a_study_trains_its_baseline_again_once(tmp_path):
    source = tiny.digits(60, test=20)
    study = Comparison(_recipe(), source, tmp_path).run()
    runs = {(run.strategy, run.seed): run for run in study.runs}
    assert [len(run.again) for run in study.runs] == [0, 2, 0, 2]
    for seed in (0, 1):
        run = runs["random", seed]
        assert [(r.round, r.labels) for r in run.again] == [(0, 10), (1, 15)]
        keys = {r.fit_key for r in (*run.rounds, *run.again)}
        assert len(keys) == 4, "trainings of their own, on the labels of both rounds"
        assert keys <= {path.name for path in (tmp_path / "shared" / "fits").iterdir()}
        assert all(math.isfinite(r.metrics["accuracy"]) for r in run.again)
    assert Study.from_json(study.to_json()) == study
    assert summarise(study).noise.trainings == 4

    # found again, in the run and, where that was lost, among the trainings
    kept = next((tmp_path / "runs").glob("random-*/seed-0/again.json"))
    before = kept.read_bytes()
    assert Comparison(_recipe(), source, tmp_path).run().to_json() == study.to_json()
    for damage in (b"", b'{"of": 3', b"[]", b'{"of": [], "trainings": 1}', b"\x00" * 20):
        kept.write_bytes(damage)
        Comparison(_recipe(), source, tmp_path).run()
        assert kept.read_bytes() == before
    kept.unlink()
    Comparison(_recipe(), source, tmp_path).run()
    assert kept.read_bytes() == before
    more = Comparison(_recipe(again=2), source, tmp_path).run()
    assert [r.fit_key for r in more.runs[1].again][::2] == [r.fit_key for r in study.runs[1].again]


@pytest.mark.heavy
@pytest.mark.parametrize("changes", [{"warm": True}, {"again": 0}])
def test_none_is_trained_again(tmp_path, changes):
    study = Comparison(_recipe(strategies=["random"], seeds=[0], **changes), tiny.digits(60, test=20), tmp_path).run()
    assert not study.runs[0].again
    assert study.settings["again"] == 0


@pytest.mark.heavy
def test_a_head_on_frozen_features_has_no_noise(tmp_path):
    recipe = _recipe(learner={"kind": "features"}, seeds=[0])
    summary = summarise(Comparison(recipe, tiny.digits(60, test=20), tmp_path).run())
    assert summary.noise.fixed
    assert summary.row("margin").floor == 0
    (line,) = [line for line in checklist(summary) if line.question.startswith("Noise of training")]
    assert (line.status, line.value) == ("enforced", "training has no noise: the same labels give the same model")
