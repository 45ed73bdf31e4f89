"""What README and docs show runs as it stands there, but for names of data and shorter trainings; and it learns."""

from __future__ import annotations

import csv
import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

import labelwise as lw
import shapes
import tiny
from labelwise.config import ProjectConfig, RecipeConfig, SizesConfig, parse
from labelwise.contracts.source import Source
from labelwise.studies.comparison import Comparison

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DIGITS = {"input": {"size": 16, "channels": 1}, "task": {"name": "classification", "augment": "none"}}

#: blocks that train nothing by themselves, or cannot here, and why
UNTRAINED = {
    "README.md 0": "chooses from arrays; run below",
    "docs/backbones-and-pretraining.md 0": "names weights that are downloaded",
    "docs/extending/data.md 0": "says how values are read",
    "docs/extending/detectors.md 0": "names the network of the block after it",
    "docs/extending/strategies.md 0": "chooses; held to the contract by tests of its example",
    "docs/extending/strategies.md 1": "the contract of strategies",
    "docs/extending/strategies.md 2": "the contract of strategies",
    "docs/looking-again.md 0": "lists labels; run by tests of its own",
    "docs/looking-at-images.md 0": "compares images; trains nothing",
    "docs/low-budget.md 0": "chooses; run below",
    "docs/keypoints.md 0": "names the points; key points are trained by tests of their own",
    "docs/regions.md 0": "says how images are cut",
    "docs/subjects.md 0": "says where the boxes of subjects are",
}


def _blocks() -> dict[str, str]:
    """Python and YAML of every page, by page and number."""
    found = {}
    for page in PAGES:
        for number, match in enumerate(
            re.finditer(r"^( *)```(?:python|yaml)\n(.*?)^ *```", page.read_text(), re.S | re.M)
        ):
            found[f"{page.relative_to(ROOT)} {number}"] = textwrap.dedent(match.group(2))
    return found


BLOCKS = _blocks()


def _block(name: str, **changes: str) -> str:
    """A block with some of its words changed; each stands in it."""
    text = BLOCKS[name]
    for before, after in changes.items():
        assert before in text, f"{name} no longer says {before}"
        text = text.replace(before, after)
    return text


def _recipe(text: str, **more: Any) -> RecipeConfig:
    values = {"data": {"source": "unused"}, **DIGITS, "seeds": [0], "again": 0, "full": False, **more}
    return parse(RecipeConfig, values | yaml.safe_load(text), where="a page")


def _trained(recipe: RecipeConfig, source: Source, folder: Path) -> dict[str, float]:
    """Metrics of one training on every label of the pool."""
    return Comparison(recipe, source, folder).runs.full(0)


def _studied(recipe: RecipeConfig, source: Source, folder: Path) -> list[float]:
    """The primary metric of each row in the last round."""
    study = Comparison(recipe, source, folder).run()
    return [run.rounds[-1].metrics[study.primary] for run in study.runs]


# ---- each block -----------------------------------------------------------------------------------------------------


def test_a_selection_from_arrays():
    space = {"P": np.random.default_rng(0).dirichlet(np.ones(5), size=300), "idx": [3, 4]}
    exec(_block("README.md 0"), space)
    assert len(set(space["picks"].positions) - {3, 4}) == 100


def test_chosen_labels_on_frozen_features():
    from labelwise.strategies import STRATEGIES

    source = tiny.digits(80, test=20)
    said: list[Any] = []
    space = {"source": source, "feature_source": tiny.pixels(source), "strategy": STRATEGIES.create("kmeans")}
    exec(_block("docs/low-budget.md 0"), space | {"print": lambda *words: said.append(words)})
    assert [count for count, _, _ in said] == [10, 20, 50]


def _readme_study(folder: Path) -> float:
    from torch.utils.data import TensorDataset

    data = load_digits()
    images = _tensor(data.images[:500])
    text = _block("README.md 1", **{"=100": "=40", "rounds=5": f"rounds=1, full=False, again=0, out={str(folder)!r}",
                                    "seeds=5": "seeds=1, input={'size': 8, 'channels': 1}"})  # fmt: skip
    names = [str(digit) for digit in range(10)]
    space = {"lw": lw, "my_dataset": TensorDataset(images, _tensor(data.target[:500])), "names": names, "MyNet": _net}
    exec(text, space)
    study = space["study"]
    assert [run.strategy.split("(")[0] for run in study.runs] == ["random", "margin", "learning_loss", "discriminative"]
    return min(run.rounds[-1].metrics["accuracy"] for run in study.runs)


