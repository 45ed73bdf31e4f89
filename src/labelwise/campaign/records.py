"""What a study consists of: plain frozen records that a campaign writes and a report reads.

A *round* trains on what is labelled, measures, and then picks. A *run* is one strategy with one seed. A *study* is
every run of one comparison, with what is needed to judge it. Records hold only JSON-able values; ``to_json`` gives
strict JSON (a value that is not finite becomes ``null`` and is read back as NaN).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from labelwise.contracts.chance import Chance
from labelwise.errors import DataError, FormatError, StateError

FORMAT = 1
NAN = float("nan")
_Record = TypeVar("_Record", "Mistakes", "RoundRecord", "RunRecord", "Study", Chance)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """One round: fitted on ``labels`` labels, measured, then ``picked`` chosen (none in the last round).

    Args:
        round: 0 for the model trained on the initial set.
        labels: number of labelled items the model of this round was trained on.
        metrics: name -> value, e.g. accuracy, balanced_accuracy, worst_class_recall, nll, ece; may be NaN.
        cost: unit -> cost so far, cumulated, e.g. images, boxes, clicks, seconds.
        class_counts: class -> labels so far, cumulated.
        picked: ids chosen at the end of this round, most wanted first.
        scores: one per pick, or None where the method ranks without a score.
        notes: what the strategy or the engine had to say.
        fit_seconds: wall time of training.
        collect_seconds: wall time of the inference pass over the candidates.
        select_seconds: wall time of choosing from the collected arrays.
        peak_mb: highest memory of the process in this round, MiB.
        train_loss: last training loss; NaN if not known.
        losses: mean training loss of each tenth of the last phase, first to last; [] where nobody wrote it down.
        steps: optimiser steps of the training; 0 if not known.
        fit_key: digest of all that the fit depends on; equal keys mean one shared fit.
        tested: labelled test images behind the metrics; 0 where there were none, or nobody counted.
        parts: named part of the training loss -> [share of the training, mean] at some places, where there are several
            parts; those that are told and not learnt are called "told ...".
        ends: name -> both ends of the 95 % interval of a metric whose test images are weighted; {} where all weigh the
            same.

    Example:
        >>> record = RoundRecord(round=0, labels=20, metrics={"accuracy": 0.5})
        >>> RoundRecord.from_json(record.to_json()).metrics
        {'accuracy': 0.5}
    """

    round: int
    labels: int
    metrics: dict[str, float]
    cost: dict[str, float] = field(default_factory=dict)
    class_counts: dict[str, int] = field(default_factory=dict)
    picked: list[str] = field(default_factory=list)
    scores: list[float] | None = None
    notes: list[str] = field(default_factory=list)
    fit_seconds: float = NAN
    collect_seconds: float = NAN
    select_seconds: float = NAN
    peak_mb: float = NAN
    train_loss: float = NAN
    losses: list[float] = field(default_factory=list)
    steps: int = 0
    fit_key: str = ""
    tested: int = 0
    parts: dict[str, list[list[float]]] = field(default_factory=dict)
    ends: dict[str, list[float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """This record as strict JSON values."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RoundRecord:
        """The record that ``to_json`` wrote; keys it does not know are ignored."""
        known = _known(cls, data)
        for name in ("metrics", "cost"):
            if name in known:
                known[name] = {str(k): _number(v) for k, v in known[name].items()}
        if known.get("scores") is not None:
            known["scores"] = [_number(v) for v in known["scores"]]
        if "ends" in known:
            known["ends"] = {str(k): [_number(v) for v in pair] for k, pair in known["ends"].items()}
        if "losses" in known:
            known["losses"] = [_number(v) for v in known["losses"]]
        if "parts" in known:
            known["parts"] = {
                str(k): [[_number(v) for v in point] for point in line] for k, line in known["parts"].items()
            }
        for name in ("fit_seconds", "collect_seconds", "select_seconds", "peak_mb", "train_loss"):
            if name in known:
                known[name] = _number(known[name])
        return _build(cls, known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistakes:
    """What the last model of a run says of the test images: its confusions, and a map of what it sees.

    Args:
        confusion: [true class, predicted class, images] wherever there are any; classes by index.
        points: [x, y, true class, predicted class, 1 for a pick and 0 for a test image] of the images on the map: some
            of each, neighbours where the model's features are alike; [] where there is no map.
        tested: test images behind ``confusion``.
        picked: picks that the map could have shown.
        method: what laid out the map, ``tsne`` or ``umap``.

    Example:
        >>> found = Mistakes(confusion=[[0, 0, 8], [0, 1, 2], [1, 1, 5]], tested=15)
        >>> Mistakes.from_json(found.to_json()) == found
        True
    """

    confusion: list[list[int]]
    points: list[list[float]] = field(default_factory=list)
    tested: int = 0
    picked: int = 0
    method: str = "tsne"

    def to_json(self) -> dict[str, Any]:
        """This record as strict JSON values."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Mistakes:
        """The record that ``to_json`` wrote.

        Raises:
            FormatError: rows of another length, or what is no number.
        """
        known = {"points": [], **_known(cls, data)}
        for name, width in (("confusion", 3), ("points", 5)):
            rows = known.get(name)
            if not isinstance(rows, list) or any(not isinstance(row, list) or len(row) != width for row in rows):
                raise FormatError(f"Mistakes: {name} needs rows of {width} numbers")
            known[name] = [[_number(value) for value in row] for row in rows]
        if any(value < 0 or value % 1 for row in known["confusion"] for value in row):
            raise FormatError("Mistakes: confusion needs whole numbers, classes by index")
        known["confusion"] = [[int(value) for value in row] for row in known["confusion"]]
        return _build(cls, known)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One strategy with one seed: its rounds in order.

    Args:
        strategy: the label shown in tables; one per configuration, e.g. ``typiclust(k=20)``.
        seed: runs with one seed are paired over strategies.
        rounds: in order, from round 0.
        finished: False while rounds are missing.
        mistakes: of the last model, where the labels are classes.
        again: further trainings on the labels of the first and of the last round, each from random streams of its own:
            how far a metric moves by chance. With the baseline's runs only.
        learner: which of the study's learners was trained; ``learner`` is the recipe's own.
        judged: the judge's training on the labels of each round, in order; [] without a judge, and where the rounds
            themselves are its trainings.
        identity: digest of all that decides this record, its length included: a study finds the run again by it, on
            another machine too. "" where nobody wrote it down.
    """

    strategy: str
    seed: int
    rounds: list[RoundRecord]
    finished: bool = True
    mistakes: Mistakes | None = None
    again: list[RoundRecord] = field(default_factory=list)
    learner: str = "learner"
    judged: list[RoundRecord] = field(default_factory=list)
    identity: str = ""

    def to_json(self) -> dict[str, Any]:
        """This run as strict JSON values."""
        run = {"strategy": self.strategy, "learner": self.learner, "seed": self.seed, "finished": self.finished}
        run["rounds"] = [r.to_json() for r in self.rounds]
        if self.mistakes is not None:
            run["mistakes"] = self.mistakes.to_json()
        for name, records in (("again", self.again), ("judged", self.judged)):
            if records:
                run[name] = [r.to_json() for r in records]
        return run | ({"identity": self.identity} if self.identity else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunRecord:
        """The run that ``to_json`` wrote."""
        known = _known(cls, data)
        for name in ("rounds", "again", "judged"):
            known[name] = [RoundRecord.from_json(r) for r in _listed(known, name)]
        if known.get("mistakes") is not None:
            known["mistakes"] = Mistakes.from_json(known["mistakes"])
        return _build(cls, known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Every run of one comparison, and what is needed to judge and repeat it.

    Keys of ``settings``, ``environment`` and ``pool`` are free and all printed; the checklist of the report looks for
    those listed here, and says "not recorded" for one that is absent.

    Args:
        name: title of the report.
        task: e.g. ``classification``.
        primary: name of the metric that curves, tests and savings are about.
        higher_is_better: False for a loss or an error rate.
        runs: in the order in which strategies are listed.
        full: primary metric when trained on all labels, one value per seed: the headroom line. None if not run.
        settings: the resolved recipe. ``model``, ``learner``, ``phases``, ``pretraining``, ``initial`` (count),
            ``initial_set`` (how it was drawn: ``random``, ``balanced`` by looking at labels, ...), ``batch`` (labels
            per round), ``rounds``, ``retrain`` (``scratch`` | ``warm``), ``candidates`` (``all`` or a count),
            ``transforms`` ({train, pool}), ``streams`` (names of the random streams), ``paired`` (bool),
            ``validation`` (labels held for validation, counted in the cost), ``reference`` (likewise),
            ``early_stopping``, ``tuning``, ``classes_from`` (``user`` | ``labelled``), ``ties`` (how broken),
            ``again`` (further trainings that measure noise), ``rows`` (row -> learner) and ``learners`` where there are
            several, ``judge`` (the learner that judges picks), ``judged`` (rows that it trains apart),
            ``command`` (the line that repeats the study).
        environment: ``python``, ``torch``, ``labelwise``, ``cpu``, ``gpu``, ``threads``, ``platform``.
        pool: ``items``, ``test`` (count), ``classes`` (names), ``class_counts`` (class -> items in the pool),
            ``duplicates`` (share in [0, 1]), ``out_of_distribution`` (share), ``source``.
        warnings: printed at the top of the report.
        examples: id -> path of the image, for the ids that galleries show.
        chance: what the primary metric says of answers that look at no image; None where nobody knows.

    Example:
        >>> study = Study(name="digits", task="classification", primary="accuracy", runs=[])
        >>> Study.from_json(study.to_json()) == study
        True
    """

    name: str
    task: str
    primary: str
    runs: list[RunRecord]
    higher_is_better: bool = True
    full: list[float] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    pool: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    examples: dict[str, str] = field(default_factory=dict)
    chance: Chance | None = None

    def to_json(self) -> dict[str, Any]:
        """This study as strict JSON values."""
        out: dict[str, Any] = {"format": FORMAT}
        for f in fields(self):
            value = getattr(self, f.name)
            out[f.name] = [r.to_json() for r in value] if f.name == "runs" else plain(value)
        return out | {"chance": None if self.chance is None else plain(asdict(self.chance))}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Study:
        """The study that ``to_json`` wrote.

        Raises:
            FormatError: a required key is missing or holds another kind of value.
            StateError: written by a newer labelwise.
        """
        version = data.get("format", FORMAT)
        if not isinstance(version, int) or version > FORMAT:
            raise StateError(
                f"study written in format {version!r}, this labelwise reads up to {FORMAT}: update labelwise"
            )
        known = _known(cls, data)
        known["runs"] = [RunRecord.from_json(r) for r in _listed(known, "runs")]
        if known.get("full") is not None:
            known["full"] = [_number(v) for v in known["full"]]
        if known.get("chance") is not None:
            known["chance"] = _build(Chance, _known(Chance, known["chance"]))
        return _build(cls, known)


def write_study(study: Study, path: str | os.PathLike[str]) -> Path:
    """Write ``study`` as strict JSON, ASCII only, whole or not at all.

    Raises:
        StateError: the file cannot be written.
    """
    return write_whole(path, json.dumps(study.to_json(), allow_nan=False, indent=1).encode("ascii"))


def read_study(path: str | os.PathLike[str]) -> Study:
    """The study in the file ``path``.

    Raises:
        FormatError: not JSON, or not a study.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: not JSON ({error}): expected a study written by labelwise compare") from error
    if not isinstance(data, dict):
        raise FormatError(f"{path}: holds a {type(data).__name__}, expected a study written by labelwise compare")
    try:
        return Study.from_json(data)
    except (DataError, StateError) as error:
        raise type(error)(f"{path}: {error}") from error


def write_whole(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write a file of a report; its folder is made, and an older file stays whole until the new one is complete.

    Raises:
        StateError: it cannot be written.
    """
    target = Path(path)
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        reason = error.strerror or str(error)
        raise StateError(f"cannot write {target}: {reason}. Choose a folder that can be written") from error
    return target


def plain(value: Any) -> Any:
    """``value`` in strict JSON: mappings, lists, strings, finite numbers, booleans and None.

    Example:
        >>> plain({"a": (1, float("nan")), "b": Path("x") / "y"})
        {'a': [1, None], 'b': 'x/y'}
    """
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(v) for v in value), key=str)
    if isinstance(value, os.PathLike):
        return Path(value).as_posix()
    if hasattr(value, "tolist"):  # NumPy and torch, without importing them
        return plain(value.tolist())
    return str(value)


def _number(value: Any) -> float:
    if value is None:
        return NAN
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FormatError(f"got {value!r} where a number or null is expected")
    return float(value)


def _listed(known: Mapping[str, Any], name: str) -> list[Any]:
    """The records of a key; [] where it is missing."""
    if not isinstance(found := known.get(name, []), list):
        raise FormatError(f"{name} holds {found!r:.60} where a list of records is expected")
    return found


def _known(cls: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise FormatError(f"{cls.__name__}: got a {type(data).__name__}, expected an object")
    names = {f.name for f in fields(cls)}
    return {k: v for k, v in data.items() if k in names}


def _build(cls: type[_Record], known: dict[str, Any]) -> _Record:
    wanted = [one.name for one in fields(cls) if one.default is MISSING and one.default_factory is MISSING]
    if missing := [name for name in wanted if name not in known]:
        raise FormatError(f"{cls.__name__}: {', '.join(missing)} missing: no whole study of labelwise compare")
    try:
        return cls(**known)
    except TypeError as error:
        raise FormatError(f"{cls.__name__}: {error}") from error
