"""A project: images, people who label, and what to label next. The command line is a thin skin over this."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labelwise.campaign.events import Cleared, Restored, Unlabelled
from labelwise.contracts.oracle import Answer, Round
from labelwise.errors import StateError
from labelwise.exchange.incoming import Wishes
from labelwise.project import answers, asking, classes, giving, joining, taking_back
from labelwise.project.answers import Imported
from labelwise.project.joining import Joined
from labelwise.project.next_steps import next_steps
from labelwise.project.opened import Opened
from labelwise.project.presence import gone_note
from labelwise.project.taking_back import Which

if TYPE_CHECKING:
    from labelwise.campaign.fits import Fitted
    from labelwise.campaign.loop import Campaign
    from labelwise.contracts.strategy import Strategy
    from labelwise.contracts.task import Task
    from labelwise.learners.pretraining import Pretrained
    from labelwise.project.labelling import Labelling
    from labelwise.project.measured import Measured
    from labelwise.report.forecast import Told


@dataclass
class Project(Opened):
    """What people do with a project, one method for each command.

    Args:
        folder: holds ``labelwise.yaml`` and ``.labelwise``.
        progress: told on long work.
        say: told in words what the project waits for.
        seed: instead of the one in the file.

    Raises:
        StateError: no project there, or it cannot be opened.
    """

    #: what the last look at the data brought, where ``init`` was run on a project that is there
    joined: Joined = field(default_factory=Joined, init=False)
    #: what people should know of the options that labels gave the task when the project was made
    told: tuple[str, ...] = field(default=(), init=False)

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

    # ---- the loop with people ---------------------------------------------------------------------------------------

    def suggest(
        self,
        budget: int | Literal["all"] | None = None,
        *,
        strategy: str | Strategy | None = None,
        predictions: str | Path | None = None,
        **how: Any,
    ) -> Round:
        """What to label next. While a round is open it returns that round's unanswered picks.

        Args:
            budget: how many; None: 100, or what is left; ``all`` ranks everything and asks nobody.
            strategy: a name or a ``Strategy``; the project's own by default.
            predictions: what somebody else's model says, in any format that ``labelwise list formats`` reads as
                predictions; no model is trained then.
            how: see :class:`labelwise.project.asking.Asking`: ``options``, ``fit``, ``more``, ``wishes``,
                ``despite_missing``.

        Raises:
            ConfigError: unknown strategy or option, a budget larger than the pool.
            UnmetNeed: the strategy needs what the learner cannot give; before anything is trained.
        """
        file = None if predictions is None else Path(predictions)
        with self.changing():
            return asking.suggest(self, asking.Asking(budget, strategy, predictions=file, **how))

    def holdout(self, count: int, **how: Any) -> Round:
        """Draws a test set and asks about it, as :class:`labelwise.project.holding_out.Drawing` says."""
        from labelwise.project.holding_out import Drawing, hold_out

        with self.changing():
            return hold_out(self, count, Drawing(**how))

    def open_round(self) -> Round:
        """The picks that wait for an answer and whose image is there.

        Raises:
            StateError: no round is open.
        """
        if not len(self.pool.pending):
            raise StateError("no round is open, there is nothing to export: run 'labelwise suggest' first")
        return asking.open_round(self)

    def said(
        self, images: Sequence[str], predictions: Path | None = None, wishes: Wishes | None = None
    ) -> tuple[dict[str, Any], list[str]]:
        """Raw labels, with scores, that the model trained last or a file gives to images, and notes; {} without one."""
        if predictions is None and not any((self.state / "fits").glob("*/fit.json")):
            return {}, []
        from labelwise.project.learning import Learning

        return Learning(self).said(images, predictions, wishes)

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
            What was left out and what the format has no place for, one line each.

        Raises:
            ConfigError: an unknown ending, or a format of another kind of label.
            StateError: no round is open, or the file cannot be written.
        """
        giving.check_target(self, Path(path), format, "asked")
        given = self.open_round() if asked is None else asked
        gone = gone_note(tuple(given.left_out)) if asked is None else []
        file = None if predictions is None else Path(predictions)
        lines = giving.give_picks(self, Path(path), format, given, (file, wishes or Wishes()))
        return [*gone, *lines]

    def export_labels(
        self,
        path: str | Path,
        format: str | None = None,
        *,
        images: Literal["link", "copy", "list"] = "list",
    ) -> list[str]:
        """Writes every label so far as a set that trains as it is; see :func:`labelwise.project.giving.give_labels`."""
        return giving.give_labels(self, Path(path), format, images)

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
        with self.changing():
            return answers.take(self, Path(path), wishes=wishes or Wishes(), classes=classes, confirm=confirm)

    def answer(self, given: Sequence[Answer]) -> Imported:
        """Takes single answers of a page or a program of one's own; see :func:`labelwise.project.answers.give`."""
        with self.changing():
            return answers.give(self, given)

    def cancel(self) -> int:
        """Drops all unanswered picks; returns how many. On a server they stay until they are withdrawn there."""
        with self.changing():
            ids = [self.pool.ids[p] for p in self.pool.pending]
            self.store.append([Cleared(item) for item in ids])
            return len(ids)

    def server(self, token: str) -> Labelling:
        """What goes to a server where people label, and comes back; the token of the user there is never kept."""
        from labelwise.project.labelling import Labelling

        return Labelling(self, token)

    def unlabel(self, which: Which) -> tuple[list[str], list[str]]:
        """Takes labels back, those of all annotators; returns of which items, and notes.

        Raises:
            LabelwiseError: see :func:`labelwise.project.taking_back.found`; nothing is taken back.
        """
        with self.changing():
            return taking_back.take_back(self, which, "labelled", Unlabelled)

    def restore(self, which: Which) -> tuple[list[str], list[str]]:
        """Takes skips back, so that the items may be asked again; as :meth:`unlabel`."""
        with self.changing():
            return taking_back.take_back(self, which, "skipped", Restored)

    def add_new_images(self) -> Joined:
        """Registers images that joined the data since, and recognises those whose file has another name now."""
        with self.changing():
            return joining.join(self)

    def name_classes(self, names: Sequence[str]) -> None:
        """Gives a project that has none yet its classes.

        Raises:
            ConfigError: it has others already, or these are none.
        """
        with self.changing():
            classes.give(self, names)

    # ---- the model --------------------------------------------------------------------------------------------------

    def fit(self) -> Fitted:
        """Trains on all labels, unless exactly this was trained before."""
        from labelwise.project.learning import Learning

        with self.changing():
            return Learning(self).fit_recorded()

    def evaluate(self, predictions: str | Path | None = None, wishes: Wishes | None = None) -> Measured:
        """How good the model trained last is, or somebody else's; see :mod:`labelwise.project.measured`.

        Args:
            predictions: what somebody else's model says, in any format that is read as predictions.
            wishes: how to read it.

        Raises:
            StateError: nothing has been trained yet, or nothing has a label.
        """
        from labelwise.project.measured import of_file, of_own_weights

        return of_own_weights(self) if predictions is None else of_file(self, Path(predictions), wishes or Wishes())

    def advise(self, number: int | None = None, **wish: Any) -> Told:
        """What more labels are likely to bring, and when to stop; see :func:`labelwise.project.advising.advised`."""
        from labelwise.project.advising import advised

        return advised(self, number, **wish)

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

    def report(self, path: str | Path | None = None) -> Path:
        """Writes one self-contained HTML page about this project.

        Raises:
            UnmetNeed: the map that the configuration wants needs a package that is not there.
        """
        from labelwise.project.reporting import report

        return report(self, Path(path) if path is not None else self.state / "report.html")

    def next_steps(self, written: Sequence[Path] = (), format: str | None = None) -> list[tuple[str, str]]:
        """Commands that make sense now, with what they do; see :func:`labelwise.project.next_steps.next_steps`."""
        return next_steps(self, written, format)
