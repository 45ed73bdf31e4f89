"""Pictures of asked items: what the model says of them, what people drew, and where the model is unsure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from labelwise.contracts.kind import Look, Panel
from labelwise.contracts.source import read_for
from labelwise.drawing.heat import UNSURE
from labelwise.kinds.subjects import in_window

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from labelwise.contracts.learner import Learner
    from labelwise.contracts.source import Source
    from labelwise.contracts.task import Task

#: the words above panels
PREDICTED, LABELLED, DOUBT = "predicted", "labelled", UNSURE


def shown_in(source: Source, item: str, raw: Any) -> Any:
    """A label as one of the picture of its item: of a subject in what is cut out of its image."""
    window = source.window(item)
    return raw if window is None else in_window(raw, window)


def drawn(
    task: Task[Any],
    source: Source,
    image_of: Callable[[str], Image | None],
    ids: Sequence[str],
    *,
    learner: Learner | None = None,
    labelled: Mapping[str, Any] | None = None,
    palette: tuple[tuple[int, int, int], ...] | None = None,
) -> Callable[[str], Image | None]:
    """Gives the picture of an item with its labels beside it, or the picture alone where there are none.

    A region is shown by its border in the whole picture, a subject as it is cut out.

    Args:
        task: whose labels are drawn.
        source: the images.
        image_of: the picture of an image, or None where it cannot be read.
        ids: what will be shown.
        learner: what was trained; None: no predictions.
        labelled: raw label of items that have one.
        palette: colour of each class, where the data say so.

    Raises:
        UnmetNeed: the learner says nothing that can be drawn.

    Cost:
        Two passes over the images; a guess and a map of each in memory.
    """
    images = tuple(dict.fromkeys(read_for(source, item) for item in ids))
    guesses: dict[str, Any] = {}
    doubts: dict[str, np.ndarray] = {}
    if learner is not None:
        guesses, doubts = dict(task.guesses(learner, source, images)), dict(task.doubts(learner, source, images))

    def picture(item: str) -> Image | None:
        whole = read_for(source, item)
        if (shown := image_of(whole)) is None:
            return None
        panels = [Panel(PREDICTED, shown_in(source, item, guesses[whole]))] if whole in guesses else []
        if labelled is not None and item in labelled:
            panels.append(Panel(LABELLED, shown_in(source, item, labelled[item])))
        panels += [Panel(DOUBT, doubt=doubts[whole])] if whole in doubts else []
        there = None if whole == item else (*source.outline(item), source.size(item))
        return task.kind.draw(shown, panels, task.classes, Look(palette, there))

    return picture
