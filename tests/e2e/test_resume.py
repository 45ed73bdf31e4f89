"""Killed at any instant, the same command goes on with the same picks."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tiny
from labelwise.campaign.records import read_study
from labelwise.campaign.store import Store

HERE = Path(__file__).parent
COUNT = 90
TIMINGS = {"fit_seconds", "collect_seconds", "select_seconds", "peak_mb"}


class Server:
    """Forks a process for each attempt; see ``killable.py``."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "random"}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "killable.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def run(self, job: str, *, after: float | None = None, **arguments: Any) -> dict[str, Any]:
        self.process.stdin.write(json.dumps({"job": job, "arguments": arguments, "after": after}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, self.process.stderr.read()
        result = json.loads(answer)
        if result["ended"] not in (0, -9):
            self.process.stdin.close()
            raise AssertionError(self.process.stderr.read())
        return result

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> dict[str, dict[str, Any]]:
    """The same digits as a folder of PNGs with labels beside it, and as arrays."""
    root = tmp_path_factory.mktemp("images")
    source = tiny.digits(COUNT)
    (root / "png").mkdir()
    labels = {}
    for number, item in enumerate(source.ids):
        name = f"digit {number:03d}.png"
        Image.fromarray(source.load(item)[..., 0]).save(root / "png" / name)
        labels[name] = source.truth[item]
    np.savez(
        root / "digits.npz",
        images=source.batch(source.ids),
        labels=np.array([int(source.truth[i]) for i in source.ids]),
    )
    folder = {"images": str(root / "png"), "labels": labels}
    return {
        "torch": folder,
        "influence": folder,
        "features": {"images": str(root / "digits.npz"), "labels": {}},
    }


def _history(folder: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """All events, and the records of all rounds without what a clock measured."""
    store = Store(folder)
    records = [{key: value for key, value in record.items() if key not in TIMINGS} for record in store.rounds()]
    events = [repr(event) for event in store.events()]
    store.close()
    return events, records


@pytest.fixture(scope="module")
def uninterrupted(server, images, tmp_path_factory):
    """What a campaign does when nobody kills it."""
    done: dict[tuple[str, bool], tuple[Any, float]] = {}

    def of(kind: str, warm: bool = False):
        if (kind, warm) not in done:
            folder = tmp_path_factory.mktemp("whole") / kind
            result = server.run("campaign", kind=kind, **images[kind], folder=str(folder), warm=warm, deaths=None)
            assert result["ended"] == 0
            done[kind, warm] = _history(folder), result["seconds"]
        return done[kind, warm]

    return of


def _assert_same(found, whole) -> None:
    """As one comparison would, but the message shows the first difference and not everything."""
    for got, expected in zip([*found[0], *found[1]], [*whole[0], *whole[1]], strict=False):
        assert got == expected
    assert [len(part) for part in found] == [len(part) for part in whole]


def _check_whole(history) -> None:
    events, records = history
    assert len(records) == 4
    assert sum(event.startswith("Queried") for event in events) == 18
    assert sum(event.startswith("Labelled") for event in events) == 12 + 18


@pytest.mark.heavy
def test_killed_in_each_round(server, images, uninterrupted, tmp_path):
    """The quick one: after each training, before its weights are kept."""
    whole, _ = uninterrupted("torch")
    _check_whole(whole)
    arguments = {"kind": "torch", **images["torch"], "folder": str(tmp_path / "run"), "warm": False}
    deaths = {"deaths": str(tmp_path / "deaths"), "only": "trained, not kept"}
    ends = [server.run("campaign", **arguments, **deaths)["ended"] for _ in range(5)]
    assert ends == [-9] * 4 + [0]
    _assert_same(_history(tmp_path / "run"), whole)


@pytest.mark.heavy
def test_killed_while_influence_is_scored(server, images, uninterrupted, tmp_path):
    """Once the direction is known, and in the middle of the pool: it is computed again, and the picks stay."""
    whole, _ = uninterrupted("influence")
    _check_whole(whole)
    arguments = {"kind": "influence", **images["influence"], "folder": str(tmp_path / "run"), "warm": False}
    deaths = {"deaths": str(tmp_path / "deaths"), "only": "scoring"}
    ends = [server.run("campaign", **arguments, **deaths)["ended"] for _ in range(7)]
    assert ends == [-9] * 6 + [0]
    _assert_same(_history(tmp_path / "run"), whole)


@pytest.mark.kills
@pytest.mark.parametrize(("kind", "warm"), [("torch", False), ("features", False), ("torch", True)])
def test_killed_at_every_step(kind, warm, server, images, uninterrupted, tmp_path):
    """Around each write, in the middle of training, of reading, and between two files that belong together."""
    whole, _ = uninterrupted(kind, warm)
    _check_whole(whole)
    deaths = 0
    for _ in range(100):
        folder = tmp_path / "run"
        result = server.run(
            "campaign", kind=kind, **images[kind], folder=str(folder), warm=warm, deaths=str(tmp_path / "deaths")
        )
        if result["ended"] == 0:
            break
        deaths += 1
    assert result["ended"] == 0
    points = {path.name.split(" round")[0].split(" new")[0] for path in (tmp_path / "deaths").iterdir()}
    expected = {"before writing", "after writing", "trained, not kept", "after file 1", "after file 2"}
    expected |= {"in training", "in the pass", "before rows", "after rows"} if kind == "torch" else {"in the backbone"}
    assert expected <= points, "the test kills where it says"
    assert deaths >= 20 if kind == "torch" else deaths >= 15
    _assert_same(_history(folder), whole)


@pytest.mark.kills
@pytest.mark.parametrize("kind", ["torch", "features"])
def test_killed_at_random_instants(kind, server, images, uninterrupted, tmp_path):
    whole, seconds = uninterrupted(kind)
    draw = random.Random(7)
    deaths = 0
    for number in range(60):
        # ever longer lives: the first die early on any machine, and the last lives to the end
        life = draw.uniform(0.3, 1.0) * seconds * 0.1 * 1.25**number
        result = server.run(
            "campaign", kind=kind, **images[kind], folder=str(tmp_path), warm=False, deaths=None, after=life
        )
        if result["ended"] == 0:
            break
        deaths += 1
    assert result["ended"] == 0
    assert deaths >= 2
    _assert_same(_history(tmp_path), whole)


@pytest.mark.kills
@pytest.mark.parametrize("kind", ["torch", "features"])
def test_all_but_the_database_can_be_deleted(kind, server, images, uninterrupted, tmp_path):
    """Weights, rows and axes gone after each death: they are made again, and the picks stay."""
    whole, seconds = uninterrupted(kind)
    draw = random.Random(11)
    deaths = 0
    for number in range(60):
        life = draw.uniform(0.3, 1.0) * seconds * 0.1 * 1.25**number
        result = server.run(
            "campaign", kind=kind, **images[kind], folder=str(tmp_path), warm=False, deaths=None, after=life
        )
        if result["ended"] == 0:
            break
        deaths += 1
        for entry in tmp_path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
    assert result["ended"] == 0
    assert deaths >= 2
    _assert_same(_history(tmp_path), whole)


RECIPE = {
    "data": {"source": "unused"},
    "input": {"size": 16, "channels": 1, "augment": "none"},
    "learner": {
        "kind": "torch",
        "model": "lenet",
        "phases": [{"epochs": 2, "batch_size": 16, "lr": 3e-3, "min_steps": 0}],
    },
    "features": {"backbone": "pixels", "size": 8},
    "strategies": ["random", "margin"],
    "initial": 10,
    "batch": 5,
    "rounds": 2,
    "seeds": [0, 1],
}


def _study(folder: Path) -> dict[str, Any]:
    study = read_study(folder / "study.json").to_json()
    for run in study["runs"]:
        for record in [*run["rounds"], *run.get("again", []), *run.get("judged", [])]:
            for name in TIMINGS:
                record.pop(name)
    study["settings"].pop("command")
    return study


JUDGED = {
    "learners": {"pair": {**RECIPE["learner"], "members": 2}},
    "strategies": ["random", {"name": "margin", "learner": "pair"}],
    "judge": "learner",
}


@pytest.mark.kills
@pytest.mark.parametrize("changes", [{}, JUDGED], ids=["one learner", "two and a judge"])
def test_a_comparison_killed_and_resumed_gives_the_same_study(changes, server, images, tmp_path):
    arguments = {"recipe": RECIPE | changes, **images["torch"]}
    whole = server.run("comparison", **arguments, folder=str(tmp_path / "whole"), deaths=None)
    draw = random.Random(3)
    for number in range(60):
        life = draw.uniform(0.3, 1.0) * whole["seconds"] * 0.1 * 1.25**number
        deaths = str(tmp_path / "deaths") if number % 2 else None
        result = server.run("comparison", **arguments, folder=str(tmp_path / "killed"), deaths=deaths, after=life)
        if result["ended"] == 0:
            break
    assert result["ended"] == 0
    assert number >= 3
    found = _study(tmp_path / "killed")
    assert len(found["runs"]) == 4
    assert [len(run.get("judged", [])) for run in found["runs"]] == ([0, 3] * 2 if changes else [0] * 4)
    assert found == _study(tmp_path / "whole")


# ---- people ---------------------------------------------------------------------------------------------------------


def _people(folder: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """As ``_history``, of a project; and nothing is left lying about."""
    left = sorted(path.name for path in folder.rglob("*") if path.suffix == ".tmp" or path.name.startswith(".answers"))
    assert left == [], "drafts of killed writers"
    return _history(folder / ".labelwise")


def _killed_until_done(server, images, folder: Path, seconds: float, draw: random.Random, growth: float) -> int:
    """Runs the loop of people, killed at random instants of ever longer lives; gives the number of deaths."""
    for deaths in range(400):
        life = draw.uniform(0.2, 1.0) * seconds * 0.08 * growth**deaths
        result = server.run("people", **images["torch"], folder=str(folder), after=life)
        if result["ended"] == 0:
            return deaths
    raise AssertionError("it never came to an end")


@pytest.mark.heavy
@pytest.mark.parametrize("wanted", [5, pytest.param(200, marks=pytest.mark.kills)])
def test_the_loop_of_people_is_killed_and_goes_on(wanted, server, images, tmp_path):
    """Labels, a test set, labels and skips taken back: the same picks and events, whenever it is killed."""
    done = server.run("people", **images["torch"], folder=str(tmp_path / "whole"))
    whole = _people(tmp_path / "whole")
    kinds = [event.partition("(")[0] for event in whole[0]]
    assert {"HeldOut", "Queried", "Labelled", "Unlabelled", "Restored", "Skipped"} <= set(kinds)
    assert done["ended"] == 0
    deaths, draw = 0, random.Random(wanted)
    while deaths < wanted:
        folder = tmp_path / f"after {deaths}"
        deaths += _killed_until_done(server, images, folder, done["seconds"], draw, 1.1 if wanted > 5 else 1.3)
        _assert_same(_people(folder), whole)
