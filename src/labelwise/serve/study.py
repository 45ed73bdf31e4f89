"""The page of a study: its curves for some of the seeds, over labels or what they cost, and what each run picked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse

from labelwise.campaign.records import RunRecord, Study, read_study
from labelwise.drawing.colours import COLOURS_LIGHT
from labelwise.errors import DataError, LabelwiseError, PoolError, unknown
from labelwise.recipes import RECIPE, find
from labelwise.report import wording
from labelwise.report.statistics import FloatArray, interval
from labelwise.report.summary import Row, Summary, costs_of, curves_of, headline, summarise
from labelwise.serve.answering import add_errors, add_files, as_json, picture
from labelwise.serve.guard import Guard
from labelwise.serve.pictures import Pictures

if TYPE_CHECKING:
    from labelwise.contracts.source import Source

#: the cost that every study has
LABELS = "labels"


class StudyPage:
    """A study as it was read when the page was opened.

    Args:
        file: its ``study.json``.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.study = file, read_study(file)
        # a study may lie where nobody may write, and is not changed by looking at it
        self._kept = TemporaryDirectory(prefix="labelwise-")
        self.pictures = Pictures(Path(self._kept.name))

    @cached_property
    def source(self) -> Source | None:
        """The images, as the recipe beside it names them; None where they are gone."""
        try:
            return find(str(self.file.parent / RECIPE)).open()
        except LabelwiseError:
            return None

    @cached_property
    def picked(self) -> frozenset[str]:
        """All items that a run picked: no other picture is shown."""
        return frozenset(item for run in self.study.runs for record in run.rounds for item in record.picked)

    @cached_property
    def about(self) -> dict[str, Any]:
        """What there is to choose from."""
        study = self.study
        names = list(dict.fromkeys(run.strategy for run in study.runs))
        metrics = dict.fromkeys(name for run in study.runs for record in run.rounds for name in record.metrics)
        return {
            "name": study.name, "task": study.task, "metric": study.primary,
            "metrics": [study.primary, *(name for name in metrics if name != study.primary)],
            "strategies": [{"name": n, "colour": COLOURS_LIGHT[at % len(COLOURS_LIGHT)]} for at, n in enumerate(names)],
            "seeds": sorted({run.seed for run in study.runs}),
            "units": [LABELS, *costs_of(study, curves_of(study))],
            "rounds": max((len(run.rounds) for run in study.runs), default=0),
            "warnings": list(study.warnings),
        }  # fmt: skip

    def some(self, seeds: Sequence[int]) -> Study:
        """The study with some of its seeds.

        Raises:
            DataError: it has none of them.
        """
        runs = [run for run in self.study.runs if not seeds or run.seed in seeds]
        if not runs:
            raise DataError(f"no run has one of the seeds {', '.join(map(str, seeds))}")
        return replace(self.study, runs=runs)

    def curves(self, seeds: Sequence[int], unit: str, metric: str) -> dict[str, Any]:
        """Means over seeds with intervals, and what the report says of them.

        Raises:
            DataError: the study has none of the seeds.
            ConfigError: no such cost or metric.
        """
        study = self.some(seeds)
        name = metric or study.primary
        known = self.about["metrics"]
        if name not in known:
            raise unknown("metric", name, known)
        summary = summarise(study)
        curves = summary.curves if name == study.primary else curves_of(study, name)
        costs = costs_of(study, curves)
        if unit not in (LABELS, *costs):
            raise unknown("cost", unit, [LABELS, *costs])
        lines = []
        for strategy, values_RB in curves.values.items():
            x_RB = costs[unit][strategy] if unit != LABELS else np.broadcast_to(curves.labels_B, values_RB.shape)
            lines.append({"strategy": strategy, "points": _points(x_RB, values_RB)})
        return {
            "unit": unit, "metric": name, "words": wording.metric_name(name), "lines": lines,
            "full": summary.full.mean if summary.full is not None and name == study.primary else None,
            "says": headline(summary), "notes": summary.notes, "table": [_row(summary, row) for row in summary.rows],
        }  # fmt: skip

    def run(self, strategy: str, seed: int) -> RunRecord:
        """One run.

        Raises:
            PoolError: there is none.
        """
        found = next((run for run in self.study.runs if (run.strategy, run.seed) == (strategy, seed)), None)
        if found is None:
            raise PoolError(f"the study has no run of {strategy!r:.80} with seed {seed}")
        return found

    def picks(self, strategy: str, seed: int, number: int) -> dict[str, Any]:
        """What a run picked after one of its rounds, in ranked order.

        Raises:
            PoolError: there is no such run.
        """
        run = self.run(strategy, seed)
        record = next((record for record in run.rounds if record.round == number), None)
        if record is None:
            return {"picks": [], "labels": None, "notes": [], "pictures": False}
        scores: Sequence[float | None] = record.scores or [None] * len(record.picked)
        picks = [{"id": item, "score": score} for item, score in zip(record.picked, scores, strict=True)]
        return {
            "picks": picks, "labels": record.labels, "notes": list(record.notes), "pictures": self.source is not None
        }  # fmt: skip


def _points(x_RB: FloatArray, values_RB: FloatArray) -> list[dict[str, float]]:
    points = []
    for at in range(values_RB.shape[1]):
        there = np.isfinite(values_RB[:, at])
        if there.any():
            found = interval(values_RB[there, at].tolist())
            x = float(np.mean(x_RB[there, at]))
            points.append({"x": x, "mean": found.mean, "low": found.low, "high": found.high, "n": found.n})
    return points


def _row(summary: Summary, row: Row) -> dict[str, str]:
    """A line of the table, in the words of the report."""
    against = row.against
    noise = " none" if row.within_noise else ""
    return {
        "strategy": row.strategy,
        "final": wording.plus_minus(row.final),
        "area": wording.plus_minus(row.area),
        "against": "" if against is None else f"{wording.plus_minus(against.difference)}{noise}",
        "p": "" if against is None else wording.p_value(against.p_holm),
        "runs": f"{row.finished} of {row.runs}",
    }


def make_study_app(file: Path, token: str, hosts: Sequence[str], log: Callable[[str], None]) -> Guard:
    """The page of one study, guarded.

    Args:
        file: its ``study.json``.
        token: that opens it.
        hosts: ``name:port`` under which it is reached.
        log: told of errors that are ours, whole.

    Raises:
        FormatError: no study.
    """
    page = StudyPage(file)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    add_errors(app, log)
    add_files(app, "study.html")

    @app.get("/api/study")
    def about() -> JSONResponse:
        return as_json(page.about)

    @app.get("/api/study/curves")
    def curves(
        seeds: Annotated[list[int] | None, Query(max_length=1000)] = None, unit: str = LABELS, metric: str = ""
    ) -> JSONResponse:
        return as_json(page.curves(seeds or [], unit, metric))

    @app.get("/api/study/picks")
    def picks(strategy: Annotated[str, Query(max_length=500)], seed: int, round: int) -> JSONResponse:
        return as_json(page.picks(strategy, seed, round))

    @app.get("/api/picture")
    def small(request: Request, id: Annotated[str, Query(max_length=4096)], side: int = 192) -> Response:
        if id not in page.picked or page.source is None:
            raise PoolError(f"no run of this study picked {id!r:.80}, or its images are gone")
        return picture(page.pictures, page.source, request, id, side)

    return Guard(app, token, frozenset(host.lower() for host in hosts))
