"""What a simulated study says of itself: settings, hardware, and what spoils it."""

from __future__ import annotations

import platform
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import labelwise
from labelwise.assemble import learner_kind, make_phases, make_strategy, make_task
from labelwise.campaign.records import plain
from labelwise.config import OWN, write_yaml
from labelwise.contracts.signal import Probe
from labelwise.data.twins import said, twins
from labelwise.models.provenance import TrainedOn, what_weights_saw
from labelwise.studies.data import unmatched_classes
from labelwise.studies.judging import to_judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from labelwise.config import LearnerConfig, RecipeConfig, SizesConfig
    from labelwise.contracts.source import Source
    from labelwise.contracts.strategy import Strategy
    from labelwise.contracts.task import Task

#: what the report's checklist reads, and every simulated study of this package keeps
SAME_FOR_ALL = {
    "paired": True,
    "validation": 0,
    "reference": 0,
    "early_stopping": "none",
    "tuning": "none: one configuration for every strategy",
    "classes_from": "user",
    "ties": "by the selection stream",
}


def study_settings(
    recipe: RecipeConfig, source: Source, task: Task[Any], folder: Path, made: Mapping[str, Any] | None
) -> dict[str, Any]:
    """All that decides the numbers of a study.

    Args:
        recipe: what was run.
        source: the data of its first seed.
        task: the kind of label.
        folder: where it ran.
        made: configuration of a learner that is not the recipe's.
    """
    learners = {name: _described(config, task) for name, config in recipe.trained.items()}
    learner = dict(made) if made is not None else learners[recipe.baseline.learner]
    start = "random" if recipe.start is None else f"{recipe.start.label}, without labels"
    if recipe.start is not None and recipe.start.name == "own":
        start = "each strategy's own, without labels"
    return {
        "model": learner.get("model") or learner.get("kind"),
        "learner": learner,
        **(_rows(recipe, learners) if len(learners) > 1 else {}),
        "phases": learner.get("phases", []),
        "pretraining": what_was_seen(recipe, source).pretraining,
        "features": recipe.features.model_dump(mode="json", exclude_none=True),
        **({"task": recipe.task.label} if recipe.task.options else {}),
        "initial": recipe.initial,
        "initial_set": start,
        "batch": recipe.batch,
        "rounds": recipe.rounds,
        "auxiliaries": own_parts(recipe),
        **({} if recipe.judge is None else {"judge": recipe.judge, "judged": [r.label for r in to_judge(recipe)]}),
        "retrain": "warm" if recipe.warm else "scratch",
        "again": 0 if recipe.warm else recipe.again,
        "candidates": "all" if recipe.regions is None else "all regions of images that are not labelled as a whole",
        **({} if recipe.regions is None else {"regions": recipe.regions.model_dump(mode="json")}),
        "transforms": {"train": task.augmentation, "pool": "resize and normalise, deterministic"},
        **({} if source.value_range is None else {"value_range": list(source.value_range)}),
        "streams": ["initial", "fit (weights, order, augmentation)", "select", "draw"],
        **SAME_FOR_ALL,
        **_held_out(recipe, source),
        "seeds": list(recipe.seeds),
        "command": f"labelwise compare {shlex.quote(str(folder / 'recipe.yaml'))}",
    }


def _described(config: LearnerConfig, task: Task[Any]) -> dict[str, Any]:
    """A learner as it was set, with its phases where it is a network."""
    kind = learner_kind(config, task)
    learner = config.model_dump(mode="json", exclude_defaults=True) | {"kind": kind}
    if kind == "torch":
        learner["phases"] = [plain(asdict(phase)) for phase in make_phases(config, task)]
    return learner


def _rows(recipe: RecipeConfig, learners: Mapping[str, Any]) -> dict[str, Any]:
    """Which learner each row trains, where they are several; ``learner`` is then the baseline's."""
    rows = {row.label: row.learner for row in recipe.strategies}
    return {"learners": dict(learners), "rows": rows, "full": f"trained by {recipe.baseline.learner}"}


def own_parts(recipe: RecipeConfig) -> list[str]:
    """The strategies that change what is trained, each with the heads that are trained beside the model for it."""
    named = [(config.label, make_strategy(config).auxiliaries()) for config in recipe.strategies]
    return [f"{label} trains {', '.join(head.name for head in heads)}" for label, heads in named if heads]


