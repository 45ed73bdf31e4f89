"""Writing tasks as Label Studio imports them, with predictions or annotations, and the interface that they fit."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from labelwise.contracts.format import Writing
from labelwise.contracts.record import Box, Head, Mask, Polygon, Record, Seen
from labelwise.drawing.colours import palette_of
from labelwise.errors import FormatError
from labelwise.formats.files import write_whole
from labelwise.formats.fitting import lines
from labelwise.formats.json_file import dump_json
from labelwise.formats.key_points import ORDER, order_of
from labelwise.formats.label_studio_results import EXTENT, HIDDEN, origin_word, place_of
from labelwise.formats.label_studio_results import OWN as META
from labelwise.formats.label_studio_tasks import OWN
from labelwise.formats.written import name_of, of_pixels

#: where a server serves pictures of its own machine
LOCAL = "/data/local-files/?d="
#: control -> (tag, type of its results)
_CONTROLS: Mapping[str, tuple[str, str]] = {
    "choice": ("Choices", "choices"),
    "box": ("RectangleLabels", "rectanglelabels"),
    "outline": ("PolygonLabels", "polygonlabels"),
    "brush": ("BrushLabels", "brushlabels"),
    "point": ("KeyPointLabels", "keypointlabels"),
}
#: kind of label -> the controls that an interface for it has, where nothing was guessed yet
_USUAL = {
    "classes": ("choice",),
    "tags": ("choice",),
    "boxes": ("box",),
    "masks": ("brush", "outline"),
    "points": ("box", "point"),
}
#: what picks are known by, and how the task's data call it
_MARKS = {
    **{"rank": "rank", "strategy_score": "score", "strategy": "strategy", "predicted": "predicted"},
    **{"probability": "probability", "round": "round", "path": "path"},
}


@dataclass(frozen=True)
class Tasks:
    """Pictures as Label Studio imports them, and the interface that they fit.

    Args:
        tasks: in the order of the records.
        interface: as XML.
        left: what there was no place for, one line each.
    """

    tasks: list[dict[str, Any]]
    interface: str
    left: list[str]


def write(path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
    """See ``LabelStudio.write``."""
    made = tasks(head, records, how)
    write_whole(path, dump_json(made.tasks, str(path)))
    beside = path.with_suffix(".interface.xml")
    write_whole(beside, made.interface.encode())
    said = list(made.left)
    if how.use == "labelled" and how.images != "list":
        said.append("pictures are named by their address, not copied: the server fetches them there")
    return [*said, f"{beside.name!r} is the labelling interface that the tasks fit"]


def tasks(head: Head, records: Iterable[Record], how: Writing) -> Tasks:
    """The tasks of some records; see ``LabelStudio.write``."""
    listed = list(records)
    left: Counter[str] = Counter()
    used: dict[str, None] = dict.fromkeys(_USUAL.get(how.kind, ()))
    classes = dict.fromkeys(head.classes)
    points = dict.fromkeys(head.skeleton[0] if head.skeleton else ())
    found = []
    for row, record in enumerate(listed):
        made = _Task(record, head, how, left)
        results = made.results()
        used |= dict.fromkeys(result["from_name"] for result in results)
        for result in results:
            named = points if "parentID" in result else classes
            named |= dict.fromkeys(map(str, made.names(result)))
        found.append({"data": made.data(), **made.said(results, rank=(row + 1) / len(listed))})
    shown = interface([*used], [*classes], [*points], several=how.kind == "tags")
    return Tasks(found, shown, list(lines(left)))


def interface(
    controls: Iterable[str], classes: Iterable[str], points: Iterable[str] = (), *, several: bool = False
) -> str:
    """The labelling interface as XML.

    Args:
        controls: as results name them.
        classes: that each of them offers.
        points: names that the control of key points offers, where points have some.
        several: whether a picture may have several choices.

    Example:
        >>> print(interface(["box"], ["cat"]))
        <View>
          <Image name="image" value="$image" zoom="true"/>
          <RectangleLabels name="box" toName="image" canRotate="true">
            <Label value="cat" background="#1f77b4"/>
          </RectangleLabels>
        </View>
        <BLANKLINE>
    """
    names, parts = list(classes), list(points)
    more_of = {"choice": f' choice="{"multiple" if several else "single"}"', "box": ' canRotate="true"'}
    lines = ["<View>", '  <Image name="image" value="$image" zoom="true"/>']
    for control in controls:
        tag, kind = _CONTROLS[control]
        more = more_of.get(control, "")
        lines.append(f'  <{tag} name="{control}" toName="image"{more}>')
        offered = parts if parts and control == "point" else names
        if kind == "choices":
            lines += [f"    <Choice value={quoteattr(name)}/>" for name in offered]
        else:  # left to itself the tool gives classes colours that look alike
            colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in palette_of(len(offered))]
            lines += [
                f'    <Label value={quoteattr(name)} background="{colour}"/>'
                for name, colour in zip(offered, colours, strict=True)
            ]
        lines.append(f"  </{tag}>")
    return "\n".join([*lines, "</View>", ""])


class _Task:
    """One picture on its way out."""

    def __init__(self, record: Record, head: Head, how: Writing, left: Counter[str]) -> None:
        self.record, self.head, self.how, self.left = record, head, how, left
        self._size = (1, 1) if record.fractions else record.size

    def data(self) -> dict[str, Any]:
        """What the task says of its picture."""
        record = self.record
        if record.image is None:
            raise FormatError(f"{record.where}: a task needs the name of its picture, not its number")
        prefix = self.how.options.get("prefix", LOCAL)
        name = record.image if prefix.startswith("s3://") else quote(record.image, safe="/")
        found: dict[str, Any] = {"image": prefix + name, f"{OWN}id": record.image}
        # whether somebody has answered is what annotations say
        extra = {key: value for key, value in record.extra.items() if key not in ("answered", "skipped", "reason")}
        if self.how.use == "asked":
            found |= {f"{OWN}{name}": extra.pop(key) for key, name in _MARKS.items() if extra.get(key) is not None}
        extra |= {ORDER: order} if self.how.kind == "points" and (order := order_of(record)) else {}
        found |= {f"{OWN}extra": extra} if extra else {}
        for key, value in (("split", record.split), ("group", record.group)):
            found |= {f"{OWN}{key}": value} if value else {}
        return found

    def said(self, results: list[dict[str, Any]], *, rank: float) -> dict[str, Any]:
        """The prediction of what is asked, or the annotation of what is labelled."""
        record = self.record
        if self.how.use != "labelled":
            scores = [one.score for one in record.objects if one.score is not None]
            score = rank if self.how.use == "asked" else max(scores, default=0.0)
            version = f"labelwise-round-{record.extra['round']}" if "round" in record.extra else "labelwise"
            return {"predictions": [{"model_version": version, "score": score, "result": results}]}
        if record.state == "untouched":
            return {}
        annotation: dict[str, Any] = {"result": results, "was_cancelled": record.state == "skipped"}
        annotation |= {} if record.seconds is None else {"lead_time": record.seconds}
        annotation |= {f"{OWN}annotator": record.annotator} if record.annotator else {}
        annotation |= {f"{OWN}reason": record.reason} if record.reason else {}
        return {"annotations": [annotation]}

    def results(self) -> list[dict[str, Any]]:
        """One result for each object, several for one of several outlines."""
        found: list[dict[str, Any]] = []
        if self.record.pixels is not None and self.record.pixels.size != self.record.size:
            self.left["{n} mask(s) of a part of a picture: the rest has no class there"] += 1
        if self.record.state == "skipped":
            return found
        for seen in (*self.record.objects, *of_pixels(self.record, self.head)):
            found += self._result(seen, len(found))
        return self._chosen(found) if self.how.kind == "tags" else found

    def _chosen(self, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """All choices as the one result that a control for several gives; as sure as its least sure choice."""
        if len(results) < 2:
            return results
        scores = [result["score"] for result in results if "score" in result]
        self.left["{n} image(s) whose choices share one score, the lowest"] += len(scores) > 1
        names = [name for result in results for name in self.names(result)]
        common = results[0] | ({"score": min(scores)} if scores else {})
        return [common | {"value": {"choices": names}}]

    def names(self, result: Mapping[str, Any]) -> list[str]:
        """Classes of a result."""
        return list(result["value"].get(result["type"], ()))

    def _result(self, seen: Seen, number: int) -> list[dict[str, Any]]:
        around = _around(seen) if self.how.kind == "points" else None
        if around is not None:
            seen = replace(seen, box=around)
        elif _is_unplaced(seen):
            self.left["{n} object(s) without any point or box left out"] += 1
            return []
        control = self._control(seen)
        kind = _CONTROLS[control][1]
        common: dict[str, Any] = {"from_name": control, "to_name": "image", "type": kind}
        if seen.score is not None:
            if not math.isfinite(seen.score):
                raise FormatError(f"{self.record.where}: a score is {seen.score}; it must be finite to be written")
            common["score"] = float(seen.score)
        if self.how.use == "labelled":
            common["origin"] = origin_word(seen.origin)
        names = {kind: [] if seen.cls is None else [name_of(seen, self.head, self.record)]}
        if control == "choice":
            return [{"id": f"r{number}", **common, "value": names}]
        size = self._known_size()
        common |= {"original_width": size[0], "original_height": size[1], "image_rotation": 0}
        if self.record.fractions:
            common = {key: value for key, value in common.items() if not key.startswith("original")}
        kept = self._kept(seen) | ({EXTENT: True} if around is not None else {})
        common |= {"meta": {META: kept}} if kept else {}
        values = self._places(seen, control, size)
        found = [{"id": f"r{number + n}", **common, "value": {**value, **names}} for n, value in enumerate(values)]
        return found + (self._points(seen, found[0]["id"], number + len(found)) if control != "point" else [])

    def _control(self, seen: Seen) -> str:
        """Where an object of several shapes goes: its outline where masks are wanted, else its box."""
        if seen.outline is not None and (self.how.kind == "masks" or seen.box is None):
            return "brush" if isinstance(seen.outline, Mask) else "outline"
        if seen.box is not None:
            self.left["{n} outline(s) left out beside their boxes"] += seen.outline is not None
            return "box"
        return "point" if seen.points is not None else "choice"

    def _places(self, seen: Seen, control: str, size: tuple[int, int]) -> list[dict[str, Any]]:
        shape = seen.box if control == "box" else seen.outline
        if control == "point":
            assert seen.points is not None
            return [self._point(x, y, size) for x, y, there in seen.points.points if there]
        assert isinstance(shape, Box | Polygon | Mask)
        values = place_of(shape, size)
        self.left["{n} object(s) of several outlines written as one object for each"] += len(values) > 1
        return values

    def _points(self, seen: Seen, owner: str, number: int) -> list[dict[str, Any]]:
        """Key points of an object that has a shape of its own."""
        if seen.points is None:
            return []
        size = self._known_size()
        names = seen.points.names or tuple(str(n) for n in range(1, len(seen.points.points) + 1))
        sides = {"original_width": size[0], "original_height": size[1], "image_rotation": 0}
        told = {"origin": origin_word(seen.origin)} if self.how.use == "labelled" else {}
        sure: Sequence[float | None] = seen.points.scores or [None] * len(names)
        return [
            {
                **{"id": f"r{number + n}", "from_name": "point", "to_name": "image", "type": "keypointlabels"},
                **{"parentID": owner, **sides, "value": self._point(x, y, size) | {"keypointlabels": [name]}},
                **({} if score is None else {"score": float(score)}),
                **({"meta": {META: {HIDDEN: True}}} if there == 1 else {}),
                **told,
            }
            for n, ((x, y, there), name, score) in enumerate(zip(seen.points.points, names, sure, strict=False))
            if there
        ]

    def _point(self, x: float, y: float, size: tuple[int, int]) -> dict[str, Any]:
        return {"x": 100 * x / size[0], "y": 100 * y / size[1], "width": 0.5}

    def _known_size(self) -> tuple[int, int]:
        if self._size is None:
            raise FormatError(
                f"{self.record.where}: the size of {self.record.image!r:.80} is not known, and shapes are percent of it"
            )
        return self._size

    def _kept(self, seen: Seen) -> dict[str, Any]:
        kept: dict[str, Any] = {"attributes": dict(seen.attributes)} if seen.attributes else {}
        return kept | {name: True for name in ("crowd", "difficult") if getattr(seen, name)}


def _around(seen: Seen) -> Box | None:
    """The box around named points that have no shape to belong to; None where one is there, or nothing was placed."""
    if seen.points is None or not seen.points.names or seen.box is not None or seen.outline is not None:
        return None
    placed = [point for point in seen.points.points if point[2]]
    x, y = [point[0] for point in placed], [point[1] for point in placed]
    return Box(min(x), min(y), max(x), max(y)) if placed else None


def _is_unplaced(seen: Seen) -> bool:
    """Whether an object is one of points, of which none was placed, and has no other shape."""
    if seen.points is None or seen.box is not None or seen.outline is not None:
        return False
    return not any(there for _, _, there in seen.points.points)
