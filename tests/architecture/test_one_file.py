"""What one thing of a kind costs: a file. Each is added to a copy of the package, and found by itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import forked
import labelwise
from labelwise.kinds import KINDS

ROOT = Path(labelwise.__file__).parent
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def copy(tmp_path):
    """The package in a folder of its own."""
    shutil.copytree(ROOT, tmp_path / "labelwise")  # bytecode too: it need not be made again
    return tmp_path


def run(folder, *arguments):
    environment = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = forked.python("-W", "ignore", *arguments, environment=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def touched(folder):
    """Files of the copy that the package does not have, or has otherwise."""
    files = [path for path in (folder / "labelwise").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    other = {path: ROOT / path.relative_to(folder / "labelwise") for path in files}
    return [path.name for path, old in other.items() if not old.is_file() or old.read_bytes() != path.read_bytes()]


def test_a_format_is_one_file(copy):
    shutil.copy(EXAMPLES / "own_format.py", copy / "labelwise" / "formats" / "arrows.py")
    assert touched(copy) == ["arrows.py"]
    listed = {row["name"]: row for row in json.loads(run(copy, "-m", "labelwise", "list", "formats", "--json"))}
    assert listed["arrows"]["reads"] == ["data", "answers"]
    (copy / "labels.arrows").write_text("a.jpg -> cat\n")
    code = "from pathlib import Path; from labelwise.exchange.sniffing import choose; import sys\n"
    code += "print(choose(Path(sys.argv[1]), 'answers').format.name)"
    assert run(copy, "-c", code, str(copy / "labels.arrows")).strip() == "arrows"


def test_a_format_of_ones_own_needs_no_place_in_the_package():
    code = "from labelwise.exchange.sniffing import named; print(named('own_format:Arrows').title)"
    assert run(EXAMPLES, "-c", code).strip() == "lines 'image -> class'"


def test_a_kind_is_one_file_and_a_task_is_one(copy):
    shutil.copy(EXAMPLES / "own_kind.py", copy / "labelwise" / "kinds" / "levels.py")
    assert touched(copy) == ["levels.py"]
    code = "from labelwise.kinds import KINDS, kind_of, kind_of_labels as of\n"
    code += "print(KINDS.names(), kind_of('grading').noun, of({'a.png': {'level': 'mild'}}).name)"
    known = sorted(["levels", *KINDS.names()])
    assert run(copy, "-c", code).strip() == f"{known} level levels"
    task = (EXAMPLES / "own_task.py").read_text().replace("from own_kind", "from labelwise.kinds.levels")
    (copy / "labelwise" / "tasks" / "grading.py").write_text(task)
    assert sorted(touched(copy)) == ["grading.py", "levels.py"]
    assert run(copy, "-c", LOOP).split() == ["grading", "levels", "3", "True"]


#: a campaign over eight images with levels: trained, asked, answered, and counted
LOOP = """
import numpy as np, tempfile
from pathlib import Path
from labelwise.assemble import make_task
from labelwise.campaign.loop import Campaign
from labelwise.campaign.events import added
from labelwise.campaign.setting import Setting, labelled
from labelwise.campaign.store import Store
from labelwise.config import InputConfig
from labelwise.contracts.oracle import Answer
from labelwise.contracts.query import Budget
from labelwise.data.arrays import ArraySource
from labelwise.contracts.learner import Phase
from labelwise.learners.torch import TorchLearner
from labelwise.signals.cache import SignalCache
from labelwise.strategies.random import Random
images = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
source = ArraySource(images)
task = make_task("grading", ("none", "mild", "severe"), InputConfig(size=32))
learner = TorchLearner(task, phases=[Phase(epochs=1)])
store = Store(Path(tempfile.mkdtemp()), create=True)
store.append([added(source, item) for item in source.ids])
campaign = Campaign(store, Setting(source, task, learner, SignalCache(None)))
answers = [Answer(item, {"level": level}) for item, level in zip(source.ids, ("mild", "none", "severe"))]
campaign.write([labelled(task, campaign.pool, answer) for answer in answers])
campaign.fit()
found = campaign.suggest(Random(), Budget(3, "images"))
guess = dict(task.guesses(learner, source, source.ids[:1]))
print(task.name, task.kind.name, len(found.picks), sum(campaign.describe(None).class_counts.values()) == 3)
"""
