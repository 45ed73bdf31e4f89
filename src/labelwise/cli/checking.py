"""``check``: configuration, data and needs, without training anything."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labelwise.cli import console, options
from labelwise.cli.progress import Stages
from labelwise.errors import DataError

if TYPE_CHECKING:
    from labelwise.contracts.progress import Progress
    from labelwise.contracts.source import Source
    from labelwise.project.project import Project

#: images that are decoded unless all are asked for, and problems that are named
SAMPLE, NAMED = 200, 20


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(check)


@dataclass
class Found:
    """What a check found.

    Args:
        images: of the project; regions are not counted.
        decoded: how many were read.
        unreadable: id -> why.
        missing: ids whose file is gone.
        new: images in the data that the project does not know.
        classes: class -> labels, of images or objects.
        resized: ids whose boxes or masks were drawn on an image of another size.
        warnings: in words.
    """

    images: int
    decoded: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    new: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    resized: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="Check this recipe (a file or a shipped name) instead of the project.",
            show_default=False,
        ),
    ] = None,
    every: Annotated[bool, options.flag("--all", help=f"Decode every image, not {SAMPLE} of them.")] = False,
    project: options.ProjectFolder = None,
    json: options.Json = False,
) -> None:
    """Check configuration, data and needs without training: what is wrong, and what to do about it."""
    if target is not None:
        _check_recipe(target, json=json)
        return
    with Stages() as stages:
        opened = options.open_project(project, stages)
        found = examine(opened, stages, every=every)
    if json:
        console.print_json(asdict(found))
    else:
        _print(found, opened)


def _check_recipe(target: str, *, json: bool) -> None:
    from labelwise.config import SizesConfig
    from labelwise.few_labels.study import SizesStudy
    from labelwise.recipes import find
    from labelwise.studies.comparison import Comparison
    from labelwise.studies.settings import learners_apart

    with Stages() as stages:
        plan = find(target)
        recipe, source = plan.recipe, plan.open()
        with tempfile.TemporaryDirectory() as folder:
            if isinstance(recipe, SizesConfig):
                SizesStudy(recipe, source, Path(folder), progress=stages).check()
            else:
                Comparison(recipe, source, Path(folder), progress=stages).check()
    notes = [] if isinstance(recipe, SizesConfig) else learners_apart(recipe)
    runs = len(recipe.strategies) * len(recipe.seeds)
    each = f"{len(recipe.sizes)} sizes" if isinstance(recipe, SizesConfig) else f"{recipe.rounds} rounds"
    if json:
        found = {"recipe": recipe.model_dump(mode="json"), "runs": runs, "images": len(source.ids), "notes": notes}
        console.print_json(found)
        return
    console.out(f"{target}: fine; {console.counted(len(source.ids), 'image')}, {runs} runs of {each}")
    console.notes(notes)
    console.next_steps([(f"labelwise compare {shlex.quote(target)}", "run it")])


def examine(project: Project, progress: Progress, *, every: bool = False) -> Found:
    """Looks at everything that can be wrong with a project, without training.

    Args:
        project: what is looked at.
        progress: told while images are decoded.
        every: decode every image.

    Raises:
        LabelwiseError: something that stops the project from working at all.
    """
    from labelwise.assemble import check_names, make_strategy
    from labelwise.project.images import open_images

    check_names(project.config)
    strategy = make_strategy(project.config.strategy)
    spoilt: list[str] = []
    try:
        now: Source = open_images(project.config, project.folder)
    except DataError as error:  # labels that lie with the images were fine when they joined the project
        now, spoilt = project.source, [str(error)]
    pool = project.pool
    present = set(now.ids)
    images = [item.id for item in pool.items if not item.is_region]
    found = Found(len(images), missing=[item for item in images if item not in present])
    found.new = sum(item not in pool for item in now.ids)
    gone = {*found.missing}
    readable = [item for item in images if item not in gone]
    chosen = readable if every else readable[:: max(1, -(-len(readable) // SAMPLE))]
    _decode(project, chosen, found, progress)
    if project.config.classes:
        found.classes = project.kind.counts(map(pool.target, pool.labelled), project.config.classes)
    if project.kind.drawn:
        found.resized = _resized(project, [item for item in chosen if item not in found.unreadable])
    project.campaign().offer.check([strategy])
    found.warnings = [*spoilt, *_warnings(project, found), *_how_read(now)]
    return found


def _how_read(source: Source) -> list[str]:
    """From which values deep pictures are read; without a range that is written down some are and some are not."""
    from labelwise.data.brightness import look

    seen = look(source, source.value_range)
    if seen.deep and source.value_range is None:
        return [
            f"pictures of more than 8 bits ({seen.kinds()}), and no range of values: whole numbers of 16 bits are read "
            "from 0 to 65,535, others not at all; run labelwise init again: it finds a range and writes it down"
        ]
    return seen.notes()


def _decode(project: Project, items: Sequence[str], found: Found, progress: Progress) -> None:
    from labelwise.campaign.setting import unreadable

    for done, item in enumerate(items, 1):
        if why := unreadable(project.source, item):
            found.unreadable[item] = why
        progress("decoding images", done, len(items))
    found.decoded = len(items)


def _resized(project: Project, items: Sequence[str]) -> list[str]:
    pool = project.pool
    known = {pool.ids[p]: pool.target(p) for p in pool.labelled}
    return [item for item in items if item in known and tuple(known[item]["size"]) != project.source.size(item)]


def _warnings(project: Project, found: Found) -> list[str]:
    lines = []
    if found.resized:
        lines.append(
            f"the labels of {console.counted(len(found.resized), 'image')} speak of another size than the file has, so "
            f"what they mark may lie elsewhere: {_some(found.resized)}"
        )
    if found.new:
        images = shlex.quote(project.config.images)
        lines.append(f"{console.counted(found.new, 'image')} not in the project yet: labelwise init {images} adds them")
    if found.missing:
        lines.append(
            f"{console.counted(len(found.missing), 'image')} gone since they were added: {_some(found.missing)}"
        )
    if found.unreadable:
        lines.append(f"{console.counted(len(found.unreadable), 'image')} cannot be read; suggest leaves them out")
    empty = [name for name, count in found.classes.items() if not count]
    if empty and len(empty) < len(found.classes):
        lines.append(f"no label yet for {_some(empty)}")
    return lines


def _some(items: Sequence[str], most: int = 5) -> str:
    return ", ".join(map(repr, items[:most])) + (f" and {len(items) - most} more" if len(items) > most else "")


def _print(found: Found, project: Project) -> None:
    from labelwise.assemble import learner_kind
    from labelwise.tasks import TASKS

    config = project.config
    learner = config.learner.model or learner_kind(config.learner, TASKS.get(config.task.name))
    console.out(f"configuration: {config.task.label}, learner {learner}, strategy {config.strategy.label}: fine")
    console.out(f"images: {found.images:,} ({console.standing(project, ())})")
    console.out(f"decoded: {found.decoded:,}, of these unreadable: {len(found.unreadable):,}")
    for item, why in list(found.unreadable.items())[:NAMED]:
        console.out(f"  {why if why.startswith(repr(item)) else f'{item!r}: {why}'}")
    if len(found.unreadable) > NAMED:
        console.out(f"  and {len(found.unreadable) - NAMED:,} more")
    console.notes(found.warnings)
