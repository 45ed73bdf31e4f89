"""What is written of a study, and what its flags mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwise.errors import ConfigError, DataError
from labelwise.recipes import STUDY

if TYPE_CHECKING:
    from labelwise.campaign.records import Study
    from labelwise.contracts.source import Source
    from labelwise.report.statistics import Scale
    from labelwise.report.summary import Summary

REPORT = "report.html"


@dataclass(frozen=True)
class Written:
    """Files that a study was written to."""

    report: Path
    curves: tuple[Path, ...]
    study: Path | None = None
    summary: Summary | None = field(default=None, repr=False)


def study_file(where: Path) -> Path | None:
    """The file of a study by its folder or its own path; None where there is none."""
    file = where / STUDY if where.is_dir() else where
    return file if file.is_file() else None


def write(study: Study, folder: Path, source: Source | None, *, out: Path | None = None) -> Written:
    """Writes the report and the curves.

    Args:
        study: the records.
        folder: where the study lies.
        source: the images; None: as far as the study names their files.
        out: the report's file.
    """
    from labelwise.report.curves import write_curves
    from labelwise.report.html import write_study_report
    from labelwise.report.summary import summarise

    by_size = "sizes" in study.settings  # they span decades: each doubling weighs the same
    scale: Scale = "log2" if by_size else "linear"
    summary = summarise(study, scale=scale)
    target = out or folder / REPORT
    curves = write_curves(summary, target.parent, log_x=by_size)
    page = write_study_report(
        study, target, image_of=lambda item: _image(item, source, study), scale=scale, log_x=by_size
    )
    return Written(page, tuple(curves), folder / STUDY, summary)


def _image(item: str, source: Source | None, study: Study) -> Any:
    from labelwise.contracts.kind import Look, Panel
    from labelwise.contracts.picture import as_image
    from labelwise.contracts.source import read_for
    from labelwise.data.images import decode
    from labelwise.exchange.pictures import shown_in
    from labelwise.kinds import kind_of_labels

    try:
        if source is None:
            array = decode(study.examples.get(item, item), max_side=320)
        else:  # of a region the whole image: its label covers it there
            array = source.thumbnail(read_for(source, item), 320)
    except DataError:
        return None
    image = as_image(array)
    label = None if source is None else source.truth.get(item)
    kind = kind_of_labels({item: label})
    if source is None or kind is None:
        return image
    return kind.draw(
        image, [Panel("", shown_in(source, item, label))], tuple(source.classes or ()), Look(source.palette)
    )


def as_json(summary: Summary, written: Written) -> dict[str, Any]:
    """The result of a study as plain values."""
    from labelwise.report.judged import judged
    from labelwise.report.summary import headline

    by_judge = judged(summary)
    return {
        "name": summary.study.name,
        "headline": headline(summary),
        "metric": summary.study.primary,
        "baseline": summary.baseline,
        "labels": summary.curves.labels_B.tolist(),
        "seeds": list(summary.curves.seeds),
        "strategies": [asdict(row) for row in summary.rows],
        "full": summary.study.full,
        "judged": None
        if by_judge is None
        else {
            "learner": by_judge.learner,
            "headline": headline(by_judge.summary),
            "strategies": [asdict(row) for row in by_judge.summary.rows],
            "training": {name: asdict(gain) for name, gain in by_judge.training.items()},
        },
        "notes": summary.notes,
        "report": written.report.resolve(),
        "curves": [path.resolve() for path in written.curves],
        "study": None if written.study is None else written.study.resolve(),
    }


def strategies(names: Sequence[str], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Strategies of a study out of ``--strategy`` and ``--set``.

    Args:
        names: as given.
        settings: options; ``NAME.key`` where there are several strategies.

    Raises:
        ConfigError: an option that does not say whose it is.
    """
    found: list[dict[str, Any]] = [{"name": name, "options": {}} for name in names]
    for key, value in settings.items():
        owner, dot, option = key.partition(".")
        mine = [entry for entry in found if entry["name"] == owner] if dot else found
        if len(mine) != 1:
            raise ConfigError(
                f"--set {key}=... does not say whose option it is: write --set NAME.{option or key}=..., with one of "
                f"{', '.join(names) or 'the strategies that --strategy gives'}"
            )
        mine[0]["options"][option if dot else key] = value
    return found
