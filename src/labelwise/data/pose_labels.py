"""Key points of one subject: between raw labels and targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from labelwise.contracts.targets import Pose
from labelwise.errors import DataError, brief
from labelwise.kinds.subjects import window_of


def pose_of(raw: Mapping[str, Any], names: Sequence[str], aspect: float = 1.0) -> Pose:
    """The pose that a raw label of key points means; points that lie outside the image are not seen.

    Args:
        raw: as the kind ``points`` has checked it.
        names: of the points, in the order of the pose.
        aspect: width of the network's input over its height, by which a subject is cut out of its image.

    Raises:
        DataError: other points than these, or more than one subject that has points.

    Example:
        >>> raw = {"size": [8, 4], "objects": [{"class": "fly", "points": [[2, 1, 2], [9, 1, 2]], "names": ["b", "a"]}]}
        >>> pose = pose_of(raw, ("a", "b"))
        >>> pose.points_K2.tolist(), pose.seen_K.tolist()
        ([[0.0, 0.0], [0.25, 0.25]], [0, 2])
    """
    things = [thing for thing in raw["objects"] if any(point[2] for point in thing["points"])]
    if len(things) > 1:
        raise DataError(
            f"{len(things)} subjects with points in one image: keypoints finds one in each, so cut the image into one "
            "picture for each subject"
        )
    size, cut = (raw["size"][0], raw["size"][1]), _cut(raw, aspect)
    if not things:
        count = len(names)
        return replace(Pose(torch.zeros(count, 2), torch.zeros(count, dtype=torch.int64), size, raw=raw), **cut)
    thing = things[0]
    at, size = cut.get("at", (0, 0)), cut.get("size", size)
    places = torch.tensor(_ordered(thing, "points", names), dtype=torch.float64)
    points_K2 = (places[:, :2] - torch.tensor(at, dtype=torch.float64)) / torch.tensor(size, dtype=torch.float64)
    seen_K = ((points_K2 >= 0) & (points_K2 <= 1)).all(1) & (places[:, 2] > 0)
    scores = None if thing.get("scores") is None else torch.tensor(_ordered(thing, "scores", names)).float()
    pose = Pose(
        torch.where(seen_K[:, None], points_K2, 0.0).float(),
        torch.where(seen_K, places[:, 2].long(), 0),
        size,
        *_measures(thing),
        scores,
        raw,
    )
    return replace(pose, **cut)


def _cut(raw: Mapping[str, Any], aspect: float) -> dict[str, Any]:
    """What a pose says of the cut that shows a subject; {} for whole images."""
    if (subject := raw.get("subject")) is None:
        return {}
    x, y, width, height = window_of(subject["box"], aspect)
    return {"at": (x, y), "size": (width, height), "image": subject["image"], "prior": subject.get("score", 1.0)}


def raw_of_pose(pose: Pose, subject: str, names: Sequence[str]) -> dict[str, Any]:
    """The raw label of a pose, to the digit what it was loaded from.

    Args:
        pose: of these points.
        subject: its class.
        names: of the points.
    """
    if pose.raw is not None:
        return dict(pose.raw)
    rows = zip(pose.pixels_K2.tolist(), pose.seen_K.tolist(), strict=True)
    thing: dict[str, Any] = {
        "class": subject,
        "points": [[round(x, 3), round(y, 3), seen] if seen else [0, 0, 0] for (x, y), seen in rows],
        "names": list(names),
    }
    if pose.scores_K is not None:
        scores = [round(score, 6) for score in pose.scores_K.tolist()]
        thing |= {"score": round(sum(scores) / len(scores), 6), "scores": scores}
    return {"size": list(pose.size), "objects": [thing]}


def _ordered(thing: Mapping[str, Any], what: str, names: Sequence[str]) -> list[Any]:
    """The points of an object, or their scores, in the order of some names."""
    values, own = list(thing[what]), list(thing.get("names") or names)
    if len(values) != len(names) or sorted(own) != sorted(names):
        got = f"the points {brief(own, 90)}" if thing.get("names") else f"{len(values)} {what}"
        raise DataError(
            f"a label has {got}, and the task has {len(names)}, {brief(list(names), 90)}: give the same ones"
        )
    return [values[own.index(name)] for name in names]


def _measures(thing: Mapping[str, Any]) -> tuple[tuple[float, float] | None, float | None]:
    """Width and height of a subject, and its area, as far as a label says them."""
    box, area = thing.get("box"), thing.get("extra", {}).get("area")
    extent = None if box is None else (float(box[2] - box[0]), float(box[3] - box[1]))
    return extent, float(area) if isinstance(area, int | float) and area > 0 else None