def _tensor(values: np.ndarray) -> Any:
    import torch

    return torch.tensor(values) if values.ndim == 1 else torch.tensor(values / 16, dtype=torch.float32)[:, None]


def _net() -> Any:
    from torch import nn

    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10))


def _readme_project(folder: Path) -> float:
    (folder / "photos").mkdir()
    (folder / "my_net.py").write_text(
        "from torch import nn\n\n\ndef MyNet(classes, spec):\n    body = nn.Conv2d(3, 16, 3, 2), nn.ReLU()\n"
        "    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, classes))\n"
    )
    rows, digits = [("id", "label", "split")], load_digits()
    for number in range(300):
        split = ("train", "test", "")[number % 3]
        Image.fromarray((digits.images[number] * 15).astype(np.uint8)).save(folder / "photos" / f"{number}.png")
        rows.append((f"{number}.png", str(digits.target[number]) if split else "", split))
    with (folder / "photos/known.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    text = _block("README.md 2", **{"learner=learner": "learner=learner, input={'size': 16}"})
    space: dict[str, Any] = {"lw": lw}
    exec(text, space)
    assert len((folder / "scores.csv").read_text().splitlines()) == 101
    return float(space["project"].evaluate().metrics["accuracy"])


def _pretrained(folder: Path) -> float:
    digits = load_digits()
    rows = [("id", "label", "split")]
    for number in range(200):
        Image.fromarray((digits.images[number] * 15).astype(np.uint8)).resize((16, 16)).save(folder / f"{number}.png")
        rows.append((f"{number}.png", str(digits.target[number]), "test" if number % 2 else "train"))
    with (folder / "known.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    block = yaml.safe_load(_block("docs/backbones-and-pretraining.md 2"))
    made = lw.init(folder / "known.csv", project=folder, **DIGITS, learner={"kind": "torch", "model": "lenet"})
    made.pretrain("simclr", epochs=1)
    settings = yaml.safe_load((folder / "labelwise.yaml").read_text())
    (folder / "labelwise.yaml").write_text(yaml.safe_dump(settings | block))
    project = lw.open(folder)
    project.fit()
    return float(project.evaluate().metrics["accuracy"])


def _own_detector(folder: Path) -> float:
    space: dict[str, Any] = {}
    exec(_block("docs/extending/detectors.md 1"), space)
    recipe = _recipe("{}", task="detection", input={"size": 64})
    source = shapes.Shapes(80, test=20)
    phases = [lw.Phase(batch_size=8, min_steps=250, lr=3e-3)]

    def make(task: Any) -> lw.TorchLearner:
        return lw.TorchLearner(task, lambda: space["Grid"](len(task.classes), task.input), phases=phases)

    comparison = Comparison(recipe, source, folder, make=make)
    return comparison.runs.full(0)[comparison.primary]


def _sizes(folder: Path) -> float:
    import json

    import forked

    data = load_digits()
    images = (np.kron(data.images[:600], np.ones((1, 2, 2))) * 15).astype(np.uint8)
    np.savez(folder / "digits.npz", images=images[..., None], labels=data.target[:600])
    changes = {"cifar10_jpeg.npz": "digits.npz", "ratio: 100": "ratio: 5", "lite0, size: 96": "pixels, size: 8",
               "[10, 20, 50, 100]": "[20, 60]", "seeds: 5": "seeds: 1"}  # fmt: skip
    changes["[random, uniform, kmeans, accu_kmeans, k_center, entropy, margin, typiclust]"] = "[random, kmeans]"
    text = _block("docs/low-budget.md 1", **changes)
    (folder / "few.yaml").write_text(text)
    done = forked.python("-m", "labelwise", "compare", "few.yaml", "-o", "out", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return max(row["final"]["mean"] for row in _finals(json.loads(done.stdout)))


def _finals(value: Any) -> list[Any]:
    """All rows of a summary, wherever they stand in it."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value] if isinstance(value, dict) and "final" in value else [row for part in parts for row in _finals(part)]


def _yaml(name: str, changes: dict[str, str], count: int = 300) -> Any:
    def run(folder: Path) -> float:
        recipe = _recipe(_block(name, **changes))
        return _trained(recipe, tiny.digits(count, test=100), folder)["accuracy"]

    return run


def _rows(name: str, changes: dict[str, str], **more: Any) -> Any:
    def run(folder: Path) -> float:
        recipe = _recipe(_block(name, **changes), **more)
        return min(_studied(recipe, tiny.digits(300, test=100), folder))

    return run


def _trunk(folder: Path) -> float:
    text = _block(
        "docs/backbones-and-pretraining.md 1", **{"min_steps: 300": "min_steps: 60", "min_steps: 100": "min_steps: 20"}
    )
    comparison = Comparison(_recipe(text, task="detection", input={"size": 64}), shapes.Shapes(60, test=20), folder)
    return comparison.runs.full(0)[comparison.primary]


def _two_heads(folder: Path) -> float:
    """The scheme of the page, as a row of a study would have it."""
    values = yaml.safe_load(BLOCKS["docs/mi-aod.md 0"])
    strategy = values.pop("strategy")
    text = yaml.safe_dump({**values, "strategies": [strategy]})
    comparison = Comparison(
        _recipe(text, input={"size": 48}, task="detection", **{**FEW, "initial": 20}),
        shapes.Shapes(60, test=20),
        folder,
    )
    comparison.check()
    return comparison.runs.full(0)[comparison.primary]


FEW = {"initial": 60, "batch": 20, "rounds": 1}
STUDY = {"initial: 100": "initial: 80", "batch: 100": "batch: 20", "rounds: 5": "rounds: 1", "seeds: 5": "seeds: 1",
         "members: 4": "members: 2", "resnet18_cifar": "lenet", "size: 32": "size: 16, channels: 1"}  # fmt: skip
BIASED = {"torchvision:MNIST": "unused", "reference: 1000": "reference: 50", "ratio: 100": "ratio: 5",
          "epochs: 8": "epochs: 1"}  # fmt: skip
#: what each of the others trains, and how good that is at least; chance is 0.1 for digits and about 0 for boxes
TRAINED: dict[str, tuple[Any, float]] = {
    "README.md 1": (_readme_study, 0.5),
    "README.md 2": (_readme_project, 0.6),
    "docs/backbones-and-pretraining.md 1": (_trunk, 0.1),
    "docs/backbones-and-pretraining.md 2": (_pretrained, 0.5),
    "docs/backbones-and-pretraining.md 3": (
        _rows(
            "docs/backbones-and-pretraining.md 3",
            {"resnet18_cifar": "resnet10_small", "epochs: 100": "epochs: 1", "epochs: 30": "epochs: 15"},
            strategies=["random"],
            **FEW,
        ),
        0.3,
    ),
    "docs/biased-pools.md 0": (_yaml("docs/biased-pools.md 0", BIASED, 600), 0.5),
    "docs/choosing-a-strategy.md 0": (
        _rows("docs/choosing-a-strategy.md 0", {"members: 4": "members: 2", "passes: 16": "passes: 4"}, **FEW),
        0.5,
    ),
    "docs/extending/detectors.md 1": (_own_detector, 0.1),
    "docs/extending/learners.md 0": (
        _yaml(
            "docs/extending/learners.md 0",
            {"my_package.my_module:build": "tiny:counting_net", "layer4": "hidden", "min_steps: 400": "min_steps: 150"},
        ),
        0.4,
    ),
    "docs/low-budget.md 1": (_sizes, 0.4),
    "docs/mi-aod.md 0": (_two_heads, 0.1),
    "docs/studies.md 0": (_rows("docs/studies.md 0", STUDY), 0.4),
    "docs/training.md 0": (_yaml("docs/training.md 0", {"min_steps: 500": "min_steps: 100"}), 0.6),
}


def test_every_block_is_known_as_one_that_trains_or_does_not():
    assert BLOCKS.keys() == TRAINED.keys() | UNTRAINED.keys()
    assert not TRAINED.keys() & UNTRAINED.keys()


@pytest.mark.heavy
@pytest.mark.parametrize("name", TRAINED)
def test_what_a_page_says_learns(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run, least = TRAINED[name]
    assert run(tmp_path) >= least


@pytest.mark.parametrize("name", [name for name, text in BLOCKS.items() if "import" not in text and " = " not in text])
def test_settings_on_a_page_are_settings(name):
    """Of a project, a recipe or a study by size: keys and values that there are."""
    values = yaml.safe_load(BLOCKS[name])
    kind: Any = RecipeConfig if {"strategies", "start", "data"} & values.keys() else ProjectConfig
    kind = SizesConfig if "sizes" in values else kind
    needed = {"images": "unused"} if kind is ProjectConfig else {"data": {"source": "unused"}}
    parse(kind, needed | values, where=name)
