"""Looking over labels: what a task says of how doubtful they are, by models that have not learnt from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labelwise.errors import UnmetNeed

if TYPE_CHECKING:
    from labelwise.contracts.learner import Examples, Learner
    from labelwise.contracts.task import Task


@dataclass(frozen=True, slots=True)
class Doubt:
    """What speaks against a label.

    Args:
        score: in [0, 1], higher = more likely wrong.
        suspect: contradicted firmly enough to be worth a second look; how many of them are wrong is another matter.
        why: in a few words; "" where nothing can be said in words.
    """

    score: float
    suspect: bool
    why: str = ""


class LooksOver(ABC):
    """How labels of a task are looked over; of each task one, ``Task.looks_over``."""

    @abstractmethod
    def against(self, task: Task[Any], learner: Learner, view: Examples) -> Iterator[tuple[str, Any]]:
        """What a model that has not learnt from the labels of these images says of each, in any form.

        Args:
            task: whose labels they are.
            learner: trained, on other images.
            view: labelled images; those that cannot be read are left out.

        Raises:
            UnmetNeed: this learner says nothing that labels could be held against.
        """

    @abstractmethod
    def doubts(
        self,
        task: Task[Any],
        rows: Mapping[str, Any],
        targets: Mapping[str, Any],
        said: Mapping[str, Sequence[tuple[str, Any]]],
    ) -> Mapping[str, Doubt]:
        """How doubtful the label of each image is, of all together; those that nothing can be said of are left out.

        Args:
            task: whose labels they are.
            rows: what ``against`` said of each image, each by a model that has not learnt from it.
            targets: the label that counts.
            said: what each annotator said of an image, with who.
        """


class NotYet(LooksOver):
    """Of tasks whose labels cannot be looked over."""

    def against(self, task: Task[Any], learner: Learner, view: Examples) -> Iterator[tuple[str, Any]]:
        """Refuses.

        Raises:
            UnmetNeed: always.
        """
        raise UnmetNeed(f"labels of {task.name} cannot be looked over yet: they can be for classes, boxes and masks")

    def doubts(
        self,
        task: Task[Any],
        rows: Mapping[str, Any],
        targets: Mapping[str, Any],
        said: Mapping[str, Sequence[tuple[str, Any]]],
    ) -> Mapping[str, Doubt]:
        """Of no label any."""
        return {}
