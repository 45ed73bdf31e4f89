"""Finished trainings in a folder, named by what they were trained from: found again after a kill, and by every run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from labelwise.contracts.learner import FitReport
from labelwise.errors import StateError

if TYPE_CHECKING:
    from labelwise.campaign.measuring import Judged
    from labelwise.contracts.learner import Learner

#: written last: a folder without it holds a training that was broken off
_DONE = "fit.json"


@dataclass(frozen=True)
class Fitted:
    """A training, done now or found.

    Args:
        key: digest of what it was trained from.
        report: how it went.
        metrics: on the test items, or cross-validated; {} when there are none.
        tested: digest of the test set that they were measured on.
        heads: name and kind of each extra head that was trained beside the model; None where nobody wrote it down.
        plain: key of the same training without these heads; "" where there are none.
        ends: name of a metric -> both ends of its 95 % interval, where test images are weighted.
    """

    key: str
    report: FitReport
    metrics: Mapping[str, float]
    tested: str = ""
    heads: Mapping[str, str] | None = None
    plain: str = ""
    ends: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def judged(cls, key: str, report: FitReport, found: Judged, heads: Mapping[str, str], plain: str = "") -> Fitted:
        """A training with how good it is."""
        return cls(key, report, found.metrics, found.tested, heads, plain, found.ends)


@dataclass(frozen=True)
class Fits:
    """The trainings of a campaign.

    Args:
        folder: one folder in it for each training; None keeps none.
    """

    folder: Path | None

    def place(self, key: str) -> Path | None:
        """The folder of a finished training; None where there is none."""
        place = None if self.folder is None else self.folder / key
        return place if place is not None and (place / _DONE).is_file() else None

    def find(self, key: str) -> Fitted | None:
        """A finished training; None where there is none, or one whose record is damaged."""
        place = self.place(key)
        if place is None:
            return None
        try:
            found = json.loads((place / _DONE).read_text())
            report = _report(found["report"])
            more = {name: found[name] for name in ("tested", "heads", "plain") if name in found}
            ends = {name: (low, high) for name, (low, high) in found.get("ends", {}).items()}
            return Fitted(key, report, found["metrics"], **more, ends=ends)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def newest(self) -> str | None:
        """Key of the training that was finished last; None where none is."""
        if self.folder is None:
            return None
        done = list(self.folder.glob(f"*/{_DONE}"))
        return max(done, key=lambda file: file.stat().st_mtime_ns).parent.name if done else None

    def with_heads(self, plain: str) -> str | None:
        """Key of a training that was this one but for extra heads beside the model; None where there is none."""
        keys = [] if self.folder is None else sorted(file.parent.name for file in self.folder.glob(f"*/{_DONE}"))
        return next((key for key in keys if (found := self.find(key)) is not None and found.plain == plain), None)

    def keep(self, learner: Learner, fitted: Fitted) -> None:
        """Writes the weights that a learner has now.

        Raises:
            StateError: the folder cannot be written.
        """
        if self.folder is None:
            return
        place = self.folder / fitted.key
        try:
            learner.save(place)
            self.note(fitted)
        except (OSError, SafetensorError) as error:
            raise StateError(
                f"cannot keep the weights in {place}: {error}. Nothing was lost but this training: check that the "
                "folder is writable and the disk has room, then run the command again"
            ) from error

    def note(self, fitted: Fitted) -> None:
        """Writes what is known of a training whose weights are there."""
        assert self.folder is not None, "a training that is not kept was found"
        place = self.folder / fitted.key
        place.mkdir(parents=True, exist_ok=True)
        draft = place / f"fit.{os.getpid()}.tmp"
        values = {"report": asdict(fitted.report), "metrics": dict(fitted.metrics), "tested": fitted.tested}
        if fitted.ends:
            values["ends"] = dict(fitted.ends)
        if fitted.heads is not None:
            values |= {"heads": dict(fitted.heads), "plain": fitted.plain}
        draft.write_text(json.dumps(values))
        draft.replace(place / _DONE)

    def prune(self, keep: set[str]) -> None:
        """Deletes trainings that nobody needs any more; they can be done again."""
        if self.folder is not None and self.folder.is_dir():
            for entry in self.folder.iterdir():
                if entry.name not in keep:
                    shutil.rmtree(entry, ignore_errors=True)


def _report(found: Mapping[str, Any]) -> FitReport:
    parts = {name: tuple((where, value) for where, value in line) for name, line in found.get("parts", {}).items()}
    return FitReport(**{**found, "losses": tuple(found.get("losses", ())), "parts": parts})
