"""The labelled data of a simulated study: opened, split into roles, thinned, and as events of a pool."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwise.assemble import cut_into_regions, input_aspect
from labelwise.campaign.events import Event, Labelled, added
from labelwise.campaign.setting import cost_of
from labelwise.config import SizesConfig
from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.source import is_region
from labelwise.data.brightness import look
from labelwise.data.held_out import with_noise, with_reference
from labelwise.data.imbalance import imbalanced
from labelwise.data.open import open_in
from labelwise.data.remembered import Remembered
from labelwise.data.subjects import with_subjects
from labelwise.data.twins import twins, without_twins
from labelwise.data.videos import with_videos
from labelwise.data.views import View, split, subset
from labelwise.errors import DataError
from labelwise.kinds import kind_of, kind_of_labels
from labelwise.kinds import settled as settled_by
from labelwise.rng import generator

if TYPE_CHECKING:
    from labelwise.config import DataConfig, RecipeConfig
    from labelwise.contracts.chance import Chance
    from labelwise.contracts.source import Role, Source
    from labelwise.contracts.task import Task


def open_labelled(recipe: RecipeConfig | SizesConfig, *, base: Path, source: Source | None = None) -> Source:
    """The labelled data of a recipe: opened, thinned, and with a test set.

    Args:
        recipe: names the data.
        base: relative paths are relative to it.
        source: the data themselves, where they are open already.

    Raises:
        DataError: there are no labels.
    """
    data = recipe.data
    if source is None:
        task = None if isinstance(recipe, SizesConfig) else recipe.task.name
        how: dict[str, Any] = {"labels": data.labels, "names": data.names, "untouched": data.untouched}
        source = open_in(base, data.source, root=data.root, download=data.download, task=task, **how)
    given = recipe.input.range or source.value_range
    source = source.in_range(given if given is not None else look(source).value_range)
    if not source.truth:
        raise DataError(
            f"{data.source!r} has no labels to simulate with: give one folder per class, or a CSV with a label column"
        )
    if data.video is not None or data.every > 1:
        source = with_videos(source, data.video or "auto", data.every)
    if not isinstance(recipe, SizesConfig):
        source = _of_subjects(source, recipe, base)
    if data.subset is not None:
        source = subset(source, data.subset, 0)
    if data.measure_on == "validation":
        source = _on_validation(source, data.source)
    if "test" not in source.roles.values():
        source = split(source, data.test_share, 0)
    if data.reference is not None:
        source = with_reference(source, data.reference.size, data.reference.seed)
    if data.drop_twins:
        source = without_twins(source)
    if not _drawn_by_run(data):
        source = thinned(source, data, 0)
    if data.test_subset is not None:
        tests = [item for item in source.ids if source.roles.get(item) == "test"]
        kept = generator(0, "test subset").choice(tests, min(data.test_subset, len(tests)), replace=False).tolist()
        source = View(source, ids=[*kept, *(item for item in source.ids if source.roles.get(item) != "test")])
    return Remembered(source)


def _on_validation(source: Source, name: str) -> Source:
    """The source with its validation images as test images; its own test images, often without labels, are left out."""
    if "validation" not in source.roles.values():
        raise DataError(f"{name!r} has no validation images to measure on: leave measure_on out of the data")
    kept = [item for item in source.ids if source.roles.get(item) != "test"]
    roles: dict[str, Role] = {
        item: "test" if role == "validation" else role for item, role in source.roles.items() if role != "test"
    }
    return View(source, ids=kept, roles=roles)


def settled(recipe: RecipeConfig, source: Source) -> tuple[RecipeConfig, list[str]]:
    """The recipe with the options of its task that the labels say, as names of key points; and notes.

    Raises:
        DataError: labels that contradict the recipe, or each other.
    """
    task = recipe.task
    options, notes = settled_by(task.name, task.options, source.truth.values())
    if options == task.options:
        return recipe, notes
    return recipe.model_copy(update={"task": task.model_copy(update={"options": options})}), notes


def _of_subjects(source: Source, recipe: RecipeConfig, base: Path) -> Source:
    """Subjects in place of images, where images show several; those without points have no answer to be asked for."""
    kind = kind_of(recipe.task.name)
    found = with_subjects(
        source, recipe.subjects, kind, base=base, aspect=lambda: input_aspect(recipe.task, recipe.input)
    )
    return found if found is source else View(found, ids=[item for item in found.ids if item in found.truth])


def with_regions(recipe: RecipeConfig, source: Source, folder: Path, *, progress: Progress = silent) -> Source:
    """The labelled data with the regions that a study in ``folder`` asks for; their maps are kept there."""
    maps = folder / "shared" / "regions"
    return cut_into_regions(recipe.regions, source, recipe.task.name, folder=maps, progress=progress)


def _drawn_by_run(data: DataConfig) -> bool:
    return data.imbalance is not None and data.imbalance.seed == "run"


def thinned(source: Source, data: DataConfig, seed: int) -> Source:
    """The pool with the imbalance and the wrong labels that a recipe asks for.

    Args:
        source: labelled images, with test and reference set.
        data: the recipe's.
        seed: of the run, for what every run draws anew.
    """
    if (tail := data.imbalance) is not None:
        drawn = seed if tail.seed == "run" else tail.seed
        source = imbalanced(
            source, profile=tail.profile, ratio=tail.ratio, small=tail.small, order=tail.order, seed=drawn
        )
    return with_noise(source, data.noise, seed) if data.noise else source


def unmatched_classes(source: Source) -> list[str]:
    """Classes that only one of pool and reference set has, in a line each; of masks, which would take long, none."""
    kind, classes = kind_of_labels(source.truth), tuple(source.classes or ())
    kinds: dict[str, set[str]] = {"pool": set(), "reference": set()}
    if kind is None or kind.heavy or "reference" not in source.roles.values():
        return []
    for item, label in source.truth.items():
        if (role := source.roles.get(item, "pool")) in kinds:
            kinds[role].update(kind.objects(label, classes))
    if not kinds["reference"]:
        return []
    lines = []
    for has, lacks, means in (
        ("pool", "reference", "failures of it cannot be seen"),
        ("reference", "pool", "nothing can be bought for its failures"),
    ):
        if only := sorted(kinds[has] - kinds[lacks]):
            lines.append(f"the {has} has class {', '.join(only[:5])}, which the {lacks} has not: {means}")
    return lines


@dataclass(frozen=True)
class SeededData:
    """The data as each seed sees them: where every run draws its own pool, thinned by its seed.

    Args:
        source: opened, not thinned yet in that case.
        config: the recipe's.
    """

    source: Source
    config: DataConfig
    _last: dict[int, Source] = field(default_factory=dict, repr=False)

    def of(self, seed: int) -> Source:
        """The images of a seed, with their labels and roles."""
        if not _drawn_by_run(self.config):
            return self.source
        if seed not in self._last:
            self._last.clear()  # seeds come one after another
            self._last[seed] = Remembered(thinned(self.source, self.config, seed))
        return self._last[seed]


def registration(source: Source, task: Task[Any]) -> list[Event]:
    """All items join in their roles, and those outside the pool have their labels."""
    events: list[Event] = [added(source, item) for item in source.ids]
    return [*events, *labels_of(source, task, pool=False)]


def images_of(source: Source) -> list[str]:
    """Items that are whole images, or subjects of images."""
    return [item for item in source.ids if not is_region(source.within(item)[1])]


def paid(source: Source, task: Task[Any], item: str) -> Labelled:
    """The label that lies on disk, with what giving it would have cost; labels to test by are not part of any cost."""
    raw = source.truth[item]
    task.load(raw)
    # outlines of the 500 masks of a test set at full size would take longer to count than a training
    test = source.roles.get(item) == "test"
    return Labelled(item, raw, {} if test else cost_of(task.kind, task.raw(raw), source.within(item)[1]))


def labels_of(source: Source, task: Task[Any], *, pool: bool) -> list[Event]:
    """The labels of the images of the pool, or those of all other roles."""
    return [
        paid(source, task, item)
        for item in images_of(source)
        if (source.roles.get(item, "pool") == "pool") is pool and item in source.truth
    ]


def chance_on(source: Source, task: Task[Any]) -> Chance | None:
    """What the task's metric says of answers that look at no image, on the test images."""
    tests = (item for item in images_of(source) if source.roles.get(item) == "test" and item in source.truth)
    return task.chance(task.load(source.truth[item]) for item in tests)


def describe_pool(source: Source, task: Task[Any]) -> dict[str, Any]:
    """Size, classes (of images or objects) and duplicates of the pool."""
    pool = [item for item in images_of(source) if source.roles.get(item, "pool") == "pool"]
    counts = task.kind.counts((task.raw(source.truth[item]) for item in pool if item in source.truth), task.classes)
    contents = [content for content in source.content(pool) if content]
    duplicates = 1 - len(set(contents)) / len(contents) if contents else 0.0
    return {
        "items": len(pool),
        "test": sum(source.roles.get(item) == "test" for item in source.ids),
        "classes": list(source.classes or ()),
        "class_counts": counts,
        "duplicates": round(duplicates, 4),
        "twins": len(twins(source)),
        "source": repr(source),
    }
