"""What annotators of boxes get: the asked images as COCO, VOC or YOLO, with the boxes that the model would draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwise.contracts.learner import Examples
from labelwise.errors import UnmetNeed
from labelwise.formats.boxes import BoxLabels
from labelwise.formats.coco import write_coco
from labelwise.formats.files import write_whole
from labelwise.formats.voc import write_voc
from labelwise.formats.yolo import write_yolo
from labelwise.signals.units import Units

if TYPE_CHECKING:
    from labelwise.contracts.learner import Learner
    from labelwise.contracts.oracle import Pick
    from labelwise.contracts.source import Source

#: lowest score of a box that is offered to people, where the task does not say
CONFIDENT = 0.3


def predicted_boxes(learner: Learner, source: Source, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Objects that the learner is confident of, by image; nothing for images that cannot be read.

    Raises:
        UnmetNeed: the learner finds no boxes.
    """
    signals = {name: Units(name) for name in ("boxes", "scores", "labels")}
    if learner.weights is None:
        return {}
    if not all(signal.fields <= learner.provides for signal in signals.values()):
        raise UnmetNeed("the learner finds no boxes that could be offered to people: leave the predictions out")
    table = learner.collect(Examples(source, tuple(ids)), frozenset(signals.values()))
    columns = {name: table.ragged(signal) for name, signal in signals.items()}
    least = getattr(learner.task, "confident", CONFIDENT)
    found: dict[str, list[dict[str, Any]]] = {}
    for row, item in enumerate(table.ids):
        start, stop = columns["boxes"][1][row : row + 2]
        sides = (*source.size(item), *source.size(item))
        parts = [columns[name][0][start:stop].tolist() for name in ("boxes", "scores", "labels")]
        found[item] = [
            {
                "class": learner.task.classes[int(label)],
                "box": [round(side * value, 2) for side, value in zip(sides, box, strict=True)],
                "score": round(score, 6),
            }
            for box, score, label in zip(*parts, strict=True)
            if score >= least
        ]
    return found


def asked_boxes(picks: Sequence[Pick], source: Source, guesses: Mapping[str, Any]) -> dict[str, Any]:
    """A raw label for each pick, marked as not answered yet: with the guessed objects, or without any."""
    labels = {}
    for pick in picks:
        marks: dict[str, Any] = {"answered": False, "path": pick.path, "rank": pick.rank}
        marks |= {} if pick.score is None else {"strategy_score": float(pick.score)}
        labels[pick.id] = {"size": list(source.size(pick.id)), "objects": guesses.get(pick.id, []), "extra": marks}
    return labels


def write_asked(out: Path, kind: str, labels: Mapping[str, Any], classes: tuple[str, ...]) -> None:
    """Writes the asked images: one COCO file, or a folder.

    YOLO labels have no place for a mark that says whether somebody has looked at them: the guesses lie in a folder
    ``suggested``, and those that are right are to be saved in ``labels``.

    Raises:
        StateError: a file cannot be written.
    """
    found = BoxLabels(labels, classes)
    if kind == "coco":
        write_coco(out, found)
    elif kind == "voc":
        write_voc(out, found)
    else:
        for folder in (out / "labels", out / "suggested"):
            folder.mkdir(parents=True, exist_ok=True)
        plain = {
            name: {**label, "objects": [_plain(thing) for thing in label["objects"]]} for name, label in labels.items()
        }
        write_yolo(out / "suggested", BoxLabels({f"images/{name}": label for name, label in plain.items()}, classes))
        (out / "suggested" / "data.yaml").replace(out / "data.yaml")
        paths = [label["extra"]["path"] for label in labels.values()]
        write_whole(out / "images.txt", "".join(f"{path}\n" for path in paths).encode())


def _plain(thing: Mapping[str, Any]) -> dict[str, Any]:
    """Without its score: tools that draw boxes take a sixth number for an error."""
    return {key: value for key, value in thing.items() if key != "score"}
