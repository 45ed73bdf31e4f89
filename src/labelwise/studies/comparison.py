"""Simulated campaigns on labelled data, with paired seeds: what a strategy would have saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwise.assemble import check_kind, cut_into_regions, make_features, make_learner, make_strategy, make_task
from labelwise.campaign.cache import SignalCache
from labelwise.campaign.loop import Campaign, Setting
from labelwise.campaign.mistakes import check_map, last_mistakes
from labelwise.campaign.plan import Offer
from labelwise.campaign.records import Mistakes, RoundRecord, RunRecord, Study, write_study
from labelwise.campaign.store import Store
from labelwise.config import RecipeConfig, SizesConfig, StrategyConfig, parse, write_yaml
from labelwise.contracts.learner import Examples as Images
from labelwise.contracts.learner import Progress, silent
from labelwise.contracts.oracle import HeldBack
from labelwise.contracts.query import Budget
from labelwise.data.open import open_source
from labelwise.data.regions import Regions
from labelwise.errors import ConfigError, DataError
from labelwise.learners.pretraining import Pretraining, pretrain
from labelwise.rng import digest
from labelwise.studies.data import SeededData, describe_pool, images_of, labels_of, open_labelled, registration
from labelwise.studies.processes import run_apart
from labelwise.studies.settings import environment, study_settings, study_warnings
from labelwise.studies.start import begin, check_start

if TYPE_CHECKING:
    from labelwise.contracts.learner import Learner
    from labelwise.contracts.source import Source
    from labelwise.contracts.task import Task
    from labelwise.learners.features import FeatureSource

#: told (run label, seed, record) after each round
OnRound = Callable[[str, int, RoundRecord], None]


#: told (run label, seed, whether it had been finished before) when a run is done
OnRun = Callable[[str, int, bool], None]


def _unheard(strategy: str, seed: int, record: RoundRecord) -> None:
    pass


def _not_heard(strategy: str, seed: int, before: bool) -> None:
    pass


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
        workers: seeds that run at once, each in a process of its own; the results are the same.
    """

    recipe: RecipeConfig
    source: Source
    folder: Path
    make: Callable[[Task[Any]], Learner] | None = None
    progress: Progress = silent
    on_round: OnRound = _unheard
    on_run: OnRun = _not_heard
    workers: int = 1

    def __post_init__(self) -> None:
        cut = with_regions(self.recipe, self.source, self.folder, progress=self.progress)
        object.__setattr__(self, "source", cut)

    def run(self) -> Study:
        """Runs what is not finished yet; returns the whole study, also written as ``study.json`` after each run.

        Raises:
            ConfigError: unknown names, more labels asked for than there are.
            UnmetNeed: a strategy needs what the learner cannot give, or a map a package that is not there; before
                anything is trained.
        """
        self.check()
        write_recipe(self.recipe, self.folder)
        if self.workers > 1:
            run_apart(self, min(self.workers, len(self.recipe.seeds)))
        # told already, run by run
        heard = self if self.workers == 1 else replace(self, on_run=_not_heard)
        runs: list[RunRecord] = []
        for seed in self.recipe.seeds:
            for run in heard.run_seed(seed):
                runs.append(run)
                write_study(self.study(runs), self.folder / "study.json")
        full = self._full() if self.recipe.full else None
        study = self.study(runs, full)
        write_study(study, self.folder / "study.json")
        return study

    def run_seed(self, seed: int) -> Iterator[RunRecord]:
        """Every strategy with one seed, one after another."""
        for index in range(len(self.recipe.strategies)):
            yield self._run(index, seed)
        self._setting(seed).cache.prune(set())

    # ---- one run ----------------------------------------------------------------------------------------------------

    def _run(self, index: int, seed: int) -> RunRecord:
        config = self.recipe.strategies[index]
        strategy = make_strategy(config)
        # what reads hidden labels is no competitor: every table says so
        oracle = strategy.oracle or any(step.needs.truth for step in strategy.steps())
        label = f"{config.label} (oracle)" if oracle else config.label
        store = Store(self._run_folder(config, seed), create=True)
        finished = any(record["round"] == self.recipe.rounds for record in store.rounds())
        if not finished:
            with store.lock():
                setting = self._setting(seed, self._pretrained(seed))
                campaign = Campaign(store, setting, progress=self.progress)
                begin(campaign, self.recipe, config, seed)
                strategies = [make_strategy(c) for c in self.recipe.strategies]
                companions = [s for s in strategies[index + 1 :] if not s.auxiliaries()]
                for record in campaign.rounds(
                    strategies[index],
                    HeldBack(campaign.setting.source.truth, campaign.setting.source.price),
                    Budget(self.recipe.batch, "images" if self.recipe.regions is None else self.recipe.regions.unit),
                    count=self.recipe.rounds,
                    companions=companions if self.recipe.start is None else (),
                ):
                    self.on_round(label, seed, record)
        rounds = [RoundRecord.from_json(record) for record in store.rounds() if record["round"] <= self.recipe.rounds]
        found = self._mistakes(store, config, seed, rounds[-1]) if rounds else None
        store.close()
        self.on_run(label, seed, finished)
        return RunRecord(strategy=label, seed=seed, rounds=rounds, mistakes=found)

    def _mistakes(self, store: Store, config: StrategyConfig, seed: int, last: RoundRecord) -> Mistakes | None:
        """What the last model of a finished run gets wrong; a map of the first seed's only."""
        if last.picked:
            return None

        def campaign() -> Campaign:
            return Campaign(store, self._setting(seed, self._pretrained(seed)), progress=self.progress)

        folder, first = self._run_folder(config, seed), seed == self.recipe.seeds[0]
        return last_mistakes(folder, last, campaign, make_strategy(config), mapped=self.recipe.map if first else None)

    def _run_folder(self, config: StrategyConfig, seed: int) -> Path:
        return self.folder / "runs" / f"{config.name}-{self._digest(config)[:10]}" / f"seed-{seed}"

    def _digest(self, config: StrategyConfig) -> str:
        """Of all that decides a run but its length: more rounds continue it."""
        recipe = self.recipe
        start = None if recipe.start is None else recipe.start.identity
        frozen = recipe.features.model_dump()
        # left out where it is not said: studies of before are found again
        more = [part.model_dump() for part in (recipe.pretrain, recipe.regions) if part is not None]
        data = recipe.data.model_dump(exclude={key for key in ("reference", "noise") if not getattr(recipe.data, key)})
        return digest(
            dict(self._learner().config), repr(self._task()), frozen, config.identity, start,
            recipe.initial, recipe.batch, recipe.warm, data, digest(*self.source.ids), *more,
        )  # fmt: skip

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _task(self) -> Task[Any]:
        return make_task(self.recipe.task, self.source.classes or (), self.recipe.input)

    def _learner(self, weights: Path | None = None) -> Learner:
        task = self._task()
        if self.make is not None:
            return self.make(task)
        features = self._features if self.recipe.learner.kind == "features" else None
        config = self.recipe.learner
        if weights is not None:
            config = config.model_copy(update={"weights": str(weights)})
        return make_learner(config, task, features)

    @cached_property
    def data(self) -> SeededData:
        """The images of each seed."""
        return SeededData(self.source, self.recipe.data)

    def _pretrained(self, seed: int) -> Path | None:
        """Weights trained without labels on the pool of a seed, made now or found."""
        if self.recipe.pretrain is None:
            return None
        file = self.folder / "shared" / "pretrained" / f"seed-{seed}.safetensors"
        return _pretrained(self.recipe, self.data.of(seed), self._task(), file, seed, self.progress)

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

    def _setting(self, seed: int, weights: Path | None = None) -> Setting:
        cache = SignalCache(self.folder / "shared" / f"signals-{seed}")
        learner, source = self._learner(weights), self.data.of(seed)
        return Setting(
            source=source,
            task=learner.task,
            learner=learner,
            cache=cache,
            fits=self.folder / "shared" / "fits",
            frozen=self._features if self._reads_features else None,
            truth=source.truth,
            seed=seed,
            warm=self.recipe.warm,
        )

    def check(self) -> None:
        """Refuses what cannot run, before anything is trained.

        Raises:
            ConfigError: unknown names, more labels asked for than there are.
            DataError: no labelled test item.
            UnmetNeed: a strategy needs what the learner cannot give.
        """
        recipe, source = self.recipe, self.data.of(self.recipe.seeds[0])
        check_kind(source, self._task())
        strategies = [make_strategy(config) for config in recipe.strategies]
        _check_amounts(recipe, source)
        if not any(source.roles.get(item) == "test" and item in source.truth for item in source.ids):
            raise DataError("the data have no labelled test items: set data.test_share")
        check_start(recipe)
        check_map(recipe.map)
        if recipe.pretrain is not None and recipe.learner.kind != "torch":
            raise ConfigError(f"pretrain trains the network of learner.kind torch, and this is {recipe.learner.kind!r}")
        setting = self._setting(recipe.seeds[0])
        reference = "reference" in source.roles.values()
        offer = Offer(setting.learner, True, True, reference, regions=recipe.regions is not None)
        offer.check(strategies)

    # ---- the study --------------------------------------------------------------------------------------------------

    def _full(self) -> list[float] | None:
        """The primary metric when trained on everything, once: the headroom."""
        folder = self.folder / "runs" / f"full-{self._digest(StrategyConfig(name='random'))[:10]}"
        store = Store(folder, create=True)
        with store.lock():
            first = self.recipe.seeds[0]
            campaign = Campaign(store, self._setting(first, self._pretrained(first)), progress=self.progress)
            if not len(campaign.pool):
                task, source = campaign.setting.task, campaign.setting.source
                campaign.store.append([*registration(source, task), *labels_of(source, task, pool=True)])
                campaign.pool = campaign.store.pool()
            metrics = campaign.fit().metrics
        store.close()
        return [metrics[self.primary]]

    def study(self, runs: Sequence[RunRecord], full: list[float] | None = None) -> Study:
        """The study as it stands."""
        metrics, source = self._task().metrics(), self.data.of(self.recipe.seeds[0])
        made = None if self.make is None else self._learner().config
        return Study(
            name=self.recipe.name,
            task=self.recipe.task,
            primary=metrics.primary,
            higher_is_better=metrics.higher_is_better,
            runs=list(runs),
            full=full,
            settings=study_settings(self.recipe, source, self._task(), self.folder, made),
            environment=environment(),
            pool=describe_pool(source, self._task()),
            examples={item: source.path(item) for run in runs for r in run.rounds for item in r.picked},
            warnings=study_warnings(self.recipe, source),
        )


