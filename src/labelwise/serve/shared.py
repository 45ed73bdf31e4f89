"""One project for all requests: read as it stands now, changed by one at a time, also while a job here holds it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from labelwise.campaign.events import Added, Renamed, Restored, Unlabelled
from labelwise.campaign.fits import Fits
from labelwise.contracts.oracle import Answer
from labelwise.contracts.progress import Progress
from labelwise.errors import StateError
from labelwise.project import answers
from labelwise.project.images import CONFIG_NAME
from labelwise.project.setup import open_project
from labelwise.project.taking_back import Which, take_back
from labelwise.serve.jobs import Jobs

if TYPE_CHECKING:
    from labelwise.campaign.pool import Pool
    from labelwise.contracts.learner import Learner
    from labelwise.project.answers import Imported
    from labelwise.project.project import Project

Given = TypeVar("Given")

#: seconds that an answer waits for another command
_PATIENCE = 10.0


class Shared:
    """A project behind the page.

    Args:
        folder: of the project.
        log: told of errors that are ours, whole.
    """

    def __init__(self, folder: Path, log: Callable[[str], None] = lambda text: None) -> None:
        self.folder = folder
        self.jobs = Jobs(log)
        self._reading, self._changing, self._model = threading.RLock(), threading.Lock(), threading.Lock()
        self._held = False
        self._loaded: tuple[str, Learner | None] = ("", None)
        self._open()

    def _open(self) -> None:
        self._settings = _stamp(self.folder)
        found, seen = open_project(self.folder), -1
        while (newest := found.store.newest()) != seen:  # others may write while it is read
            found.forget()
            _, seen = found.pool, newest
        self._project, self._seen = found, seen

    @property
    def project(self) -> Project:
        """As it stands now, with what this page and other commands wrote since."""
        with self._reading:
            if _stamp(self.folder) != self._settings:
                self._open()
            elif (newest := self._project.store.newest()) != self._seen:
                self._catch_up(newest)
            return self._project

    def _catch_up(self, newest: int) -> None:
        """Applies what was written since: an answer costs its own event, not a look at all of them."""
        events = list(self._project.store.events(self._seen))
        if any(isinstance(event, Added | Renamed) for event in events):
            self._open()
            return
        pool = self._project.pool.copy()
        for event in events:
            pool.apply(event)
        self._project.__dict__["pool"], self._seen = pool, newest

    @property
    def pool(self) -> Pool:
        """Its items."""
        return self.project.pool

    # ---- changes ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _changed(self) -> Iterator[Project]:
        """Holds the project, or finds it held by a job of this very process."""
        with self._changing, ExitStack() as held:
            if not self._held:
                held.enter_context(self._project.store.lock(wait=_PATIENCE))
            with self._reading:
                project = self.project
                before = project.pool
                try:
                    yield project
                finally:  # a job may have written in between: all that is new is applied in the order on disk
                    project.__dict__["pool"] = before
                    self._catch_up(project.store.newest())

    def answer(self, given: Sequence[Answer]) -> Imported:
        """Takes answers at once, also while a job trains.

        Raises:
            StateError: a round is being chosen, and one of these waits for no answer: it might be chosen just now.
        """
        with self._changed() as project:
            if self._held and self.jobs.running == "suggest":
                waits = {project.pool.ids[position] for position in project.pool.pending}
                if any(answer.id not in waits for answer in given):
                    raise StateError("a round is being chosen: answers to what is not asked wait until that has ended")
            return answers.give(project, given)

    def change(self, what: Callable[[Project], Given]) -> Given:
        """Changes the project at once, also while a job trains.

        Raises:
            StateError: a round is being chosen: what changes which items may be asked waits until that has ended.
        """
        with self._changed() as project:
            if self._held and self.jobs.running == "suggest":
                raise StateError("a round is being chosen: this waits until that has ended")
            return what(project)

    def take_back(self, item: str) -> None:
        """Takes a label or a skip back."""
        with self._changed() as project:
            if project.pool.labels.of(project.pool.position(item)):
                take_back(project, Which([item]), "labelled", Unlabelled)
            else:
                take_back(project, Which([item]), "skipped", Restored)

    # ---- long work --------------------------------------------------------------------------------------------------

    def start(self, what: str, work: Callable[[Project], Sequence[str]]) -> None:
        """Begins a job that holds the project while it works.

        Args:
            what: in a word.
            work: given a project of its own that tells the page how far it is.
        """

        def held(progress: Progress) -> Sequence[str]:
            own = open_project(self.folder, progress=progress)
            with ExitStack() as holding:
                with self._changing:
                    holding.enter_context(own.store.lock(wait=_PATIENCE))
                    self._held = True
                try:
                    return work(own)
                finally:
                    # an answer that comes in now has to take the lock, which is given back after this
                    with self._changing:
                        self._held = False

        self.jobs.start(what, held)

    # ---- the model --------------------------------------------------------------------------------------------------

    def weights(self) -> str:
        """Which training is in use; "" for none."""
        return Fits(self.project.state / "fits").newest() or ""

    @contextmanager
    def learner(self) -> Iterator[Learner | None]:
        """The model trained last, for one request at a time; None before there is one."""
        with self._model:
            weights = self.weights()
            if weights != self._loaded[0]:
                from labelwise.project.learning import Learning

                self._loaded = (weights, Learning(open_project(self.folder)).predictor()[0] if weights else None)
            yield self._loaded[1]


def _stamp(folder: Path) -> tuple[int, int]:
    """What changes whenever the file with the settings does."""
    found = (folder / CONFIG_NAME).stat()
    return found.st_mtime_ns, found.st_size
