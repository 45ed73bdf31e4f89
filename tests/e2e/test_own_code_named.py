"""Code of people's own: found beside the YAML that names it, and named by file and line when it fails."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import forked
from commands import refused, run

CODE = """
import torch
from dataclasses import dataclass
from torch import nn
from labelwise.contracts.query import Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.contracts.task import Outputs
from labelwise.tasks.classification import Classification

class Net(nn.Module):
    def __init__(self, classes, spec):
        super().__init__()
        self.l = nn.Linear(3 * 8 * 8, classes)
    def forward(self, x):
        if not self.training:
            raise ValueError("only in training")
        return self.l(x.flatten(1))

class Misshapen(Net):
    def forward(self, x):
        return self.l(x)

class Reader(Net):
    def forward(self, x):
        return open("/nowhere/at/all")

def learner(task):
    raise KeyError("in my learner")

def narrow(task, more):
    return None

@dataclass(frozen=True)
class Mine(Strategy):
    name = "mine"
    cold = True
    wrong: bool = False
    def steps(self):
        return (Step(Needs(), self.choose),)
    def choose(self, query):
        if self.wrong:
            return [1, 2]
        return Selection(query.unlabelled_M[:query.budget], scores_K=torch.ones(1) @ torch.ones(2))

class Plain(nn.Module):
    def __init__(self, classes, spec):
        super().__init__()
        self.l = nn.Linear(3 * 8 * 8, classes)
    def forward(self, x):
        return self.l(x.flatten(1))

class Forgetful(Classification):
    name = "tags"
    def outputs(self, model, batch, want):
        return Outputs.of_images(model(batch.images).sigmoid(), exclusive=False)

class Tags(Forgetful):
    exclusive = False

class Pictures:
    classes = ["a", "b"]
    def __len__(self):
        return 8
    def __getitem__(self, row):
        if row > 5:
            raise RuntimeError("row six is gone")
        return torch.full((3, 8, 8), row / 8), row % 2
"""
_NUMBERS = itertools.count()


@pytest.fixture
def mine(tmp_path) -> tuple[Path, str]:
    """A project of labelled images with a module beside its YAML, by a name that no other test has."""
    name = f"own_{os.getpid()}_{next(_NUMBERS)}"
    (tmp_path / f"{name}.py").write_text(CODE)
    (tmp_path / "images").mkdir()
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    run("init", tmp_path / "images", "-p", tmp_path, "--labels", "none", "--backbone", "pixels", "--classes", "a,b")
    (tmp_path / "a.csv").write_text("id,label\n0.png,a\n1.png,b\n")
    run("import", tmp_path / "a.csv", "-p", tmp_path)
    return tmp_path, name


def configured(folder: Path, text: str) -> None:
    lines = (folder / "labelwise.yaml").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("learner", "input"))]
    (folder / "labelwise.yaml").write_text("\n".join([*kept, "input: {size: 8}", text, ""]))


def torch_net(reference: str) -> str:
    return f'learner: {{kind: torch, model: "{reference}", workers: 0, phases: [{{epochs: 1}}]}}'


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("text", "kind", "line"),
    [
        (torch_net("{}:Net"), "Net refuses input of shape (2, 3, 8, 8): only in training", 'raise ValueError("only'),
        (torch_net("{}:Misshapen"), "Misshapen refuses", "return self.l(x)\n\nclass Reader"),
        (torch_net("{}:Reader"), "FileNotFoundError", 'return open("/nowhere'),
        ('learner: {{kind: "{}:learner"}}', "KeyError", 'raise KeyError("in my'),
        ("", "", ""),
    ],
    ids=["model", "shapes", "file", "learner", "strategy"],
)
def test_a_failure_names_file_and_line_and_is_no_bug_of_ours(mine, text, kind, line):
    folder, name = mine
    more: tuple[object, ...] = ("-s", "margin")
    if text:
        configured(folder, text.replace("{}", name).replace("{{", "{").replace("}}", "}"))
    else:
        more, kind, line = ("-s", f"{name}:Mine"), "RuntimeError", "return Selection(query"
    told = refused("suggest", "-n", 2, "-p", folder, *more)
    row = CODE[: CODE.index(line)].count("\n") + 1
    assert f"{folder / name}.py, line {row}: {kind}" in told
    assert "bug in labelwise" not in told
    assert "mend it" in told


@pytest.mark.heavy
def test_what_a_strategy_returns_is_looked_at(mine):
    folder, name = mine
    told = refused("suggest", "-n", 2, "-p", folder, "-s", f"{name}:Mine", "--set", "wrong=true")
    assert "strategy 'mine' returned list: return a Selection" in told
    assert f"{name}.py, line {CODE[: CODE.index('@dataclass')].count(chr(10)) + 1}" in told


def test_a_data_set_that_fails_is_named(mine):
    folder, name = mine
    told = refused("compare", f"{name}:Pictures", "-o", folder / "study", "-s", "random", "--seeds", 1)
    assert f"{name}.py, line" in told
    assert "bug in labelwise" not in told


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("nothing_like_it:Net", ["cannot import 'nothing_like_it:Net'", "Looked in", "among what is installed"]),
        ("{}:Nett", ["and not 'Nett'", "Net"]),
        ("{}:narrow", ["is called with (task), and does not take that", "line"]),
    ],
)
def test_what_is_not_found_says_where_it_was_looked_for(mine, reference, words):
    folder, name = mine
    configured(folder, f'learner: {{kind: "{reference.replace("{}", name)}"}}')
    told = refused("suggest", "-n", 2, "-p", folder, "-s", "margin")
    assert all(word in told for word in words), told
    if "Looked" in words[1:]:
        assert str(folder) in told


def test_a_module_with_a_mistake_names_its_line(mine):
    folder, name = mine
    for number, (text, line) in enumerate([("x = 1\nimport not_there_at_all\n", 2), ("x = 1\n\ndef (:\n", 3)]):
        (folder / f"{name}_{number}.py").write_text(text)
        configured(folder, f'learner: {{kind: "{name}_{number}:learner"}}')
        told = refused("suggest", "-n", 2, "-p", folder, "-s", "margin")
        assert f"{name}_{number}.py, line {line}: " in told
        assert "bug in labelwise" not in told


@pytest.mark.heavy
def test_from_elsewhere_as_a_program(mine, tmp_path):
    folder, name = mine
    configured(folder, f'learner: {{kind: "{name}:learner"}}')
    done = forked.python("-m", "labelwise", "suggest", "-n", "2", "-s", "margin", "-p", folder, cwd=Path("/"))
    assert done.returncode == 1
    assert f"{folder / name}.py, line" in done.stderr


@pytest.mark.heavy
def test_methods_of_one_class_an_image_are_refused_for_a_task_of_several(mine):
    """Before anything is trained; what works on each class by itself goes on."""
    folder, name = mine
    configured(folder, f"task: {name}:Tags\n" + torch_net(f"{name}:Plain"))
    told = refused("suggest", "-n", 2, "-p", folder, "-s", "uherding")
    assert "'uherding' asks which one class an image is, and in tags an image may be of several: take margin" in told
    assert not (folder / ".labelwise/fits").exists()
    run("suggest", "-n", 2, "-p", folder, "-s", "margin")


@pytest.mark.heavy
def test_a_task_of_several_classes_says_so(mine):
    folder, name = mine
    configured(folder, f"task: {name}:Forgetful\n" + torch_net(f"{name}:Plain"))
    told = refused("suggest", "-n", 2, "-p", folder, "-s", "margin")
    assert "outputs of Forgetful say exclusive=False, and the class does not: set 'exclusive = False' on it" in told
