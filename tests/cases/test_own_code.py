"""Code of people's own: found where they stand, and named when it fails; never called a bug in labelwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import forked
from commands import refused
from labelwise.project.setup import init

MINE = """\
import torch
from torch import nn
import labelwise


class Net(nn.Module):
    def __init__(self, *given):
        super().__init__()
        self.layer = nn.Linear(3 * 28 * 28, 2)

    def forward(self, images):
        if not self.training and len(images) > 4:
            raise ValueError("only in eval")
        return self.layer(images.flatten(1))


class Narrow(Net):
    def forward(self, images):
        return self.layer(images.flatten(1) if self.training or len(images) < 5 else images)


def learner(task):
    raise KeyError("in my learner")


def within(task):
    return labelwise.Budget(None)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rng = np.random.default_rng(0)
    folder = tmp_path / "img"
    folder.mkdir()
    for number in range(12):
        Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8)).save(folder / f"{number}.png")
    (tmp_path / "own_code_of_a_test.py").write_text(MINE)
    (tmp_path / "a.csv").write_text("id,label\n0.png,a\n1.png,b\n")
    init(folder, project=tmp_path, labels="none", classes=("a", "b")).import_labels(tmp_path / "a.csv")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("own_code_of_a_test", None)


def _with(project: Path, settings: str) -> str:
    file = project / "labelwise.yaml"
    file.write_text(file.read_text() + settings)
    return refused("suggest", "-n", 2, "-s", "margin", "--project", project)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("settings", "line", "said"),
    [
        ('learner: {kind: "own_code_of_a_test:learner"}\n', 23, "KeyError: 'in my learner'"),
        (
            'input: {size: 28}\nlearner: {kind: torch, model: "own_code_of_a_test:Net", workers: 0, '
            "phases: [{epochs: 1, min_steps: 2}]}\n",
            13,
            "ValueError: only in eval",
        ),
        (  # the error itself arises in a library that the code calls
            'input: {size: 28}\nlearner: {kind: torch, model: "own_code_of_a_test:Narrow", workers: 0, '
            "phases: [{epochs: 1, min_steps: 2}]}\n",
            19,
            "RuntimeError: ",
        ),
    ],
)
def test_an_error_in_it_names_its_file_and_line(project, settings, line, said):
    text = _with(project, settings)
    assert f"own_code_of_a_test.py, line {line}: {said}" in text
    assert "bug" not in text
    assert len(text) <= 300 + len(str(project))


def test_an_error_of_ours_in_it_is_said_as_ever(project):
    assert _with(project, 'learner: {kind: "own_code_of_a_test:within"}\n').startswith("error: a budget of None")


@pytest.mark.heavy
@pytest.mark.parametrize("command", [["-m", "labelwise"], [Path(sys.executable).with_name("labelwise")]])
def test_the_folder_one_stands_in_is_looked_through_behind_all_else(tmp_path, command):
    (tmp_path / "own_data.py").write_text("def data(): return [('x', 0)]")
    if len(command) == 1:  # of "python -m" that folder comes first, and Python says so
        (tmp_path / "colorsys.py").write_text("raise SystemExit('a file called like a library')")
    arguments = [*command, "init", "own_data:data", "--project", "p"]
    if len(command) == 1:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    else:
        done = forked.python(*arguments, cwd=tmp_path, environment={"PYTHONPATH": ""})
    assert done.returncode == 0, done.stderr
    assert "1 image" in done.stdout
    assert "p/own_data" not in done.stdout, "it is a name, no path in the project"
