"""A simulated study: paired seeds, shared trainings, finished runs skipped, interrupted ones gone on with."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

import tiny
from labelwise.campaign.records import read_study, write_study
from labelwise.config import RecipeConfig, StrategyConfig, parse, read_yaml
from labelwise.errors import ConfigError, LabelwiseError
from labelwise.recipes import find
from labelwise.studies.comparison import Comparison
from labelwise.studies.settings import write_recipe

TIMINGS = ("fit_seconds", "collect_seconds", "select_seconds", "peak_mb")
SOURCE = tiny.digits(80, test=20)


def _recipe(**changes) -> RecipeConfig:
    values = {
        "data": {"source": "unused"},
        "input": {"size": 16, "channels": 1, "augment": "none"},
        "learner": {"kind": "tiny:counting_learner"},
        "features": {"backbone": "pixels", "size": 8},
        "strategies": ["random", "margin", {"name": "margin", "noise": "power"}, "kmeans"],
        "initial": 10,
        "batch": 5,
        "rounds": 2,
        "seeds": [0, 1],
        "full": False,
        "again": 0,
    }
    return parse(RecipeConfig, values | changes, where="test")


pytestmark = pytest.mark.usefixtures("counted_anew")


def _plain(study) -> dict:
    found = study.to_json()
    for run in found["runs"]:
        for record in [*run["rounds"], *run.get("again", [])]:
            for name in TIMINGS:
                record.pop(name)
    found["settings"].pop("command")
    return found


@pytest.mark.heavy
def test_round_0_is_trained_once_for_each_seed(tmp_path):
    study = Comparison(_recipe(), SOURCE, tmp_path).run()
    sizes = Counter(labels for labels, _ in tiny.FITS)
    assert sizes == {10: 2, 15: 2 * 4, 20: 2 * 4}
    assert len({seed for labels, seed in tiny.FITS if labels == 10}) == 2
    for seed in (0, 1):
        first = [run.rounds[0] for run in study.runs if run.seed == seed]
        assert len({record.fit_key for record in first}) == 1
        assert len({str(record.metrics) for record in first}) == 1
    assert [record.labels for record in study.runs[0].rounds] == [10, 15, 20]


@pytest.mark.heavy
def test_seeds_are_paired_and_differ(tmp_path):
    """The same initial set and the same weights for every strategy of a seed; other ones for another seed."""
    study = Comparison(_recipe(rounds=1), SOURCE, tmp_path).run()
    by_seed = {seed: [run for run in study.runs if run.seed == seed] for seed in (0, 1)}
    counts = {seed: {str(run.rounds[0].class_counts) for run in runs} for seed, runs in by_seed.items()}
    assert all(len(found) == 1 for found in counts.values())
    assert by_seed[0][0].rounds[0].fit_key != by_seed[1][0].rounds[0].fit_key
    assert by_seed[0][0].rounds[0].picked != by_seed[1][0].rounds[0].picked
    picks = [tuple(run.rounds[0].picked) for run in by_seed[0]]
    assert len(set(picks)) == 4, "each strategy picks by itself"


@pytest.mark.heavy
def test_finished_runs_are_skipped(tmp_path):
    first = Comparison(_recipe(), SOURCE, tmp_path).run()
    done = len(tiny.FITS)
    told = []
    again = Comparison(_recipe(), SOURCE, tmp_path, on_round=lambda *what: told.append(what)).run()
    assert len(tiny.FITS) == done
    assert told == []
    assert again.to_json() == first.to_json(), "timings too: nothing was done again"
    assert read_study(tmp_path / "study.json").to_json() == first.to_json()


@pytest.mark.heavy
def test_what_is_added_to_a_recipe_is_run_and_the_rest_is_kept(tmp_path):
    Comparison(_recipe(strategies=["margin"], seeds=[0]), SOURCE, tmp_path).run()
    assert [labels for labels, _ in tiny.FITS] == [10, 15, 20]
    Comparison(_recipe(strategies=["random", "margin"], seeds=[0]), SOURCE, tmp_path).run()
    assert [labels for labels, _ in tiny.FITS][3:] == [15, 20], "round 0 is found"
    more = Comparison(_recipe(strategies=["random", "margin"], seeds=[0], rounds=3), SOURCE, tmp_path).run()
    assert [labels for labels, _ in tiny.FITS][5:] == [25, 25], "more rounds go on where the run ended"
    assert [len(run.rounds) for run in more.runs] == [4, 4]
    fewer = Comparison(_recipe(strategies=["random", "margin"], seeds=[0], rounds=1), SOURCE, tmp_path).run()
    assert len(tiny.FITS) == 7
    assert [len(run.rounds) for run in fewer.runs] == [2, 2]
    Comparison(_recipe(strategies=["margin"], seeds=[0, 5]), SOURCE, tmp_path).run()
    assert [labels for labels, _ in tiny.FITS][7:] == [10, 15, 20], "another seed"


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("start", "warm"),
    [
        (None, False),
        ("kmeans", True),
        pytest.param(None, True, marks=pytest.mark.heavy),
        pytest.param("kmeans", False, marks=pytest.mark.heavy),
    ],
)
def test_interrupted_before_every_single_training_and_resumed(start, warm, tmp_path):
    changes = {"strategies": ["random", "margin"], "start": start, "warm": warm, "again": 1}
    whole = Comparison(_recipe(**changes), SOURCE, tmp_path / "whole").run()
    expected = len(tiny.FITS)
    study = tiny.interrupted(lambda: Comparison(_recipe(**changes), SOURCE, tmp_path / "stopped").run(), expected)
    assert len(tiny.FITS) == expected, "nothing is trained twice"
    assert _plain(study) == _plain(whole)


@pytest.mark.heavy
def test_the_headroom_is_trained_once(tmp_path):
    full = _recipe(full=True, strategies=["random"], seeds=[0], rounds=1)
    study = Comparison(full, SOURCE, tmp_path).run()
    assert [labels for labels, _ in tiny.FITS] == [10, 15, 60]
    assert len(study.full) == 1
    assert 0 <= study.full[0] <= 1
    Comparison(full, SOURCE, tmp_path).run()
    assert len(tiny.FITS) == 3


@pytest.mark.heavy
def test_strategies_that_differ_in_options_are_runs_of_their_own(tmp_path):
    study = Comparison(_recipe(seeds=[0], rounds=1), SOURCE, tmp_path).run()
    assert [run.strategy for run in study.runs] == ["random", "margin", "margin(noise=power)", "kmeans"]


@pytest.mark.heavy
def test_a_title_changes_what_a_strategy_is_called_and_nothing_else(tmp_path):
    Comparison(_recipe(seeds=[0], rounds=1), SOURCE, tmp_path).run()
    trained = len(tiny.FITS)
    power = {"name": "margin", "noise": "power", "title": "margin, drawn"}
    titled = _recipe(seeds=[0], rounds=1, strategies=["random", {"name": "margin", "title": "doubt"}, power, "kmeans"])
    study = Comparison(titled, SOURCE, tmp_path).run()
    assert [run.strategy for run in study.runs] == ["random", "doubt", "margin, drawn", "kmeans"]
    assert len(tiny.FITS) == trained
    written = parse(RecipeConfig, read_yaml(tmp_path / "recipe.yaml"), where="test")
    assert written == titled
    assert StrategyConfig.model_validate({"name": "x", "layers": ["a", "b"], "k": 1}).label == "x(layers=a+b, k=1)"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"initial": 60}, ConfigError, r"60 initial \+ 2 x 5 = 70 labels asked for, and the pool has 60"),
        ({"strategies": ["margin", "margin"]}, ConfigError, "listed twice"),
        ({"strategies": ["margin", {"name": "margin", "title": "doubt"}]}, ConfigError, "listed twice"),
        ({"strategies": ["margin", {"name": "entropy", "title": "margin"}]}, ConfigError, "listed twice"),
        ({"strategies": [{"name": "random", "title": "randomly"}]}, ConfigError, "begin the title with 'random'"),
        ({"strategies": ["margn"]}, ConfigError, "did you mean 'margin'"),
        ({"strategies": [{"name": "margin", "subpol": 3}]}, ConfigError, "did you mean 'subpool'"),
        ({"learner": {"kind": "tiny:digits_task"}}, ConfigError, "return a Learner"),
        ({"start": "entropy"}, ConfigError, "'entropy' needs labels"),
        ({"strategies": ["tiny:Oracle"]}, ConfigError, "cannot import"),
    ],
)
def test_recipes_that_cannot_be_are_refused_before_anything_is_trained(changes, error, message, tmp_path):
    with pytest.raises(error, match=message) as caught:
        Comparison(_recipe(**changes), SOURCE, tmp_path).run()
    assert "\n" not in str(caught.value)
    assert tiny.FITS == []


@pytest.mark.heavy
def test_every_strategy_may_start_by_itself(tmp_path):
    study = Comparison(
        _recipe(strategies=["random", "kmeans"], start="own", seeds=[0], rounds=1), SOURCE, tmp_path
    ).run()
    assert study.runs[0].rounds[0].fit_key != study.runs[1].rounds[0].fit_key
    assert dataclasses.asdict(study.runs[0].rounds[0])["labels"] == 10


def test_the_folder_of_a_study_stands_for_it(tmp_path, monkeypatch):
    """``compare NAME --out NAME`` goes on when it is said again, where NAME has become a folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "blood-cells-mini"
    (folder / "runs").mkdir(parents=True)
    write_recipe(_recipe(name="mine", data={"source": str(tmp_path / "digits.npz")}), folder)
    plan = find("blood-cells-mini")
    assert (plan.recipe.name, plan.recipe.batch) == ("mine", 5)
    assert plan.folder.resolve() == folder
    (folder / "runs").rmdir()
    with pytest.raises(LabelwiseError):
        find("blood-cells-mini").open()


