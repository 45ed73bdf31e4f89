"""One seed of a simulated study: the campaign of each strategy, begun or gone on with, and what it left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwise.assemble import learner_kind, make_features, make_learner, make_strategy, make_task
from labelwise.campaign.again import trained_again
from labelwise.campaign.loop import Campaign
from labelwise.campaign.mistakes import last_mistakes
from labelwise.campaign.records import Mistakes, RoundRecord, RunRecord
from labelwise.campaign.setting import Setting
from labelwise.campaign.store import Store
from labelwise.config import OWN, RecipeConfig, RowConfig
from labelwise.contracts.learner import Examples
from labelwise.contracts.oracle import HeldBack
from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.query import Budget
from labelwise.learners.pretraining import Pretraining, pretrain
from labelwise.rng import digest
from labelwise.signals.cache import SignalCache
from labelwise.studies.data import SeededData, labels_of, registration
from labelwise.studies.earlier import Earlier, read_earlier
from labelwise.studies.judging import judged, to_judge
from labelwise.studies.picks import write_picks
from labelwise.studies.start import begin

if TYPE_CHECKING:
    from labelwise.contracts.learner import Learner
    from labelwise.contracts.source import Source
    from labelwise.contracts.task import Task
    from labelwise.learners.features import FeatureSource

#: told (run label, seed, record) after each round
OnRound = Callable[[str, int, RoundRecord], None]


#: told (run label, seed, whether it had been finished before) when a run is done
OnRun = Callable[[str, int, bool], None]


def unheard_round(strategy: str, seed: int, record: RoundRecord) -> None:
    """Nobody listens."""


def unheard_run(strategy: str, seed: int, before: bool) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class SeedRuns:
    """What the runs of a study are made of, and the runs of any of its seeds.

    Args:
        recipe: what to run.
        source: labelled images, with test items; with regions where the recipe asks for them.
        folder: where runs, shared trainings and features are kept.
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
    on_round: OnRound = unheard_round
    on_run: OnRun = unheard_run

    def of(self, seed: int) -> Iterator[RunRecord]:
        """Every strategy with one seed, one after another."""
        for index in range(len(self.recipe.strategies)):
            yield self._run(index, seed)
        self.setting(seed).cache.prune(set())

    def full(self, seed: int) -> dict[str, float]:
        """Metrics of a training of the baseline's learner on every label of the pool, done once."""
        row = RowConfig(name="random", learner=self.recipe.baseline.learner)
        folder = self.folder / "runs" / f"full-{self._digest(row)[:10]}"
        store = Store(folder, create=True)
        with store.lock():
            campaign = self._campaign(store, seed, row.learner)
            if not len(campaign.pool):
                task, source = campaign.setting.task, campaign.setting.source
                campaign.register([*registration(source, task), *labels_of(source, task, pool=True)])
            metrics = campaign.fit().metrics
        store.close()
        return dict(metrics)

    # ---- one run ----------------------------------------------------------------------------------------------------

    def _run(self, index: int, seed: int) -> RunRecord:
        config = self.recipe.strategies[index]
        strategy = make_strategy(config)
        # what reads hidden labels is no competitor: every table says so
        oracle = strategy.oracle or any(step.needs.hidden for step in strategy.steps())
        label = f"{config.label} (oracle)" if oracle else config.label
        if (before := self._before(config, seed)) is not None:
            self.on_run(label, seed, True)
            return replace(before, strategy=label)
        store = Store(self._run_folder(config, seed), create=True)
        finished = any(record["round"] == self.recipe.rounds for record in store.rounds())
        if not finished:
            with store.lock():
                campaign = self._campaign(store, seed, config.learner)
                begin(campaign, self.recipe, config, seed)
                later = [make_strategy(c) for c in self.recipe.strategies[index + 1 :] if c.learner == config.learner]
                companions = [s for s in later if not s.auxiliaries()]
                for record in campaign.rounds(
                    strategy,
                    HeldBack(campaign.setting.source.truth, campaign.setting.source.price),
                    Budget(self.recipe.batch, self._unit),
                    count=self.recipe.rounds,
                    companions=companions if self.recipe.start is None else (),
                ):
                    write_picks(store.folder, [record], self.source.path)
                    self.on_round(label, seed, record)
        rounds = [RoundRecord.from_json(record) for record in store.rounds() if record["round"] <= self.recipe.rounds]
        write_picks(store.folder, rounds, self.source.path)  # those of before, too, and what a kill left out
        found = self._mistakes(store, config, seed, rounds[-1]) if rounds else None
        again = self._again(store, config, seed, rounds) if rounds else []
        replayed = self._judged(store, config, seed, rounds)
        store.close()
        self.on_run(label, seed, finished)
        return RunRecord(
            strategy=label,
            seed=seed,
            rounds=rounds,
            mistakes=found,
            again=again,
            learner=config.learner,
            judged=replayed,
            identity=self._identity(config),
        )

    def _before(self, config: RowConfig, seed: int) -> RunRecord | None:
        """The run as an earlier study.json tells it, where the run itself is not in the folder."""
        there = (self._run_folder(config, seed) / "state.db").exists()
        return None if there else self.earlier.runs.get((self._identity(config), seed))

    @cached_property
    def earlier(self) -> Earlier:
        """What was done elsewhere."""
        return read_earlier(self.folder)

    def _mistakes(self, store: Store, config: RowConfig, seed: int, last: RoundRecord) -> Mistakes | None:
        """What the last model of a finished run gets wrong; a map of the first seed's only."""
        if last.picked:
            return None

        folder, first = self._run_folder(config, seed), seed == self.recipe.seeds[0]
        mapped = self.recipe.map if first else None
        return last_mistakes(folder, last, lambda: self._campaign(store, seed, config.learner), mapped=mapped)

    def _again(self, store: Store, config: RowConfig, seed: int, rounds: Sequence[RoundRecord]) -> list[RoundRecord]:
        """Further trainings on the labels of the baseline's first and last round; none with warm starts.

        Where each round trains on from the one before, one round alone cannot be trained again.
        """
        recipe = self.recipe
        if config != self.recipe.baseline or recipe.warm or not recipe.again:
            return []
        folder = self._run_folder(config, seed)

        def opened() -> Campaign:
            return self._campaign(store, seed, config.learner)

        return trained_again(folder, rounds, opened, make_strategy(config), count=recipe.again)

    def _judged(self, store: Store, config: RowConfig, seed: int, rounds: Sequence[RoundRecord]) -> list[RoundRecord]:
        """The judge's trainings on the labels of a run; none without a judge, and where it trained the run itself."""
        name = self.recipe.judge
        if name is None or config not in to_judge(self.recipe):
            return []
        judge = self.learner(name)
        return judged(self._run_folder(config, seed), rounds, judge, lambda: self._campaign(store, seed, name))

    def _campaign(self, store: Store, seed: int, learner: str) -> Campaign:
        return Campaign(store, self.setting(seed, self._pretrained(seed), learner), progress=self.progress)

    def _run_folder(self, config: RowConfig, seed: int) -> Path:
        named = config.name if config.learner == OWN else f"{config.name}-{config.learner}"
        return self.folder / "runs" / f"{named}-{self._digest(config)[:10]}" / f"seed-{seed}"

    def _identity(self, config: RowConfig) -> str:
        """Of all that decides the record of a run."""
        recipe, judge = self.recipe, self.recipe.judge
        noise = recipe.again if config == recipe.baseline and not recipe.warm else 0
        judging = dict(self.learner(judge).config) if judge is not None and config in to_judge(recipe) else {}
        return digest(self._digest(config, anywhere=True), recipe.rounds, noise, judging)

    def _digest(self, config: RowConfig, *, anywhere: bool = False) -> str:
        """Of all that decides a run but its length: more rounds continue it.

        Args:
            config: its row.
            anywhere: whether the same images in another folder give the same.
        """
        recipe = self.recipe
        start = None if recipe.start is None else recipe.start.identity
        frozen = recipe.features.model_dump()
        # left out where it is not said: studies of before are found again
        more: list[Any] = [part.model_dump() for part in (recipe.pretrain, recipe.regions) if part is not None]
        more += [] if recipe.subjects is None else ["subjects", recipe.subjects.model_dump()]
        more += [] if recipe.input.range is None else ["values", *recipe.input.range]
        unsaid = {key for key in ("reference", "noise", "video") if not getattr(recipe.data, key)}
        unsaid |= {"source", "root"} if anywhere else set()
        data = recipe.data.model_dump(exclude=unsaid | ({"every"} if recipe.data.every == 1 else set()))
        return digest(
            dict(self.learner(config.learner).config), repr(self.task), frozen, config.identity, start,
            recipe.initial, recipe.batch, recipe.warm, data, digest(*self.source.ids), *more,
        )  # fmt: skip

    @property
    def _unit(self) -> str:
        """What the batch of a round counts."""
        regions, subjects = self.recipe.regions, self.recipe.subjects
        if regions is not None:
            return regions.unit
        return "items" if subjects is None else subjects.unit

    # ---- parts ------------------------------------------------------------------------------------------------------

    @property
    def task(self) -> Task[Any]:
        """The kind of label."""
        return make_task(self.recipe.task, self.source.classes or (), self.recipe.input)

    def learner(self, name: str = OWN, weights: Path | None = None) -> Learner:
        """A fresh learner, on weights that were trained without labels where there are any.

        Args:
            name: one of the recipe's learners.
            weights: where it starts from; None: as its configuration says.
        """
        task = self.task
        if self.make is not None:
            return self.make(task)
        config = self.recipe.learner_of(name)
        features = self._features if learner_kind(config, task) == "features" else None
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
        settings = Pretraining(**self.recipe.pretrain.model_dump())
        if settings.model is None:
            settings = replace(settings, model=self.recipe.learner_of(self.recipe.baseline).model)
        source = self.data.of(seed)
        images = Examples(source, tuple(item for item in source.ids if source.roles.get(item, "pool") == "pool"))
        file = self.folder / "shared" / "pretrained" / f"seed-{seed}.safetensors"
        file.parent.mkdir(parents=True, exist_ok=True)
        return pretrain(self.task, images, file, settings, seed=seed, progress=self.progress).file

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

    def setting(self, seed: int, weights: Path | None = None, name: str = OWN) -> Setting:
        """What stays the same through the campaigns of a seed with one of the learners."""
        cache = SignalCache(self.folder / "shared" / f"signals-{seed}")
        learner, source = self.learner(name, weights), self.data.of(seed)
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
