"""Rows of a study with learners of their own: the same start, trainings shared, and said wherever rows are compared."""

from __future__ import annotations

from collections import Counter

import pytest

import tiny
from commands import as_json, refused, run
from labelwise.config import RecipeConfig, parse
from labelwise.errors import ConfigError, LabelwiseError
from labelwise.report.checklist import checklist
from labelwise.report.summary import summarise, unpaired_seeds
from labelwise.report.table import study_table
from labelwise.studies.comparison import Comparison, compare_strategies
from labelwise.studies.settings import learners_apart

SOURCE = tiny.digits(80, test=20)
LEARNERS = {"plain": {"kind": "tiny:counting_learner"}, "pair": {"kind": "test_rows_with_learners:pair"}}
ROWS = [
    {"name": "random", "learner": "plain"},
    {"name": "margin", "learner": "plain"},
    {"name": "margin", "learner": "pair"},
    {"name": "random", "learner": "pair"},
]


def pair(task):
    """An ensemble of two."""
    return tiny.CountingLearner(task, tiny.TinyNet, phases=tiny.FAST, batch_size=32, members=2)


def _recipe(**changes) -> RecipeConfig:
    values = {
        "data": {"source": "unused"}, "task": {"name": "classification", "augment": "none"},
        "input": {"size": 16, "channels": 1}, "features": {"backbone": "pixels", "size": 8},
        "learners": LEARNERS, "strategies": ROWS, "initial": 10, "batch": 5, "rounds": 1, "seeds": [0], "full": False,
        "again": 1,
    }  # fmt: skip
    return parse(RecipeConfig, values | changes, where="test")


pytestmark = pytest.mark.usefixtures("counted_anew")


@pytest.mark.heavy
def test_rows_of_one_learner_share_what_is_the_same(tmp_path):
    study = Comparison(_recipe(), SOURCE, tmp_path).run()
    assert [(run.strategy, run.learner) for run in study.runs] == [
        ("random with plain", "plain"), ("margin with plain", "plain"),
        ("margin with pair", "pair"), ("random with pair", "pair"),
    ]  # fmt: skip
    assert Counter(labels for labels, _ in tiny.FITS) == {10: 2 + 1, 15: 4 + 1}, "once a learner, and twice again"
    assert len({seed for labels, seed in tiny.FITS if labels == 10}) == 2, "one seed, and that of the one again"
    firsts = [run.rounds[0] for run in study.runs]
    assert len({str(first.class_counts) for first in firsts}) == 1, "all start from the same labels"
    keys = [first.fit_key for first in firsts]
    assert keys[0] == keys[1] != keys[2] == keys[3]
    assert firsts[0].picked == firsts[3].picked, "random draws the same, whatever is trained"
    assert [bool(run.again) for run in study.runs] == [True, False, False, False]
    folders = sorted(place.name.rpartition("-")[0] for place in (tmp_path / "runs").iterdir())
    assert folders == ["margin-pair", "margin-plain", "random-pair", "random-plain"]

    summary = summarise(study)
    assert summary.baseline == "random with plain"
    assert unpaired_seeds(study) == []
    lines = {line.question: line for line in checklist(summary)}
    framework = lines["Same framework, augmentation and schedule for all rows"]
    assert framework.status == "warned"
    assert framework.value.startswith("2 learners: plain: random with plain, margin with plain; pair: margin with")
    paired = lines["Paired seeds: same initial set, split, weights and order of data"]
    assert "between rows of one learner" in paired.value
    assert study.settings["rows"]["margin with pair"] == "pair"
    assert study.settings["full"] == "trained by plain"
    assert any("trained by another learner than the baseline random with plain" in note for note in summary.notes)
    assert study_table(summary, width=160).row_count == 4
    done = len(tiny.FITS)
    assert Comparison(_recipe(), SOURCE, tmp_path).run().to_json() == study.to_json()
    assert len(tiny.FITS) == done


@pytest.mark.heavy
def test_interrupted_before_every_training_and_resumed(tmp_path):
    changes = {"strategies": ROWS[:3], "again": 0}
    whole = Comparison(_recipe(**changes), SOURCE, tmp_path / "whole").run()
    expected = len(tiny.FITS)
    study = tiny.interrupted(lambda: Comparison(_recipe(**changes), SOURCE, tmp_path / "stopped").run(), expected)
    assert len(tiny.FITS) == expected, "nothing is trained twice"
    assert [[r.metrics for r in run.rounds] for run in study.runs] == [
        [r.metrics for r in run.rounds] for run in whole.runs
    ]


