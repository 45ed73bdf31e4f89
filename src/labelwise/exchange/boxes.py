"""What annotators of boxes get: the asked images as COCO, VOC or YOLO, with the boxes that the model would draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwise.formats.boxes import BoxLabels
from labelwise.formats.coco import write_coco
from labelwise.formats.files import write_whole
from labelwise.formats.voc import write_voc
from labelwise.formats.yolo import write_yolo

if TYPE_CHECKING:
    from labelwise.contracts.oracle import Pick
    from labelwise.contracts.source import Source


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
