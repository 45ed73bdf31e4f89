"""Long work behind the page: one job at a time, in a thread of its own, told of and stopped at will."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from labelwise.contracts.progress import Progress
from labelwise.errors import LabelwiseError, StateError

#: what does the work: given its progress, gives lines for people
Work = Callable[[Progress], Sequence[str]]


class Stopped(Exception):
    """Somebody pressed stop."""


@dataclass
class Job:
    """How a piece of work stands.

    Args:
        what: in a word: ``fit``, ``suggest``, ``map``.
        running: whether it goes on.
        stage: what it is doing, in words.
        done: of ``total`` of that.
        total: 0 where nobody knows.
        notes: what people should know once it has ended.
        error: why it ended early, in one line.
        stopped: whether somebody stopped it.
    """

    what: str
    running: bool = True
    stage: str = ""
    done: int = 0
    total: int = 0
    notes: tuple[str, ...] = ()
    error: str = ""
    stopped: bool = False
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None

    def as_json(self) -> dict[str, Any]:
        """For the page."""
        seconds = (self.ended or time.monotonic()) - self.began
        told = ("what", "running", "stage", "done", "total", "error", "stopped")
        return {name: getattr(self, name) for name in told} | {"notes": list(self.notes), "seconds": round(seconds, 1)}


class Jobs:
    """The one job that may run, and the last one that did.

    Args:
        log: told of errors that are nobody's fault but ours, whole.
    """

    def __init__(self, log: Callable[[str], None] = lambda text: None) -> None:
        self.job: Job | None = None
        self.log = log
        self._one = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> str:
        """What is being done; "" for nothing."""
        job = self.job
        return job.what if job is not None and job.running else ""

    def start(self, what: str, work: Work) -> Job:
        """Begins, unless something else is going on.

        Raises:
            StateError: something else is.
        """
        with self._one:
            if self.running:
                raise StateError(f"the page is busy with {self.running}: wait for its end, or stop it")
            self.job = job = Job(what)
            self._thread = threading.Thread(target=self._run, args=(job, work), name=what, daemon=True)
            self._thread.start()
        return job

    def stop(self) -> bool:
        """Asks the job to end at the next place where it tells how far it is; whether there was one."""
        job = self.job
        if job is None or not job.running:
            return False
        job.stopped = True
        return True

    def wait(self, seconds: float | None = None) -> None:
        """Until the job has ended."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self, job: Job, work: Work) -> None:
        def progress(stage: str, done: int, total: int) -> None:
            if job.stopped:
                raise Stopped
            job.stage, job.done, job.total = stage, done, total

        try:
            job.notes = tuple(work(progress))
        except Stopped:
            job.notes = ("stopped: what was finished is kept, and the same again goes on from there",)
        except LabelwiseError as error:
            job.error = str(error)
        except Exception as error:  # the page has to say that it ended, whatever it was
            job.error = f"{type(error).__name__}: {error!s:.200}. The command that serves the page printed more"
            self.log(traceback.format_exc())
        finally:
            job.ended, job.running = time.monotonic(), False
