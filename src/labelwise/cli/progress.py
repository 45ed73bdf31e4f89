"""Progress of long work: bars on a terminal, a line now and then elsewhere; always on standard error."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from labelwise.cli import console

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from labelwise.campaign.records import RoundRecord

#: without a terminal: seconds before a stage is worth a line, and between its lines
FIRST, AGAIN = 3.0, 15.0


def _bars() -> Bars:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console.stderr(),
        transient=True,
    )


def _left(seconds: float) -> str:
    """How long it may still take; nothing under a minute."""
    if seconds < 60:
        return ""
    return f", about {seconds / 60:.0f} min left" if seconds < 5400 else f", about {seconds / 3600:.1f} h left"


class Stages:
    """The hook ``contracts.learner.Progress``: called with (what is going on, done, total). A context manager."""

    def __init__(self) -> None:
        self.bars: Bars | None = None
        self._live = sys.stderr.isatty()
        self._task: Any = None
        self._stage = ""
        self._began = 0.0
        self._told = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Takes the bars off the screen."""
        if self.bars is not None:
            self.bars.stop()
        self.bars, self._task, self._stage = None, None, ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Shows how far a stage is."""
        if self._live:
            self._draw(stage, done, total)
        else:
            self._tell(stage, done, total)

    def begin(self) -> Bars | None:
        """The bars, on screen from now on; None without a terminal."""
        if self._live and self.bars is None:
            self.bars = _bars()
            self.bars.start()
        return self.bars

    def _draw(self, stage: str, done: int, total: int) -> None:
        bars = self.begin()
        assert bars is not None
        if self._task is None:
            self._task = bars.add_task(stage, total=total)
        elif stage != self._stage:
            bars.reset(self._task, description=stage, total=total)
        self._stage = stage
        bars.update(self._task, completed=done, total=total, visible=done < total)

    def _tell(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._began, self._told = stage, now, now - AGAIN + FIRST
        if now - self._told >= AGAIN and done < total:
            self._told = now
            console.err(f"{stage}: {done:,} of {total:,}{_left((now - self._began) / max(done, 1) * (total - done))}")


class StudyProgress(Stages):
    """Progress of a whole study: runs done, the present run and round, its accuracy so far, and the stage below.

    Args:
        runs: how many runs there are.
        rounds: asked in each.
        primary: name of the metric that is shown.
    """

    def __init__(self, runs: int, rounds: int, primary: str = "accuracy") -> None:
        super().__init__()
        self.runs, self.rounds, self.primary = runs, rounds, primary
        self.done = 0
        self.before = 0
        self._overall: Any = None
        self._last = ""
        self._in_run = 0
        self._since = time.monotonic()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Shows how far a stage of the present run is."""
        self._show()
        super().__call__(stage, done, total)

    def on_round(self, strategy: str, seed: int, record: RoundRecord) -> None:
        """Shows where the present run is."""
        self._say_skipped()
        self._in_run = record.round + 1
        value = console.number(record.metrics.get(self.primary), 3)
        self._last = f"{strategy}, seed {seed}: {self.primary} {value} at {record.labels:,} labels"
        self._show()

    def on_run(self, strategy: str, seed: int, before: bool) -> None:
        """Counts a run; one that had been finished before is only counted."""
        self.done += 1
        self.before += before
        self._in_run = 0
        if not before:
            seconds = time.monotonic() - self._since
            if not self._live:
                console.err(f"run {self.done} of {self.runs}: {self._last} ({seconds:.0f} s)")
        self._since = time.monotonic()
        if self.done == self.runs:
            self._say_skipped()
        self._show()

    def _say_skipped(self) -> None:
        """Once, when it is known how many runs are skipped."""
        if self.before > 0:
            line = f"{self.before} of {self.runs} runs were finished before and are skipped"
            self.bars.console.print(line, markup=False) if self.bars is not None else console.err(line)
            self.before = -self.runs

    def _show(self) -> None:
        bars = self.begin()
        if bars is None:
            return
        text = f"run {min(self.done + 1, self.runs)}/{self.runs}: {self._last}" if self._last else "starting"
        if self._overall is None:
            self._overall = bars.add_task(text, total=self.runs * (self.rounds + 1))
        bars.update(self._overall, description=text, completed=self.done * (self.rounds + 1) + self._in_run)


class SizesProgress(Stages):
    """Progress of a study by size: selections made, and the stage below.

    Args:
        total: how many selections there are.
    """

    def __init__(self, total: int) -> None:
        super().__init__()
        self.total = total
        self.done = 0
        self.before = 0
        self._since = time.monotonic()

    def on_chosen(self, strategy: str, seed: int, size: int, before: bool) -> None:
        """Counts a selection; one that had been made before is only counted."""
        self.done += 1
        self.before += before
        if not before and not self._live:
            seconds = time.monotonic() - self._since
            console.err(f"selection {self.done} of {self.total}: {strategy}, seed {seed}, {size:,} ({seconds:.1f} s)")
        if self.done == self.total and self.before:
            console.err(f"{self.before} of {self.total} selections were made before and are kept")
        self._since = time.monotonic()
        super().__call__("selections", self.done, self.total)
