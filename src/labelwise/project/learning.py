"""A project's models: trained on its labels or read from a file of predictions, and what they say of images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwise.assemble import learner_kind, make_features, make_learner, make_strategy, make_task
from labelwise.campaign.fits import Fitted
from labelwise.campaign.loop import Campaign
from labelwise.campaign.setting import Setting
from labelwise.config import StrategyConfig
from labelwise.contracts.learner import Learner, Producer
from labelwise.contracts.source import read_for
from labelwise.contracts.strategy import Strategy
from labelwise.contracts.task import Task
from labelwise.errors import ConfigError, FormatError, StateError
from labelwise.exchange.incoming import Incoming, Wishes
from labelwise.exchange.sniffing import required
from labelwise.formats.files import write_whole
from labelwise.learners.features import WhenRead
from labelwise.learners.imported_detections import ImportedDetections
from labelwise.models.by_name import chosen_backbone
from labelwise.models.provenance import what_weights_saw
from labelwise.project.images import CONFIG_NAME
from labelwise.signals.cache import SignalCache
from labelwise.strategies import COLD_START

if TYPE_CHECKING:
    from labelwise.contracts.query import Budget
    from labelwise.project.project import Project

#: in place of classes before the first label: any two names do, no strategy sees them
UNKNOWN = ("unknown", "unknown too")


@dataclass
class Learning:
    """The training side of one project; made anew by each command that needs one.

    Args:
        project: whose labels and images they are.
    """

    project: Project

    def task(self, classes: tuple[str, ...] = ()) -> Task[Any]:
        """The task with these classes, or the project's."""
        config = self.project.config
        return make_task(config.task, classes or config.classes or UNKNOWN, config.input)

    @property
    def named_task(self) -> Task[Any]:
        """The task.

        Raises:
            ConfigError: the classes are not known yet.
        """
        if not self.project.config.classes:
            raise ConfigError(
                f"this project does not know its classes yet: import labels, or add 'classes: [...]' to {CONFIG_NAME}"
            )
        return self.task()

    @cached_property
    def features(self) -> Any:
        """The frozen feature source."""
        project = self.project
        cache = SignalCache(project.state / "signals" / "features")
        folder = project.state / "backbone"
        return make_features(project.config.features, project.source, cache, folder=folder, base=project.folder)

    def campaign(self, learner: Learner | None = None) -> Campaign:
        """The loop over this project, on its own learner or on another."""
        project, config = self.project, self.project.config
        frozen: Producer = WhenRead(lambda: self.features)
        if learner is None:
            task = self.task()
            own = self.features if learner_kind(config.learner, task) == "features" else None
            learner = make_learner(config.learner, task, own, base=project.folder)
        else:
            task = learner.task
            frozen = learner if "embedding" in learner.provides else frozen
            if isinstance(learner, ImportedDetections):
                learner = learner.beside(lambda: self.features)
        cache = SignalCache(project.state / "signals" / "task")
        setting = Setting(
            project.source, task, learner, cache, fits=project.state / "fits", frozen=frozen, seed=config.seed
        )
        return Campaign(project.store, setting, progress=project.progress)

    # ---- predictions of somebody else's model -----------------------------------------------------------------------

    def imported(self, path: Path, wishes: Wishes) -> tuple[Learner, list[str]]:
        """What a file says of the project's images, as a learner that is not trained; and notes.

        Raises:
            FormatError: unknown images or classes, a broken row.
            UnmetNeed: predictions that this task has no use for.
        """
        project = self.project
        choice = required(path, "predictions", kind=project.kind.name, name=wishes.format)
        known = project.known(project.config.classes)
        incoming = Incoming(path, choice.format, "predictions", known, wishes)
        task = _counting(self.task(incoming.naming.classes), wishes.min_score)
        try:
            learner = task.imported(incoming, incoming.naming, project.pool.ids, known.size)
        except FormatError:
            incoming.refuse_unknown()  # where no name is known, that says more
            raise
        incoming.refuse_unknown()
        self.same_width(learner, path)
        return learner, [*incoming.notes(), *learner.notes]

    def same_width(self, learner: Learner, path: Path) -> None:
        """Embeddings of two models do not mix: later files must have the width of the first."""
        width = getattr(learner, "embedding_width", None)
        if width is None:
            return
        note = self.project.state / "imported.json"
        known = _noted(note).get("embedding_width") or width
        if known != width:
            raise FormatError(
                f"{str(path)!r}: embeddings have {width} features, the cached ones have {known}: use one model for all"
            )
        write_whole(note, json.dumps({"embedding_width": width}).encode())

    def lent(self, learner: Learner, strategy: Strategy) -> list[str]:
        """Says it where a strategy reads vectors that a file of detections does not hold."""
        if not isinstance(learner, ImportedDetections):
            return []
        read = [signal.fields for step in strategy.steps() for signal in step.needs.signals if signal.of == "task"]
        lacking = learner.lacks(frozenset().union(*read))
        what = {"unit_embedding": "crops of its boxes", "embedding": "the whole images"}
        named = " and ".join(words for name, words in what.items() if name in lacking)
        name = chosen_backbone(self.project.config.features.backbone)
        return [f"the file holds no embeddings: {strategy.name!r} compares {named} by {name!r}"] if named else []

    # ---- training ---------------------------------------------------------------------------------------------------

    def strategy(self, wanted: str | Strategy | None = None, options: Mapping[str, Any] | None = None) -> Strategy:
        """A strategy by name with options, or the project's own."""
        config = self.project.config.strategy
        if isinstance(wanted, Strategy):
            return wanted
        if wanted is None and not options:
            return make_strategy(config)
        return make_strategy(StrategyConfig(name=wanted or config.name, options=dict(options or {})))

    def ready(
        self, campaign: Campaign, chosen: Strategy, budget: Budget | None, fit: bool
    ) -> tuple[Strategy, Fitted | None, list[str]]:
        """Trains or loads what the strategy needs; without labels a strategy that needs them gives way.

        Nothing is trained for a strategy that reads nothing of the model as things stand.
        """
        if not len(campaign.pool.labelled):
            if chosen.cold:
                return chosen, None, []
            cold = make_strategy(StrategyConfig(name=COLD_START))
            note = f"there is no label yet, and {chosen.name!r} needs a trained model: {cold.name!r} chose instead"
            return cold, None, [note]
        campaign.offer.check([chosen])
        acting = campaign.acting(chosen, budget)
        if not acting.reads_model:
            return chosen, *self._as_it_is(campaign, chosen, acting)
        if not fit:
            self.last_fit(campaign, chosen)
            return chosen, None, []
        return chosen, self.fit(campaign, chosen), []

    def _as_it_is(self, campaign: Campaign, chosen: Strategy, acting: Strategy) -> tuple[Fitted | None, list[str]]:
        """The training on these labels where it was done, else the weights trained last, for hints; and a note."""
        pool, source = campaign.pool, self.project.source
        # a training would have read them, and images that were read are known again under another name
        source.content(list(dict.fromkeys(read_for(source, pool.ids[p]) for p in pool.labelled)))
        if (fitted := campaign.trained()) is not None:
            return fitted, []
        who = chosen.name if acting.name == chosen.name else f"{chosen.name}, which acts as {acting.name} here,"
        count = len(campaign.pool.labelled)
        note = f"{who} reads no model, so nothing was trained on the {count:,} label(s): 'labelwise fit' does"
        try:
            hints = campaign.load_newest()
        except StateError:  # of another configuration, and nobody asked for them
            hints = False
        return None, [note + ("; what is predicted, the weights trained last say" if hints else "")]

    def fit(self, campaign: Campaign, strategy: Strategy) -> Fitted:
        """Trains on all labels, unless exactly this was trained before; older weights are deleted."""
        fitted = campaign.fit(strategy)
        campaign.fits.prune({record.fit_key for record in self.project.records()} | {fitted.key})
        return fitted

    def fit_recorded(self) -> Fitted:
        """As ``fit`` with the project's own strategy, and the round has a record."""
        campaign = self.campaign()
        fitted = self.fit(campaign, self.strategy())
        # for the report; the next suggest puts its own record of this round in its place
        campaign.write([], record=campaign.describe(fitted))
        return fitted

    def last_fit(self, campaign: Campaign, strategy: Strategy | None = None) -> None:
        """Takes the weights into use that were trained last, with the extra heads that a strategy reads.

        Raises:
            StateError: nothing was trained, or without these heads, and the strategy needs it.
        """
        if not campaign.load_newest(strategy) and not (strategy or self.strategy()).cold:
            raise StateError("nothing has been trained yet: run 'labelwise fit' first")

    def spoilt(self) -> list[str]:
        """Says it where the weights in use were trained with the labels of these very images."""
        config, task = self.project.config, self.task()
        learner = None if learner_kind(config.learner, task) == "features" else config.learner
        seen = what_weights_saw(
            config.features,
            learner,
            data=config.images,
            classes=config.classes,
            base=self.project.folder,
            default=task.default_name,
        )
        return [] if seen.warning is None else [seen.warning]

    def predictor(
        self, predictions: Path | None = None, wishes: Wishes | None = None
    ) -> tuple[Learner | None, list[str]]:
        """The model trained last, None where nothing was trained; or what a file says, and what to know of it."""
        if predictions is not None:
            learner, notes = self.imported(predictions, wishes or Wishes())
            return self.campaign(learner).setting.learner, notes
        campaign = self.campaign()
        if campaign.fits.newest() is None:
            return None, []
        self.last_fit(campaign)
        return campaign.setting.learner, []

    def guesses(self, images: Sequence[str], predictions: Path | None, wishes: Wishes | None) -> dict[str, Any]:
        """Raw labels, with scores, that the model trained last or a file gives to these images; {} without a model."""
        return self.said(images, predictions, wishes)[0]

    def said(
        self, images: Sequence[str], predictions: Path | None, wishes: Wishes | None
    ) -> tuple[dict[str, Any], list[str]]:
        """As ``guesses``, with what people should know of the file."""
        learner, notes = self.predictor(predictions, wishes)
        return {} if learner is None else dict(learner.task.guesses(learner, self.project.source, images)), notes


def _counting(task: Task[Any], min_score: float | None) -> Task[Any]:
    """The task with another lowest score of what counts as detected.

    Raises:
        ConfigError: it detects nothing, or the score is none.
    """
    if min_score is None:
        return task
    if "threshold" not in {option.name for option in fields(task)}:  # type: ignore[arg-type]
        raise ConfigError(f"--min-score is for boxes, and this project is about {task.kind.name}: leave it out")
    if not 0 <= min_score <= 1:
        raise ConfigError(f"--min-score is {min_score:g}: give a score from 0 to 1")
    return replace(task, threshold=min_score, confident=min_score)  # type: ignore[type-var]


def _noted(path: Path) -> dict[str, Any]:
    """What was noted about imported predictions; {} where nothing readable stands."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
