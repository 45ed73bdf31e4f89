"""Builds the parts of a campaign from a configuration: source, task, features, learner, strategy."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwise.config import (
    FeaturesConfig,
    InputConfig,
    LearnerConfig,
    ProjectConfig,
    RecipeConfig,
    RegionsConfig,
    SizesConfig,
    StrategyConfig,
    TaskConfig,
    parse,
)
from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Examples, Learner, Phase, Producer
from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.scheme import Scheme
from labelwise.contracts.source import is_region
from labelwise.contracts.strategy import Strategy
from labelwise.data.regions import Regions
from labelwise.data.remembered import Remembered
from labelwise.data.superpixels import Superpixels
from labelwise.errors import ConfigError, unknown
from labelwise.learners.backbones import backbone
from labelwise.learners.best import BestOf
from labelwise.learners.features import FeatureLearner, FeatureSource
from labelwise.learners.torch import TorchLearner
from labelwise.models import model_names
from labelwise.models.by_name import unknown_network
from labelwise.models.trunks import apart_from_mil, check_trunk, on_trunk
from labelwise.models.weights import located
from labelwise.registry import as_declared, check_options, made_by
from labelwise.schemes import SCHEMES
from labelwise.signals.cache import SignalCache
from labelwise.strategies import STRATEGIES
from labelwise.tasks import TASKS

if TYPE_CHECKING:
    from labelwise.contracts.source import Source
    from labelwise.contracts.task import Task

LEARNERS = ("features", "torch")


#: fields of a task that are no options: configurations say them elsewhere
NO_OPTIONS = ("classes", "input")


def task_options(config: TaskConfig) -> type[Task[Any]]:
    """The class of a task whose options are such as it takes.

    Raises:
        ConfigError: an unknown task or option, or a value of another type; says which are allowed.
    """
    cls = TASKS.get(config.name)
    check_options(cls, config.options, f"task {config.name!r}", without=NO_OPTIONS)
    return cls


def make_task(config: TaskConfig | str, classes: Sequence[str], input_: InputConfig) -> Task[Any]:
    """A task over these classes.

    Args:
        config: its name and its options.
        classes: names, in index order.
        input_: how images become model input.

    Raises:
        ConfigError: an unknown task or option, or a value that it refuses; too few classes.
    """
    chosen = TaskConfig(name=config) if isinstance(config, str) else config
    cls = task_options(chosen)
    try:
        task = cls(tuple(classes), **as_declared(cls, chosen.options))  # type: ignore[call-arg]
    except (TypeError, ValueError) as error:
        raise ConfigError(f"task {chosen.name!r} refuses {chosen.options or 'its defaults'}: {error}") from error
    size = task.input.size if input_.size is None else input_.size
    size = (size, size) if isinstance(size, int) else size
    return dataclasses.replace(task, input=InputSpec(size, input_.channels, input_.mean, input_.std))  # type: ignore[type-var]


def input_aspect(config: TaskConfig, input_: InputConfig) -> float:
    """Width of the network's input over its height, as :func:`make_task` gives it to the task."""
    size = input_.size
    if size is None:
        cls: Any = TASKS.get(config.name)
        declared: Any = next(option for option in dataclasses.fields(cls) if option.name == "input")
        size = declared.default_factory().size
    height, width = (size, size) if isinstance(size, int) else size
    return width / height


def cut_into_regions(
    config: RegionsConfig | None, source: Source, task: str, *, folder: Path | None, progress: Progress = silent
) -> Source:
    """The source with the regions of its images as further items, where the configuration asks for regions.

    Args:
        config: how images are cut; None leaves the source as it is.
        source: the images.
        task: whose labels can be given for a part of an image.
        folder: where maps are kept.
        progress: told while images are cut.

    Raises:
        ConfigError: a task whose labels speak of whole images.
    """
    if config is None or isinstance(source, Regions):
        return source
    if not TASKS.get(task).kind.parted:
        allowed = [name for name in TASKS.names() if TASKS.get(name).kind.parted]
        raise ConfigError(
            f"regions are asked for in {' and '.join(allowed)} only, and the task is {task}: leave 'regions' out"
        )
    how = Superpixels(config.method, config.count, config.compactness, config.std)
    return Regions(source, how, folder=folder, annotate=config.annotate, progress=progress)


