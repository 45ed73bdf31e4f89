"""What all strategies in play need together, checked against what task and learner offer before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labelwise.contracts.signal import Draw, Probe, Signal
from labelwise.contracts.strategy import Needs, Strategy
from labelwise.contracts.task import PROMISES, in_words
from labelwise.errors import UnmetNeed

if TYPE_CHECKING:
    from labelwise.contracts.learner import Learner


def unite(strategies: Sequence[Strategy]) -> Needs:
    """The needs of the first steps of all strategies: one pass over the pool serves them all.

    Later steps are left out: their signals are collected for the survivors only.
    """
    needs = Needs()
    for strategy in strategies:
        needs = needs | strategy.steps()[0].needs
    return needs


@dataclass(frozen=True)
class Offer:
    """What is there to be asked.

    Args:
        learner: the learner of the campaign.
        frozen: whether a frozen feature source stands beside it.
        held_back: whether hidden labels exist (simulated campaigns).
        reference: whether there is a reference set.
        validation: whether there is a validation set.
        regions: whether regions of images are asked for.
    """

    learner: Learner
    frozen: bool = False
    held_back: bool = False
    reference: bool = True
    regions: bool = False
    validation: bool = True

    def meets(self, strategy: Strategy) -> bool:
        """Whether a strategy can have all it needs."""
        try:
            self.check([strategy])
        except UnmetNeed:
            return False
        return True

    def check(self, strategies: Sequence[Strategy]) -> None:
        """Refuses what cannot be met.

        Raises:
            UnmetNeed: names the strategy, the signal, what is missing and what is there.
        """
        for strategy in strategies:
            for step in strategy.steps():
                if (step.needs.hidden or strategy.oracle) and not self.held_back:
                    raise UnmetNeed(
                        f"strategy {strategy.name!r} is an oracle: it reads hidden labels, which exist only in "
                        "simulated campaigns (labelwise compare). Choose another strategy"
                    )
                one_class = "per_image" in self.learner.task.provides and self.learner.task.exclusive
                if step.needs.truth and not one_class:
                    raise UnmetNeed(
                        f"strategy {strategy.name!r} reads the one class of each image, and in "
                        f"{self.learner.task.name} an image has many or none: choose another strategy"
                    )
                if step.needs.exclusive and not self.learner.task.exclusive:
                    raise UnmetNeed(
                        f"strategy {strategy.name!r} asks which one class an image is, and in "
                        f"{self.learner.task.name} an image may be of several: take margin, entropy or "
                        "least_confidence, or a strategy that reads embeddings alone"
                    )
                if step.needs.reference and not self.reference:
                    raise UnmetNeed(
                        f"strategy {strategy.name!r} matches images against a reference set, labelled and kept out of "
                        "training, and there is none: set data.reference to a number of images in a recipe, give items "
                        "the role reference in a project, or choose another strategy"
                    )
                for signal in step.needs.signals:
                    self._check_signal(strategy, signal)
                if step.needs.head and (reason := self.learner.headless):
                    raise UnmetNeed(
                        f"strategy {strategy.name!r} needs the model's last linear layer (head), and {reason}; "
                        "or choose another strategy"
                    )
            if strategy.auxiliaries() and not self.learner.trains_auxiliaries:
                raise UnmetNeed(
                    f"strategy {strategy.name!r} trains an extra head beside the model, and "
                    f"{type(self.learner).__name__} cannot: use a torch learner"
                )
            if strategy.auxiliaries() and self.regions:
                raise UnmetNeed(
                    f"strategy {strategy.name!r} trains an extra head, which speaks of whole images, not of regions: "
                    "choose another strategy, or leave 'regions' out"
                )
            for auxiliary in strategy.auxiliaries():
                self.learner.check_auxiliary(auxiliary)

    def _check_signal(self, strategy: Strategy, signal: Signal) -> None:
        if signal.of == "frozen":
            if not self.frozen:
                raise UnmetNeed(
                    f"strategy {strategy.name!r} needs frozen features, and none are set up: "
                    "give the project a feature backbone, or choose another strategy"
                )
            return
        heads = {f"head:{auxiliary.name}" for auxiliary in strategy.auxiliaries()}
        missing = signal.fields - self.learner.provides - heads
        name = self.learner.called
        if missing == {"per_image"}:
            raise UnmetNeed(
                f"strategy {strategy.name!r} needs one answer for each image, and {name} says something "
                f"of each of the objects or pixels in it: choose another strategy"
            )
        missing -= PROMISES
        if missing:
            raise UnmetNeed(
                f"strategy {strategy.name!r} needs {in_words(missing)}, and {name} gives "
                f"{in_words(self.learner.provides)}: choose another strategy or learner"
            )
        if isinstance(signal, Draw) and type(signal.passes) not in self.learner.passes:
            kinds = ", ".join(sorted(kind.__name__ for kind in self.learner.passes)) or "no stochastic passes"
            raise UnmetNeed(
                f"strategy {strategy.name!r} needs {type(signal.passes).__name__} passes, and {name} makes {kinds}: "
                "choose another strategy, or another source of passes"
            )
        if isinstance(signal, Probe) and not self.learner.probed_by(signal):
            raise UnmetNeed(
                f"strategy {strategy.name!r} needs to probe the model ({signal.words}), and {name} has none to hand "
                "out: choose another strategy, or options of this one that need no model"
            )
        if self.regions and (isinstance(signal, Probe) or "loss" in signal.fields):
            raise UnmetNeed(
                f"strategy {strategy.name!r} needs {signal.words}, which speaks of whole images, not of regions: "
                "choose another strategy, or leave 'regions' out"
            )
        if isinstance(signal, Probe):
            self._check_sets(strategy, signal)
            self.learner.check_probe(signal)

    def _check_sets(self, strategy: Strategy, signal: Probe) -> None:
        if "test" in signal.prepared_from and not self.held_back:
            raise UnmetNeed(
                f"strategy {strategy.name!r} probes the model with the test set ({signal.words}), a leak that only "
                "simulated campaigns may have (labelwise compare): choose along=labelled or along=validation"
            )
        there = {"reference": self.reference, "validation": self.validation}
        for name in sorted(signal.prepared_from & there.keys()):
            if not there[name]:
                raise UnmetNeed(
                    f"strategy {strategy.name!r} probes the model with the {name} set ({signal.words}), and there is "
                    f"none: give labelled items the role {name}"
                    + (", set data.reference in a recipe" if name == "reference" else "")
                    + ", or choose another strategy or option"
                )
