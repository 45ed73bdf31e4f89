"""Picks of methods that change the training, judged by one plain learner: a second curve, and no training twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import pytest

import painted
import tiny
from commands import as_json, run
from labelwise.campaign.records import Study, read_study
from labelwise.campaign.store import Store
from labelwise.config import RecipeConfig, parse
from labelwise.errors import ConfigError
from labelwise.report.checklist import checklist
from labelwise.report.judged import judged, said
from labelwise.report.summary import headline, summarise
from labelwise.rng import seed_of
from labelwise.strategies.margin import Margin
from labelwise.studies.comparison import Comparison, compare_strategies
from labelwise.studies.judging import FILE, changes_training, to_judge
from labelwise.studies.settings import learners_apart, study_settings

SOURCE = tiny.digits(80, test=20)
PAIR, HEADED = {"kind": "test_judged_picks:pair"}, {"name": "test_judged_picks:Headed"}


@dataclass(frozen=True)
class Headed(Margin):
    """Margin that trains a head beside the model, which learns from it unless it is detached."""

    name = "headed"
    detached: bool = False

    def auxiliaries(self):
        return (tiny.LossHead(detached=self.detached),)


def pair(task):
    """An ensemble of two."""
    return tiny.CountingLearner(task, tiny.TinyNet, phases=tiny.FAST, batch_size=32, members=2)


def _recipe(**changes) -> RecipeConfig:
    values = {
        "data": {"source": "unused"}, "task": {"name": "classification", "augment": "none"},
        "input": {"size": 16, "channels": 1}, "learner": {"kind": "tiny:counting_learner"}, "learners": {"pair": PAIR},
        "strategies": ["random", HEADED, {**HEADED, "detached": True}, {"name": "margin", "learner": "pair"}],
        "judge": "learner", "initial": 10, "batch": 5, "rounds": 1, "seeds": [0], "full": False, "again": 1,
    }  # fmt: skip
    return parse(RecipeConfig, values | changes, where="test")


pytestmark = pytest.mark.usefixtures("counted_anew")


@pytest.mark.heavy
def test_the_judge_trains_on_what_each_row_labelled_and_nothing_twice(tmp_path):
    study = Comparison(_recipe(), SOURCE, tmp_path).run()
    plain, headed, detached, several = study.runs
    assert plain.judged == detached.judged == [], "these rows are the judge's trainings, or equal to them"
    assert detached.rounds[0].metrics == plain.rounds[0].metrics
    assert [(r.round, r.labels) for r in headed.judged] == [(r.round, r.labels) for r in several.judged] == [
        (0, 10), (1, 15),
    ]  # fmt: skip
    shared = plain.rounds[0].fit_key
    assert headed.judged[0].fit_key == several.judged[0].fit_key == shared
    assert headed.judged[0].metrics == plain.rounds[0].metrics != headed.rounds[0].metrics
    # four rows of two rounds, two trainings again, and of the judge one for each of the two rows
    assert Counter(labels for labels, _ in tiny.FITS) == {10: 4 + 1, 15: 4 + 2 + 1}

    # what the judge says is a plain training on the labels that the row had
    (folder,) = _folders(tmp_path, headed)
    store = Store(folder)
    pool = store.pool(before=1)
    ids = [pool.ids[position] for position in pool.labelled]
    store.close()
    assert len(ids) == 15
    assert set(headed.rounds[0].picked) < set(ids)
    learner = tiny.counting_learner(Comparison(_recipe(), SOURCE, tmp_path).runs.task)
    learner.fit(tiny.learner_data(SOURCE, ids), seed_of(0, "fit"))
    tests = [item for item in SOURCE.ids if SOURCE.roles.get(item) == "test"]
    assert learner.evaluate(tiny.view(SOURCE, tests))["accuracy"] == headed.judged[1].metrics["accuracy"]


def _folders(tmp_path, run):
    """Folders of runs whose picks these are."""
    return [
        place
        for place in sorted((tmp_path / "runs").glob("*/seed-0"))
        if (place / FILE).is_file() and run.rounds[0].fit_key in (place / FILE).read_text()
    ]


@pytest.mark.heavy
def test_both_curves_are_shown(tmp_path):
    study = Comparison(_recipe(), SOURCE, tmp_path).run()
    assert read_study(tmp_path / "study.json").to_json() == study.to_json()
    summary = summarise(study)
    found = judged(summary)
    assert found is not None
    rows = [row.strategy for row in found.summary.rows]
    assert rows == [row.strategy for row in summary.rows]
    assert found.summary.baseline == "random"
    headed = rows[1]
    assert list(found.training) == [headed, "margin with pair"]
    first = found.summary.curves.values
    assert len({values[0, 0] for values in first.values()}) == 1, "one learner, and one start"
    assert summary.curves.values[headed][0, 0] != first[headed][0, 0]
    assert (first["random"] == summary.curves.values["random"]).all()
    own, plain = summary.row(headed).area.mean, found.summary.row(headed).area.mean
    assert found.training[headed].mean == pytest.approx(own - plain)
    assert said(found).startswith("What the training itself gives, mean accuracy over the curve")
    assert headline(found.summary)
    assert found.summary.noise is not None, "the baseline is the judge's: its noise is known"
    lines = {line.question: line for line in checklist(summary)}
    line = lines["Methods that change network or loss reported in two ways"]
    assert line.status == "enforced"
    assert line.value == f"as trained, and their picks judged by learner: {headed}, margin with pair"


@pytest.mark.heavy
def test_interrupted_before_every_training_and_resumed(tmp_path):
    changes = {"strategies": ["random", HEADED], "again": 0}
    whole = Comparison(_recipe(**changes), SOURCE, tmp_path / "whole").run()
    expected = len(tiny.FITS)
    assert expected == 5
    study = tiny.interrupted(lambda: Comparison(_recipe(**changes), SOURCE, tmp_path / "stopped").run(), expected)
    assert len(tiny.FITS) == expected, "nothing is trained twice"
    assert [[r.metrics for r in one.judged] for one in study.runs] == [
        [r.metrics for r in one.judged] for one in whole.runs
    ]
    tiny.FITS.clear()
    tiny.STOP_AFTER[0] = None
    assert Comparison(_recipe(**changes), SOURCE, tmp_path / "stopped").run().to_json() == study.to_json()
    assert tiny.FITS == []


@pytest.mark.heavy
def test_a_judge_may_come_later_and_another_one_is_another(tmp_path):
    changes = {"strategies": ["random", HEADED], "again": 0}
    before = Comparison(_recipe(**changes, judge=None), SOURCE, tmp_path).run()
    assert len(tiny.FITS) == 4
    assert judged(summarise(before)) is None
    lines = {line.question: line for line in checklist(summarise(before))}
    line = lines["Methods that change network or loss reported in two ways"]
    assert (line.status, "name a judge" in line.value) == ("warned", True)
    after = Comparison(_recipe(**changes), SOURCE, tmp_path).run()
    assert len(tiny.FITS) == 5, "one set of labels that nobody had trained on without the head"
    assert [replace(one, judged=[], identity="") for one in after.runs] == [
        replace(one, identity="") for one in before.runs
    ], "the judge is the one thing that a run is known again by"
    other = Comparison(_recipe(**changes, judge="pair"), SOURCE, tmp_path).run()
    assert len(tiny.FITS) == 5 + 3
    assert [len(one.judged) for one in other.runs] == [2, 2], "random is not trained by that judge"
    by_pair = judged(summarise(other))
    assert by_pair is not None
    assert by_pair.learner == "pair"
    assert by_pair.summary.noise is None, "of that learner nothing was trained again"


@pytest.mark.heavy
def test_a_learner_made_in_python_is_the_judge_too(tmp_path):
    study = compare_strategies(
        SOURCE, tiny.counting_learner, strategies=["random", HEADED], judge="learner", out=tmp_path,
        task={"name": "classification", "augment": "none"}, input={"size": 16, "channels": 1},
        features={"backbone": "pixels", "size": 8}, initial=10, batch=5, rounds=1, seeds=1, full=False, again=0,
    )  # fmt: skip
    assert [len(one.judged) for one in study.runs] == [0, 2]
    assert study.runs[1].judged[0].fit_key == study.runs[0].rounds[0].fit_key
    assert len(tiny.FITS) == 5


@pytest.mark.heavy
def test_on_the_command_line_with_two_processes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "heads.yaml").write_text(
        "data: {source: 'tiny:digits', test_share: 0.4}\nfeatures: {backbone: pixels, size: 8}\n"
        "learners: {near: {head: knn}}\nstrategies: [random, {name: margin, learner: near}]\njudge: learner\n"
        "initial: 10\nbatch: 5\nrounds: 1\nseeds: 2\n"
    )
    shown = run("compare", "heads.yaml", "--workers", "2").stdout
    assert "The same picks, judged by the recipe's own learner (each row above as it was trained)" in shown
    assert "What the training itself gives" in shown
    found = as_json("compare", "heads.yaml")
    assert found["judged"]["learner"] == "learner"
    assert [row["strategy"] for row in found["judged"]["strategies"]] == ["random", "margin with near"]
    assert list(found["judged"]["training"]) == ["margin with near"]
    place = tmp_path / "runs" / "heads"
    assert (place / "curves-judged.png").is_file()
    page = (place / "report.html").read_text()
    assert "The same picks, judged by the recipe&#39;s own learner" in page
    assert "the curves differ by the picks alone" in page
    assert as_json("report", place)["judged"] == found["judged"]


@pytest.mark.heavy
def test_regions_are_judged_too(tmp_path):
    values = {
        "data": {"source": "unused"}, "task": {"name": "segmentation", "augment": "none"},
        "input": {"size": list(painted.INPUT)}, "learner": {"kind": "test_judged_picks:one_painter"},
        "learners": {"pair": {"kind": "test_judged_picks:two_painters"}}, "regions": {"count": 6}, "judge": "learner",
        "strategies": ["random", {"name": "entropy", "learner": "pair"}], "initial": 3, "batch": 6, "rounds": 1,
        "seeds": [0], "full": False, "again": 0,
    }  # fmt: skip
    study = Comparison(parse(RecipeConfig, values, where="x"), painted.Painted(20, test=6), tmp_path).run()
    plain, several = study.runs
    assert [r.labels for r in several.judged] == [3, 9]
    assert several.judged[0].fit_key == plain.rounds[0].fit_key
    judge, others = several.judged[1], (plain.rounds[1], several.rounds[1])
    assert judge.fit_key not in [record.fit_key for record in others]
    assert judge.train_loss not in [record.train_loss for record in others], "other labels, or another learner"


def one_painter(task):
    return painted.learner()


def two_painters(task):
    return painted.learner(members=2)


# ---- which rows, and refused ----------------------------------------------------------------------------------------


def test_heads_that_leave_the_model_as_it_is_change_no_training():
    assert not changes_training(Margin())
    assert changes_training(Headed())
    assert not changes_training(Headed(detached=True))
    rows = to_judge(_recipe(strategies=["random", "learning_loss", {"name": "learning_loss", "detached_from": 0.6}]))
    assert [row.options for row in rows] == [{"detached_from": 0.6}]


def test_a_judge_that_trains_every_row_is_said(tmp_path):
    lines = learners_apart(_recipe(strategies=["random", "margin"], learners={}))
    assert lines == ["judge: learner trains every row as it is, so that there is one curve for each"]
    assert learners_apart(_recipe(strategies=["random", HEADED], learners={})) == []
    only_detached = _recipe(strategies=["random", {**HEADED, "detached": True}], learners={})
    task = Comparison(only_detached, SOURCE, tmp_path).runs.task
    settings = study_settings(only_detached, SOURCE, task, tmp_path, None)
    assert (settings["judge"], settings["judged"]) == ("learner", [])
    study = Study(name="x", task="classification", primary="accuracy", runs=[], settings=settings)
    lines = {line.question: line.value for line in checklist(summarise(study))}
    assert "trains every row" in lines["Methods that change network or loss reported in two ways"]
    assert learners_apart(_recipe(strategies=["random"], judge="pair")) == [], "the judge is no idle learner"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"judge": "plain"}, "unknown learner 'plain'.* Allowed: learner, pair"),
        ({"judge": 3}, "judge"),
        ({"warm": True}, "judge trains on each set of labels from scratch: set warm: false"),
    ],
)
def test_a_judge_that_cannot_be_is_refused_in_one_line(changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        _recipe(**changes)
    assert "\n" not in str(caught.value)
