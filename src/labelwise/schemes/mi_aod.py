"""Two class heads that agree and disagree about images without labels, in turn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from labelwise.contracts.learner import Phase
from labelwise.contracts.scheme import Scheme
from labelwise.models.trunks import with_mil
from labelwise.schemes.mil import INSTANCES

#: published: a label-set phase takes three times the epochs of each of the others
_LABEL_SET, _OTHER = 3, 1


@dataclass(frozen=True)
class MiAod(Scheme):
    """Label-set training, then, as often as ``rounds`` says, a minimise phase, a maximise phase and label-set training.

    Phases of both kinds take a batch with labels and one without in turn, of as many images without labels as there are
    with, drawn anew for each epoch. In a minimise phase both class heads rest, and the maps learn to make them agree;
    in a maximise phase only the class heads learn, and learn to disagree. See
    ``labelwise.learners.multiple_instance.Instances`` for what is learnt.

    The steps over images with labels are as many as the task's own phase takes, shared out as published; those over
    images without come on top. The published schedules themselves are in the recipes ``mi-aod-*``.

    Args:
        rounds: how often the heads agree and disagree.
        weight: of their gap.
        order: ``minimise`` first, as in the authors' code, or ``maximise`` first, as in the paper.
        classes: what a place says of classes, see ``mil``.

    Reference:
        Yuan et al., "Multiple Instance Active Learning for Object Detection", CVPR 2021, section 3. We differ: the
        optimiser, the batches and the number of steps are those of the task; each label-set phase ends at a low rate;
        an image in which no class is found leaves out itself, not its batch; the gap is averaged over images.
    """

    name: ClassVar[str] = "mi_aod"
    task: ClassVar[str] = "detection"
    rounds: int = 2
    weight: float = 0.5
    order: Literal["minimise", "maximise"] = "minimise"
    classes: Literal["auto", "softmax", "sigmoid"] = "auto"

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.weight < 0:
            raise ValueError(f"rounds must be at least 1 and weight not negative, got {self.rounds} and {self.weight}")

    def network(self, model: str) -> str:
        """With two more heads."""
        return with_mil(model)

    def phases(self, usual: Sequence[Phase]) -> tuple[Phase, ...]:
        """The task's last phase, shared out; phases before it stay."""
        *before, last = usual
        options = {} if self.classes == "auto" else {"classes": self.classes}
        units = _LABEL_SET * (self.rounds + 1) + 2 * _OTHER * self.rounds
        label_set = replace(_part(last, _LABEL_SET / units), loss=INSTANCES, options=options)
        pair = []
        for step, frozen in (("minimise", ("first", "second")), ("maximise", ("detector", "mil"))):
            mixed = _part(last, _OTHER / units, steps=2)
            mixed = replace(mixed, batches="alternate", unlabelled="as_labelled", frozen=frozen, schedule="constant")
            told = {**options, "step": step, "weight": self.weight, "image": step == "minimise"}
            pair.append(replace(mixed, lr=last.lr / 10, loss=INSTANCES, options=told))
        if self.order == "maximise":
            pair.reverse()
        found = [*before, label_set]
        for _ in range(self.rounds):
            found += [*pair, label_set]
        return (*(replace(phase, average=0.0) for phase in found[:-1]), found[-1])


def _part(phase: Phase, share: float, *, steps: int = 1) -> Phase:
    """A share of a phase; ``steps`` for each step over images with labels."""
    longest = None if phase.max_steps is None else math.ceil(phase.max_steps * share) * steps
    return replace(
        phase,
        epochs=max(1, round(phase.epochs * share)),
        min_steps=math.ceil(phase.min_steps * share) * steps,
        max_steps=longest,
    )
