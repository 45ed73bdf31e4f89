"""What models that have not learnt from some labels say against them, for tasks whose labels can be looked over.

Dimension key: N labelled images, C classes, G labelled boxes, P predicted boxes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torchvision.ops import box_iou

from labelwise.contracts.doubt import Doubt, LooksOver
from labelwise.contracts.learner import Examples
from labelwise.errors import UnmetNeed
from labelwise.selection.label_doubt import (
    BoxDoubts,
    box_doubts,
    class_doubts,
    crowd_doubts,
    far_above,
    pixel_doubt,
)
from labelwise.signals.units import Units
from labelwise.tasks.whole_images import probabilities

if TYPE_CHECKING:
    from labelwise.contracts.learner import Learner
    from labelwise.contracts.targets import Boxes
    from labelwise.contracts.task import Task

#: what several people said of each image: (who, target)
Said = Mapping[str, Sequence[tuple[str, Any]]]

#: images of one class with fewer labels are not judged: in most folds no model has seen the class at all
FEWEST = 3
#: predictions that overlap a box that is to be ignored by this much say nothing
_IGNORED = 0.5
#: doubt from which boxes are worth looking at again
_BOXES = 0.5
#: images whose pixels are in memory at once
_CHUNK = 4


# ---- one class an image ---------------------------------------------------------------------------------------------


def of_classes(
    classes: Sequence[str], rows: Mapping[str, Sequence[float]], targets: Mapping[str, int], said: Said
) -> dict[str, Doubt]:
    """Doubts about one class an image: confident learning, and ActiveLab where several people spoke of an image.

    Args:
        classes: names.
        rows: out-of-sample probabilities of each image.
        targets: the label that counts.
        said: what each annotator said.

    Returns:
        One of each image, without those whose class has too few labels to be judged.
    """
    count = Counter(targets[item] for item in rows)
    ids = [item for item in rows if count[targets[item]] >= FEWEST]
    if not ids:
        return {}
    probs_NC = torch.tensor([list(rows[item]) for item in ids], dtype=torch.float64)
    labels_N = torch.tensor([targets[item] for item in ids])
    if any(len(said.get(item, ())) > 1 for item in ids):
        names = sorted({who for item in ids for who, _ in said[item]})
        place = {who: number for number, who in enumerate(names)}
        said_NA = torch.full((len(ids), len(names)), -1)
        for row, item in enumerate(ids):
            for who, target in said[item]:
                said_NA[row, place[who]] = target
        found = crowd_doubts(probs_NC, labels_N, said_NA)
    else:
        found = class_doubts(probs_NC, labels_N)
    probs_NC[torch.arange(len(ids)), labels_N] = -1.0
    other_N = probs_NC.argmax(1).tolist()
    why = [f"looks like {classes[c]} ({float(probs_NC[row, c]):.2f})" for row, c in enumerate(other_N)]
    pairs = zip(ids, found.score_N.tolist(), found.suspect_N.tolist(), why, strict=True)
    return {item: Doubt(score, suspect, words if suspect else "") for item, score, suspect, words in pairs}


# ---- any number of classes an image ---------------------------------------------------------------------------------


def of_tags(
    classes: Sequence[str], rows: Mapping[str, Sequence[float]], targets: Mapping[str, Sequence[int]]
) -> dict[str, Doubt]:
    """Doubts about the yes or no of each class, of an image the largest; a class without both is not judged.

    Args:
        classes: names.
        rows: out-of-sample probability of each class of each image.
        targets: the classes that an image has.
    """
    ids = list(rows)
    if not ids:
        return {}
    probs_NC = torch.tensor([list(rows[item]) for item in ids], dtype=torch.float64)
    yes_NC = torch.zeros(probs_NC.shape, dtype=torch.int64)
    for row, item in enumerate(ids):
        yes_NC[row, list(targets[item])] = 1
    best: dict[str, Doubt] = {item: Doubt(0.0, False) for item in ids}
    for number, name in enumerate(classes):
        if min(int(yes_NC[:, number].sum()), int((1 - yes_NC[:, number]).sum())) < FEWEST:
            continue
        pair_N2 = torch.stack([1 - probs_NC[:, number], probs_NC[:, number]], dim=1)
        found = class_doubts(pair_N2, yes_NC[:, number])
        for row, item in enumerate(ids):
            score, suspect = float(found.score_N[row]), bool(found.suspect_N[row])
            if (suspect, score) > (best[item].suspect, best[item].score):
                word = "no" if yes_NC[row, number] else "has"
                best[item] = Doubt(score, suspect, f"{word} {name} ({float(probs_NC[row, number]):.2f})")
    return best


# ---- boxes ----------------------------------------------------------------------------------------------------------


def against_boxes(task: Task[Any], learner: Learner, view: Examples) -> Iterator[tuple[str, tuple[BoxDoubts, str]]]:
    """Of each image what the model's boxes say against its own, and in words what most.

    Raises:
        UnmetNeed: the learner finds no boxes.
    """
    signals = {name: Units(name) for name in ("boxes", "scores", "labels")}
    if not all(signal.fields <= learner.provides for signal in signals.values()):
        raise UnmetNeed("the learner finds no boxes that labels could be held against: take a learner of kind torch")
    target_of = dict(zip(view.ids, view.targets or (), strict=True))
    table = learner.collect(Examples(view.source, view.ids), frozenset(signals.values()))
    columns = {name: table.ragged(signal) for name, signal in signals.items()}
    for row, item in enumerate(table.ids):
        start, stop = columns["boxes"][1][row : row + 2]
        corners, scores, labels = (torch.as_tensor(columns[name][0][start:stop]) for name in signals)
        yield item, _of_one(task.classes, target_of[item], corners, scores, labels)


def _of_one(
    classes: Sequence[str], given: Boxes, corners_P4: torch.Tensor, scores_P: torch.Tensor, said_P: torch.Tensor
) -> tuple[BoxDoubts, str]:
    """Doubts about the boxes of one image; what is to be ignored is neither right nor wrong."""
    given = given.to("cpu")
    if bool(given.ignore_G.any()) and len(corners_P4):
        clear_P = box_iou(corners_P4, given.corners_G4[given.ignore_G]).nan_to_num(0).amax(1) < _IGNORED
        corners_P4, scores_P, said_P = corners_P4[clear_P], scores_P[clear_P], said_P[clear_P]
    kept = given.take(~given.ignore_G)
    found = box_doubts(kept.corners_G4, kept.class_G, corners_P4, said_P, scores_P)
    named = {"an object without a box": found.overlooked, "a box lies badly": found.misplaced}
    named["another class"] = found.swapped
    most = max(named, key=lambda name: named[name])
    if named[most] == found.overlooked > 0 and len(kept):
        overlap_P = box_iou(corners_P4, kept.corners_G4).nan_to_num(0).amax(1)
        missed = int((scores_P * (1 - overlap_P)).argmax())
        most = f"a {classes[int(said_P[missed])]} without a box"
    return found, most if named and max(named.values()) > 0 else ""


def of_boxes(rows: Mapping[str, tuple[BoxDoubts, str]]) -> dict[str, Doubt]:
    """Doubts about boxes: overlooked, misplaced and swapped together."""
    return {item: Doubt(found.score, found.score > _BOXES, why) for item, (found, why) in rows.items()}


# ---- masks ----------------------------------------------------------------------------------------------------------


def against_masks(task: Task[Any], learner: Learner, view: Examples) -> Iterator[tuple[str, float]]:
    """Of each image the doubt about its mask, at the size of the model's input.

    Raises:
        UnmetNeed: the learner says nothing of pixels.

    Cost: the probabilities of four images in memory.
    """
    signal = Units("probs")
    if not signal.fields | {"per_pixel"} <= learner.provides:
        raise UnmetNeed("the learner says nothing of pixels that labels could be held against: take kind torch")
    targets = view.targets or ()
    for start in range(0, len(view), _CHUNK):
        ids = view.ids[start : start + _CHUNK]
        target_of = dict(zip(ids, targets[start : start + _CHUNK], strict=True))
        table = learner.collect(Examples(view.source, ids), frozenset({signal}))
        probs_UC, offsets = table.ragged(signal)
        for row, item in enumerate(table.ids):
            given_U = task.collate([target_of[item]]).flatten().long()
            known_U = given_U < len(task.classes)
            rows_UC = torch.as_tensor(probs_UC[offsets[row] : offsets[row + 1]])[known_U]
            yield item, pixel_doubt(rows_UC.gather(1, given_U[known_U][:, None]))


def of_masks(rows: Mapping[str, float]) -> dict[str, Doubt]:
    """Doubts about masks; suspect are those that stand out among the others."""
    outstanding = far_above(list(rows.values())).tolist()
    return {item: Doubt(score, far) for (item, score), far in zip(rows.items(), outstanding, strict=True)}


# ---- what tasks name ------------------------------------------------------------------------------------------------


class OfClasses(LooksOver):
    """One class an image: confident learning; where several people spoke of an image, as ActiveLab has it."""

    def against(self, task: Task[Any], learner: Learner, view: Examples) -> Iterator[tuple[str, Any]]:
        """Class probabilities."""
        return probabilities(learner, view.source, view.ids)

    def doubts(
        self, task: Task[Any], rows: Mapping[str, Any], targets: Mapping[str, Any], said: Said
    ) -> dict[str, Doubt]:
        """See ``of_classes``."""
        return of_classes(task.classes, rows, targets, said)


class OfTags(OfClasses):
    """Any number of classes an image: confident learning for the yes or no of each, of an image its most doubtful."""

    def doubts(
        self, task: Task[Any], rows: Mapping[str, Any], targets: Mapping[str, Any], said: Said
    ) -> dict[str, Doubt]:
        """See ``of_tags``."""
        return of_tags(task.classes, rows, targets)


class OfBoxes(LooksOver):
    """Boxes: objects overlooked, boxes that lie badly, classes that are swapped."""

    def against(self, task: Task[Any], learner: Learner, view: Examples) -> Iterator[tuple[str, Any]]:
        """See ``against_boxes``."""
        return against_boxes(task, learner, view)

    def doubts(
        self, task: Task[Any], rows: Mapping[str, Any], targets: Mapping[str, Any], said: Said
    ) -> dict[str, Doubt]:
        """See ``of_boxes``."""
        return of_boxes(rows)


class OfMasks(LooksOver):
    """Masks: a soft maximum over pixels; suspect are masks that stand out among the others."""

    def against(self, task: Task[Any], learner: Learner, view: Examples) -> Iterator[tuple[str, Any]]:
        """See ``against_masks``."""
        return against_masks(task, learner, view)

    def doubts(
        self, task: Task[Any], rows: Mapping[str, Any], targets: Mapping[str, Any], said: Said
    ) -> dict[str, Doubt]:
        """See ``of_masks``."""
        return of_masks(rows)
