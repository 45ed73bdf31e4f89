"""Builds the parts of a campaign from a configuration: source, task, features, learner, strategy."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwise.cache import Producer, SignalCache
from labelwise.config import (
    FeaturesConfig,
    InputConfig,
    LearnerConfig,
    PhaseConfig,
    ProjectConfig,
    RecipeConfig,
    StrategyConfig,
    parse,
)
from labelwise.data.input import InputSpec
from labelwise.errors import ConfigError, unknown
from labelwise.learner import Learner, Phase, View
from labelwise.learners.backbones import backbone
from labelwise.learners.features import FeatureLearner, FeatureSource
from labelwise.learners.torch import TorchLearner
from labelwise.models import model_names
from labelwise.registry import check_options, import_object
from labelwise.strategies import STRATEGIES
from labelwise.strategy import Strategy
from labelwise.tasks import TASKS

if TYPE_CHECKING:
    from labelwise.data.source import Source
    from labelwise.task import Task

LEARNERS = ("features", "torch")


def make_task(name: str, classes: Sequence[str], config: InputConfig) -> Task[Any]:
    """The task called ``name`` over these classes.

    Raises:
        ConfigError: unknown task or augmentation, or too few classes.
    """
    cls = TASKS.get(name)
    given = {"augment": config.augment} if config.augment is not None else {}
    check_options(cls, given, f"task {name!r}")
    task = cls(tuple(classes), **given)  # type: ignore[call-arg]
    size = task.input.size if config.size is None else config.size
    size = (size, size) if isinstance(size, int) else size
    return dataclasses.replace(task, input=InputSpec(size, config.channels, config.mean, config.std))  # type: ignore[type-var]


def check_kind(source: Source, task: Task[Any]) -> None:
    """Refuses boxes where classes of images are wanted, and the other way round.

    Raises:
        ConfigError: says what the labels are, and what to do.
    """
    label = next(iter(source.truth.values()), None)
    if label is None or isinstance(label, Mapping) == ("boxes" in task.provides):
        return
    what, other = ("boxes", "detection") if isinstance(label, Mapping) else ("classes", "classification")
    raise ConfigError(
        f"the labels that lie with the images are {what}, and the task is {task.name}: say --task {other} (task: "
        f"{other} in a file), or --labels none where a project should leave them out"
    )


def make_features(config: FeaturesConfig, source: Source, cache: SignalCache, *, folder: Path | None) -> FeatureSource:
    """The frozen feature source, ready to use.

    Args:
        config: which backbone.
        source: images that a backbone may look at before its first use.
        cache: keeps the rows.
        folder: where the backbone keeps what it found.
    """
    chosen = backbone(config.backbone, weights=config.weights, size=config.size, folder=folder)
    pool = tuple(item for item in source.ids if source.roles.get(item, "pool") == "pool")
    chosen.prepare(View(source, pool))
    return FeatureSource(chosen, cache)


def make_learner(config: LearnerConfig, task: Task[Any], features: Producer | None) -> Learner:
    """The learner of a configuration.

    Raises:
        ConfigError: unknown kind, or a head on features without a feature source.
    """
    if config.kind == "torch":
        return TorchLearner(
            task,
            config.model,
            embedding=config.embedding,
            phases=[make_phase(phase) for phase in config.phases],
            weights=config.weights,
            members=config.members,
            precision=config.precision,
            batch_size=config.batch_size,
            workers=config.workers,
        )
    if config.kind == "features":
        if "per_image" not in task.provides:
            raise ConfigError(
                f"a head on frozen features gives one answer for an image, and {task.name} needs many: set learner: "
                "{kind: torch}"
            )
        if not isinstance(features, FeatureSource):
            raise ConfigError("a learner of kind 'features' needs a feature backbone: set features: {backbone: auto}")
        return FeatureLearner(task, features, head=config.head, strength=config.strength, neighbours=config.neighbours)
    if ":" in config.kind:
        learner = import_object(config.kind)(task)
        if not isinstance(learner, Learner):
            raise ConfigError(f"{config.kind!r} returned {type(learner).__name__}: return a Learner")
        return learner
    raise unknown("learner", config.kind, LEARNERS)


def make_phase(config: PhaseConfig) -> Phase:
    """A phase of training."""
    return Phase(**config.model_dump())


def parse_strategy(value: str | dict[str, Any]) -> StrategyConfig:
    """The configuration of a strategy out of its name, or of a mapping with a name and options."""
    return parse(StrategyConfig, {"name": value} if isinstance(value, str) else value, where="a strategy")


def make_strategy(config: StrategyConfig) -> Strategy:
    """A strategy with its options; one that is made of others takes them by name, too.

    Raises:
        ConfigError: unknown name or option.
    """
    cls = STRATEGIES.get(config.name)
    parts = {f.name for f in dataclasses.fields(cls) if f.type in ("Strategy", Strategy)}  # type: ignore[arg-type]
    options = dict(config.options)
    for key in parts & options.keys():
        if isinstance(options[key], str | dict):
            options[key] = make_strategy(parse_strategy(options[key]))
    return STRATEGIES.create(config.name, **options)


def check_names(config: ProjectConfig | RecipeConfig) -> None:
    """Refuses a task, learner, network or backbone that does not exist, before anything is read or trained.

    Raises:
        ConfigError: an unknown name, with the nearest.
    """
    task = TASKS.get(config.task)
    kind, model, backbone = config.learner.kind, config.learner.model, config.features.backbone
    if kind not in LEARNERS and ":" not in kind:
        raise unknown("learner", kind, LEARNERS)
    built_in = ("auto", "pixels", "lite0")
    wanted = [("model", model)] if model is not None and kind == "torch" else []
    if backbone not in built_in:
        wanted.append(("backbone", backbone))
    for what, name in wanted:
        library, _, bare = name.rpartition(":")
        if library not in ("", "torchvision", "timm"):
            continue  # package.module:name, which only an import can judge
        known = task.model_names() if what == "model" else model_names()
        if bare not in known and bare.split(".")[0] not in known:  # timm: name.tag
            more = built_in if what == "backbone" else ()
            raise _unknown_network(what, name, [*more, *known])


def _unknown_network(what: str, name: str, known: Sequence[str]) -> ConfigError:
    """As ``errors.unknown``, without a list of over a thousand names."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f" did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return ConfigError(f"unknown {what} {name!r}:{hint} 'labelwise list models --match TEXT' shows all names")
