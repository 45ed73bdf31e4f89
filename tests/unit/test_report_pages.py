"""Pages, curves, galleries and tables on a made-up study; only here, never shipped."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from labelwise.campaign.records import RoundRecord, RunRecord, Study
from labelwise.contracts.chance import Chance
from labelwise.contracts.oracle import Pick
from labelwise.errors import ConfigError, DataError, StateError
from labelwise.report import renderings
from labelwise.report.checklist import checklist
from labelwise.report.curves import Look, class_balance, learning_curves, spread, write_curves
from labelwise.report.gallery import write_gallery
from labelwise.report.html import write_study_report
from labelwise.report.project import ProjectState, write_project_report
from labelwise.report.statistics import savings
from labelwise.report.summary import best_row, costs_of, curves_of, picks_by_class, summarise, unpaired_seeds
from labelwise.report.table import headline, study_table
from labelwise.report.thumbs import Thumbnails, thumbnail

CLASSES = [str(i) for i in range(10)]
LABELS = [20, 40, 60, 80, 100, 120]
SLOPES = {"random": 0.55, "margin": 0.72, "entropy": 0.60, "kmeans": 0.66}


def made_up_run(strategy, seed, slope, labels=tuple(LABELS), classes=tuple(CLASSES)):
    rng = np.random.default_rng([seed, len(strategy), sum(map(ord, strategy))])
    start = np.random.default_rng(seed).normal(0.45, 0.02)
    counts = dict.fromkeys(classes, labels[0] // len(classes))
    rounds = []
    for i, n in enumerate(labels):
        accuracy = float(min(0.99, start + slope * (1 - np.exp(-i / 2.5)) * 0.7 + (rng.normal(0, 0.008) if i else 0)))
        more = labels[i + 1] - n if i + 1 < len(labels) else 0
        picked = [f"images/{strategy}-{seed}-{i}-{k}.png" for k in range(more)]
        rounds.append(
            RoundRecord(
                round=i,
                labels=n,
                metrics={
                    "accuracy": accuracy,
                    "balanced_accuracy": accuracy - 0.01,
                    "worst_class_recall": accuracy - 0.2,
                    "nll": 2 - 1.6 * accuracy,
                    "ece": 0.08,
                },
                cost={"images": float(n), "seconds": 3.0 * n * (1.2 if strategy == "margin" else 1)},
                class_counts=dict(counts),
                picked=picked,
                scores=None if strategy == "random" else [1 - k / 100 for k in range(more)],
                fit_seconds=3.2,
                collect_seconds=0.4,
                select_seconds=0.01 if strategy != "kmeans" else 0.3,
                peak_mb=640.0,
                train_loss=0.1,
                fit_key=f"{seed}-{n}" if i == 0 else f"{strategy}-{seed}-{n}",
            )
        )
        for _ in range(more):
            counts[classes[int(rng.integers(len(classes)) * rng.random() ** abs(slope - 0.5))]] += 1
    return RunRecord(strategy=strategy, seed=seed, rounds=rounds)


def made_up_study(seeds=5, slopes=SLOPES, **changes):
    given = {
        "name": "Handwritten digits",
        "task": "classification",
        "primary": "accuracy",
        "runs": [made_up_run(s, seed, slope) for s, slope in slopes.items() for seed in range(seeds)],
        "full": [0.96, 0.965, 0.962, 0.958, 0.961][:seeds],
        "settings": {
            "learner": "features",
            "model": {"backbone": "pixels", "head": "linear"},
            "phases": [{"epochs": 30, "optimiser": "sgd", "lr": 0.1}],
            "initial": 20,
            "initial_set": "random",
            "batch": 20,
            "rounds": 5,
            "retrain": "scratch",
            "candidates": "all",
            "transforms": {"train": "none", "pool": "none"},
            "streams": ["split", "initial", "weights", "order", "selection"],
            "command": "labelwise compare digits/ --strategy random,margin,entropy,kmeans --seeds 5",
        },
        "environment": {"python": "3.11.9", "torch": "2.6.0", "cpu": "AMD EPYC", "gpu": None, "threads": 2},
        "pool": {
            "items": 1437,
            "test": 360,
            "classes": CLASSES,
            "class_counts": {c: 140 + 2 * i for i, c in enumerate(CLASSES)},
            "duplicates": 0.0,
        },
    }
    return Study(**(given | changes))


def digit(item_id):
    """A small made-up picture per id; one in 37 cannot be decoded."""
    seed = sum(map(ord, item_id))
    if seed % 37 == 0:
        return None
    rng = np.random.default_rng(seed)
    size = (8, 8) if seed % 2 else (60, 90)
    return Image.fromarray(rng.integers(0, 255, (*size, 3) if seed % 3 else size, dtype=np.uint8))


@pytest.fixture(autouse=True)
def _small_pictures(request, monkeypatch):
    """Pages with pictures of few pixels: the tests look at words, people look at the pictures."""
    if request.node.name != "test_whole":
        looks = {name: dataclasses.replace(look, dpi=30) for name, look in renderings.LOOKS.items()}
        monkeypatch.setattr(renderings, "LOOKS", looks)


NASTY = [
    "a \"b\" 'c' & <script>alert(1)</script>.png",
    "line\nbreak\tand tab.png",
    "日本/é, comma.png",
    "=cmd().png",
    "\u202egnp.exe",
    "bad\udcff.jpg",
    "{{ 7 * 7 }}{% raw %}.png",
    "x" * 300 + ".png",
]


class Page(HTMLParser):
    """What a browser would see: balanced tags, addresses, scripts, text."""

    VOID = frozenset({"meta", "link", "img", "source", "input", "br"})

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.addresses, self.scripts, self.text, self.policy = [], [], [], [], "", ""
        self.titles, self.handlers = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for key, value in attrs:
            if key in ("src", "href", "srcset", "action", "data"):
                self.addresses.append(value)
            if key == "title":
                self.titles.append(value)
            if key.startswith("on"):
                self.handlers.append(value)
        if tag == "meta" and ("http-equiv", "Content-Security-Policy") in attrs:
            self.policy = dict(attrs)["content"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self.open[-1:] != ["style"]:
            self.text += data

    @property
    def flat(self):
        return " ".join(self.text.split())


def page_of(path):
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert all(a.startswith(("data:", "#")) for a in page.addresses)
    assert page.handlers == []
    assert "default-src 'none'" in page.policy
    for script in page.scripts:
        mark = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{mark}'" in page.policy
    return page


def change(study, strategy, seed, edit):
    """The study with the rounds of one run edited."""
    runs = [
        dataclasses.replace(r, rounds=edit(list(r.rounds))) if (r.strategy, r.seed) == (strategy, seed) else r
        for r in study.runs
    ]
    return dataclasses.replace(study, runs=runs)


def with_metric(index, value):
    def edit(rounds):
        rounds[index] = dataclasses.replace(rounds[index], metrics=rounds[index].metrics | {"accuracy": value})
        return rounds

    return edit


class TestHeadline:
    def test_better(self):
        text = headline(made_up_study())
        assert re.fullmatch(
            r"margin reached random's best accuracy of 0\.\d{3} with \d+ % fewer labels "
            r"\(95 % interval \d+ to \d+ %, 5 seeds\)\.",
            text,
        )

    def test_the_numbers_are_those_of_the_statistics(self):
        study = made_up_study()
        curves = curves_of(study)
        expected = savings(curves.labels_B, curves.values["margin"], curves.values["random"])
        assert f"{round(100 * expected.saved.mean)} % fewer" in headline(study)

    def test_same_as_random(self):
        text = headline(made_up_study(slopes={"random": 0.55, "margin": 0.552, "entropy": 0.548}))
        assert text.startswith("No strategy was reliably better than random.")
        assert "95 % interval" in text

    def test_worse(self):
        text = headline(made_up_study(slopes={"random": 0.7, "margin": 0.5, "entropy": 0.45}))
        assert text.startswith("No strategy was better than random. The nearest, margin: -0.")

    @pytest.mark.heavy
    def test_few_seeds(self):
        assert headline(made_up_study(seeds=3)).endswith("With only 3 seeds this is a hint, not a claim.")

    def test_one_seed(self):
        text = headline(made_up_study(seeds=1))
        assert "no evidence" in text
        assert "interval" in text
        assert "fewer labels" not in text

    def test_nothing_to_compare(self):
        assert headline(made_up_study(runs=[])).startswith("No run")
        assert "nothing to compare it with" in headline(made_up_study(slopes={"margin": 0.6}))

    def test_lower_is_better(self):
        summary = summarise(made_up_study(primary="nll", higher_is_better=False))
        text = headline(summary)
        assert text.startswith("margin reached random's best NLL of ")
        assert summary.row("margin").against.difference.mean < 0
        assert summary.row("margin").savings[-1].target > 0

    def test_a_study_at_chance_claims_nothing(self):
        """Made-up curves go from .45 to .9: against a level of .97 none of that was learnt."""
        level = Chance(0.97, "naming 'a' every time", images=360)
        found = headline(made_up_study(chance=level))
        assert re.match(
            r"Nothing was learnt: the best mean accuracy of all rounds, 0\.\d{3} \(margin with 120 labels\)", found
        )
        assert "from the 0.970 that naming 'a' every time gives on 360 test images" in found
        assert headline(made_up_study(chance=Chance(0.1, "naming 'a' every time", images=360))).startswith(
            "margin reached"
        )

    def test_what_a_few_test_images_cannot_tell_from_chance_is_not_learnt(self):
        flat = {"random": 0.0, "margin": 0.0}
        assert headline(made_up_study(slopes=flat, chance=Chance(0.4, "a guess", images=360))).startswith(
            "margin was not"
        )
        assert headline(made_up_study(slopes=flat, chance=Chance(0.4, "a guess", images=40))).startswith(
            "Nothing was learnt"
        )

    @pytest.mark.heavy
    def test_at_chance_no_tile_speaks_of_savings(self, tmp_path):
        study = made_up_study(chance=Chance(0.97, "naming 'a' every time", images=360))
        page = write_study_report(study, tmp_path / "page.html").read_text()
        assert page.index("Nothing was learnt") < page.index("Learning curves</h2>")
        assert "labels saved by" not in page
        assert "labels saved by" in write_study_report(made_up_study(), tmp_path / "other.html").read_text()

    def test_a_reliable_lead_goes_before_a_larger_noisy_one(self):
        study = made_up_study(slopes={"random": 0.55, "steady": 0.58, "wild": 0.55})
        rng = np.random.default_rng(0)
        for seed in range(5):
            for i in range(1, 6):
                study = change(study, "wild", seed, with_metric(i, float(0.55 + seed * 0.12 + rng.normal(0, 0.02))))
        summary = summarise(study)
        assert summary.row("wild").against.difference.mean > summary.row("steady").against.difference.mean
        assert best_row(summary).strategy == "steady"

    def test_not_reached_is_said(self):
        study = made_up_study()
        study = change(study, "random", 2, with_metric(5, 0.999))
        text = headline(study)
        assert "in 4 of 5 seeds" in text
        assert "fewer labels" not in text


class TestSummary:
    def test_curves(self):
        study = made_up_study()
        curves = curves_of(study)
        assert curves.labels_B.tolist() == LABELS
        assert curves.seeds == (0, 1, 2, 3, 4)
        run = next(r for r in study.runs if (r.strategy, r.seed) == ("margin", 3))
        assert curves.values["margin"][3].tolist() == [r.metrics["accuracy"] for r in run.rounds]
        assert curves.off_grid == ()

    def test_order_of_runs_changes_nothing(self):
        study = made_up_study()
        shuffled = dataclasses.replace(study, runs=study.runs[::-1])
        a, b = summarise(study), summarise(shuffled)
        for row in a.rows:
            assert row.area == b.row(row.strategy).area
            assert row.savings == b.row(row.strategy).savings

    def test_unfinished_run(self):
        study = change(made_up_study(), "margin", 4, lambda rounds: rounds[:2])
        summary = summarise(study)
        assert summary.curves.labels_B.tolist() == LABELS
        assert np.isnan(summary.curves.values["margin"][4, 2:]).all()
        assert summary.row("margin").against.difference.n == 4
        assert summary.row("margin").savings[-1].pairs == 4

    def test_unfinished_is_named(self):
        study = made_up_study()
        runs = [dataclasses.replace(r, finished=(r.strategy, r.seed) != ("margin", 4)) for r in study.runs]
        assert any("margin (4 of 5)" in n for n in summarise(dataclasses.replace(study, runs=runs)).notes)

    def test_other_label_counts_are_interpolated_and_said(self):
        study = made_up_study()
        other = [made_up_run("slow", s, 0.5, labels=(20, 60, 100, 140)) for s in range(5)]
        summary = summarise(dataclasses.replace(study, runs=[*study.runs, *other]))
        assert summary.curves.off_grid == ("slow",)
        values, run = summary.curves.values["slow"][0], other[0]
        expected = np.interp(LABELS, (20, 60, 100, 140), [r.metrics["accuracy"] for r in run.rounds])
        assert values == pytest.approx(expected)
        assert any("interpolated" in n for n in summary.notes)

    def test_two_runs_of_one_seed(self):
        study = made_up_study()
        with pytest.raises(DataError, match="two runs of 'random' with seed 0"):
            summarise(dataclasses.replace(study, runs=[*study.runs, study.runs[0]]))

    def test_labels_that_fall(self):
        study = change(made_up_study(), "margin", 0, lambda rounds: rounds[::-1])
        with pytest.raises(DataError, match="fall from round to round"):
            summarise(study)

    def test_unknown_baseline(self):
        with pytest.raises(ConfigError, match="did you mean 'margin'"):
            summarise(made_up_study(), baseline="margn")

    def test_diverged_is_flagged_and_kept(self):
        study = change(made_up_study(), "margin", 1, with_metric(3, 0.1))
        summary = summarise(study)
        assert list(summary.flagged) == [("margin", 1)]
        assert summary.row("margin").against.difference.n == 5
        assert summary.curves.values["margin"][1, 3] == 0.1
        assert any("Looks diverged: margin, seed 1, at 80 labels" in n for n in summary.notes)
        assert any("Without the flagged runs" in n for n in summary.notes)

    def test_a_shared_diverged_fit_is_named_once(self):
        study = made_up_study()
        for name in SLOPES:
            study = change(study, name, 2, with_metric(0, 0.05))
        notes = [n for n in summarise(study).notes if "Looks diverged" in n]
        assert len(notes) == 1
        assert "random, margin, entropy, kmeans, seed 2, at 20 labels" in notes[0]

    def test_unpaired_starts_are_found(self):
        def other_start(rounds):
            return [dataclasses.replace(rounds[0], fit_key="elsewhere", train_loss=9.0), *rounds[1:]]

        study = change(made_up_study(), "margin", 1, other_start)
        assert unpaired_seeds(made_up_study()) == []
        assert unpaired_seeds(study) == [1]
        assert any("seed 1" in n for n in summarise(study).notes)

    def test_another_training_of_the_same_model_is_paired(self):
        """As that with a head which is detached from it: it measures itself, and the model is what it was."""

        def with_head(rounds):
            metrics = {**rounds[0].metrics, "head_ranking_accuracy": 0.6}
            return [dataclasses.replace(rounds[0], fit_key="with a head", metrics=metrics), *rounds[1:]]

        assert unpaired_seeds(change(made_up_study(), "margin", 1, with_head)) == []

    def test_no_random(self):
        summary = summarise(made_up_study(slopes={"margin": 0.6, "entropy": 0.5}))
        assert summary.baseline == "margin"
        assert any("Random was not run" in n for n in summary.notes)

    def test_shared_start_has_no_test(self):
        tests = summarise(made_up_study()).by_budget["margin"]
        assert math.isnan(tests[0].p_holm)
        assert all(t.p_holm < 1 for t in tests[1:])

    def test_costs_leave_out_what_only_repeats_the_labels(self):
        summary = summarise(made_up_study())
        assert list(costs_of(summary.study, summary.curves)) == ["seconds"]

    def test_class_balance_leaves_out_the_initial_set(self):
        picks = picks_by_class(made_up_study())
        assert sum(picks["margin"].values()) == pytest.approx(100)


class TestStudyReport:
    @pytest.mark.heavy
    def test_whole(self, tmp_path):
        path = write_study_report(made_up_study(), tmp_path / "deep" / "report.html", image_of=digit)
        page = page_of(path)
        assert len(page.scripts) == 1, "the one that opens pictures"
        for words in (
            "Learning curves",
            "Labels saved at equal accuracy",
            "Class balance",
            "Checklist",
            "How to repeat",
        ):
            assert words in page.text
        assert headline(made_up_study()).replace(" %", "\u00a0%") in page.text
        assert "labelwise compare digits/" in page.text
        assert page.tags.count("picture") == 2  # curves, and cost in seconds
        assert not list(path.parent.glob("*.part"))

    @pytest.mark.parametrize("seeds", [1, 2])
    def test_few_seeds(self, tmp_path, seeds):
        page = page_of(write_study_report(made_up_study(seeds=seeds), tmp_path / "r.html"))
        assert ("no interval, no test" in page.text) == (seeds == 1)

    @pytest.mark.heavy
    @pytest.mark.parametrize(
        "study",
        [
            made_up_study(runs=[]),
            made_up_study(runs=[RunRecord(strategy="random", seed=0, rounds=[], finished=False)]),
            made_up_study(slopes={"random": 0.5}),
            made_up_study(settings={}, environment={}, pool={}, full=None),
            made_up_study(full=[0.9]),
            made_up_study(full=[math.nan]),
            made_up_study(primary="nll", higher_is_better=False),
            made_up_study(primary="never_measured"),
        ],
        ids=["no runs", "no rounds", "random only", "nothing said", "full once", "full failed", "loss", "no metric"],
    )
    def test_odd_studies(self, tmp_path, study):
        page = page_of(write_study_report(study, tmp_path / "r.html", image_of=digit))
        assert "Checklist" in page.text
        study_table(study, width=80)

    @pytest.mark.heavy
    def test_one_round(self, tmp_path):
        study = made_up_study()
        study = dataclasses.replace(study, runs=[dataclasses.replace(r, rounds=r.rounds[:1]) for r in study.runs])
        page_of(write_study_report(study, tmp_path / "r.html", image_of=digit))

    @pytest.mark.heavy
    def test_names_cannot_break_out(self, tmp_path):
        slopes = {name: 0.5 + i / 50 for i, name in enumerate(["random", *NASTY])}
        study = made_up_study(seeds=2, slopes=slopes, name=NASTY[0], warnings=[NASTY[0]])
        runs = [
            dataclasses.replace(
                r, rounds=[dataclasses.replace(r.rounds[0], picked=NASTY, notes=[NASTY[0]]), *r.rounds[1:]]
            )
            for r in study.runs
        ]
        study = dataclasses.replace(study, runs=runs, settings={NASTY[0]: NASTY[1]}, pool={"classes": NASTY})
        page = page_of(write_study_report(study, tmp_path / "r.html", image_of=digit))
        assert len(page.scripts) == 1, "the one that opens pictures"
        assert "{{ 7 * 7 }}" in page.text
        assert NASTY[0] in page.titles
        assert r"line\nbreak\tand tab.png" in page.titles

    @pytest.mark.heavy
    def test_many_classes(self, tmp_path):
        classes = tuple(f"species {i}" for i in range(200))
        runs = [
            made_up_run(s, seed, 0.6, labels=(200, 300), classes=classes) for s in ("random", "m") for seed in (0, 1)
        ]
        study = made_up_study(runs=runs, pool={"classes": list(classes), "class_counts": dict.fromkeys(classes, 3)})
        page = page_of(write_study_report(study, tmp_path / "r.html"))
        assert "30 of 200 classes" in page.flat

    @pytest.mark.heavy
    def test_pictures_that_fail_cost_nothing(self, tmp_path):
        def broken(item):
            raise ValueError(item)

        page = page_of(write_study_report(made_up_study(seeds=2), tmp_path / "r.html", image_of=broken))
        assert "could not be decoded" in page.text

    @pytest.mark.heavy
    def test_examples_are_opened(self, tmp_path):
        study = made_up_study(seeds=2)
        first = study.runs[0].rounds[0].picked[0]
        Image.new("RGB", (30, 30), "red").save(tmp_path / "one.png")
        study = dataclasses.replace(study, examples={first: str(tmp_path / "one.png"), "gone": "/nowhere.png"})
        page = page_of(write_study_report(study, tmp_path / "r.html"))
        assert sum(a.startswith("data:image/jpeg") for a in page.addresses) == 1

    @pytest.mark.heavy
    def test_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("x")
        with pytest.raises(StateError, match=r"cannot write .*Choose a folder"):
            write_study_report(made_up_study(seeds=2), tmp_path / "file" / "r.html")

    @pytest.mark.heavy
    def test_same_study_same_page(self, tmp_path):
        a, b = (write_study_report(made_up_study(seeds=2), tmp_path / n, image_of=digit).read_bytes() for n in "ab")
        assert a == b


class TestChecklist:
    def lines(self, study):
        return {line.question: line for line in checklist(summarise(study))}

    def test_every_line_has_a_status_and_a_value(self):
        lines = checklist(summarise(made_up_study()))
        assert len(lines) == 33  # the lines of the checklist this follows, and the noise of training
        assert all(line.value for line in lines)
        assert {line.status for line in lines} == {"enforced", "printed", "warned", "not applicable"}

    def test_recorded_settings_are_printed(self):
        line = self.lines(made_up_study())["From scratch or warm start"]
        assert (line.status, line.value) == ("printed", "scratch")
        line = self.lines(made_up_study(settings={}))["From scratch or warm start"]
        assert (line.status, line.value) == ("warned", "not recorded")

    def test_a_pick_made_twice_is_found(self):
        def again(rounds):
            rounds[1] = dataclasses.replace(rounds[1], picked=rounds[0].picked)
            return rounds

        question = "Exactly the asked number of distinct, unlabelled items per round"
        assert self.lines(made_up_study())[question].status == "enforced"
        line = self.lines(change(made_up_study(), "margin", 1, again))[question]
        assert line.status == "warned"
        assert "margin, seed 1, round 1" in line.value

    def test_too_few_picks_are_found(self):
        def fewer(rounds):
            rounds[2] = dataclasses.replace(rounds[2], picked=rounds[2].picked[:7])
            return rounds

        line = self.lines(change(made_up_study(), "kmeans", 3, fewer))[
            "Exactly the asked number of distinct, unlabelled items per round"
        ]
        assert line.value == "kmeans, seed 3, round 2: 7 picked, 20 asked"

    def test_pairing_is_not_claimed_without_keys(self):
        study = made_up_study()
        for strategy, seed in [(r.strategy, r.seed) for r in study.runs]:
            study = change(study, strategy, seed, lambda rounds: [dataclasses.replace(r, fit_key="") for r in rounds])
        question = "Paired seeds: same initial set, split, weights and order of data"
        assert self.lines(study)[question].status == "warned"
        assert self.lines(made_up_study())[question].status == "enforced"

    def test_seeds(self):
        assert self.lines(made_up_study())["At least 5 seeds for a claim"].status == "enforced"
        assert self.lines(made_up_study(seeds=4))["At least 5 seeds for a claim"].status == "warned"


class TestCurves:
    @pytest.mark.heavy
    @pytest.mark.parametrize("look", [Look(), Look(dark=True, width=4, height=3, dpi=100)], ids=["wide", "narrow"])
    @pytest.mark.parametrize("log_x", [False, True])
    def test_png(self, look, log_x):
        with Image.open(
            io.BytesIO(learning_curves(summarise(made_up_study(seeds=2)), look=look, log_x=log_x))
        ) as image:
            assert image.format == "PNG"
            assert image.width == round(look.width * look.dpi)

    @pytest.mark.heavy
    def test_files(self, tmp_path):
        written = write_curves(summarise(made_up_study(seeds=2)), tmp_path / "png")
        assert [p.name for p in written] == ["curves.png", "curves-seconds.png", "class-balance.png"]

    @pytest.mark.heavy
    def test_names_that_mean_something_to_matplotlib(self):
        slopes = {"random": 0.5, "$x_1$": 0.6, "_nolegend_": 0.55, "a$b": 0.5, "日本": 0.5, "\\frac": 0.4, "n\nl": 0.45}
        summary = summarise(made_up_study(seeds=2, slopes=slopes))
        for look in (Look(dpi=50), Look(width=4, height=3, dpi=50)):
            assert learning_curves(summary, look=look)
            assert class_balance(summary, look=look)

    @pytest.mark.heavy
    def test_more_strategies_than_fit_beside(self):
        slopes = {"random": 0.5} | {f"strategy number {i}": 0.5 + i / 100 for i in range(25)}
        assert learning_curves(summarise(made_up_study(seeds=2, slopes=slopes)), look=Look(dpi=50))

    def test_log_axis_with_a_start_at_zero(self):
        runs = [made_up_run("random", s, 0.5, labels=(0, 10, 20)) for s in (0, 1)]
        assert learning_curves(summarise(made_up_study(runs=runs)), look=Look(dpi=50), log_x=True)

    def test_no_global_state(self):
        import sys

        assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()

    @given(st.lists(st.floats(0, 10), min_size=1, max_size=12))
    def test_spread_never_overlaps(self, wanted):
        placed = np.sort(spread(np.array(wanted), 0.5, 10.0))
        assert (np.diff(placed) >= 0.5 - 1e-6).all()
        assert placed[0] >= -1e-6
        assert placed[-1] <= 10 + 1e-6

    def test_spread_leaves_what_fits(self):
        assert spread(np.array([3.0, 1.0, 2.0]), 0.5, 10.0).tolist() == [3.0, 1.0, 2.0]


class TestThumbnails:
    @pytest.mark.parametrize(
        "mode", ["1", "L", "P", "LA", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"]
    )
    def test_modes(self, mode):
        source = Image.new(mode, (300, 200))
        with Image.open(io.BytesIO(thumbnail(source, size=160))) as image:
            assert image.format == "JPEG"
            assert image.size == (160, 107)
        assert source.size == (300, 200)

    def test_16_bit_is_stretched_not_clipped(self):
        source = Image.fromarray(np.linspace(1000, 60000, 100 * 100).reshape(100, 100).astype(np.uint16))
        with Image.open(io.BytesIO(thumbnail(source))) as image:
            values = np.asarray(image)
        assert values.min() < 5
        assert values.max() > 250
        assert 110 < values.mean() < 145

    def test_small_images_grow_in_whole_pixels(self):
        with Image.open(io.BytesIO(thumbnail(Image.new("L", (8, 6)), size=96))) as image:
            assert image.size == (64, 48)

    def test_broken_images_are_none_and_counted(self):
        def image_of(item):
            if item == "raises":
                raise OSError
            if item == "cut":
                data = io.BytesIO()
                Image.effect_noise((200, 200), 50).save(data, "JPEG")
                return Image.open(io.BytesIO(data.getvalue()[:900]))
            return None

        thumbnails = Thumbnails(image_of)
        assert [thumbnails.uri(i) for i in ("none", "raises", "cut", "cut")] == [None] * 4
        assert thumbnails.failed == ["none", "raises", "cut"]
        assert thumbnails.total == 0


def made_up_picks(count):
    return [
        Pick(
            id=NASTY[i] if i < len(NASTY) else f"photos/{i:05d}.jpg",
            path="anywhere",
            rank=i,
            score=None if i % 5 == 0 else 1 - i / 1000,
            predicted=[None, "cat", "<b>dog", "=x"][i % 4],
            probability=None if i % 3 == 0 else 0.5,
        )
        for i in range(count)
    ]


class TestGallery:
    def test_whole(self, tmp_path):
        picks = made_up_picks(20)
        path = write_gallery(
            tmp_path / "g.html",
            picks[::-1],
            image_of=digit,
            title="Round <3>",
            subtitle="margin & co",
            classes=["=x", "cat"],
        )
        page = page_of(path)
        assert len(page.scripts) == 2
        assert page.text.index("#1") < page.text.index("#2") < page.text.index("#20")
        assert "Round <3>" in page.text
        assert NASTY[0] in page.titles
        assert r"\u202egnp.exe" in page.titles
        assert page.flat.split("All predictions")[1].startswith(" =x (5) cat (5) <b>dog (5)")

    def test_without_scores_and_predictions(self, tmp_path):
        picks = [Pick(id=f"{i}.png", path="", rank=i) for i in range(3)]
        page = page_of(write_gallery(tmp_path / "g.html", picks, image_of=digit, title="Round 0"))
        assert "All predictions" not in page.text
        assert "Highest score" not in page.text

    def test_scores_that_are_not_finite(self, tmp_path):
        picks = [Pick(id="a", path="", rank=0, score=math.nan, predicted="x", probability=math.inf)]
        assert "nan" not in page_of(write_gallery(tmp_path / "g.html", picks, image_of=digit, title="R")).text

    def test_none(self, tmp_path):
        assert "No picks" in page_of(write_gallery(tmp_path / "g.html", [], image_of=digit, title="R")).text

    @pytest.mark.heavy
    def test_a_thousand_photos(self, tmp_path):
        photo = Image.effect_noise((640, 480), 40).convert("RGB")
        path = write_gallery(tmp_path / "g.html", made_up_picks(1000), image_of=lambda _: photo, title="Round 1")
        page = page_of(path)
        assert page.tags.count("img") == 1000
        assert path.stat().st_size < 8 * 2**20  # noise is the worst case for JPEG

    def test_what_cannot_be_decoded_has_a_placeholder(self, tmp_path):
        page = page_of(write_gallery(tmp_path / "g.html", made_up_picks(3), image_of=lambda _: None, title="R"))
        assert page.text.count("no preview") == 3
        assert "3 could not be decoded" in page.text


class TestProject:
    def test_whole(self, tmp_path):
        rounds = made_up_study(seeds=1).runs[1].rounds
        state = ProjectState(
            name=NASTY[0],
            task="classification",
            strategy="margin",
            progress={"labelled": 120, "pending": 18, "skipped": 2, "unlabelled": 860},
            rounds=rounds,
            picks={0: made_up_picks(10), 1: made_up_picks(60)},
            class_counts={"cat": 80, "<b>": 40, "owl": 0},
            cost={"images": 120.0, "seconds": 812.0},
            measured_on="40 validation images",
            next_steps=["labelwise export"],
            warnings=["small"],
        )
        page = page_of(write_project_report(state, tmp_path / "p.html", image_of=digit))
        assert "120 of 1,000 images labelled, 18 asked and not answered yet" in page.text
        assert "No label yet: owl" in page.text
        assert "Measured on 40 validation images" in page.text
        assert page.text.index("Round 1") < page.text.index("Round 0")
        for claim in ("better than", "fewer labels", "reliably"):
            assert claim not in page.text

    def test_before_the_first_label(self, tmp_path):
        state = ProjectState(name="p", task="classification", strategy="kmeans", progress={"unlabelled": 10})
        page = page_of(write_project_report(state, tmp_path / "p.html"))
        assert "0 of 10 images labelled." in page.text

    def test_what_became_of_guesses(self, tmp_path):
        fates = {0: {"drawn": 7}, 2: {"accepted": 3, "corrected": 1, "drawn": 2}}
        state = ProjectState(name="p", task="detection", strategy="m", progress={"labelled": 5}, fates=fates)
        page = page_of(write_project_report(state, tmp_path / "p.html"))
        assert "What became of the model's guesses" in page.text
        assert "75\N{NO-BREAK SPACE}%" in page.text
        plain = page_of(write_project_report(dataclasses.replace(state, fates={}), tmp_path / "q.html"))
        assert "What became of" not in plain.text

    def test_no_metrics(self, tmp_path):
        rounds = [RoundRecord(round=0, labels=5, metrics={})]
        state = ProjectState(name="p", task="classification", strategy="m", progress={"labelled": 5}, rounds=rounds)
        page = page_of(write_project_report(state, tmp_path / "p.html", image_of=digit))
        assert "picture" not in page.tags


class TestTable:
    @pytest.mark.heavy
    @pytest.mark.parametrize("width", [80, 120])
    @pytest.mark.parametrize("seeds", [1, 3, 5])
    def test_fits(self, width, seeds):
        slopes = SLOPES | {"stratified_random": 0.56, "typiclust(k=20)": 0.6}
        console = Console(width=width, record=True, file=io.StringIO())
        console.print(study_table(made_up_study(seeds=seeds, slopes=slopes), width=width))
        lines = console.export_text().splitlines()
        assert all(len(line) <= width for line in lines)
        assert "…" not in "".join(lines)
        text = "\n".join(lines)
        for name in slopes:
            assert name in text
        assert "peak" in text

    def test_markup_in_names(self):
        console = Console(width=120, record=True, file=io.StringIO())
        console.print(study_table(made_up_study(seeds=2, slopes={"random": 0.5, "[red]x[/red]": 0.6}), width=120))
        assert "[red]x[/red]" in console.export_text()

    def test_not_reached_is_said(self):
        console = Console(width=120, record=True, file=io.StringIO())
        console.print(study_table(made_up_study(slopes={"random": 0.7, "m": 0.4}), width=120))
        assert "not reached" in console.export_text()
