"""A project: images, people who label, and what to label next. The command line is a thin skin over this."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labelwise.campaign.events import Added, Cleared, Event
from labelwise.campaign.pool import Pool
from labelwise.campaign.records import RoundRecord
from labelwise.campaign.store import Store
from labelwise.config import ProjectConfig, parse, read_yaml, with_flags
from labelwise.contracts.kind import Kind
from labelwise.contracts.oracle import Pick, Round
from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.source import Role, Source
from labelwise.data.remembered import Remembered
from labelwise.errors import ConfigError, DataError, PoolError, StateError
from labelwise.exchange.incoming import Known, Wishes
from labelwise.kinds import kind_of
from labelwise.project import answers, asking, classes, giving
from labelwise.project.answers import Imported
from labelwise.project.images import CONFIG_NAME, STATE_NAME, open_images, registration
from labelwise.project.reading import keep_range

if TYPE_CHECKING:
    from labelwise.campaign.fits import Fitted
    from labelwise.campaign.loop import Campaign
    from labelwise.contracts.strategy import Strategy
    from labelwise.contracts.task import Task
    from labelwise.learners.pretraining import Pretrained


@dataclass
class Project:
    """One project on disk.

    Args:
        folder: holds ``labelwise.yaml`` and ``.labelwise``.
        progress: told on long work.
        say: told in words what the project waits for.
        seed: instead of the one in the file.

    Raises:
        StateError: no project there, or it cannot be opened.
    """

    folder: Path
    progress: Progress = silent
    say: Callable[[str], None] = field(default=lambda message: None)
    seed: int | None = None

    def __post_init__(self) -> None:
        self.config = self._read_config()
        self.store = Store(self.state)

    def _read_config(self) -> ProjectConfig:
        config = parse(ProjectConfig, read_yaml(self.folder / CONFIG_NAME), where=CONFIG_NAME)
        return with_flags(config, seed=self.seed)

    # ---- parts ------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> Path:
        """The ``.labelwise`` folder."""
        return self.folder / STATE_NAME

    @cached_property
    def pool(self) -> Pool:
        """The pool as it was when it was first asked for in this process."""
        return self.store.pool()

    @cached_property
    def source(self) -> Source:
        """The images, those the project knows of, and their regions where the project asks for regions."""
        images = [item.id for item in self.pool.items if item.region is None]
        opened = Remembered(open_images(self.config, self.folder, ids=images), self.store.content)
        if self.config.regions is None:
            return opened
        from labelwise.assemble import cut_into_regions

        maps = self.state / "regions"
        return cut_into_regions(self.config.regions, opened, self.config.task, folder=maps, progress=self.progress)

    @cached_property
    def kind(self) -> Kind:
        """The kind of label.

        Raises:
            ConfigError: the task has none.
        """
        if (kind := kind_of(self.config.task)) is None:
            raise ConfigError(f"task {self.config.task!r} says of no kind of label that it is its own: set Task.kind")
        return kind

    @property
    def task(self) -> Task[Any]:
        """The training side of the kind of label.

        Raises:
            ConfigError: the classes are not known yet.
        """
        from labelwise.project.learning import Learning

        return Learning(self).named_task

    def campaign(self) -> Campaign:
        """The loop over this project, on the project's own learner."""
        from labelwise.project.learning import Learning

        return Learning(self).campaign()

    def known(self, names: tuple[str, ...]) -> Known:
        """What files are held against; with these classes."""

        def numbers() -> tuple[Mapping[int | str, str], Mapping[int, str]]:
            data = open_images(self.config, self.folder)
            return data.numbers, data.categories

        regions = frozenset(item.id for item in self.pool.items if item.region is not None)
        ids = frozenset(self.pool.ids) - regions
        source = self.source
        outline = source.outline if regions else None
        return Known(self.kind, ids, names, source.root, source.size, numbers, regions, outline, progress=self.progress)

    def labels(self, roles: Sequence[Role] = ("pool",)) -> dict[str, Any]:
        """Raw label of every labelled item of these roles."""
        pool = self.pool
        return {pool.ids[p]: pool.target(p) for role in roles for p in pool.with_role(role)}

    def roles(self) -> dict[str, Role]:
        """Role of every item outside the pool."""
        pool = self.pool
        others: tuple[Role, ...] = ("validation", "test", "reference")
        return {pool.ids[p]: role for role in others for p in pool.with_role(role, labelled=False)}

    def palette(self) -> tuple[tuple[int, int, int], ...] | None:
        """Colours of the classes, as the data have them; looked up only where labels are pixels."""
        return open_images(self.config, self.folder).palette if self.kind.heavy else None

    def waiting_regions(self) -> dict[str, list[str]]:
        """Image -> its regions that wait for an answer."""
        waiting: dict[str, list[str]] = {}
        for item in (self.pool.items[p] for p in self.pool.pending):
            if item.region is not None:
                waiting.setdefault(item.path, []).append(item.id)
        return waiting

    def forget(self) -> None:
        """What was read of the state is read again when it is asked for."""
        self.__dict__.pop("pool", None)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Holds the project while a command changes it; what was read before may be old."""
        with self.store.lock(waiting=self.say):
            self.forget()
            if (config := self._read_config()) != self.config:  # another process has named the classes, say
                self.config = config
                self.__dict__.pop("source", None)
                self.__dict__.pop("kind", None)
            yield
            self.forget()

    def write(self, events: Sequence[Event]) -> None:
        """Appends events and applies them.

        Raises:
            PoolError: an event contradicts the state; nothing is written.
        """
        after = self.pool.copy()
        for event in events:
            after.apply(event)
        self.store.append(events)
        self.__dict__["pool"] = after

    # ---- the loop with people ---------------------------------------------------------------------------------------

    def suggest(
        self,
        budget: int | Literal["all"] = 100,
        *,
        strategy: str | Strategy | None = None,
        predictions: str | Path | None = None,
        **how: Any,
    ) -> Round:
        """What to label next. While a round is open it returns that round's unanswered picks.

        Args:
            budget: how many; ``all`` ranks everything and asks nobody.
            strategy: a name or a ``Strategy``; the project's own by default.
            predictions: what somebody else's model says, in any format that ``labelwise list formats`` reads as
                predictions; no model is trained then.
            how: see :class:`labelwise.project.asking.Asking`: ``options``, ``fit``, ``more``, ``wishes``.

        Raises:
            ConfigError: unknown strategy or option, a budget larger than the pool.
            UnmetNeed: the strategy needs what the learner cannot give; before anything is trained.
        """
        file = None if predictions is None else Path(predictions)
        with self._changing():
            return asking.suggest(self, asking.Asking(budget, strategy, predictions=file, **how))

    def noun_of(self, picks: Sequence[Pick]) -> Literal["image", "region"]:
        """What these picks are."""
        return asking.noun_of(self, picks)

    def guesses(self, images: Sequence[str], predictions: Path | None = None, wishes: Wishes | None = None) -> Any:
        """Raw labels, with scores, that the model trained last or a file gives to these images; {} without a model."""
        if predictions is None and not any((self.state / "fits").glob("*/fit.json")):
            return {}
        from labelwise.project.learning import Learning

        return Learning(self).guesses(images, predictions, wishes)

    def export(
        self,
        path: str | Path,
        format: str | None = None,
        *,
        asked: Round | None = None,
        predictions: str | Path | None = None,
        wishes: Wishes | None = None,
    ) -> list[str]:
        """Writes the unanswered picks, in any format that ``labelwise list formats`` writes, or as a gallery.

        Each file starts from what the model trained last, or ``predictions``, would draw.

        Returns:
            What the format has no place for, one line each.

        Raises:
            ConfigError: an unknown ending, or a format of another kind of label.
            StateError: no round is open, or the file cannot be written.
        """
        giving.check_target(self, Path(path), format, "asked")
        if asked is None:
            if not len(self.pool.pending):
                raise StateError("no round is open, there is nothing to export: run 'labelwise suggest' first")
            asked = asking.open_round(self)
        file = None if predictions is None else Path(predictions)
        return giving.give_picks(self, Path(path), format, asked, (file, wishes or Wishes()))

    def export_labels(
        self,
        path: str | Path,
        format: str | None = None,
        *,
        images: Literal["link", "copy", "list"] = "list",
    ) -> list[str]:
        """Writes every label so far as a set that trains as it is; see :func:`labelwise.project.giving.give_labels`."""
        return giving.give_labels(self, Path(path), format, images)

    def image_of(self, item: str, side: int = giving.SIDE) -> Any:
        """A small PIL image of an item; None for one that cannot be read."""
        from PIL import Image

        try:
            array = self.source.thumbnail(item, side)
        except DataError:
            return None
        return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)

    def import_labels(
        self,
        path: str | Path,
        *,
        wishes: Wishes | None = None,
        classes: Sequence[str] = (),
        confirm: Callable[[tuple[str, ...]], bool] = lambda classes: True,
    ) -> Imported:
        """Takes labels back, in any format that ``labelwise list formats`` reads as answers: all of it or nothing.

        Args:
            path: the file or folder; pictures may be unanswered or skipped, and may correct earlier labels.
            wishes: what the user said about reading it.
            classes: of the project, when it has none yet; else those that the file names are taken.
            confirm: asked once, with the classes found, when the project has none yet and none are given.

        Raises:
            ConfigError: the classes were not confirmed, or other ones are given than the project has.
            FormatError: an unknown image or class, or two labels for one image, with the row; nothing is imported.
        """
        with self._changing():
            return answers.take(self, Path(path), wishes=wishes or Wishes(), classes=classes, confirm=confirm)

    def cancel(self) -> int:
        """Drops all unanswered picks; returns how many."""
        with self._changing():
            ids = [self.pool.ids[p] for p in self.pool.pending]
            self.store.append([Cleared(item) for item in ids])
            return len(ids)

    def restore(self, ids: Sequence[str]) -> None:
        """Puts skipped items back, so that they may be asked again.

        Raises:
            PoolError: one of them is not skipped.
        """
        with self._changing():
            skipped = {self.pool.ids[p] for p in self.pool.skipped}
            for item in ids:
                if item not in skipped:
                    raise PoolError(f"{item!r} is not skipped: only skipped items can be put back")
            self.store.append([Cleared(item) for item in ids])

    def add_new_images(self) -> int:
        """Registers images that joined the data since; returns how many."""
        with self._changing():
            source = open_images(self.config, self.folder)
            self.config = keep_range(self.config, source, self.folder / CONFIG_NAME)
            events = list(registration(source, known=self.pool))
            self.store.append(events)
            self.__dict__.pop("source", None)
            return sum(isinstance(event, Added) for event in events)

    def name_classes(self, names: Sequence[str]) -> None:
        """Gives a project that has none yet its classes.

        Raises:
            ConfigError: it has others already, or these are none.
        """
        with self._changing():
            classes.give(self, names)

    # ---- the model --------------------------------------------------------------------------------------------------

    def fit(self) -> Fitted:
        """Trains on all labels, unless exactly this was trained before."""
        from labelwise.project.learning import Learning

        with self._changing():
            learning = Learning(self)
            campaign = learning.campaign()
            fitted = learning.fit(campaign, learning.strategy())
            # for the report; the next suggest puts its own record of this round in its place
            campaign.write([], record=campaign.describe(fitted))
            return fitted

    def evaluate(self) -> dict[str, float]:
        """Metrics of the weights trained last, on the test items that have a label; {} when there are none.

        Raises:
            StateError: nothing has been trained yet.
        """
        from labelwise.project.learning import Learning

        learning = Learning(self)
        campaign = learning.campaign()
        learning.last_fit(campaign, learning.strategy())
        if campaign.setting.learner.weights is None:
            raise StateError("nothing has been trained yet: run 'labelwise fit' first")
        return campaign.evaluate("test")

    def pretrain(
        self, objective: str | None = None, *, name: str | None = None, size: int | None = None, **settings: Any
    ) -> Pretrained:
        """Trains a network on the pool's images without their labels: a backbone called ``pretrained:NAME``.

        Exactly the same is not trained again, and a killed training goes on.

        Args:
            objective: ``rotation``, ``simclr`` or ``vicreg``; else as the project's ``pretrain`` says, as for the rest.
            name: of the result; None: objective and model.
            size: side of the network's input; None: that of the project's ``input``.
            settings: further keys of ``pretrain``, such as ``model`` and ``epochs``.

        Raises:
            ConfigError: unknown names or options, or no images.
            StateError: the result cannot be written.
        """
        from labelwise.project.pretraining import pretrained

        return pretrained(self, name, size, {"objective": objective, **settings})

    # ---- what it looks like -----------------------------------------------------------------------------------------

    def records(self) -> list[RoundRecord]:
        """The record of each round."""
        return [RoundRecord.from_json(record) for record in self.store.rounds()]

    def progress_counts(self) -> dict[str, int]:
        """Items of the pool by state."""
        pool = self.pool
        states = (pool.labelled, pool.pending, pool.skipped, pool.candidates)
        return dict(zip(("labelled", "pending", "skipped", "unlabelled"), map(len, states), strict=True))

    def report(self, path: str | Path | None = None) -> Path:
        """Writes one self-contained HTML page about this project.

        Raises:
            UnmetNeed: the map that the configuration wants needs a package that is not there.
        """
        from labelwise.project.reporting import report

        return report(self, Path(path) if path is not None else self.state / "report.html")

    def next_steps(self) -> list[str]:
        """Commands that make sense now."""
        if len(self.pool.pending):
            return [f"labelwise {step}" for step in self.kind.steps]
        return ["labelwise suggest -n 100"] if len(self.pool.candidates) >= 100 else ["labelwise suggest"]
