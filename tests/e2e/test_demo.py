"""The demonstration, as a new user starts it: a process of its own, in an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labelwise.campaign.records import RoundRecord, RunRecord, Study
from labelwise.demo import closing
from labelwise.project.setup import open_project
from labelwise.report.summary import summarise


def demo(folder: Path) -> tuple[list[str], str, float]:
    start = time.perf_counter()
    command = [sys.executable, "-m", "labelwise", "demo"]
    wide = {**os.environ, "COLUMNS": "120"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=wide)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr, time.perf_counter() - start


def test_demo_walks_the_whole_way_and_again(tmp_path: Path) -> None:
    lines, said, seconds = demo(tmp_path)
    assert seconds < 180
    report = Path(lines[-1])
    assert report == (tmp_path / "labelwise-demo" / "study" / "report.html").resolve()
    assert "data:image/jpeg" in report.read_text()
    assert "run 15 of 15" in said, "progress is shown"
    shown = "\n".join(lines)
    for name in ("random", "margin", "kmeans"):
        assert any(line.startswith(name) and "±" in line for line in lines), f"{name} is in the table"
    for name in ("margin", "kmeans"):
        assert any(line.startswith(f"{name} is ") and "random" in line for line in lines), "whether it is ahead is said"
    for command in ("labelwise init PHOTOS", "labelwise suggest -n 100", "labelwise import answers.csv"):
        assert command in shown

    study = json.loads((report.parent / "study.json").read_text())
    assert {run["seed"] for run in study["runs"]} == {0, 1, 2}
    assert all(len(run["rounds"]) == 6 for run in study["runs"]), "five rounds, and a last training"

    project = open_project(tmp_path / "labelwise-demo")
    assert project.source.truth == {}, "no label lies where the project looks"
    assert project.progress_counts()["labelled"] == 20
    waiting = [project.pool.ids[p] for p in project.pool.pending]
    assert len(waiting) == 20
    gallery = (tmp_path / "labelwise-demo" / "picks.html").read_text()
    assert gallery.count("data:image/jpeg") == 20

    again, said, second = demo(tmp_path)
    assert "15 of 15 runs were finished before and are skipped" in said
    assert second < seconds
    assert again[-1] == lines[-1]
    after = open_project(tmp_path / "labelwise-demo")
    assert [after.pool.ids[p] for p in after.pool.pending] == waiting


def test_demo_leaves_other_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0000.png").write_text("mine")
    command = [sys.executable, "-m", "labelwise", "demo", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "holds other files" in done.stderr
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
    said = closing(summary, "margin")
    assert words in said
    assert "at 120 labels it has" in said
    assert closing(summary, "kmeans") == "kmeans was not compared."