def make_features(
    config: FeaturesConfig, source: Source, cache: SignalCache, *, folder: Path | None, base: Path = Path()
) -> FeatureSource:
    """The frozen feature source, ready to use.

    Args:
        config: which backbone.
        source: images that a backbone may look at before its first use.
        cache: keeps the rows.
        folder: where the backbone keeps what it found.
        base: what paths of weights are relative to, and where ``pretrained/`` lies.
    """
    if folder is not None and source.value_range is not None:
        # axes that were fitted to the same pictures in another range are no axes of these
        folder = folder / "range-{:g}-{:g}".format(*source.value_range)
    chosen = backbone(
        located(config.backbone, base),
        weights=None if config.weights is None else located(config.weights, base),
        size=config.size,
        folder=folder,
        crop=config.crop,
        mean=config.mean,
        std=config.std,
    )
    whole = (item for item in source.ids if not is_region(source.within(item)[1]))
    chosen.prepare(Examples(source, tuple(item for item in whole if source.roles.get(item, "pool") == "pool")))
    return FeatureSource(chosen, cache, dtype=config.dtype)


def open_features(
    data: Any,
    root: str | Path | None,
    cache: str | Path | None,
    given: Mapping[str, Any],
    *,
    test_share: float | None = None,
) -> tuple[Source, FeatureSource, list[str]]:
    """Images of data that are no project, the frozen features of them, and what was guessed of the data.

    Args:
        data: whatever ``open_source`` opens.
        root: what relative paths of it are relative to.
        cache: a folder for the rows; None: ``labelwise/features`` in the user's cache folder.
        given: keys of ``features``: ``backbone``, ``weights``, ``size``; None says nothing.
        test_share: share to hold out for testing, where the data have no test set.

    Raises:
        ConfigError: an unknown key or backbone.
        DataError: data that cannot be read.
    """
    from labelwise.data.brightness import look
    from labelwise.data.open import open_source
    from labelwise.data.views import split

    config = parse(FeaturesConfig, {k: v for k, v in given.items() if v is not None}, where="the features")
    opened = open_source(data, root=root)
    seen = look(opened)
    opened = opened.in_range(seen.value_range)
    if test_share is not None and "test" not in opened.roles.values():
        opened = split(opened, test_share, 0)
    source = Remembered(opened)
    rows = SignalCache(default_cache() if cache is None else Path(cache))
    return source, make_features(config, source, rows, folder=None), list(seen.notes())


def default_cache() -> Path:
    """``labelwise/features`` in the user's cache folder: rows are found by weights and content, never by name."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "labelwise" / "features"


def make_learner(config: LearnerConfig, task: Task[Any], features: Producer | None, *, base: Path = Path()) -> Learner:
    """The learner of a configuration.

    Args:
        config: which kind.
        task: what is learnt.
        features: the frozen feature source, for a head on features.
        base: what the path of weights is relative to.

    Raises:
        ConfigError: unknown kind, or a head on features without a feature source.
    """
    kind = learner_kind(config, task)
    if kind == "torch":
        scheme = make_scheme(config, task)
        return TorchLearner(
            task,
            config.model if scheme is None else scheme.network(config.model or task.default_name or ""),
            embedding=config.embedding,
            phases=make_phases(config, task),
            weights=None if config.weights is None else located(config.weights, base),
            members=config.members,
            precision=config.precision,
            batch_size=config.batch_size,
            workers=config.workers,
            best=None if config.best is None else BestOf(**config.best.model_dump()),
        )
    if kind == "features":
        if "per_image" not in task.provides:
            raise ConfigError(
                f"a head on frozen features gives one answer for an image, and {task.name} needs many: set learner: "
                "{kind: torch}"
            )
        if not isinstance(features, FeatureSource):
            raise ConfigError("a learner of kind 'features' needs a feature backbone: set features: {backbone: auto}")
        return FeatureLearner(task, features, head=config.head, strength=config.strength, neighbours=config.neighbours)
    if ":" in kind:
        learner = made_by(kind, task, told="(task)")
        if not isinstance(learner, Learner):
            raise ConfigError(f"{kind!r} returned {type(learner).__name__}: return a Learner")
        return learner
    raise unknown("learner", kind, LEARNERS)


def learner_kind(config: LearnerConfig, task: Task[Any] | type[Task[Any]]) -> str:
    """What ``kind`` stands for: a head on frozen features knows no places, where a task asks for many answers."""
    if config.kind != "auto":
        return config.kind
    return "features" if "per_image" in task.provides else "torch"


def make_scheme(config: LearnerConfig, task: Task[Any]) -> Scheme | None:
    """The training scheme of a learner; None where it has none.

    Raises:
        ConfigError: unknown name or option, or one of another task.
    """
    if config.scheme is None:
        return None
    scheme = SCHEMES.create(config.scheme.name, **config.scheme.options)
    if scheme.task != task.name:
        fitting = [name for name in SCHEMES.names() if SCHEMES.get(name).task == task.name]
        raise ConfigError(
            f"the training scheme {scheme.name!r} trains networks of {scheme.task}, and the task is {task.name}: "
            + (f"take {' or '.join(fitting)}, or leave it out" if fitting else "leave it out")
        )
    return scheme


def make_phases(config: LearnerConfig, task: Task[Any]) -> tuple[Phase, ...]:
    """The phases of training: those of the configuration, else of its scheme, else the task's own."""
    if (scheme := make_scheme(config, task)) is not None:
        return scheme.phases(task.phases)
    return task.phases if config.phases is None else tuple(Phase(**phase.model_dump()) for phase in config.phases)


