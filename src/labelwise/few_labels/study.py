"""Studies by size: each strategy chooses so many images from frozen features; fixed protocols say what they teach.

Everything that takes long is kept as soon as it is there: a killed study goes on with the next size of the next run.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from labelwise.assemble import make_features, make_strategy
from labelwise.campaign.records import Study, plain, write_study, write_whole
from labelwise.config import with_range
from labelwise.contracts.progress import Progress, silent
from labelwise.errors import ConfigError, DataError
from labelwise.few_labels.frozen import FrozenImages, frozen_images
from labelwise.few_labels.protocols import knn, labels_of, linear
from labelwise.few_labels.records import Measured, Records, RunSubset
from labelwise.few_labels.selector import FIRST, Selector, Subset
from labelwise.formats.indices_npy import dataset_name, read_indices, write_indices
from labelwise.learners.features import FROZEN
from labelwise.learners.heads import Labels, LinearProtocol
from labelwise.models.provenance import TrainedOn, what_weights_saw
from labelwise.rng import digest
from labelwise.signals.cache import SignalCache
from labelwise.studies.processes import alone_in
from labelwise.studies.settings import write_recipe

if TYPE_CHECKING:
    from labelwise.config import SizesConfig, StrategyConfig
    from labelwise.contracts.source import Source
    from labelwise.learners.features import FeatureSource

#: told (what was chosen: label, seed, size; whether it had been chosen before)
OnChosen = Callable[[str, int, int, bool], None]


def _unheard(strategy: str, seed: int, size: int, before: bool) -> None:
    pass


@dataclass(frozen=True)
class SizesStudy:
    """A recipe by size, its data and a folder; ``run`` does what is not done yet.

    Args:
        recipe: what to run.
        source: labelled images, with test items.
        folder: where selections, measurements and studies are kept.
        progress: told on long work.
        on_chosen: told after each selection.
        waiting: told, in words, when another process works on this study and has to end first.
    """

    recipe: SizesConfig
    source: Source
    folder: Path
    progress: Progress = silent
    on_chosen: OnChosen = _unheard
    waiting: Callable[[str], None] = lambda message: None

    def __post_init__(self) -> None:
        object.__setattr__(self, "recipe", with_range(self.recipe, self.source.value_range))

    def run(self) -> dict[str, Study]:
        """One study for each evaluator, also written as ``EVALUATOR/study.json``.

        Raises:
            ConfigError: unknown names, more labels asked for than there are.
            DataError: no labelled test item, a label that is missing.
        """
        self.check()
        with alone_in(self.folder, self.waiting):
            return self._run()

    def _run(self) -> dict[str, Study]:
        write_recipe(self.recipe, self.folder)
        picked = [
            one for seed in self.recipe.seeds for config in self.recipe.strategies for one in self._choose(config, seed)
        ]
        studies: dict[str, Study] = {}
        for evaluator in self.recipe.evaluators:
            measured = self._measure(evaluator, picked)
            study = self._study(evaluator, picked, measured)
            write_recipe(self.recipe, self.folder / evaluator)
            write_study(study, self.folder / evaluator / "study.json")
            studies[evaluator] = study
        return studies

    def check(self) -> None:
        """Refuses what cannot run, before any image is read."""
        recipe, source = self.recipe, self.source
        strategies = [make_strategy(config) for config in recipe.strategies]
        pool = [item for item in source.ids if source.roles.get(item, "pool") == "pool"]
        if recipe.sizes[-1] > len(pool):
            raise ConfigError(f"{recipe.sizes[-1]} labels asked for, and the pool has {len(pool)}: lower sizes")
        truth = source.truth
        bare = next((item for item in pool if item not in truth), None)
        if bare is not None:
            raise DataError(f"{bare!r} has no label: a study by size needs one for every image of the pool")
        if not any(source.roles.get(item) == "test" and item in truth for item in source.ids):
            raise DataError("the data have no labelled test items: set data.test_share")
        classes, count = tuple(source.classes or ()), len(pool)
        empty = FrozenImages(tuple(pool), torch.empty(count, 1), torch.zeros(count, dtype=torch.int64), classes)
        for strategy in strategies:
            Selector(empty, preset=recipe.preset).check(strategy, recipe.sizes)

    # ---- choosing ---------------------------------------------------------------------------------------------------

    def _choose(self, config: StrategyConfig, seed: int) -> Iterable[RunSubset]:
        """Every size of one run, read where it was chosen before."""
        strategy = make_strategy(config)
        selector = Selector(self.images, seed, self.recipe.preset, progress=self.progress)
        label = f"{config.label} (oracle)" if strategy.oracle else config.label
        before: tuple[str, ...] = ()
        for number, size in enumerate(self.recipe.sizes):
            key = self._key(config, seed, self.recipe.sizes[: number + 1])
            folder = self.folder / "selections" / f"{config.name}-{digest(config.identity)[:10]}" / f"seed-{seed}"
            chosen = self._kept(folder, config.name, size, key)
            known = chosen is not None
            if chosen is None:
                chosen = selector.one(strategy, size, before=before)
                self._keep(folder, config.name, chosen, key)
            self.on_chosen(label, seed, size, known)
            before = chosen.ids
            yield RunSubset(label, seed, size, self.images.rows_of(chosen.ids), chosen)

    def _key(self, config: StrategyConfig, seed: int, sizes: Sequence[int]) -> str:
        """Of all that decides a selection: it follows from those of the sizes before."""
        return digest(
            config.identity, seed, list(sizes), self.recipe.preset, self._data, FIRST.get(config.name, "")
        )  # fmt: skip

    def _kept(self, folder: Path, name: str, size: int, key: str) -> Subset | None:
        facts = folder / f"{name}_{self.dataset}_{size}.json"
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(facts.read_text(encoding="utf-8"))
            if found.pop("key") == key:
                ids = read_indices(facts.with_suffix(".npy"), self._order, allowed=self.images.ids)
                coverage = math.nan if found["coverage"] is None else found["coverage"]
                return Subset(tuple(ids), found["nested"], coverage, found["seconds"], tuple(found["notes"]))
        return None

    def _keep(self, folder: Path, name: str, chosen: Subset, key: str) -> None:
        """The index file first: what stands beside it says that it is whole."""
        file = write_indices(folder, chosen.ids, self._order, name=name, dataset=self.dataset)
        facts = {
            "key": key, "nested": chosen.nested, "coverage": chosen.coverage, "seconds": chosen.seconds,
            "notes": list(chosen.notes),
        }  # fmt: skip
        write_whole(file.with_suffix(".json"), json.dumps(plain(facts)).encode())

    # ---- measuring --------------------------------------------------------------------------------------------------

    def _measure(self, evaluator: str, picked: Sequence[RunSubset]) -> dict[str, dict[str, float]]:
        """Metrics by selection; those that are lacking are found together, size by size, and kept."""
        store = self.folder / evaluator / "measured.json"
        known: dict[str, dict[str, float]] = {}
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(store.read_text(encoding="utf-8"))
        everything = torch.arange(len(self.images))
        wanted = {self._measure_key(evaluator, one.rows_L, one.seed): (one.rows_L, one.seed) for one in picked}
        if self.recipe.full:
            seed = self.recipe.seeds[0]
            wanted[self._measure_key(evaluator, everything, seed)] = (everything, seed)
        lacking: dict[int, list[str]] = {}
        for key, (rows_L, _) in wanted.items():
            if key not in known:
                lacking.setdefault(len(rows_L), []).append(key)
        # neighbours of all sizes come from one product of rows
        groups = [lacking[size] for size in sorted(lacking)]
        if evaluator == "knn" and groups:
            groups = [[key for group in groups for key in group]]
        for group in groups:
            started = time.perf_counter()
            sets = [labels_of(self.images, *wanted[key]) for key in group]
            found = self.evaluate(evaluator, sets)
            seconds = (time.perf_counter() - started) / len(group)
            for key, metrics in zip(group, found, strict=True):
                known[key] = {**metrics, "seconds": seconds}
            write_whole(store, json.dumps(plain(known)).encode())
        return known

    def _measure_key(self, evaluator: str, rows_L: Tensor, seed: int) -> str:
        how = self.recipe.head.model_dump() if evaluator == "linear" else self.recipe.neighbours
        return digest(evaluator, how, self._data, rows_L.numpy().tobytes().hex(), seed)

    def evaluate(self, evaluator: str, sets: Sequence[Labels]) -> list[dict[str, float]]:
        """Metrics of each set of labels, on the test images."""
        if evaluator == "knn":
            return knn(self.images, self.tests, sets, k=self.recipe.neighbours, progress=self.progress)
        how = LinearProtocol(**self.recipe.head.model_dump())
        return linear(self.images, self.tests, sets, how=how, progress=self.progress)

    def _study(self, evaluator: str, picked: Sequence[RunSubset], known: Mapping[str, dict[str, float]]) -> Study:
        keys = [self._measure_key(evaluator, one.rows_L, one.seed) for one in picked]
        full = None
        if self.recipe.full:
            everything = torch.arange(len(self.images))
            full = known[self._measure_key(evaluator, everything, self.recipe.seeds[0])]
        measured = [Measured(one, known[key], key) for one, key in zip(picked, keys, strict=True)]
        return Records(self.recipe, self.source, self.images, self._seen, self.folder).study(evaluator, measured, full)

    # ---- parts ------------------------------------------------------------------------------------------------------

    @cached_property
    def dataset(self) -> str:
        """Name of the data set in index files."""
        return dataset_name(self.recipe.data.source)

    @cached_property
    def _data(self) -> str:
        """Of images and features; the names of the test images stand for their labels."""
        truth = self.source.truth
        return digest(
            self._features.signal_key(FROZEN),
            [(item, truth[item]) for images in (self.images, self.tests) for item in images.ids],
            *(self.source.value_range or ()),
        )

    @cached_property
    def _seen(self) -> TrainedOn:
        """What the weights of the backbone were trained on."""
        classes = self.source.classes or ()
        return what_weights_saw(self.recipe.features, None, data=self.recipe.data.source, classes=classes)

    @cached_property
    def _order(self) -> Sequence[str]:
        return self.source.native_order()

    @cached_property
    def _features(self) -> FeatureSource:
        shared = self.folder / "shared"
        return make_features(self.recipe.features, self.source, SignalCache(shared / "features"), folder=shared)

    @cached_property
    def images(self) -> FrozenImages:
        """The pool."""
        return frozen_images(self.source, self._features, progress=self.progress)

    @cached_property
    def tests(self) -> FrozenImages:
        """The test images that have labels."""
        return frozen_images(self.source, self._features, "test", progress=self.progress).labelled()
