"""The pool as a map: features laid out once, in the background, kept on disk, and what to colour the points by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelwise.campaign.mistakes import check_map, flat_map
from labelwise.contracts.learner import Examples
from labelwise.errors import ConfigError, DataError
from labelwise.formats.files import write_whole
from labelwise.learners.features import FROZEN
from labelwise.rng import digest, seed_of
from labelwise.serve.shared import Shared
from labelwise.serve.states import states_of
from labelwise.serve.told import in_words

if TYPE_CHECKING:
    from labelwise.project.project import Project

METHODS = ("pca", "tsne", "umap")
#: items beyond which neighbours are not laid out: principal axes alone are fast enough
FEW = 20_000


class Map:
    """Places of a project's items.

    Args:
        shared: the project.
    """

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        #: of the features and items: names of files, so that a hundred thousand ids are not digested each time
        self._tags: tuple[Any, str] = (None, "")

    def _file(self, project: Project, method: str) -> Path:
        ids, features = project.pool.ids, project.config.features.model_dump()
        if self._tags[0] is not ids:
            self._tags = (ids, digest(features, *ids)[:16])
        return project.state / "map" / f"{method}-{self._tags[1]}.npy"

    def state(self) -> dict[str, Any]:
        """Whether there is a map, or one is being made."""
        project, job = self.shared.project, self.shared.jobs.job
        made = [method for method in METHODS if self._file(project, method).is_file()]
        newest = max(made, key=lambda method: self._file(project, method).stat().st_mtime) if made else None
        working = job is not None and job.what == "map" and job.running
        failed = job is not None and job.what == "map" and bool(job.error)
        return {
            "state": "working" if working else "ready" if newest else "failed" if failed else "none",
            "method": newest,
            "done": job.done if job is not None and working else 0,
            "total": job.total if job is not None and working else 0,
            "count": len(project.pool),
            "methods": [method for method in METHODS if method == "pca" or len(project.pool) <= FEW],
            "error": job.error if job is not None and failed else "",
        }

    def begin(self, method: str) -> None:
        """Lays the items out in the background.

        Raises:
            ConfigError: an unknown method, or one that takes too long for so many items.
            UnmetNeed: umap-learn is not installed.
        """
        if method not in METHODS:
            raise ConfigError(f"method {method!r:.40}: one of {', '.join(METHODS)}")
        if method == "umap":
            check_map("umap")
        if method != "pca" and len(self.shared.pool) > FEW:
            raise ConfigError(f"{method} of {len(self.shared.pool):,} items takes too long: above {FEW:,} use pca")
        self.shared.start("map", lambda project: self._make(project, method))

    def _make(self, project: Project, method: str) -> Sequence[str]:
        from labelwise.project.learning import Learning

        ids = project.pool.ids
        table = Learning(project).features.collect(
            Examples(project.source, ids), frozenset({FROZEN}), progress=project.progress
        )
        rows_ND = np.asarray(table[FROZEN], dtype=np.float32)
        if len(rows_ND) < 3 or not np.ptp(rows_ND, axis=0).any():
            raise DataError("fewer than three pictures that differ can be read: there is nothing to lay out")
        project.progress("laying out the map", 0, 1)
        seed = seed_of(project.config.seed, "map")
        found = _axes(rows_ND) if method == "pca" else 2 * flat_map(rows_ND, seed=seed, method=method) - 1  # type: ignore[arg-type]
        places = np.full((len(ids), 2), np.nan, np.float32)
        places[[project.pool.position(item) for item in table.ids]] = found
        file = self._file(project, method)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, places.tobytes())
        project.progress("laying out the map", 1, 1)
        return [] if not table.failed else [f"{len(table.failed):,} picture(s) cannot be read and are not on the map"]

    def points(self) -> bytes:
        """float32 x and y of every item in [-1, 1], in their order; not a number for those that cannot be read.

        Raises:
            DataError: there is no map yet.
        """
        method = self.state()["method"]
        if method is None:
            raise DataError("there is no map yet: start one")
        return self._file(self.shared.project, method).read_bytes()

    def columns(self) -> dict[str, Any]:
        """What points may be coloured by, in the order of the items."""
        project = self.shared.project
        pool, kind, classes = project.pool, project.kind, project.config.classes
        index = {name: number for number, name in enumerate(classes)}
        named, predicted, asked = ([-1] * len(pool) for _ in range(3))
        doubt: list[float | None] = [None] * len(pool)
        for position in [*pool.labelled.tolist(), *pool.with_role("test").tolist()]:
            found = kind.objects(pool.target(position), classes)
            named[position] = index.get(found[0], -1) if found else -1
        for query in pool.queries():
            position = pool.position(query.id)
            asked[position] = query.round
            predicted[position] = index.get(query.predicted or "", -1)
            doubt[position] = None if query.probability is None else round(1 - query.probability, 4)
        return {
            "count": len(pool),
            "state": states_of(pool).tolist(),
            "class": named,
            "predicted": predicted,
            "doubt": doubt,
            "round": asked,
        }

    def ids(self, at: Sequence[int]) -> list[str]:
        """Which items some points are.

        Raises:
            ConfigError: a point that is none.
        """
        pool = self.shared.pool
        if any(not 0 <= position < len(pool) for position in at):
            raise ConfigError(f"there are points 0 to {len(pool) - 1}")
        return [pool.ids[position] for position in at]

    def items(self, at: Sequence[int]) -> list[dict[str, Any]]:
        """The items at some points.

        Raises:
            ConfigError: a point that is none.
        """
        pool, ids = self.shared.pool, self.ids(at[:500])
        kind, classes = self.shared.project.kind, self.shared.project.config.classes
        found = []
        for position, item in zip(at, ids, strict=False):
            query = pool.query(position)
            labelled = bool(pool.labels.of(position))
            found.append({
                "id": item,
                "label": in_words(kind, pool.target(position), classes) if labelled else "",
                "predicted": (query.predicted or "") if query else "",
            })  # fmt: skip
        return found


def _axes(rows_ND: np.ndarray) -> np.ndarray:
    """The first two principal axes, each stretched to [-1, 1] between its outermost thousandths."""
    from sklearn.decomposition import PCA

    axes = min(2, *rows_ND.shape)
    found = PCA(axes, svd_solver="randomized", random_state=0).fit_transform(rows_ND)
    found = np.pad(found, ((0, 0), (0, 2 - axes)))
    low, high = np.percentile(found, [0.1, 99.9], axis=0)
    return np.asarray(np.clip(2 * (found - low) / np.maximum(high - low, 1e-9) - 1, -1, 1))