@pytest.mark.heavy
def test_on_the_command_line_with_two_heads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = """
    data: {source: "tiny:digits", test_share: 0.4}
    features: {backbone: pixels, size: 8}
    learners: {plain: {}, near: {head: knn}, idle: {strength: 2.0}}
    strategies: [{name: random, learner: plain}, {name: margin, learner: plain}, {name: margin, learner: near}]
    initial: 10
    batch: 5
    rounds: 1
    seeds: 2
    """
    (tmp_path / "heads.yaml").write_text(recipe.replace("\n    ", "\n"))
    checked = run("check", "heads.yaml").output
    assert "6 runs of 1 rounds" in checked
    assert "note: no row is trained by idle" in checked
    told = run("compare", "heads.yaml").stderr
    assert "note: no row is trained by idle: write 'learner: NAME' into a row" in told
    found = as_json("compare", "heads.yaml")
    assert [row["strategy"] for row in found["strategies"]] == [
        "random with plain", "margin with plain", "margin with near",
    ]  # fmt: skip
    page = (tmp_path / "runs" / "heads" / "report.html").read_text()
    assert "margin with near" in page
    (tmp_path / "heads.yaml").write_text(recipe.replace("\n    ", "\n").replace("learner: near", "learner: neer"))
    assert "unknown learner 'neer': did you mean 'near' or 'learner'? Allowed: idle, learner, near, plain" in refused(
        "compare", "heads.yaml"
    )


# ---- refused, or said -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategies": [{"name": "margin", "learner": "pear"}]}, "unknown learner 'pear': did you mean 'pair'"),
        ({"learners": {"learner": {}}, "strategies": ["margin"]}, "cannot be called 'learner'"),
        ({"learners": {"a/b": {}}, "strategies": ["margin"]}, "learners.*pattern"),
        ({"learners": {"a": {"hed": "knn"}}, "strategies": ["margin"]}, "did you mean 'head'"),
        ({"learners": {"a": {}}, "strategies": ["margin", {"name": "margin", "learner": "a"}]}, "listed twice"),
        ({"strategies": [ROWS[0], ROWS[0]]}, "listed twice"),
        ({"strategies": [{"name": "margin", "title": "x"}, {"name": "entropy", "title": "x"}]}, "listed twice"),
    ],
)  # fmt: skip
def test_a_recipe_that_cannot_be_meant_is_refused_in_one_line(changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        _recipe(**changes)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_a_row_keeps_what_it_is_called():
    rows = _recipe(strategies=["random", {"name": "margin", "noise": "power", "learner": "pair"},
                               {"name": "margin", "title": "ours", "learner": "pair"}]).strategies  # fmt: skip
    assert [row.label for row in rows] == ["random", "margin(noise=power) with pair", "ours"]
    assert rows[1].identity == {"name": "margin", "options": {"noise": "power"}}


def test_what_rows_with_learners_mean_is_said():
    assert learners_apart(_recipe(strategies=["random", "margin"], learners={})) == []
    both = learners_apart(_recipe(strategies=["random", {"name": "margin", "learner": "pair"}]))
    assert both[0].startswith("margin with pair: trained by another learner than the baseline random, so")
    assert both[1] == "no row is trained by plain: write 'learner: NAME' into a row, or leave it out"
    own = learners_apart(_recipe(strategies=ROWS[:2], learner={"head": "knn"}))
    assert own == [
        "no row is trained by pair, learner (the recipe's own): write 'learner: NAME' into a row, or leave it out"
    ]


def test_needs_are_checked_with_the_learner_of_the_row(tmp_path):
    heads = {"learners": {"near": {"head": "knn"}}, "learner": {"kind": "tiny:counting_learner"}}
    Comparison(_recipe(**heads, strategies=["learning_loss"]), SOURCE, tmp_path).check()
    row = {"name": "learning_loss", "learner": "near"}
    with pytest.raises(LabelwiseError, match="learning_loss"):
        Comparison(_recipe(**heads, strategies=["random", row]), SOURCE, tmp_path).check()


def test_what_cannot_go_together_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="a learner made in Python is every row's"):
        compare_strategies(
            SOURCE, tiny.counting_learner, out=tmp_path, learners=LEARNERS, strategies=ROWS, initial=10, batch=5
        )
    learners = {"a": {"kind": "torch", "model": "lenet"}, "b": {"kind": "torch", "model": "resnet18_cifar"}}
    rows = [{"name": "random", "learner": "a"}, {"name": "margin", "learner": "b"}]
    with pytest.raises(ConfigError, match=r"pretrain trains one network for all rows, .* lenet and resnet18_cifar"):
        Comparison(_recipe(learners=learners, strategies=rows, pretrain={"epochs": 1}), SOURCE, tmp_path).check()
