"""Selections by size, evaluations by protocol and studies by size, on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from commands import as_json, refused, run
from labelwise.config import SizesConfig, parse
from labelwise.errors import ConfigError, DataError
from labelwise.few_labels import study as sizes
from labelwise.recipes import find

DIGITS = ("labelwise.demo:digits", "--features", "pixels", "--test-share", 0.3)
RECIPE = {
    "data": {"source": "labelwise.demo:digits", "test_share": 0.3, "subset": 300},
    "features": {"backbone": "pixels", "size": 8},
    "strategies": ["random", "kmeans", "uniform", "margin"],
    "sizes": [10, 20, 30],
    "head": {"epochs": 5},
    "seeds": 2,
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


# ---- select and evaluate --------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_selectors_write_what_evaluators_read(tmp_path: Path) -> None:
    args = ("-s", "kmeans", "-s", "uniform", "-s", "coreset", "--splits", "10,20", "--indices", "ix")
    found = as_json("select", *DIGITS, *args)["selections"]
    assert [(row["strategy"], row["labels"], row["nested"]) for row in found] == [
        ("kmeans", 10, None), ("kmeans", 20, False), ("uniform", 10, None), ("uniform", 20, True),
        ("coreset", 10, None), ("coreset", 30, True),
    ]  # fmt: skip
    assert [row["split_is"] for row in found] == ["total"] * 4 + ["increment"] * 2
    assert [row["oracle"] for row in found] == [False, False, True, True, False, False]
    assert np.load(tmp_path / "ix" / "coreset_digits_30.npy").dtype == np.int64
    shown = run("select", *DIGITS, *args).stdout
    assert "uniform (oracle)" in shown
    assert "the first labels of coreset were chosen by random" in shown

    files = [part for row in found for part in ("--indices", row["file"])]
    two_seeds, two_views = ["linear", "--epochs", 5, "--seeds", 2], ["linear", "--views", 2, "--epochs", 2]
    for protocol in (two_seeds, two_views, ["knn", "-k", 3]):
        rows = as_json("evaluate", *protocol, "--data", *DIGITS, *files)["selections"]
        assert [row["labels"] for row in rows] == [10, 20, 10, 20, 10, 30]
        assert [row["coverage"] for row in rows] == pytest.approx([row["coverage"] for row in found])
        assert all(0 < value <= 1 for row in rows for value in row["accuracy"])
    assert "uniform_digits_20 (oracle)" in run("evaluate", "knn", "--data", *DIGITS, *files).stdout
    more = as_json("select", *DIGITS, "-s", "entropy", "--splits", 5, "--resume-indices", found[0]["file"], *args[-2:])
    after, before = (np.load(file).tolist() for file in (more["selections"][0]["file"], found[0]["file"]))
    assert (len(after), after[:10]) == (15, before)


@pytest.mark.heavy
def test_networks_are_trained_on_a_selection() -> None:
    file = as_json("select", *DIGITS, "-s", "uniform", "--splits", 60, "--indices", "ix")["selections"][0]["file"]
    args = ("--data", "labelwise.demo:digits", "--test-share", 0.3, "--indices", file)
    scratch = ("scratch", *args, "--features", "pixels", "--model", "lenet", "--size", 16, "--epochs", 20)
    rows = as_json("evaluate", *scratch)["selections"]
    assert 0 <= rows[0]["accuracy"][0] <= 1
    assert "only a network" in refused("evaluate", "finetune", *args, "--features", "pixels")


@pytest.mark.heavy
def test_the_labels_of_a_project(tmp_path: Path) -> None:
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for i in range(60):
        place = tmp_path / "photos" / ("test" if i % 3 == 0 else "train") / str(digits.target[i])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[i] * 15).astype(np.uint8)).save(place / f"{i:02d}.png")
    run("init", "photos", "--project", "p", "--backbone", "pixels")
    found = as_json("evaluate", "knn", "--project", "p")["selections"]
    assert (found[0]["selection"], found[0]["labels"]) == ("labels of the project", 40)
    assert found[0]["accuracy"][0] > 0.3


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("select", "nowhere", "-s", "kmeans", "--splits", 5, "--indices", "ix"), "does not exist"),
        (("select", *DIGITS, "-s", "kmens", "--splits", 5, "--indices", "ix"), "did you mean 'kmeans'"),
        (("select", *DIGITS, "-s", "kmeans", "--splits", 9999, "--indices", "ix"), "9999 labels asked for"),
        (("select", *DIGITS, "-s", "random", "-s", "random", "--splits", 5, "--indices", "ix"), "given twice"),
        (("select", *DIGITS, "-s", "kmeans", "--splits", "20,10", "--indices", "ix"), "have to ascend"),
        (("select", *DIGITS, "-s", "random", "--splits", 5, "--indices", "ix", "--resume-indices", "x"), "not exist"),
        (("select", *DIGITS, "-s", "random", "--splits", 5, "--indices", "ix", "--preset", "x"), "unknown preset"),
        (("evaluate", "liner", "--indices", "x.npy", "--data", "y"), "did you mean 'linear'"),
        (("evaluate", "linear", "--indices", "x.npy"), "belong together"),
        (("evaluate", "--indices", "x.npy"), "need a protocol"),
        (("evaluate", "linear", "--data", *DIGITS, "--indices", "x.npy"), "does not exist"),
        (("evaluate", "linear", "--data", "labelwise.demo:digits", "--features", "pixels", "--indices", "i_1.npy"),
         "no test image"),
    ],
)  # fmt: skip
def test_refused_in_one_line(arguments: tuple[object, ...], words: str) -> None:
    np.save("i_1.npy", np.array([3]))
    assert words in refused(*arguments)
    assert not Path("ix").exists()


def test_test_images_cannot_be_chosen() -> None:
    np.save("x_1797.npy", np.arange(1797))
    assert "is a test image" in refused("evaluate", "knn", "--data", *DIGITS, "--indices", "x_1797.npy")


# ---- studies --------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_a_study_by_size_and_again(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(RECIPE))
    first = run("compare", "s.yaml")
    assert "uniform (oracle)" in first.stdout
    assert "classes covered, %" in first.stdout
    assert "selection 24 of 24" in first.stderr
    table = (tmp_path / "runs" / "s" / "table.md").read_text()
    assert "| strategy | 10 | 20 | 30 |" in table
    for name in ("linear", "knn"):
        assert "10 to 30 labels (log2 scale)" in (tmp_path / "runs" / "s" / name / "report.html").read_text()
        study = json.loads((tmp_path / "runs" / "s" / name / "study.json").read_text())
        assert [record["labels"] for record in study["runs"][0]["rounds"]] == [10, 20, 30]
        assert len({run["rounds"][0]["fit_key"] for run in study["runs"] if run["seed"] == 0}) == 3, "margin: as random"
        assert len(study["full"]) == 1
    again = run("compare", "s.yaml")
    assert "24 of 24 selections were made before" in again.stderr
    assert again.stdout == first.stdout
    assert as_json("check", "s.yaml")["runs"] == 8
    assert "8 runs of 3 sizes" in run("check", "s.yaml").stdout
    assert as_json("report", "runs/s/knn")["labels"] == [10, 20, 30]


@pytest.mark.heavy
def test_killed_anywhere_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(RECIPE | {"strategies": ["random", "margin"], "seeds": 1}))
    plan = find("s.yaml")
    source = plan.open()

    def study(folder: str, **told: Any) -> sizes.SizesStudy:
        return sizes.SizesStudy(plan.recipe, source, tmp_path / folder, **told)

    whole = study("whole").run()
    for stop in range(1, 7):
        made: list[bool] = []

        def killed(*what: Any, stop: int = stop, made: list[bool] = made) -> None:
            made.append(what[-1])
            if len(made) == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            study("stopped", on_chosen=killed).run()
        assert made == [True] * (stop - 1) + [False], "one more each time, none twice"
    calls: list[int] = []
    evaluate = sizes.SizesStudy.evaluate

    def once(self: Any, evaluator: str, sets: Any) -> Any:
        calls.append(len(sets))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(self, evaluator, sets)

    monkeypatch.setattr(sizes.SizesStudy, "evaluate", once)
    with pytest.raises(KeyboardInterrupt):
        study("stopped").run()
    found = study("stopped").run()
    # 10 labels are one head (margin starts from the random set), 20 and 30 two; then all labels; then neighbours
    assert calls == [1, 2, 2, 2, 1, 6]
    for name, expected in whole.items():
        assert [[r.metrics for r in one.rounds] for one in found[name].runs] == [
            [r.metrics for r in one.rounds] for one in expected.runs
        ]


def _checked(target: str) -> None:
    plan = find(target)
    sizes.SizesStudy(plan.recipe, plan.open(), Path("runs")).check()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"sizes": [10, 5]}, ConfigError, "ascending"),
        ({"sizes": [10, 500]}, ConfigError, "500 labels asked for"),
        ({"evaluators": ["liner"]}, ConfigError, "evaluators"),
        ({"rounds": 3}, ConfigError, "unknown key"),
        ({"strategies": ["random", "random"]}, ConfigError, "listed twice"),
        ({"strategies": ["learned_loss_nowhere"]}, ConfigError, "unknown strategy"),
        ({"data": {"source": "labelwise.demo:digits", "imbalance": {"ratio": 0}}}, ConfigError, "imbalance.ratio"),
    ],
)
def test_studies_that_are_refused(changes: dict[str, Any], error: type[Exception], words: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(RECIPE | changes))
    with pytest.raises(error, match=words):
        _checked("s.yaml")


def test_unlabelled_images_in_the_pool_are_refused(tmp_path: Path) -> None:
    from labelwise.data import ArraySource

    source = ArraySource(np.zeros((40, 4, 4), np.uint8), [*["a", "b"] * 19, "", "a"], roles=["pool"] * 39 + ["test"])
    recipe = parse(SizesConfig, RECIPE, where="test")
    with pytest.raises(DataError, match="'38' has no label"):
        sizes.SizesStudy(recipe, source, tmp_path).check()


# ---- what the protocols train ---------------------------------------------------------------------------------------


def test_fine_tuning_trains_head_and_body_at_their_own_rates() -> None:
    import torch

    from labelwise.contracts.input import InputSpec
    from labelwise.few_labels.protocols import FINETUNE, SCRATCH, finetuning, from_scratch
    from labelwise.learners import training
    from labelwise.learners.backbones import Network

    torch.manual_seed(0)
    body = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(3 * 64, 5), torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 9)
    )
    learner = finetuning(Network.around(body, InputSpec((8, 8))), ("a", "b", "c"))
    net = learner.fresh(0)
    assert net(torch.rand(2, 3, 8, 8)).shape == (2, 3)
    step = training.TrainingStep(net, learner.task)
    groups = {group["lr"]: len(group["params"]) for group in training._by_rate(FINETUNE, step)}
    assert groups == {1e-4: 4, 1e-2: 2}
    optimiser = training._optimiser(FINETUNE, training._by_rate(FINETUNE, step))
    assert {group["weight_decay"] for group in optimiser.param_groups} == {0.0}, "AdamW without decay is Adam"
    rates = [training._rate(FINETUNE, epoch, 100) for epoch in (0, 49, 50, 74, 75, 99)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    other = from_scratch("lenet", ("a", "b"), 32)
    plain = training._optimiser(SCRATCH, training._by_rate(SCRATCH, training.TrainingStep(other.fresh(0), other.task)))
    assert [plain.defaults[key] for key in ("nesterov", "momentum", "weight_decay")] == [False, 0.9, 1e-4]
    assert [training._rate(SCRATCH, epoch, 100) for epoch in (29, 30, 60, 90)] == pytest.approx([1, 0.1, 0.01, 0.001])


def test_a_rate_for_a_part_that_is_not_there() -> None:
    from labelwise.contracts.learner import Phase
    from labelwise.few_labels.protocols import from_scratch
    from labelwise.learners import training

    learner = from_scratch("lenet", ("a", "b"), 32)
    with pytest.raises(ConfigError, match="no parameter starts with 'haed'"):
        training._by_rate(Phase(rates=(("haed", 0.1),)), training.TrainingStep(learner.fresh(0), learner.task))