def _held_out(recipe: RecipeConfig, source: Source) -> dict[str, Any]:
    """What was labelled and not trained on, and which epoch is kept."""
    used = {_kept_epoch(config) for config in recipe.trained.values()}
    held = {role: sum(found == role for found in source.roles.values()) for role in ("validation", "reference")}
    return {**held, "early_stopping": "; ".join(sorted(used))}


def _kept_epoch(config: LearnerConfig) -> str:
    best = config.best
    return "none" if best is None else f"best epoch on {best.by} images, measured every {best.every}"


def what_was_seen(recipe: RecipeConfig, source: Source) -> TrainedOn:
    """What the pretrained weights in play were trained on, of all learners that rows train."""
    found = {name: _seen_by(config, recipe, source) for name, config in recipe.trained.items()}
    several = len({seen.pretraining for seen in found.values()}) > 1
    said = "; ".join(f"{name}: {seen.pretraining}" for name, seen in found.items())
    warned = [seen.warning for seen in found.values() if seen.warning is not None]
    return TrainedOn(said if several else next(iter(found.values())).pretraining, warned[0] if warned else None)


def _seen_by(config: LearnerConfig, recipe: RecipeConfig, source: Source) -> TrainedOn:
    if recipe.pretrain is not None:
        return TrainedOn(f"{recipe.pretrain.objective} on the pool of each seed, without labels")
    task = make_task(recipe.task, source.classes or (), recipe.input)
    learner = config if learner_kind(config, task) != "features" else None
    return what_weights_saw(
        recipe.features,
        learner,
        data=recipe.data.source,
        classes=task.classes,
        default=task.default_name,
    )


def study_warnings(recipe: RecipeConfig, source: Source) -> list[str]:
    """What spoils a study, in a line each.

    Args:
        recipe: what was run.
        source: the data of its first seed.
    """
    seen = what_was_seen(recipe, source)
    found = [] if seen.warning is None else [seen.warning]
    if any(config.best is not None and config.best.by == "test" for config in recipe.trained.values()):
        found.append(
            "the epoch that each training keeps was chosen by the labels of the test images (learner.best.by: test): "
            "accuracies are too good, and with warm starts a curve cannot fall"
        )
    if leaking := [row.label for row in recipe.strategies if _reads_test(make_strategy(row))]:
        found.append(
            f"{_listed(leaking)}: images were chosen by the labels of the test images (along: test), as published: "
            "what is measured on these is too good, and no other row had them"
        )
    found += learners_apart(recipe)
    return [*found, *unmatched_classes(source), *said(source, twins(source))]


def _reads_test(strategy: Strategy) -> bool:
    signals = {signal for step in strategy.steps() for signal in step.needs.signals}
    return any(isinstance(signal, Probe) and "test" in signal.prepared_from for signal in signals)


def learners_apart(recipe: RecipeConfig) -> list[str]:
    """What rows with learners of their own mean for a comparison, and learners that no row trains, in a line each."""
    base, trained = recipe.baseline, recipe.trained
    other = [row.label for row in recipe.strategies if row.learner != base.learner]
    lines = []
    if other:
        lines.append(
            f"{_listed(other)}: trained by another learner than the baseline {base.label}, so that a difference to it "
            "is of learner and picks together; the noise of training is that of the baseline's learner"
        )
    if recipe.judge is not None and not to_judge(recipe):
        lines.append(f"judge: {recipe.judge} trains every row as it is, so that there is one curve for each")
    idle = [name for name in recipe.learners if name not in trained]
    if OWN not in trained and "learner" in recipe.model_fields_set:
        idle.append(f"{OWN} (the recipe's own)")
    if idle:
        lines.append(f"no row is trained by {_listed(idle)}: write 'learner: NAME' into a row, or leave it out")
    return lines


def _listed(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def environment() -> dict[str, Any]:
    """Versions and hardware: the processor alone can change a ranking."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": np.__version__,
        "labelwise": labelwise.__version__,
        "cpu": platform.processor() or platform.machine(),
        "gpu": gpu,
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
    }


def write_recipe(recipe: RecipeConfig | SizesConfig, folder: Path) -> Path:
    """Writes the resolved recipe into its run."""
    folder.mkdir(parents=True, exist_ok=True)
    write_yaml(recipe, folder / "recipe.yaml")
    return folder / "recipe.yaml"
