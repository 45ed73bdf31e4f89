"""Each example runs as it stands, in a process of its own; what it says of a training is that of one that learnt."""

import csv
import re
from pathlib import Path

import pytest

import forked

#: that of Ultralytics runs where there is one: tests/external/test_ultralytics_picks.py
EXAMPLES = sorted(
    path for path in (Path(__file__).parents[2] / "examples").glob("*.py") if path.stem != "ultralytics_loop"
)


#: those that train: what they say of it, and how much it is at least; chance is 0.1 for digits and about 0 for boxes
LEARNT = {
    "bring_your_own": ("accuracy", 0.8),
    "own_model": ("accuracy", 0.6),
    "plain_arrays": ("accuracy", 0.8),
    "torchvision_detector": ("map", 0.15),
}
#: those that only hold a class of their own to its contract, or choose from given numbers
UNTRAINED = {"own_format", "own_kind", "own_strategy", "own_task"}


@pytest.mark.heavy
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path, tmp_path):
    done = forked.python("-W", "ignore", path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert len(path.read_text().splitlines()) < 100, "an example is read at a glance"
    if path.stem in LEARNT:
        name, least = LEARNT[path.stem]
        said = [float(value) for value in re.findall(rf"{name} (\d\.\d+)", done.stdout)]
        assert said, f"it says which {name} it reached"
        assert min(said) >= least
        assert "Nothing was learnt" not in done.stdout
    if path.stem == "bring_your_own":
        _check_tables(tmp_path / "bring_your_own")


def _check_tables(folder):
    """Both rank every photo that waits, from the highest score down, and do not say the same."""
    order, scores = {}, {}
    for strategy in ("learning_loss", "discriminative"):
        with (folder / f"{strategy}.csv").open(newline="") as file:
            head, *rows = csv.reader(file)
        assert head == ["name", "entropy_value"]
        order[strategy] = [Path(name).name for name, _ in rows]
        scores[strategy] = [float(score) for _, score in rows]
        assert scores[strategy] == sorted(scores[strategy], reverse=True)
        assert sorted(order[strategy]) == [f"{number:03d}.png" for number in range(600) if number % 4 > 1]
    assert len(set(scores["learning_loss"])) > 250, "the head tells images apart"
    assert order["learning_loss"] != order["discriminative"]


def test_every_example_is_known_as_one_that_trains_or_does_not():
    assert {path.stem for path in EXAMPLES} == LEARNT.keys() | UNTRAINED
    assert not LEARNT.keys() & UNTRAINED
