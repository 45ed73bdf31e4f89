"""How the project stands: its settings, the curve of its metric, the balance of classes, and which strategies fit."""

from __future__ import annotations

import math
from typing import Any

from labelwise import __version__
from labelwise.campaign.plan import Offer
from labelwise.drawing.colours import palette_of
from labelwise.errors import LabelwiseError
from labelwise.project.told import skeleton
from labelwise.serve.shared import Shared
from labelwise.strategies import STRATEGIES

#: kinds of label that can be given on the page
EDITABLE = frozenset({"classes", "tags", "boxes", "points", "masks"})


def project(shared: Shared) -> dict[str, Any]:
    """What the page needs to know first."""
    found, pool = shared.project, shared.pool
    config, classes, bones = found.config, found.config.classes, skeleton(found.config)
    colours = palette_of(len(classes), found.palette())
    people = {one.annotator for position in pool.labelled.tolist() for one in pool.labels.of(position)}
    waiting = [pool.query(position) for position in pool.pending.tolist()]
    return {
        "name": found.folder.resolve().name,
        "task": config.task.name,
        "kind": found.kind.name,
        "noun": found.kind.noun,
        "classes": list(classes),
        "colours": ["#{:02x}{:02x}{:02x}".format(*colour) for colour in colours],
        "points": None if bones is None else list(bones[0]),
        "limbs": None if bones is None else [list(limb) for limb in bones[1]],
        "counts": found.progress_counts(),
        "round": max((query.round for query in waiting if query is not None), default=None),
        "labelled_by": sorted(people - {""}),
        "tags": list(pool.tags.counts()),
        "strategy": config.strategy.label,
        "version": __version__,
        "editable": found.kind.name in EDITABLE,
    }


def progress(shared: Shared) -> dict[str, Any]:
    """The curve of the metric over labels and seconds, the balance of classes and what the labels cost."""
    from labelwise.project.learning import Learning

    found, pool = shared.project, shared.pool
    classes = found.config.classes
    metrics = Learning(found).task().metrics() if classes else None
    name = metrics.primary if metrics is not None else "accuracy"
    curve = []
    for record in found.records():
        value = record.metrics.get(name, math.nan)
        curve.append({
            "labels": record.labels, "value": round(value, 5) if math.isfinite(value) else None,
            "seconds": record.cost.get("seconds"), "round": record.round,
        })  # fmt: skip
    tested = len(pool.with_role("test"))
    notes = [] if tested else ["No image is held out for testing, so nothing says how good the model is."]
    counts = found.kind.counts(found.labels().values(), classes) if classes else {}
    return {
        "metric": name,
        "higher_is_better": metrics is None or metrics.higher_is_better,
        "curve": curve,
        "tested": tested,
        "classes": [{"name": named, "count": count} for named, count in counts.items()],
        "counts": found.progress_counts(),
        "cost": pool.cost(),
        "notes": notes,
    }


def strategies(shared: Shared) -> dict[str, Any]:
    """Every strategy with a line about it, and whether it fits the project."""
    from labelwise.project.learning import Learning

    found = shared.project
    learning = Learning(found)
    offer = learning.campaign().offer if found.config.classes else None
    rows = []
    for name in STRATEGIES.names():
        cls = STRATEGIES.get(name)
        line = (cls.__doc__ or "").strip().partition("\n")[0]
        rows.append({"name": name, "line": line, **_fit(name, offer)})
    return {"strategies": rows, "default": found.config.strategy.name}


def _fit(name: str, offer: Offer | None) -> dict[str, Any]:
    try:
        strategy = STRATEGIES.create(name)
        if strategy.oracle:
            return {"fits": False, "why_not": "it reads hidden labels: only in studies"}
        if offer is not None:
            offer.check([strategy])
    except (LabelwiseError, TypeError, ValueError) as error:
        return {"fits": False, "why_not": str(error)[:200]}
    return {"fits": True, "why_not": ""}