def parse_strategy(value: str | dict[str, Any]) -> StrategyConfig:
    """The configuration of a strategy out of its name, or of a mapping with a name and options."""
    return parse(StrategyConfig, {"name": value} if isinstance(value, str) else value, where="a strategy")


def make_strategy(config: StrategyConfig) -> Strategy:
    """A strategy with its options; one that is made of others takes them by name, too.

    Raises:
        ConfigError: unknown name or option.
    """
    cls = STRATEGIES.get(config.name)
    parts = {f.name for f in dataclasses.fields(cls) if "Strategy" in str(f.type)}  # type: ignore[arg-type]
    options = dict(config.options)
    for key in parts & options.keys():
        given = options[key]
        options[key] = tuple(map(_part, given)) if isinstance(given, list | tuple) else _part(given)
    return STRATEGIES.create(config.name, **options)


def _part(given: Any) -> Any:
    return make_strategy(parse_strategy(given)) if isinstance(given, str | dict) else given


def check_names(config: ProjectConfig | RecipeConfig | SizesConfig) -> None:
    """Refuses a task, learner, network or backbone that does not exist, before anything is read or trained.

    Raises:
        ConfigError: an unknown name, with the nearest.
    """
    backbone = config.features.backbone
    task = None
    wanted: list[tuple[str, str]] = []
    if not isinstance(config, SizesConfig):  # a study by size has no learner
        task = task_options(config.task)
        more = config.learners.values() if isinstance(config, RecipeConfig) else ()
        for learner in (config.learner, *more):
            kind, model = learner_kind(learner, task), learner.model
            if kind not in LEARNERS and ":" not in kind:
                raise unknown("learner", kind, LEARNERS)
            wanted += [("model", apart_from_mil(model)[0])] if model is not None and kind == "torch" else []
            if learner.scheme is not None:
                SCHEMES.get(learner.scheme.name)
    built_in = ("auto", "pixels", "lite0")
    if backbone not in built_in:
        wanted.append(("backbone", backbone))
    for what, name in wanted:
        if what == "model" and task is not None and on_trunk(name)[1] is not None:
            check_trunk(name, task.model_names())
            continue
        library, _, bare = name.rpartition(":")
        if library not in ("", "torchvision", "timm") or name.endswith(".safetensors"):
            continue  # package.module:name, which only an import can judge, or a file
        known = task.model_names() if what == "model" and task is not None else model_names()
        if bare not in known and bare.split(".")[0] not in known:  # timm: name.tag
            beside = built_in if what == "backbone" else ()
            raise unknown_network(what, name, [*beside, *known])
