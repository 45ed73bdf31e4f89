"""Writing CVAT's XML for images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from labelwise.contracts.format import Writing
from labelwise.contracts.record import Box, Head, Points, Polygon, Record, Seen
from labelwise.errors import FormatError
from labelwise.formats.cvat_shapes import shape_of, words_of
from labelwise.formats.files import write_whole
from labelwise.formats.fitting import lines
from labelwise.formats.key_points import order_of
from labelwise.formats.written import name_of, of_pixels
from labelwise.formats.xml_tree import checked_text, quoted

#: keys of picks that a frame has no place for, and that nobody misses there
_MARKS = frozenset(
    {"path", "rank", "strategy_score", "strategy", "predicted", "probability", "round", "answered", "skipped", "reason"}
)


def write(path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
    """See ``Cvat.write``."""
    counts: Counter[str] = Counter()
    classes = dict.fromkeys(head.classes)
    frames: list[str] = []
    bodies: dict[str, list[str]] = {}
    limbs: Sequence[Sequence[int]] = head.skeleton[1] if head.skeleton else ()
    for record in records:
        bodies = order_of(record) | bodies
        limbs = limbs or record.extra.get("skeleton", ())
        if how.use == "labelled" and record.state in ("skipped", "untouched"):
            counts[f"{{n}} image(s) left out: {record.state}, which this file has no word for"] += 1
            continue
        frames += _frame(record, len(frames), head, how, counts, classes)
    if head.skeleton is not None and len(head.classes) == 1:
        bodies.setdefault(head.classes[0], list(head.skeleton[0]))
    text = "".join(
        ['<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n', *_meta([*classes], bodies, limbs, how), *frames]
    )
    write_whole(path, checked_text(f"{text}</annotations>\n", str(path)).encode())
    said = list(lines(counts))
    if how.use == "labelled" and how.images != "list":
        said.append("pictures are not written: CVAT has them already, by the same names")
    return said


def _meta(
    classes: list[str], bodies: Mapping[str, Sequence[str]], limbs: Sequence[Sequence[int]], how: Writing
) -> Iterator[str]:
    yield "  <version>1.1</version>\n  <meta>\n    <task>\n      <labels>\n"
    for name in classes:
        points = bodies.get(name, ())
        told = f"<svg>{quoted(drawing(points, limbs))}</svg>" if points else ""
        kind = "skeleton" if points else "any"
        yield f"        <label><name>{quoted(name)}</name><type>{kind}</type><attributes></attributes>{told}</label>\n"
        for point in points:
            yield (
                f"        <label><name>{quoted(point)}</name><type>points</type><attributes></attributes>"
                f"<parent>{quoted(name)}</parent></label>\n"
            )
    yield f"      </labels>\n    </task>\n    <labelwise><use>{how.use}</use></labelwise>\n  </meta>\n"


def drawing(points: Sequence[str], limbs: Sequence[Sequence[int]]) -> str:
    """The picture of a skeleton, as CVAT keeps it with the label: its points on a circle, a line for each limb."""
    turn = 2 * math.pi / len(points)
    spots = [(50 + 40 * math.sin(n * turn), 50 - 40 * math.cos(n * turn)) for n in range(len(points))]
    edges = [
        f'<line x1="{spots[a][0]:.2f}" y1="{spots[a][1]:.2f}" x2="{spots[b][0]:.2f}" y2="{spots[b][1]:.2f}" '
        f'data-type="edge" data-node-from="{a + 1}" data-node-to="{b + 1}"></line>'
        for a, b in limbs
        if max(a, b) < len(points)
    ]
    circles = [
        f'<circle r="1.5" cx="{x:.2f}" cy="{y:.2f}" data-type="element node" data-element-id="{n}" '
        f'data-node-id="{n}" data-label-name="{quoted(name)}"></circle>'
        for n, ((x, y), name) in enumerate(zip(spots, points, strict=True), 1)
    ]
    return "".join([*edges, *circles])


def _frame(
    record: Record, number: int, head: Head, how: Writing, counts: Counter[str], classes: dict[str, None]
) -> list[str]:
    if record.image is None:
        raise FormatError(f"{record.where}: a frame needs the name of its picture, not its number")
    if record.annotator or record.seconds is not None or record.group:
        counts["{n} image(s) whose group, annotator or time is left out: CVAT has no place for them"] += 1
    told = {"id": str(record.extra.get("id", number)), "name": record.image}
    told |= {"subset": record.split} if record.split else {}
    if record.size is not None:
        told |= {"width": str(record.size[0]), "height": str(record.size[1])}
    rest = {key: value for key, value in record.extra.items() if key not in _MARKS and key not in told}
    plain = {
        key: str(value) for key, value in rest.items() if isinstance(value, str | int | float) and key.isidentifier()
    }
    found = [f"  <image{_attributes(told | plain)}>\n"]
    for seen in (*_in_pixels(record), *of_pixels(record, head)):
        name = name_of(seen, head, record)
        classes.setdefault(name)
        found += _object(seen, name, how, counts)
    return ["".join([*found, "  </image>\n"])]


def _object(seen: Seen, name: str, how: Writing, counts: Counter[str]) -> Iterator[str]:
    words, named = words_of(seen, guessed=how.use == "asked")
    for tag, place, children in shape_of(seen, kind=how.kind, counts=counts):
        usual = {} if tag == "tag" else {"z_order": "0"}
        if tag in ("tag", "skeleton"):
            words = {key: value for key, value in words.items() if key != "occluded"}
        attributes = {"label": name, **usual, **words, **place}
        yield f"    <{tag}{_attributes(attributes)}>"
        inner = [f"      <{child.tag}{_attributes(child.attributes)}></{child.tag}>\n" for child in children]
        inner += [
            f'      <attribute name="{quoted(key)}">{quoted(value)}</attribute>\n' for key, value in named.items()
        ]
        yield "\n" + "".join(inner) + "    " if inner else ""
        yield f"</{tag}>\n"


def _attributes(told: dict[str, str]) -> str:
    return "".join(f' {name}="{quoted(value)}"' for name, value in told.items())


def _in_pixels(record: Record) -> Iterator[Seen]:
    """Objects in pixels, with finite numbers."""
    for seen in record.objects:
        if record.fractions:
            seen = _scaled(seen, record)
        numbers = [0.0 if seen.score is None else seen.score]
        if seen.box is not None:
            numbers += [seen.box.x1, seen.box.y1, seen.box.x2, seen.box.y2, seen.box.rotation]
        if isinstance(seen.outline, Polygon):
            numbers += [value for part in seen.outline.parts for value in part]
        numbers += [value for point in (seen.points.points if seen.points else ()) for value in point]
        if not all(map(math.isfinite, numbers)):
            raise FormatError(f"{record.where}: an object has a number that is not finite, which cannot be written")
        yield seen


def _scaled(seen: Seen, record: Record) -> Seen:
    if record.size is None:
        raise FormatError(f"{record.where}: the size of {record.image!r:.80} is not known, and shapes are in pixels")
    width, height = record.size
    box, outline, points = seen.box, seen.outline, seen.points
    if box is not None:
        box = Box(box.x1 * width, box.y1 * height, box.x2 * width, box.y2 * height, box.rotation)
    if isinstance(outline, Polygon):
        outline = Polygon(
            tuple(tuple(value * record.size[n % 2] for n, value in enumerate(part)) for part in outline.parts)
        )
    if points is not None:
        points = Points(tuple((x * width, y * height, there) for x, y, there in points.points), points.names)
    return replace(seen, box=box, outline=outline, points=points)
