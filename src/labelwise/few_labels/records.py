"""What a study by size keeps for its report: selections with their metrics, as runs and rounds.

Dimension key: L labelled images.
"""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from labelwise.assemble import make_task
from labelwise.campaign.records import RoundRecord, RunRecord, Study
from labelwise.config import InputConfig
from labelwise.processes import peak_mb
from labelwise.studies.data import chance_on, describe_pool
from labelwise.studies.settings import SAME_FOR_ALL, environment

if TYPE_CHECKING:
    from labelwise.config import SizesConfig
    from labelwise.contracts.source import Source
    from labelwise.few_labels.frozen import FrozenImages
    from labelwise.few_labels.selector import Subset
    from labelwise.models.provenance import TrainedOn

_IN_WORDS = {"linear": "linear head", "knn": "nearest neighbour"}


@dataclass(frozen=True)
class RunSubset:
    """A subset with the run that chose it.

    Args:
        strategy: its label, oracles marked.
        seed: of the run.
        size: labels.
        rows_L: rows of the pool's features.
        chosen: the subset itself.
    """

    strategy: str
    seed: int
    size: int
    rows_L: Tensor
    chosen: Subset


class Measured(NamedTuple):
    """What a selection taught.

    Args:
        picked: the selection.
        metrics: on the test images, with ``seconds`` and ``loss``.
        key: digest of all that decides the metrics.
    """

    picked: RunSubset
    metrics: Mapping[str, float]
    key: str


@dataclass(frozen=True)
class Records:
    """Turns measured selections into studies.

    Args:
        recipe: what was run.
        source: the labelled images.
        images: the pool.
        seen: what the weights of the backbone were trained on.
        folder: where the study lies.
    """

    recipe: SizesConfig
    source: Source
    images: FrozenImages
    seen: TrainedOn
    folder: Path

    def study(self, evaluator: str, measured: Sequence[Measured], full: Mapping[str, float] | None) -> Study:
        """The study of one evaluator.

        Args:
            evaluator: its name.
            measured: selections of all runs, those of a run by size.
            full: metrics with all labels; None where they were not asked for.
        """
        runs: dict[tuple[str, int], list[Measured]] = {}
        for one in measured:
            runs.setdefault((one.picked.strategy, one.picked.seed), []).append(one)
        task = make_task("classification", self.images.classes, InputConfig())
        return Study(
            name=f"{self.recipe.name}: {_IN_WORDS[evaluator]}",
            task="classification",
            primary="accuracy",
            runs=[
                RunRecord(strategy=strategy, seed=seed, rounds=list(self._rounds(sizes)))
                for (strategy, seed), sizes in sorted(runs.items(), key=lambda run: self._place(run[0]))
            ],
            full=None if full is None else [full["accuracy"]],
            settings=_settings(self.recipe, evaluator, self.folder, self.seen.pretraining),
            environment=environment(),
            pool=describe_pool(self.source, task),
            examples={item: self.source.path(item) for one in measured for item in one.picked.chosen.ids},
            warnings=[] if self.seen.warning is None else [self.seen.warning],
            chance=chance_on(self.source, task),
        )

    def _place(self, run: tuple[str, int]) -> tuple[int, int]:
        labels = [config.label for config in self.recipe.strategies]
        return run[1], labels.index(run[0].removesuffix(" (oracle)"))

    def _rounds(self, sizes: Sequence[Measured]) -> Iterable[RoundRecord]:
        names = self.images.classes
        for number, (one, measured, key) in enumerate(sizes):
            metrics = dict(measured)
            seconds, loss = metrics.pop("seconds"), metrics.pop("loss")
            after = sizes[number + 1].picked if number + 1 < len(sizes) else None
            held = set(one.chosen.ids)
            counts = Counter(self.images.labels_N[one.rows_L].tolist())
            notes = list(one.chosen.notes)
            if one.chosen.nested is False:
                notes.append("chosen anew: these labels do not hold all those of the size before")
            yield RoundRecord(
                round=number,
                labels=one.size,
                metrics={**metrics, "class_coverage": one.chosen.coverage},
                cost={"images": float(one.size)},
                class_counts={name: counts[index] for index, name in enumerate(names)},
                picked=[] if after is None else [item for item in after.chosen.ids if item not in held],
                notes=notes,
                fit_seconds=seconds,
                select_seconds=math.nan if after is None else after.chosen.seconds,
                peak_mb=peak_mb(),
                train_loss=math.nan if loss is None else loss,
                fit_key=key,
            )


def _settings(recipe: SizesConfig, evaluator: str, folder: Path, pretraining: str) -> dict[str, Any]:
    """What the report prints, in the words of its checklist."""
    head = recipe.head.model_dump(mode="json")
    return {
        "model": _IN_WORDS[evaluator],
        "learner": head if evaluator == "linear" else {"neighbours": recipe.neighbours, "distance": "cosine"},
        "pretraining": pretraining,
        "features": recipe.features.model_dump(mode="json", exclude_none=True),
        "views": "one centre view of each image; the published linear evaluation augments",
        "initial": recipe.sizes[0],
        "initial_set": "each strategy's own; max-entropy, margin, k-center: the random set of the seed",
        "sizes": list(recipe.sizes),
        "batch": "sizes are totals; kmeans chooses each anew, the others go on from the size before",
        "rounds": len(recipe.sizes) - 1,
        "preset": recipe.preset,
        "retrain": "scratch",
        "candidates": "all",
        "transforms": {"train": "none", "pool": "resize and normalise, deterministic"},
        "streams": ["fit (weights, order)", "select"],
        **SAME_FOR_ALL,
        "seeds": list(recipe.seeds),
        "command": f"labelwise compare {shlex.quote(str(folder / 'recipe.yaml'))}",
    }