def _elsewhere(study, folder):
    """Another machine: nothing but the study's file, and other images' folder."""
    write_study(study, folder / "study.json")
    return folder


@pytest.mark.heavy
def test_a_study_goes_on_from_its_file_alone(tmp_path):
    here = _recipe(strategies=["random", "margin"], seeds=[0], again=1)
    first = Comparison(here, SOURCE, tmp_path / "here").run()
    made, there = len(tiny.FITS), _elsewhere(first, tmp_path / "there")
    told = []
    more = _recipe(strategies=["random", "margin", "kmeans"], seeds=[0, 1], again=1, data={"source": "another folder"})
    study = Comparison(more, SOURCE, there, on_run=lambda *what: told.append(what)).run()
    assert [run[2] for run in told] == [True, True, False, False, False, False]
    assert [run.to_json() for run in study.runs[:2]] == [run.to_json() for run in first.runs]
    assert len(tiny.FITS) - made == 1 + 2 + (1 + 2 * 3) + 2, "round 0 of the first seed is trained for kmeans alone"
    assert any(line.startswith("2 of 6 runs were made before (torch ") for line in study.warnings)
    again = Comparison(more, SOURCE, there).run()
    assert again.to_json() == study.to_json()


@pytest.mark.heavy
def test_what_an_earlier_file_tells_is_never_lost(tmp_path):
    """A recipe with fewer rows, broken off: the rows that it leaves out are still found afterwards."""
    whole = Comparison(_recipe(seeds=[0]), SOURCE, tmp_path / "here").run()
    there = _elsewhere(whole, tmp_path / "there")
    made = len(tiny.FITS)
    Comparison(_recipe(strategies=["random"], seeds=[0]), SOURCE, there).run()
    assert [run.strategy for run in read_study(there / "study.json").runs] == ["random"]
    study = Comparison(_recipe(seeds=[0]), SOURCE, there).run()
    assert len(tiny.FITS) == made
    assert [run.to_json() for run in study.runs] == [run.to_json() for run in whole.runs]


@pytest.mark.heavy
@pytest.mark.parametrize(
    "changes", [{"rounds": 1}, {"batch": 4}, {"again": 1}, {"learner": {"kind": "features", "head": "knn"}}]
)
def test_what_was_made_otherwise_is_run_anew(changes, tmp_path):
    there = _elsewhere(
        Comparison(_recipe(strategies=["random"], seeds=[0]), SOURCE, tmp_path / "here").run(), tmp_path / "there"
    )
    told = []
    other = _recipe(strategies=["random"], seeds=[0], **changes)
    study = Comparison(other, SOURCE, there, on_run=lambda *what: told.append(what)).run()
    assert [run[2] for run in told] == [False]
    assert not any("made before" in line for line in study.warnings)


@pytest.mark.heavy
@pytest.mark.parametrize("text", ["{", "[]", '{"runs": 3}'])
def test_a_file_that_is_no_study_is_set_apart_and_nothing_is_taken(text, tmp_path):
    (tmp_path / "study.json").write_text(text)
    study = Comparison(_recipe(strategies=["random"], seeds=[0], rounds=1), SOURCE, tmp_path).run()
    assert len(study.runs) == 1
    assert (tmp_path / "shared" / "earlier.json").read_text() == text
