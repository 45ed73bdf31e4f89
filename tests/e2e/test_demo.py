"""The demonstration, as a new user starts it: in an empty folder."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

import forked
from commands import refused, run
from labelwise import demo
from labelwise.campaign.records import RoundRecord, RunRecord, Study
from labelwise.project.setup import open_project
from labelwise.report.summary import summarise


def _whole_way(
    folder: Path, lines: list[str], said: str, *, strategies: int, seeds: int, rounds: int
) -> tuple[Path, list[str]]:
    """Holds what the demonstration printed and wrote against what it promises; the report, and who waits."""
    report = Path(lines[-1])
    assert report == (folder / "labelwise-demo" / "study" / "report.html").resolve()
    assert "data:image/jpeg" in report.read_text()
    runs = strategies * seeds
    assert f"run {runs} of {runs}" in said, "progress is shown"
    shown = "\n".join(lines)
    for name in ("random", "margin", "kmeans"):
        assert any(line.startswith(name) and "±" in line for line in lines), f"{name} is in the table"
    for name in ("margin", "kmeans"):
        assert any(line.startswith(f"{name} is ") and "random" in line for line in lines), "whether it is ahead is said"
    for command in ("labelwise init PHOTOS", "labelwise suggest -n 100", "labelwise import answers.csv"):
        assert command in shown

    study = json.loads((report.parent / "study.json").read_text())
    assert {run["seed"] for run in study["runs"]} == set(range(seeds))
    assert all(len(run["rounds"]) == rounds + 1 for run in study["runs"]), "the rounds, and a last training"

    project = open_project(folder / "labelwise-demo")
    assert project.source.truth == {}, "no label lies where the project looks"
    assert project.progress_counts()["labelled"] == 20
    waiting = [project.pool.ids[p] for p in project.pool.pending]
    assert len(waiting) == 20
    gallery = (folder / "labelwise-demo" / "picks.html").read_text()
    assert gallery.count("data:image/jpeg") == 20
    return report, waiting


def _waiting(folder: Path) -> list[str]:
    after = open_project(folder / "labelwise-demo")
    return [after.pool.ids[p] for p in after.pool.pending]


@pytest.mark.heavy
def test_demo_walks_the_whole_way_and_again(tmp_path: Path) -> None:
    """As it is shipped, in processes of its own."""

    def shipped() -> tuple[list[str], str, float]:
        start = time.perf_counter()
        done = forked.python("-m", "labelwise", "demo", cwd=tmp_path, environment={"COLUMNS": "120"})
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines(), done.stderr, time.perf_counter() - start

    lines, said, seconds = shipped()
    assert seconds < 180
    _, waiting = _whole_way(tmp_path, lines, said, strategies=5, seeds=3, rounds=5)
    again, said, second = shipped()
    assert "15 of 15 runs were finished before and are skipped" in said
    assert second < seconds
    assert again[-1] == lines[-1]
    assert _waiting(tmp_path) == waiting


@pytest.mark.heavy
def test_a_short_demo_walks_the_whole_way_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with three of the five strategies, two seeds and one round."""
    whole = demo.Demo.recipe
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def short(self: demo.Demo) -> object:
        recipe = whole(self)
        return recipe.model_copy(update={"strategies": recipe.strategies[:3], "seeds": (0, 1), "rounds": 1})

    monkeypatch.setattr(demo.Demo, "recipe", short)
    first = run("demo")
    lines = first.stdout.splitlines()
    _, waiting = _whole_way(tmp_path, lines, first.stderr, strategies=3, seeds=2, rounds=1)
    again = run("demo")
    assert "6 of 6 runs were finished before and are skipped" in again.stderr
    assert again.stdout.splitlines()[-1] == lines[-1]
    assert _waiting(tmp_path) == waiting


def test_demo_leaves_other_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0000.png").write_text("mine")
    assert "holds other files" in refused("demo", "--out", tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["images", "0000.png"]
    assert (tmp_path / "images" / "0000.png").read_text() == "mine"


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ((0.050, 0.051, 0.052), "margin is ahead of random ("),
        ((0.20, -0.05, 0.05), "ahead of random in the mean, but not reliably with 3 seeds"),
        ((-0.050, -0.051, -0.052), "margin is behind random"),
        ((-0.2, 0.05, 0.01), "margin is not ahead of random"),
    ],
)
def test_the_closing_sentence_follows_from_the_numbers(gains: tuple[float, ...], words: str) -> None:
    runs = [
        RunRecord(
            strategy=name,
            seed=seed,
            rounds=[
                RoundRecord(round=r, labels=20 + 50 * r, metrics={"accuracy": 0.6 + 0.01 * r + gain}) for r in range(3)
            ],
        )
        for name in ("random", "margin")
        for seed, gain in enumerate(gains if name == "margin" else (0.0, 0.0, 0.0))
    ]
    summary = summarise(Study(name="s", task="classification", primary="accuracy", runs=runs))
    said = demo.closing(summary, "margin")
    assert words in said
    assert "at 120 labels it has" in said
    assert demo.closing(summary, "kmeans") == "kmeans was not compared."
