"""The contract tests themselves: what breaks a promise is found, and said in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

import tiny
from labelwise.contracts.learner import FitReport
from labelwise.contracts.oracle import Answer, Oracle, Round
from labelwise.contracts.query import Query, Selection
from labelwise.contracts.signal import Plain
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.contracts.task import Outputs
from labelwise.data.arrays import ArraySource
from labelwise.learners.torch import TorchLearner
from labelwise.selection.ranking import take_top
from labelwise.signals import Embedding, Probs
from labelwise.tasks.classification import Classification
from labelwise.testing.learners import check_learner
from labelwise.testing.oracles import check_oracle
from labelwise.testing.signals import check_signal
from labelwise.testing.sources import check_source
from labelwise.testing.strategies import check_strategy
from labelwise.testing.tasks import check_task
from labelwise.testing.worlds import World, digits, digits_world, pixels

# ---- strategies -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Good(Strategy):
    """The least sure first."""

    name: ClassVar[str] = "good"
    sharpness: float = 1.0

    def steps(self) -> tuple[Step, ...]:
        return (Step(Needs(pool=frozenset({Probs()})), self._choose),)

    def _choose(self, query: Query) -> Selection:
        scores_M = 1 - query.pool(Probs()).max(1).values ** self.sharpness
        chosen_K = take_top(scores_M, query.budget, rng=query.rng)
        return Selection(query.unlabelled_M[chosen_K], scores_M[chosen_K])


@dataclass(frozen=True)
class OneShort(Good):
    def _choose(self, query: Query) -> Selection:
        found = super()._choose(query)
        return Selection(found.positions_K[1:])


@dataclass(frozen=True)
class Labelled(Good):
    def _choose(self, query: Query) -> Selection:
        return Selection(torch.cat([query.labelled_L[:1], query.unlabelled_M])[: query.budget])


@dataclass(frozen=True)
class Lucky(Good):
    def _choose(self, query: Query) -> Selection:
        return Selection(query.unlabelled_M[torch.randperm(len(query.unlabelled_M))[: query.budget]])


@dataclass(frozen=True)
class FromNumPy(Good):
    def _choose(self, query: Query) -> Selection:
        np.random.rand(3)  # noqa: NPY002
        return super()._choose(query)


@dataclass(frozen=True)
class Writes(Good):
    def _choose(self, query: Query) -> Selection:
        found = super()._choose(query)
        query.matrix(Probs()).mul_(0.9)
        return found


@dataclass(frozen=True)
class Float(Good):
    def _choose(self, query: Query) -> Selection:
        return Selection(super()._choose(query).positions_K.int())


@dataclass(frozen=True)
class ColdInName(Good):
    cold: ClassVar[bool] = True


@dataclass
class Thawed(Good.__mro__[1]):
    name: ClassVar[str] = "thawed"

    def steps(self) -> tuple[Step, ...]:
        return Good().steps()


@dataclass(frozen=True, repr=False)
class Nameless(Good):
    def __repr__(self) -> str:
        return "Nameless()"


def _fresh() -> World:
    """A world of one's own: some strategies spoil what is collected."""
    return World(digits(), digits_world().make_learner, pixels(digits()))


