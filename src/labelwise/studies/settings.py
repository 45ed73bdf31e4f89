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
from labelwise.config import write_yaml
from labelwise.data.twins import said, twins
from labelwise.models.provenance import TrainedOn, what_weights_saw
from labelwise.studies.data import unmatched_classes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labelwise.config import RecipeConfig, SizesConfig
    from labelwise.contracts.source import Source
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
    kind = learner_kind(recipe.learner, task)
    learner = recipe.learner.model_dump(mode="json", exclude_defaults=True) | {"kind": kind}
    if kind == "torch":
        learner["phases"] = [plain(asdict(phase)) for phase in make_phases(recipe.learner, task)]
    if made is not None:
        learner = dict(made)
    start = "random" if recipe.start is None else f"{recipe.start.label}, without labels"
    if recipe.start is not None and recipe.start.name == "own":
        start = "each strategy's own, without labels"
    return {
        "model": learner.get("model") or kind,
        "learner": learner,
        "phases": learner.get("phases", []),
        "pretraining": what_was_seen(recipe, source).pretraining,
        "features": recipe.features.model_dump(mode="json", exclude_none=True),
        **({"task": recipe.task.label} if recipe.task.options else {}),
        "initial": recipe.initial,
        "initial_set": start,
        "batch": recipe.batch,
        "rounds": recipe.rounds,
        "auxiliaries": own_parts(recipe),
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


def own_parts(recipe: RecipeConfig) -> list[str]:
    """The strategies that change what is trained, each with the heads that are trained beside the model for it."""
    named = [(config.label, make_strategy(config).auxiliaries()) for config in recipe.strategies]
    return [f"{label} trains {', '.join(head.name for head in heads)}" for label, heads in named if heads]


def _held_out(recipe: RecipeConfig, source: Source) -> dict[str, Any]:
    """What was labelled and not trained on, and which epoch is kept."""
    best = recipe.learner.best
    held = {role: sum(found == role for found in source.roles.values()) for role in ("validation", "reference")}
    used = "none" if best is None else f"best epoch on {best.by} images, measured every {best.every}"
    return {**held, "early_stopping": used}


def what_was_seen(recipe: RecipeConfig, source: Source) -> TrainedOn:
    """What the pretrained weights in play were trained on."""
    if recipe.pretrain is not None:
        return TrainedOn(f"{recipe.pretrain.objective} on the pool of each seed, without labels")
    task = make_task(recipe.task, source.classes or (), recipe.input)
    learner = recipe.learner if learner_kind(recipe.learner, task) != "features" else None
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
    seen, best = what_was_seen(recipe, source), recipe.learner.best
    found = [] if seen.warning is None else [seen.warning]
    if best is not None and best.by == "test":
        found.append(
            "the epoch that each training keeps was chosen by the labels of the test images (learner.best.by: test): "
            "accuracies are too good, and with warm starts a curve cannot fall"
        )
    return [*found, *unmatched_classes(source), *said(source, twins(source))]


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