def with_regions(recipe: RecipeConfig, source: Source, folder: Path, *, progress: Progress = silent) -> Source:
    """The labelled data with the regions that a study in ``folder`` asks for; their maps are kept there."""
    maps = folder / "shared" / "regions"
    return cut_into_regions(recipe.regions, source, recipe.task, folder=maps, progress=progress)


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


def _check_amounts(recipe: RecipeConfig, source: Source) -> None:
    """Refuses more labels than there are."""
    free = [item for item in images_of(source) if source.roles.get(item, "pool") == "pool" and item in source.truth]
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


def _pretrained(
    recipe: RecipeConfig, source: Source, task: Task[Any], file: Path, seed: int, progress: Progress
) -> Path:
    assert recipe.pretrain is not None, "the caller asks"
    settings = Pretraining(**recipe.pretrain.model_dump())
    if settings.model is None:
        settings = replace(settings, model=recipe.learner.model)
    images = Images(source, tuple(item for item in source.ids if source.roles.get(item, "pool") == "pool"))
    file.parent.mkdir(parents=True, exist_ok=True)
    return pretrain(task, images, file, settings, seed=seed, progress=progress).file


def write_recipe(recipe: RecipeConfig | SizesConfig, folder: Path) -> Path:
    """Writes the resolved recipe into its run."""
    folder.mkdir(parents=True, exist_ok=True)
    write_yaml(recipe, folder / "recipe.yaml")
    return folder / "recipe.yaml"
