"""Studies in several processes that are killed, and two commands that work on one study at once."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import forked
import tiny
from labelwise.campaign.locking import alone
from labelwise.config import RecipeConfig, parse
from labelwise.processes import drop_drafts, end_with_parent
from labelwise.studies.comparison import Comparison

TIMINGS = ("fit_seconds", "collect_seconds", "select_seconds", "peak_mb")
SIZES = ("--initial", "10", "--batch", "5", "--rounds", "2", "--seeds", "3", "--backbone", "pixels", "--no-full")


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    """60 digits, one folder per class."""
    folder, found = tmp_path_factory.mktemp("set") / "digits", load_digits()
    for number in range(60):
        place = folder / str(found.target[number])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((found.images[number] * 15).astype(np.uint8)).save(place / f"{number:02d}.png")
    return folder


def _command(digits: Path, out: Path, *more: str) -> list[str]:
    return ["-m", "labelwise", "compare", str(digits), "-s", "random", "-s", "margin", *SIZES, "-o", str(out), *more]


def _study(folder: Path) -> dict[str, Any]:
    """A study without what the clock says, or where it lies."""
    found = json.loads((folder / "study.json").read_text())
    for record in (record for run in found["runs"] for record in [*run["rounds"], *run.get("again", [])]):
        for name in TIMINGS:
            record.pop(name, None)
    found["settings"].pop("command")
    return found


def _picked(folder: Path) -> dict[str, bytes]:
    """The files that other tools read, of every run and round."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.glob("runs/*/*/picks/*")}


def _left(folder: Path) -> list[str]:
    """Drafts."""
    return sorted(path.name for path in folder.rglob("*") if path.suffix in (".tmp", ".part"))


# ---- two at once ----------------------------------------------------------------------------------------------------


RECIPE: dict[str, Any] = {
    "data": {"source": "unused"},
    "input": {"size": 16, "channels": 1},
    "learner": {"kind": "features"},
    "features": {"backbone": "pixels", "size": 8},
    "strategies": ["random", "margin"],
    "initial": 10,
    "batch": 5,
    "rounds": 1,
    "seeds": [0],
    "full": False,
}


def _comparison(folder: Path, said: Callable[[str], None] = print) -> Comparison:
    recipe = parse(RecipeConfig, RECIPE, where="test")
    told = lambda *what: said("trained")  # noqa: E731
    return Comparison(recipe, tiny.digits(80, test=20), folder, on_round=told, waiting=said)


def test_a_second_process_on_one_study_waits_and_finds_it_done(tmp_path):
    """It says for whom it waits."""
    _comparison(tmp_path / "whole").run()
    began, said = tmp_path / "began", tmp_path / "said"
    first = os.fork()
    if not first:
        with contextlib.suppress(BaseException):

            def slowly(word: str) -> None:
                began.touch()
                _until(lambda: said.exists())

            _comparison(tmp_path / "both", slowly).run()
            os._exit(0)
        os._exit(1)
    _until(began.exists, 60)
    words: list[str] = []

    def heard(word: str) -> None:
        words.append(word)
        said.touch()

    _comparison(tmp_path / "both", heard).run()
    assert os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) == 0
    assert words == [
        f"another labelwise command (process {first}) is working on the study in {tmp_path / 'both'}; waiting until it "
        "ends"
    ]
    assert _study(tmp_path / "both") == _study(tmp_path / "whole")
    assert _picked(tmp_path / "both") == _picked(tmp_path / "whole")
    assert _left(tmp_path / "both") == []


@pytest.mark.heavy
def test_two_commands_on_one_study_say_the_same(digits, tmp_path):
    """Until the report is written."""
    both = forked.together([_command(digits, tmp_path / "both")] * 2)
    assert [one.returncode for one in both] == [0, 0], both[0].stderr + both[1].stderr
    (waited,) = [one for one in both if "is working on the study in" in one.stderr]
    assert "6 of 6 runs were finished before and are skipped" in waited.stderr
    assert both[0].stdout == both[1].stdout
    assert _left(tmp_path / "both") == []


def test_a_process_may_hold_a_folder_twice(tmp_path):
    with alone(tmp_path, "this"), alone(tmp_path, "this", wait=0):
        assert (tmp_path / "lock.holder").read_text() == str(os.getpid())


def test_drafts_of_the_dead_go(tmp_path):
    for name in (f"fit.{os.getpid()}.tmp", "fit.999999999.tmp", "recipe.yaml.tmp"):
        (tmp_path / name).touch()
    drop_drafts(tmp_path.glob("*.tmp"))
    assert os.listdir(tmp_path) == [f"fit.{os.getpid()}.tmp"]  # noqa: PTH208


# ---- killed ---------------------------------------------------------------------------------------------------------


def _wait(note: Path) -> None:
    end_with_parent()
    note.write_text(str(os.getpid()))
    time.sleep(60)


def test_helpers_end_with_a_parent_that_is_killed(tmp_path):
    note = tmp_path / "helper"
    parent = os.fork()
    if not parent:
        with contextlib.suppress(BaseException):
            helper = multiprocessing.get_context("fork").Process(target=_wait, args=(note,))
            helper.start()
            helper.join()
        os._exit(0)
    _until(lambda: note.exists() and note.read_text() != "")
    helper = int(note.read_text())
    assert _runs(helper)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    _until(lambda: not _runs(helper))


def _until(true, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


def _fields(process: int) -> list[str]:
    """What ``/proc/N/stat`` says behind the name; [] of none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _runs(process: int) -> bool:
    return (_fields(process) or "Z")[0] not in "ZX"


def _helpers(process: int) -> list[int]:
    """Processes that a command started; the first one carries words, the others run seeds."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [
        int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]  # fmt: skip


def _broken_off(digits: Path, out: Path, victim: str, draw: random.Random) -> tuple[int, str]:
    """Starts a study with two workers, and kills one process of it; its exit code and words, once all ended."""
    with (out.parent / "said.txt").open("w+") as said:
        command = [sys.executable, *_command(digits, out, "--workers", "2")]
        study = subprocess.Popen(command, stdout=said, stderr=said, env=os.environ | {"OMP_NUM_THREADS": "1"})
        helpers: list[int] = []
        with contextlib.suppress(OSError):  # it ended before
            _until(lambda: study.poll() is not None or len(_helpers(study.pid)) == 3, 600)
            helpers = _helpers(study.pid)
        time.sleep(draw.uniform(0, 6))
        chosen = {"parent": study.pid, "messenger": helpers[:1], "worker": helpers[1:]}[victim]
        with contextlib.suppress(ProcessLookupError, IndexError):
            os.kill(chosen if isinstance(chosen, int) else draw.choice(chosen), signal.SIGKILL)
        code = study.wait(timeout=600)
        _until(lambda: not any(_runs(helper) for helper in helpers), 60)
        said.seek(0)
        return code, said.read()


@pytest.mark.kills
@pytest.mark.parametrize("victim", ["parent", "worker", "messenger"])
def test_a_study_in_several_processes_is_killed_and_goes_on(victim, digits, tmp_path):
    """Whichever process is killed: what is finished is kept, no helper stays, and the study is that of one process."""
    whole = forked.python(*_command(digits, tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr
    draw, broken = random.Random(victim), 0
    for _ in range(4):
        code, said = _broken_off(digits, tmp_path / "killed", victim, draw)
        if code == 0:
            break
        broken += 1
        if victim == "parent":
            assert code == -signal.SIGKILL
        else:
            assert code == 1
            assert "processes of the study was killed, perhaps for want of memory: what is finished is kept" in said
    assert broken >= 1
    again = forked.python(*_command(digits, tmp_path / "killed"))
    assert again.returncode == 0, again.stderr
    assert _study(tmp_path / "killed") == _study(tmp_path / "whole")
    assert len(_picked(tmp_path / "killed")) == 2 * 3 * 2 * 2
    assert _picked(tmp_path / "killed") == _picked(tmp_path / "whole")
    assert _left(tmp_path / "killed") == []
