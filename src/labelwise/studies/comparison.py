"""Simulated campaigns on labelled data, with paired seeds: what a strategy would have saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwise.assemble import learner_kind, make_strategy
from labelwise.campaign.mistakes import check_map
from labelwise.campaign.plan import Offer
from labelwise.campaign.records import RunRecord, Study, write_study
from labelwise.config import OWN, RecipeConfig, parse, with_range
from labelwise.contracts.progress import Progress, silent
from labelwise.data.open import open_source
from labelwise.data.regions import Regions
from labelwise.errors import ConfigError, DataError
from labelwise.kinds import check_labels
from labelwise.studies.data import (
    SeededData,
    chance_on,
    describe_pool,
    images_of,
    open_labelled,
    settled,
    with_regions,
)
from labelwise.studies.earlier import set_apart
from labelwise.studies.processes import alone_in, run_apart
from labelwise.studies.seed import OnRound, OnRun, SeedRuns, unheard_round, unheard_run
from labelwise.studies.settings import environment, study_settings, study_warnings, write_recipe
from labelwise.studies.start import check_start

if TYPE_CHECKING:
    from labelwise.contracts.chance import Chance
    from labelwise.contracts.learner import Learner
    from labelwise.contracts.source import Source
    from labelwise.contracts.task import Task


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
        waiting: told, in words, when another process works on this study and has to end first.
    """

    recipe: RecipeConfig
    source: Source
    folder: Path
    make: Callable[[Task[Any]], Learner] | None = None
    progress: Progress = silent
    on_round: OnRound = unheard_round
    on_run: OnRun = unheard_run
    workers: int = 1
    waiting: Callable[[str], None] = lambda message: None

    def __post_init__(self) -> None:
        cut = with_regions(self.recipe, self.source, self.folder, progress=self.progress)
        object.__setattr__(self, "source", cut)
        recipe = settled(self.recipe, self.source)[0]
        object.__setattr__(self, "recipe", with_range(recipe, self.source.value_range))

    def run(self) -> Study:
        """Runs what is not finished yet; returns the whole study, also written as ``study.json`` after each run.

        Raises:
            ConfigError: unknown names, more labels asked for than there are.
            UnmetNeed: a strategy needs what the learner cannot give, or a map a package that is not there; before
                anything is trained.
        """
        self.check()
        with alone_in(self.folder, self.waiting):
            return self._run()

    def _run(self) -> Study:
        write_recipe(self.recipe, self.folder)
        set_apart(self.folder)
        if self.workers > 1:
            run_apart(self.runs, self.recipe.seeds, min(self.workers, len(self.recipe.seeds)))
        # told already, run by run
        heard = self.runs if self.workers == 1 else replace(self.runs, on_run=unheard_run)
        runs: list[RunRecord] = []
        for seed in self.recipe.seeds:
            for run in heard.of(seed):
                runs.append(run)
                write_study(self.study(runs), self.folder / "study.json")
        full = [self.runs.full(self.recipe.seeds[0])[self.primary]] if self.recipe.full else None
        study = self.study(runs, full)
        write_study(study, self.folder / "study.json")
        return study

    @cached_property
    def runs(self) -> SeedRuns:
        """What the runs are made of."""
        return SeedRuns(
            self.recipe, self.source, self.folder, self.make, self.progress, on_round=self.on_round, on_run=self.on_run
        )

    @property
    def data(self) -> SeededData:
        """The images of each seed."""
        return self.runs.data

    @property
    def primary(self) -> str:
        """Name of the metric that curves show."""
        return self.runs.task.metrics().primary

    def check(self) -> None:
        """Refuses what cannot run, before anything is trained.

        Raises:
            ConfigError: unknown names, more labels asked for than there are.
            DataError: no labelled test item.
            UnmetNeed: a strategy needs what the learner cannot give.
        """
        recipe, source = self.recipe, self.data.of(self.recipe.seeds[0])
        check_labels(source, self.runs.task.name, self.runs.task.kind)
        if self.make is not None and (recipe.learners or set(recipe.trained) != {OWN}):
            raise ConfigError("a learner made in Python is every row's: leave learners out, or name them in the recipe")
        _check_amounts(recipe, source)
        if not any(source.roles.get(item) == "test" and item in source.truth for item in source.ids):
            raise DataError("the data have no labelled test items: set data.test_share")
        check_start(recipe)
        check_map(recipe.map)
        _check_pretrain(recipe, self.runs.task)
        reference, validation = ("reference" in source.roles.values(), "validation" in source.roles.values())
        for name in recipe.trained:
            learner = self.runs.setting(recipe.seeds[0], name=name).learner
            offer = Offer(learner, True, True, reference, recipe.regions is not None, validation)
            offer.check([make_strategy(row) for row in recipe.strategies if row.learner == name])

    def study(self, runs: Sequence[RunRecord], full: list[float] | None = None) -> Study:
        """The study as it stands."""
        metrics, source = self.runs.task.metrics(), self.data.of(self.recipe.seeds[0])
        made = None if self.make is None else self.runs.learner().config
        earlier = self.runs.earlier
        taken = sum(earlier.has(run) for run in runs)
        return Study(
            name=self.recipe.name,
            task=self.recipe.task.name,
            primary=metrics.primary,
            higher_is_better=metrics.higher_is_better,
            runs=list(runs),
            full=full,
            settings=study_settings(self.recipe, source, self.runs.task, self.folder, made),
            environment=environment(),
            pool=describe_pool(source, self.runs.task),
            examples={item: source.path(item) for run in runs for r in run.rounds for item in r.picked},
            warnings=[*study_warnings(self.recipe, source), *([earlier.note(taken, len(runs))] if taken else [])],
            chance=self._chance,
        )

    @cached_property
    def _chance(self) -> Chance | None:
        """Of the test images of the first seed."""
        return chance_on(self.data.of(self.recipe.seeds[0]), self.runs.task)


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


def _check_pretrain(recipe: RecipeConfig, task: Task[Any]) -> None:
    """Refuses training without labels for what is no network, or for several networks."""
    if recipe.pretrain is None:
        return
    for config in recipe.trained.values():
        if (kind := learner_kind(config, task)) != "torch":
            raise ConfigError(f"pretrain trains the network of learner.kind torch, and this is {kind!r}")
    models = list(dict.fromkeys(str(config.model) for config in recipe.trained.values()))
    if len(models) > 1:
        raise ConfigError(
            f"pretrain trains one network for all rows, and their learners have {' and '.join(models)}: give all rows "
            "one model, or pretrain in studies of their own"
        )


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
