"""Simulated campaigns on labelled data, with paired seeds: what a strategy would have saved."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import labelwise
from labelwise.assemble import (
    Seen,
    check_kind,
    cut_into_regions,
    make_features,
    make_learner,
    make_strategy,
    make_task,
    what_weights_saw,
)
from labelwise.cache import SignalCache
from labelwise.campaign import Campaign, Setting, class_counts
from labelwise.config import RecipeConfig, SizesConfig, StrategyConfig, parse, write_yaml
from labelwise.data.imbalance import imbalanced
from labelwise.data.open import open_in, open_source
from labelwise.data.regions import Regions
from labelwise.data.remembered import Remembered
from labelwise.data.views import View, split, subset
from labelwise.errors import ConfigError, DataError
from labelwise.learner import Progress, silent
from labelwise.oracle import HeldBack
from labelwise.plan import Offer
from labelwise.pool import Event, Labeled, Queried, added
from labelwise.report.records import RoundRecord, RunRecord, Study, write_study
from labelwise.rng import digest, generator
from labelwise.store import Store
from labelwise.strategies import COLD_START
from labelwise.strategy import Budget

if TYPE_CHECKING:
    from labelwise.data.source import Source
    from labelwise.learner import Learner
    from labelwise.learners.features import FeatureSource
    from labelwise.task import Task

#: told (run label, seed, record) after each round
OnRound = Callable[[str, int, RoundRecord], None]


#: told (run label, seed, whether it had been finished before) when a run is done
OnRun = Callable[[str, int, bool], None]


def _unheard(strategy: str, seed: int, record: RoundRecord) -> None:
    pass


def _not_heard(strategy: str, seed: int, before: bool) -> None:
    pass


#: what the report's checklist reads, and every simulated study of this package keeps
SAME_FOR_ALL = {
    "paired": True,
    "validation": 0,
    "reference": 0,
    "early_stopping": "none",
    "tuning": "none: one configuration for every strategy",
    "classes_from": "user",
    "ties": "by the selection stream",
}


@dataclass(frozen=True)
class Comparison:
    """A recipe, its data and a folder: runs every strategy with every seed, resuming what was begun.

    Args:
        recipe: what to run.
        source: labelled images, with test items.
        folder: where runs, shared trainings and the study are kept.
        make: builds the learner from the task; None: as the recipe says.
        progress: told on long work.
        on_round: told after each round.
        on_run: told when a run is done.
    """

    recipe: RecipeConfig
    source: Source
    folder: Path
    make: Callable[[Task[Any]], Learner] | None = None
    progress: Progress = silent
    on_round: OnRound = _unheard
    on_run: OnRun = _not_heard

    def __post_init__(self) -> None:
        recipe, maps = self.recipe, self.folder / "shared" / "regions"
        cut = cut_into_regions(recipe.regions, self.source, recipe.task, folder=maps, progress=self.progress)
        object.__setattr__(self, "source", cut)

    def run(self) -> Study:
        """Runs what is not finished yet; returns the whole study, also written as ``study.json`` after each run.

        Raises:
            ConfigError: unknown names, more labels asked for than there are.
            UnmetNeed: a strategy needs what the learner cannot give; before anything is trained.
        """
        self.check()
        write_recipe(self.recipe, self.folder)
        runs: list[RunRecord] = []
        for seed in self.recipe.seeds:
            for index in range(len(self.recipe.strategies)):
                runs.append(self._run(index, seed))
                write_study(self.study(runs), self.folder / "study.json")
            self._setting(seed).cache.prune(set())
        full = self._full() if self.recipe.full else None
        study = self.study(runs, full)
        write_study(study, self.folder / "study.json")
        return study

    # ---- one run ----------------------------------------------------------------------------------------------------

    def _run(self, index: int, seed: int) -> RunRecord:
        config = self.recipe.strategies[index]
        # what reads hidden labels is no competitor: every table says so
        label = f"{config.label} (oracle)" if make_strategy(config).oracle else config.label
        store = Store(self._run_folder(config, seed), create=True)
        finished = any(record["round"] == self.recipe.rounds for record in store.rounds())
        if not finished:
            with store.lock():
                campaign = Campaign(store, self._setting(seed), progress=self.progress)
                self._begin(campaign, config, seed)
                strategies = [make_strategy(c) for c in self.recipe.strategies]
                companions = [s for s in strategies[index + 1 :] if not s.auxiliaries()]
                for record in campaign.rounds(
                    strategies[index],
                    HeldBack(self.source.truth, self.source.price),
                    Budget(self.recipe.batch, "images" if self.recipe.regions is None else self.recipe.regions.unit),
                    count=self.recipe.rounds,
                    companions=companions if self.recipe.start is None else (),
                ):
                    self.on_round(label, seed, record)
        rounds = [RoundRecord.from_json(record) for record in store.rounds() if record["round"] <= self.recipe.rounds]
        store.close()
        self.on_run(label, seed, finished)
        return RunRecord(strategy=label, seed=seed, rounds=rounds)

    def _begin(self, campaign: Campaign, config: StrategyConfig, seed: int) -> None:
        """The items, the test labels and the initial set; paired: the same for every strategy of a seed."""
        if not len(campaign.pool):
            campaign.store.append(_registration(self.source, campaign.setting.task))
            campaign.pool = campaign.store.pool()
        if len(campaign.pool.labeled) or len(campaign.pool.pending):
            return
        start = self.recipe.start
        if start is not None and start.name == "own":  # one that needs a model starts as it would with people
            start = config if make_strategy(config).cold else StrategyConfig(name=COLD_START)
        if start is None:
            free = campaign.pool.candidates
            chosen = generator(seed, "initial").choice(free, self.recipe.initial, replace=False)
            ids = [campaign.pool.ids[p] for p in chosen]
        else:
            picks = campaign.choose(make_strategy(start), Budget(self.recipe.initial)).picks
            ids = [pick.id for pick in picks]
        # one transaction, so that a killed start leaves no half of an initial set
        events: list[Event] = [Queried(item, -1, rank, strategy="initial") for rank, item in enumerate(ids)]
        events += [_paid(self.source, campaign.setting.task, item) for item in ids]
        campaign.write(events)

    def _run_folder(self, config: StrategyConfig, seed: int) -> Path:
        return self.folder / "runs" / f"{config.name}-{self._digest(config)[:10]}" / f"seed-{seed}"

    def _digest(self, config: StrategyConfig) -> str:
        """Of all that decides a run but its length: more rounds continue it."""
        recipe = self.recipe
        start = None if recipe.start is None else recipe.start.model_dump()
        frozen = recipe.features.model_dump()
        return digest(
            dict(self._learner().config), repr(self._task()), frozen, config.model_dump(), start,
            recipe.initial, recipe.batch, recipe.warm, recipe.data.model_dump(), digest(*self.source.ids),
            *([] if recipe.regions is None else [recipe.regions.model_dump()]),
        )  # fmt: skip

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _task(self) -> Task[Any]:
        return make_task(self.recipe.task, self.source.classes or (), self.recipe.input)

    def _learner(self) -> Learner:
        task = self._task()
        if self.make is not None:
            return self.make(task)
        features = self._features if self.recipe.learner.kind == "features" else None
        return make_learner(self.recipe.learner, task, features)

    @property
    def primary(self) -> str:
        """Name of the metric that curves show."""
        return self._task().metrics().primary

    @cached_property
    def _reads_features(self) -> bool:
        """Whether a strategy reads frozen features: a backbone takes seconds to load."""
        configs = [c for c in (*self.recipe.strategies, self.recipe.start) if c is not None and c.name != "own"]
        steps = [step for config in configs for step in make_strategy(config).steps()]
        return any(signal.of == "frozen" for step in steps for signal in step.needs.signals)

    @cached_property
    def _features(self) -> FeatureSource:
        shared = self.folder / "shared"
        return make_features(self.recipe.features, self.source, SignalCache(shared / "features"), folder=shared)

    def _setting(self, seed: int) -> Setting:
        cache = SignalCache(self.folder / "shared" / f"signals-{seed}")
        learner = self._learner()
        return Setting(
            source=self.source,
            task=learner.task,
            learner=learner,
            cache=cache,
            fits=self.folder / "shared" / "fits",
            frozen=self._features if self._reads_features else None,
            truth=self.source.truth,
            seed=seed,
            warm=self.recipe.warm,
        )

    def check(self) -> None:
        """Refuses what cannot run, before anything is trained.

        Raises:
            ConfigError: unknown names, more labels asked for than there are, a strategy listed twice.
            DataError: no labelled test item.
            UnmetNeed: a strategy needs what the learner cannot give.
        """
        recipe, source = self.recipe, self.source
        check_kind(source, self._task())
        strategies = [make_strategy(config) for config in recipe.strategies]
        _check_amounts(recipe, source)
        if not any(source.roles.get(item) == "test" and item in source.truth for item in source.ids):
            raise DataError("the data have no labelled test items: set data.test_share")
        labels = [strategy.label for strategy in recipe.strategies]
        if len(set(labels)) < len(labels):
            raise ConfigError(f"a strategy is listed twice: {', '.join(labels)}")
        if recipe.start is not None:
            own = recipe.start.name == "own"
            for chooser in strategies if own else [make_strategy(recipe.start)]:
                if not chooser.cold:
                    raise ConfigError(
                        f"start: {chooser.name!r} needs labels: let random or kmeans choose the initial set"
                    )
        setting = self._setting(recipe.seeds[0])
        Offer(setting.learner, frozen=True, held_back=True).check(strategies)

    # ---- the study --------------------------------------------------------------------------------------------------

    def _full(self) -> list[float] | None:
        """The primary metric when trained on everything, once: the headroom."""
        folder = self.folder / "runs" / f"full-{self._digest(StrategyConfig(name='random'))[:10]}"
        store = Store(folder, create=True)
        with store.lock():
            campaign = Campaign(store, self._setting(self.recipe.seeds[0]), progress=self.progress)
            if not len(campaign.pool):
                task = campaign.setting.task
                campaign.store.append([*_registration(self.source, task), *_labels(self.source, task, pool=True)])
                campaign.pool = campaign.store.pool()
            metrics = campaign.fit().metrics
        store.close()
        return [metrics[self.primary]]

    def study(self, runs: Sequence[RunRecord], full: list[float] | None = None) -> Study:
        """The study as it stands."""
        metrics = self._task().metrics()
        return Study(
            name=self.recipe.name,
            task=self.recipe.task,
            primary=metrics.primary,
            higher_is_better=metrics.higher_is_better,
            runs=list(runs),
            full=full,
            settings=self._settings(),
            environment=environment(),
            pool=describe_pool(self.source, self._task()),
            examples={item: self.source.path(item) for run in runs for r in run.rounds for item in r.picked},
            warnings=[] if self._seen.warning is None else [self._seen.warning],
        )

    @cached_property
    def _seen(self) -> Seen:
        """What the pretrained weights in play were trained on."""
        recipe = self.recipe
        classes = self.source.classes or ()
        return what_weights_saw(recipe.features, recipe.learner, data=recipe.data.source, classes=classes)

    def _settings(self) -> dict[str, Any]:
        recipe = self.recipe
        learner = recipe.learner.model_dump(mode="json", exclude_defaults=True) | {"kind": recipe.learner.kind}
        if recipe.learner.kind == "torch":
            learner["phases"] = [phase.model_dump(mode="json") for phase in recipe.learner.phases]
        if self.make is not None:
            learner = dict(self._learner().config)
        start = "random" if recipe.start is None else f"{recipe.start.label}, without labels"
        if recipe.start is not None and recipe.start.name == "own":
            start = "each strategy's own, without labels"
        return {
            "model": learner.get("model") or recipe.learner.kind,
            "learner": learner,
            "phases": learner.get("phases", []),
            "pretraining": self._seen.pretraining,
            "features": recipe.features.model_dump(mode="json", exclude_none=True),
            "initial": recipe.initial,
            "initial_set": start,
            "batch": recipe.batch,
            "rounds": recipe.rounds,
            "retrain": "warm" if recipe.warm else "scratch",
            "candidates": "all" if recipe.regions is None else "all regions of images that are not labelled as a whole",
            **({} if recipe.regions is None else {"regions": recipe.regions.model_dump(mode="json")}),
            "transforms": {
                "train": getattr(self._task(), "augment", "none"),
                "pool": "resize and normalise, deterministic",
            },
            "streams": ["initial", "fit (weights, order, augmentation)", "select", "draw"],
            **SAME_FOR_ALL,
            "seeds": list(recipe.seeds),
            "command": f"labelwise compare {shlex.quote(str(self.folder / 'recipe.yaml'))}",
        }


def compare_strategies(
    source: Any,
    learner: Callable[[Task[Any]], Learner] | None = None,
    *,
    strategies: Sequence[str | dict[str, Any]] = ("random", "margin"),
    out: str | Path = "runs/study",
    progress: Progress = silent,
    **recipe: Any,
) -> Study:
    """Simulates campaigns of several strategies on labelled data, with paired seeds; resumes what was begun.

    Args:
        source: a labelled folder, ``torchvision:NAME``, an .npz, a PyTorch data set or a ``Source``.
        learner: builds the learner from the task, e.g. ``lambda task: TorchLearner(task, MyNet)``; None: as ``recipe``
            says.
        strategies: names, or mappings with a name and options.
        out: folder of the study.
        progress: told on long work.
        recipe: any further key of a recipe: initial, batch, rounds, seeds, input, learner, features, ...

    Raises:
        ConfigError: unknown names or keys, more labels asked for than there are.
        DataError: the data have no labels.
    """
    name = source if isinstance(source, str) else type(source).__name__
    values = {"name": Path(out).name, "strategies": list(strategies), **recipe}
    values["data"] = {"source": str(name), **recipe.get("data", {})}
    resolved = parse(RecipeConfig, values, where="compare")
    opened = open_labelled(resolved, base=Path(), source=None if isinstance(source, str) else open_source(source))
    return Comparison(resolved, opened, Path(out), make=learner, progress=progress).run()


def _registration(source: Source, task: Task[Any]) -> list[Event]:
    events: list[Event] = [added(source, item) for item in source.ids]
    return [*events, *_labels(source, task, pool=False)]


def _paid(source: Source, task: Task[Any], item: str) -> Labeled:
    """The label that lies on disk, with what giving it would have cost."""
    return Labeled(item, source.truth[item], task.cost(task.load(source.truth[item])))


def _labels(source: Source, task: Task[Any], *, pool: bool) -> list[Event]:
    """The labels of the images of the pool, or those of all other roles."""
    return [
        _paid(source, task, item)
        for item in _images(source)
        if (source.roles.get(item, "pool") == "pool") is pool and item in source.truth
    ]


def _check_amounts(recipe: RecipeConfig, source: Source) -> None:
    """Refuses more labels than there are."""
    free = [item for item in _images(source) if source.roles.get(item, "pool") == "pool" and item in source.truth]
    cut = isinstance(source, Regions)
    later = 0 if cut else recipe.rounds * recipe.batch
    if recipe.initial + later > len(free):
        asked = f"{recipe.initial} initial + {recipe.rounds} x {recipe.batch} = {recipe.initial + later} labels"
        raise ConfigError(
            f"{f'{recipe.initial} initial images' if cut else asked} asked for, and the pool has {len(free)}: lower "
            "initial, batch or rounds"
        )
    if isinstance(source, Regions):
        _check_regions(recipe, source, free)


def _check_regions(recipe: RecipeConfig, source: Regions, images: Sequence[str]) -> None:
    """Refuses more regions than the images hold that are not labelled as a whole."""
    if recipe.regions is None or recipe.regions.unit != "regions":
        return
    counts = sorted(source.counts[item] for item in images)
    there, asked = sum(counts[: max(0, len(counts) - recipe.initial)]), recipe.rounds * recipe.batch
    if asked > there:
        raise ConfigError(
            f"{recipe.rounds} x {recipe.batch} = {asked} regions asked for, and {len(counts)} images without the "
            f"{recipe.initial} initial ones have {there}: lower initial, batch or rounds"
        )


def _images(source: Source) -> list[str]:
    """Items that are whole images."""
    return [item for item in source.ids if source.within(item)[1] is None]


def open_labelled(recipe: RecipeConfig | SizesConfig, *, base: Path, source: Source | None = None) -> Source:
    """The labelled data of a recipe: opened, thinned, and with a test set.

    Args:
        recipe: names the data.
        base: relative paths are relative to it.
        source: the data themselves, where they are open already.

    Raises:
        DataError: there are no labels.
    """
    data = recipe.data
    if source is None:
        task = None if isinstance(recipe, SizesConfig) else recipe.task
        source = open_in(base, data.source, root=data.root, download=data.download, task=task)
    if not source.truth:
        raise DataError(
            f"{data.source!r} has no labels to simulate with: give one folder per class, or a CSV with a label column"
        )
    if data.subset is not None:
        source = subset(source, data.subset, 0)
    if "test" not in source.roles.values():
        source = split(source, data.test_share, 0)
    if (tail := data.imbalance) is not None:
        source = imbalanced(
            source, profile=tail.profile, ratio=tail.ratio, small=tail.small, order=tail.order, seed=tail.seed
        )
    if data.test_subset is not None:
        tests = [item for item in source.ids if source.roles.get(item) == "test"]
        kept = generator(0, "test subset").choice(tests, min(data.test_subset, len(tests)), replace=False).tolist()
        source = View(source, ids=[*kept, *(item for item in source.ids if source.roles.get(item) != "test")])
    return Remembered(source)


def write_recipe(recipe: RecipeConfig | SizesConfig, folder: Path) -> Path:
    """Writes the resolved recipe into its run."""
    folder.mkdir(parents=True, exist_ok=True)
    write_yaml(recipe, folder / "recipe.yaml")
    return folder / "recipe.yaml"


def environment() -> dict[str, Any]:
    """Versions and hardware: the processor alone can change a ranking."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": np.__version__,
        "labelwise": labelwise.__version__,
        "cpu": platform.processor() or platform.machine(),
        "gpu": gpu,
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
    }


def describe_pool(source: Source, task: Task[Any]) -> dict[str, Any]:
    """Size, classes (of images or objects) and duplicates of the pool."""
    pool = [item for item in _images(source) if source.roles.get(item, "pool") == "pool"]
    counts = class_counts(task, [source.truth[item] for item in pool if item in source.truth])
    contents = [content for content in source.content(pool) if content]
    duplicates = 1 - len(set(contents)) / len(contents) if contents else 0.0
    return {
        "items": len(pool),
        "test": sum(source.roles.get(item) == "test" for item in source.ids),
        "classes": list(source.classes or ()),
        "class_counts": counts,
        "duplicates": round(duplicates, 4),
        "source": repr(source),
    }