@pytest.mark.heavy
def test_a_strategy_that_keeps_it(tmp_path):
    check_strategy(Good(), tmp_path)
    check_strategy(Good(sharpness=2.0), tmp_path / "sharp", _fresh())


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        (Lucky(), "other picks"),
        (FromNumPy(), "NumPy's global state"),
        (Writes(), "was written to"),
        (Float(), "not int64"),
        (ColdInName(), "a cold strategy needs no trained model"),
        (Thawed(), "is frozen"),
        (Nameless(sharpness=2.0), "its repr names every option"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_strategy_that_breaks_it(strategy, words, tmp_path):
    with pytest.raises(AssertionError, match=words):
        check_strategy(strategy, tmp_path, _fresh())


@pytest.mark.parametrize(("strategy", "words"), [(OneShort(), "chose 8 items where 9"), (Labelled(), "not unlabelled")])
def test_what_the_engine_refuses_fails_too(strategy, words, tmp_path):
    with pytest.raises(Exception, match=words):
        check_strategy(strategy, tmp_path)


# ---- signals --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Brightest(Plain):
    name: ClassVar[str] = "brightest"
    power: float = 1.0

    def compute(self, outputs: Outputs) -> Tensor:
        return outputs.probs_UC.max(1).values ** self.power


@dataclass(frozen=True)
class OfTheBatch(Brightest):
    def compute(self, outputs: Outputs) -> Tensor:
        rows = super().compute(outputs)
        return rows - rows.mean()


@dataclass(frozen=True)
class Random(Brightest):
    def compute(self, outputs: Outputs) -> Tensor:
        return torch.rand(outputs.size)


@dataclass(frozen=True)
class Constant(Brightest):
    def compute(self, outputs: Outputs) -> Tensor:
        return torch.ones(outputs.size)


@dataclass(frozen=True)
class NotANumber(Brightest):
    def compute(self, outputs: Outputs) -> Tensor:
        return super().compute(outputs) / torch.zeros(()) - torch.inf


@dataclass(frozen=True)
class Double(Brightest):
    def compute(self, outputs: Outputs) -> Tensor:
        return super().compute(outputs).double()


def test_a_signal_that_keeps_it():
    check_signal(Brightest(power=2.0))
    check_signal(Embedding())


@pytest.mark.parametrize(
    ("signal", "words"),
    [
        (OfTheBatch(), "depends on the batch"),
        (Random(), "changes when|other rows for the same seed"),
        (Constant(), "the same of every image"),
        (NotANumber(), "NaN"),
        (Double(), "float64"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_signal_that_breaks_it(signal, words):
    with pytest.raises(AssertionError, match=words):
        check_signal(signal)


# ---- sources --------------------------------------------------------------------------------------------------------


class _Digits(ArraySource):
    def __init__(self) -> None:
        source = tiny.digits(6)
        super().__init__(
            np.stack([source.load(item) for item in source.ids]), [0] * 6, classes=["a"], ids=list(source.ids)
        )


class Unsorted(_Digits):
    def __init__(self) -> None:
        super().__init__()
        self.ids = self.ids[::-1]


class Floats(_Digits):
    def load(self, item_id: str) -> Any:
        return super().load(item_id).astype(np.float64)


class Wide(_Digits):
    def size(self, item_id: str) -> tuple[int, int]:
        return 99, 16


class Alike(_Digits):
    def content(self, item_ids: Any) -> list[str]:
        return ["0" * 32 for _ in item_ids]


class Strange(_Digits):
    def __init__(self) -> None:
        super().__init__()
        self.truth = {"elsewhere.png": "a"}


class Noisy(_Digits):
    def load(self, item_id: str) -> Any:
        return np.random.default_rng().integers(0, 255, (16, 16, 1), np.uint8)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (Unsorted, "ascending"),
        (Floats, "uint8"),
        (Wide, "size says"),
        (Alike, "one digest"),
        (Strange, "truth speaks of 'elsewhere.png'"),
        (Noisy, "another image when it is loaded again"),
    ],
)
def test_a_source_that_breaks_it(source, words):
    check_source(_Digits())
    with pytest.raises(AssertionError, match=words):
        check_source(source())


def test_an_image_that_is_called_broken_and_can_be_read():
    with pytest.raises(AssertionError, match="was taken"):
        check_source(tiny.digits(4), broken=["img/0001.png"])


# ---- oracles --------------------------------------------------------------------------------------------------------


class Answers(Oracle):
    def __init__(self, *answers: Answer) -> None:
        self.answers = answers

    def annotate(self, asked: Round) -> Iterator[Answer]:
        yield from (answer for answer in self.answers if answer.id != "b.png" or len(asked) == 2)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ((Answer("z.png", "3"),), "was not asked"),
        ((Answer("a.png", "3"), Answer("a.png", "4")), "twice"),
        ((Answer("a.png"),), "say why"),
        ((Answer("a.png", "3", {"seconds": -1.0}),), "cost -1"),
        ((Answer("a.png", "3", {"seconds": float("nan")}),), "cost nan"),
    ],
)
def test_an_oracle_that_breaks_it(answers, words):
    with pytest.raises(AssertionError, match=words):
        check_oracle(Answers(*answers), ["a.png", "b.png"], tiny.digits_task())


def test_an_oracle_whose_label_is_none(tmp_path):
    with pytest.raises(Exception, match="unknown class"):
        check_oracle(Answers(Answer("a.png", "no digit")), ["a.png", "b.png"], tiny.digits_task())


# ---- tasks and learners ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BatchLoss(Classification):
    def loss(self, model: Any, batch: Any) -> Any:
        sums, norms = super().loss(model, batch)["cross_entropy"]
        return {"cross_entropy": (sums - sums.mean(), norms)}


@dataclass(frozen=True)
class Logits(Classification):
    def outputs(self, model: Any, batch: Any, want: Any) -> Outputs:
        found = super().outputs(model, batch, want)
        return dataclasses.replace(found, probs_UC=found.probs_UC * 3)


@dataclass(frozen=True)
class Chance(Classification):
    def batch(self, images: Any, targets: Any, *, train: bool, rng: Any = None) -> Any:
        found = super().batch(images, targets, train=train, rng=rng)
        return dataclasses.replace(found, images=found.images + torch.rand(()) / 9)


@dataclass(frozen=True)
class TakesAll(Classification):
    def load(self, raw: Any) -> int:
        return super().load(raw) if raw in self.classes else 0


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (BatchLoss, "depends on the batch"),
        (Logits, "sum to one"),
        (Chance, "without training"),
        (TakesAll, "was taken"),
    ],
)
def test_a_task_that_breaks_it(task, words):
    source, plain = tiny.digits(8), tiny.digits_task()
    images, labels = [source.load(item) for item in source.ids], [source.truth[item] for item in source.ids]
    with pytest.raises(AssertionError, match=words):
        check_task(task(plain.classes, plain.input), images, labels)


class Forgetful(TorchLearner):
    """Trains otherwise each time."""

    def fit(self, data: Any, seed: int, **options: Any) -> FitReport:
        report = super().fit(data, seed, **options)
        with torch.no_grad():
            for parameter in self.networks.nets[0].parameters():
                parameter *= torch.from_numpy(np.random.default_rng().uniform(0.5, 2, parameter.shape)).float()
        return report


class Unnamed(TorchLearner):
    """The name of a training is another one in each process."""

    def fit_key(self, *given: Any, **options: Any) -> str:
        return f"{super().fit_key(*given, **options)[:-8]}{id(self) % 16**8:08x}"


@pytest.mark.parametrize(
    ("cls", "words"), [(Forgetful, "gave other weights"), (Unnamed, "the same name in another process")]
)
def test_a_learner_that_breaks_it(cls, words, tmp_path):
    world = World(digits(), lambda: cls(tiny.digits_task(), tiny.TinyNet, phases=tiny.FAST), pixels(digits()))
    with pytest.raises(AssertionError, match=words):
        check_learner(world, tmp_path)
