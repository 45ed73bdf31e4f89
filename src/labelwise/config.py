"""Configuration: pydantic models from YAML; flags over file over defaults; an unknown key is an error."""

from __future__ import annotations

import itertools
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import pydantic
import yaml

from labelwise.contracts.learner import Phase
from labelwise.contracts.source import ValueRange, VideoRule, checked_range
from labelwise.errors import ConfigError, FormatError, StateError, brief, unknown
from labelwise.formats.yaml_text import read_settings
from labelwise.registry import beside

#: raised whenever older code could misread what newer code writes
CONFIG_VERSION = 1


#: of an image, in pixels
Side = Annotated[int, pydantic.Field(ge=4, le=4096)]

#: a phase of which nothing is said: the defaults of Python are those of configurations
_PHASE = Phase()


class Config(pydantic.BaseModel):
    """Base: no unknown keys, no change after construction."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class ReadingConfig(Config):
    """How pictures are read, whatever is done with them."""

    range: tuple[int | float, int | float] | None = pydantic.Field(
        None, description="values that become black and white in pictures of more than 8 bits; None: by their headers"
    )

    @pydantic.field_validator("range", mode="before")
    @classmethod
    def _two_numbers(cls, value: Any) -> Any:
        try:
            found = checked_range(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        # files say 4095, not 4095.0
        return None if found is None else tuple(int(end) if end.is_integer() else end for end in found)


class InputConfig(ReadingConfig):
    """How images become input of a torch learner."""

    size: Side | tuple[Side, Side] | None = pydantic.Field(
        None, description="side in pixels, or [height, width]; None: what suits the task"
    )
    channels: Literal[1, 3] = 3
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)


def options_apart(value: Any, *others: str) -> Any:
    """A name with options in the one form that is kept: in YAML also just the name, or options beside it.

    Args:
        value: as written; what is neither text nor a mapping is left to the check.
        others: keys beside ``name`` that are no options.

    Example:
        >>> options_apart("random"), options_apart({"name": "detection", "top": 20})
        ({'name': 'random'}, {'name': 'detection', 'options': {'top': 20}})
    """
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, Mapping) and "options" not in value:
        own = {key: v for key, v in value.items() if key in ("name", *others)}
        return own | {"options": {key: v for key, v in value.items() if key not in own}}
    return value


class Named(Config):
    """A name with options; in YAML also just the name, which means the defaults, or options beside it."""

    name: str
    options: dict[str, Any] = {}

    _short_forms = pydantic.model_validator(mode="before")(options_apart)

    @pydantic.model_serializer
    def _as_written(self) -> str | dict[str, Any]:
        return {"name": self.name, **self.options} if self.options else self.name

    @property
    def label(self) -> str:
        """As people are shown it: its name, with the options that were given."""
        return _labelled(self.name, self.options)


class TaskConfig(Named):
    """A task with its options."""

    name: str = "classification"


class SchemeConfig(Named):
    """A training scheme with its options; see labelwise.schemes."""


class FeaturesConfig(Config):
    """The frozen feature source."""

    backbone: str = pydantic.Field(
        "auto",
        description="pixels, lite0, auto, a timm or torchvision name, or pretrained:NAME of 'labelwise pretrain'",
    )
    weights: str | None = pydantic.Field(None, description="default (download), or [layout:]file")
    size: int | None = pydantic.Field(None, ge=8, le=4096, description="side of the input; smaller images are enlarged")
    crop: float | None = pydantic.Field(None, gt=0, le=1, description="share kept by a central crop; none: the whole")
    mean: tuple[float, ...] | None = pydantic.Field(None, description="where it differs from that of the weights")
    std: tuple[float, ...] | None = None
    dtype: Literal["float32", "float16"] = pydantic.Field("float32", description="of the rows on disk")


class PhaseConfig(Config):
    """One stretch of training; see labelwise.contracts.learner.Phase."""

    epochs: int = pydantic.Field(_PHASE.epochs, ge=1)
    batches: Literal["labelled", "unlabelled", "alternate"] = _PHASE.batches
    unlabelled: Literal["all", "as_labelled"] | Annotated[int, pydantic.Field(ge=1)] = pydantic.Field(
        _PHASE.unlabelled, description="images without labels that an epoch reads: all, as_labelled, or a number"
    )
    batch_size: int = pydantic.Field(_PHASE.batch_size, ge=1)
    min_steps: int = pydantic.Field(_PHASE.min_steps, ge=0, description="epochs are added up to this many steps")
    max_steps: int | None = pydantic.Field(_PHASE.max_steps, ge=1, description="epochs are left out above this many")
    average: float = pydantic.Field(
        _PHASE.average, ge=0, lt=1, description="weights averaged over about this share of the steps; 0: the last"
    )
    trainable: tuple[str, ...] = pydantic.Field(_PHASE.trainable, description="prefixes of what learns; none: all")
    frozen: tuple[str, ...] = pydantic.Field(_PHASE.frozen, description="prefixes of what does not learn")
    optimiser: Literal["sgd", "adamw"] = _PHASE.optimiser
    lr: float = pydantic.Field(_PHASE.lr, gt=0)
    rates: tuple[tuple[str, float], ...] = pydantic.Field(
        _PHASE.rates, description="(prefix, rate) of parts that learn at another rate, e.g. [[head, 0.01]]"
    )
    momentum: float = pydantic.Field(_PHASE.momentum, ge=0, lt=1)
    nesterov: bool = _PHASE.nesterov
    weight_decay: float = pydantic.Field(_PHASE.weight_decay, ge=0)
    schedule: Literal["cosine", "onecycle", "constant", "steps"] = _PHASE.schedule
    milestones: tuple[int, ...] = _PHASE.milestones
    loss: str = _PHASE.loss
    options: dict[str, Any] = {}


class PretrainConfig(Config):
    """How ``labelwise pretrain`` trains without labels; see labelwise.learners.pretraining.Pretraining."""

    objective: str = pydantic.Field("simclr", description="rotation, simclr, vicreg, or package.module:name")
    model: str | None = pydantic.Field(None, description="lenet, resnet18_cifar, torchvision:..., timm:...")
    epochs: int = pydantic.Field(50, ge=1)
    batch_size: int = pydantic.Field(256, ge=2)
    optimiser: Literal["sgd", "adamw"] = "adamw"
    lr: float = pydantic.Field(2e-3, gt=0)
    weight_decay: float = pydantic.Field(1e-4, ge=0)
    momentum: float = pydantic.Field(0.9, ge=0, lt=1)
    nesterov: bool = True
    schedule: Literal["cosine", "onecycle", "constant", "steps"] = "onecycle"
    milestones: tuple[int, ...] = ()
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    options: dict[str, Any] = {}


class BestConfig(Config):
    """Weights of the best epoch instead of the last; see labelwise.learners.best.BestOf."""

    by: Literal["validation", "test"] = pydantic.Field(
        "validation", description="test: as some published results were made; reports flag it as a leak"
    )
    every: int = pydantic.Field(1, ge=1, description="epochs between two measurements")


class LearnerConfig(Config):
    """What is trained: a head on frozen features, or a whole network."""

    kind: str = pydantic.Field(
        "auto",
        description="features (a head on frozen features), torch (a whole network), package.module:name of a function "
        "(task) -> Learner; auto: features where the task asks for one answer for an image, else torch",
    )
    head: Literal["linear", "knn"] = "linear"
    strength: float | None = pydantic.Field(
        None, gt=0, description="ridge of the linear head, in units of one image's loss; None: grows with the labels"
    )
    neighbours: int = pydantic.Field(5, ge=1)
    model: str | None = pydantic.Field(
        None, description="a name ('labelwise list models'), torchvision:..., timm:..., package.module:name"
    )
    weights: str | None = None
    embedding: str | None = None
    members: int = pydantic.Field(1, ge=1)
    precision: Literal["no", "bf16", "fp16"] = "no"
    batch_size: int | None = pydantic.Field(None, ge=1, description="images of an inference step")
    workers: int | None = pydantic.Field(None, ge=0)
    best: BestConfig | None = pydantic.Field(None, description="keep the best epoch; none: the last")
    phases: tuple[PhaseConfig, ...] | None = pydantic.Field(None, description="None: the task's own")
    scheme: SchemeConfig | None = pydantic.Field(
        None, description="a training scheme by name, with options beside it ('labelwise list schemes'); None: phases"
    )

    @pydantic.model_validator(mode="after")
    def _one_plan(self) -> LearnerConfig:
        if self.scheme is not None and self.phases is not None:
            raise ValueError("scheme and phases both say how the network is trained: leave one of them out")
        return self


#: strategies that reports compare the others with, the first there is
BASELINES = ("random", "stratified_random")


def baseline_of(names: Sequence[str]) -> str | None:
    """Random if it is there, else stratified_random, else the first.

    Example:
        >>> baseline_of(["margin", "random"]), baseline_of(["margin", "entropy"])
        ('random', 'margin')
    """
    for wanted in BASELINES:
        for name in names:
            if name == wanted or name.startswith((f"{wanted}(", f"{wanted} ")):
                return name
    return names[0] if names else None


#: how a report lays out images by their features
MapMethod: TypeAlias = Literal["tsne", "umap"]


class RegionsConfig(Config):
    """What is asked where whole images are too much: regions of images; see labelwise.data.superpixels."""

    method: Literal["watershed", "slic"] = "watershed"
    count: int = pydantic.Field(100, ge=1, le=65_535, description="regions of an image that are aimed at")
    compactness: float | None = pydantic.Field(None, ge=0, description="None: 0.001 for watershed, 10 for slic")
    std: tuple[float, ...] | None = pydantic.Field(
        None, description="watershed: of each channel; None: the image's own"
    )
    unit: Literal["regions", "pixels", "clicks"] = pydantic.Field(
        "regions", description="what a round's budget counts; of pixels and clicks as many regions as fit"
    )
    annotate: Literal["pixels", "dominant", "instances"] = pydantic.Field(
        "pixels",
        description="what a simulated annotator gives: the region's own pixels, one class for all of them (one click), "
        "or every instance that the region touches",
    )


class SubjectsConfig(Config):
    """Key points of several subjects an image: which they are; see labelwise.data.subjects."""

    boxes: str = pydantic.Field(
        min_length=1, description="labels (default): the boxes beside the key points; else a file of a detector's boxes"
    )
    only: str | None = pydantic.Field(None, description="class of the subjects, where a file has several")
    min_score: float = pydantic.Field(0.3, ge=0, le=1, description="lowest score of a box of a detector")
    min_side: float = pydantic.Field(
        0, ge=0, description="pixels that the longer side of a box must have for what is in it to be a subject"
    )
    unit: Literal["subjects", "images", "points"] = pydantic.Field(
        "subjects", description="what a round's budget counts: of images and points as many subjects as fit"
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _boxes(cls, value: Any) -> Any:
        if isinstance(value, Mapping):  # written down even where it is the default: that there are subjects is said
            return {"boxes": "labels", **value}
        return {"boxes": value} if isinstance(value, str) else value


def task_over(below: Any, above: Any) -> Any:
    """A task that flags name over that of a file: options join those of the same task, and replace another's.

    Example:
        >>> task_over({"name": "detection", "top": 20}, {"options": {"overlap": 0.4}})
        {'name': 'detection', 'options': {'top': 20, 'overlap': 0.4}}
        >>> task_over({"name": "detection", "top": 20}, "segmentation")
        {'name': 'segmentation', 'options': {}}
    """
    under, over = options_apart(below), options_apart(above)
    if not isinstance(under, Mapping) or not isinstance(over, Mapping):
        return above
    same = over.get("name") in (None, under.get("name"))
    return {**under, **over, "options": {**(under.get("options", {}) if same else {}), **over.get("options", {})}}


def older_forms(values: Any) -> Any:
    """``input: {augment: ...}`` of older files is an option of the task."""
    inner = values.get("input") if isinstance(values, Mapping) else None
    if not isinstance(inner, Mapping) or "augment" not in inner:
        return values
    task = options_apart(values.get("task", {}))
    given = {} if inner["augment"] is None else {"augment": inner["augment"]}
    if not isinstance(task, Mapping) or not isinstance(options := task.get("options", {}), Mapping):
        return values  # refused for what it is
    if given and options.get("augment", inner["augment"]) != inner["augment"]:
        raise ConfigError(
            f"augment is {options['augment']!r:.40} under task and {inner['augment']!r:.40} under input, where older "
            "files have it: leave it out there"
        )
    rest = {key: value for key, value in inner.items() if key != "augment"}
    return {**values, "input": rest, "task": {**task, "options": {**options, **given}}}


#: what a recipe's own learner is called where learners have names
OWN = "learner"


class StrategyConfig(Config):
    """A strategy with its options; in YAML also just its name, or options beside it."""

    name: str
    options: dict[str, Any] = {}
    title: str | None = pydantic.Field(None, min_length=1, description="what tables and pictures call it")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        return options_apart(value, *cls.model_fields.keys() - {"name", "options"})

    @pydantic.model_validator(mode="after")
    def _baseline_keeps_its_name(self) -> StrategyConfig:
        if self.title is not None and self.name in BASELINES and not f"{self.title} ".startswith(f"{self.name} "):
            raise ValueError(f"reports know the baseline by its name: begin the title with {self.name!r} and a space")
        return self

    @property
    def label(self) -> str:
        """As tables show it: its title, or its name with its options."""
        return self.title or _labelled(self.name, self.options)

    @property
    def identity(self) -> dict[str, Any]:
        """What it does, whatever it is called."""
        return {"name": self.name, "options": self.options}


class RowConfig(StrategyConfig):
    """A row of a study: a strategy with the learner that is trained for it."""

    learner: str = pydantic.Field(OWN, description="one of learners; without it the recipe's learner")

    @property
    def label(self) -> str:
        """As tables show it: its title, or its strategy with its options, and the learner where a row names one."""
        named = _labelled(self.name, self.options)
        return self.title or (named if self.learner == OWN else f"{named} with {self.learner}")


def _labelled(name: str, options: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{key}={_shown(value)}" for key, value in options.items())
    return f"{name}({shown})" if shown else name


def _shown(value: Any) -> str:
    return "+".join(map(_shown, value)) if isinstance(value, list | tuple) else str(value)


class ToolConfig(Config):
    """Where rounds are labelled, as ``labelwise connect`` writes it; see labelwise.contracts.tool."""

    name: str = pydantic.Field(description="of the tool: label_studio")
    url: str = pydantic.Field(description="of its server")
    key: str = pydantic.Field(pattern="^[0-9a-f]+$", description="tells this project from others on that server")
    number: int = pydantic.Field(description="of the project there")
    title: str = pydantic.Field("", description="of the project there")
    files: Literal["local", "upload"] = pydantic.Field(
        "upload", description="the server reads the images where they lie, or they are uploaded"
    )
    controls: dict[str, str] = pydantic.Field(
        default_factory=dict, description="choice, box, outline, brush, point: name of the control in the interface"
    )
    longest: float = pydantic.Field(300.0, gt=0, description="seconds that a label may cost; more was idle time")
    verify: bool = pydantic.Field(True, description="check the certificate of the server")


class ProjectConfig(Config):
    """``labelwise.yaml``: one project."""

    version: int = CONFIG_VERSION
    images: str = pydantic.Field(
        description="folder, .npz, .csv, torchvision:NAME or package.module:name; relative to this file"
    )
    root: str | None = pydantic.Field(None, description="where a torchvision data set lies")
    labels: str = pydantic.Field(
        "auto", description="where labels come from: auto, folders (their names), none, or a format by name"
    )
    names: str | None = pydantic.Field(None, description="file that says which class a number is, where labels count")
    untouched: Literal["empty", "unanswered"] = pydantic.Field(
        "unanswered", description="images without objects, where a file cannot tell looked at from never opened"
    )
    drop_twins: bool = pydantic.Field(False, description="leave out of the pool what is held out byte for byte")
    video: VideoRule | None = pydantic.Field(
        None, description="images are frames; those of one video, told by folder or name, are never split: auto guesses"
    )
    every: int = pydantic.Field(1, ge=1, description="of each video one of so many frames; above 1 means video: auto")
    task: TaskConfig = pydantic.Field(TaskConfig(), description="its name, or a mapping with a name and options")
    classes: tuple[str, ...] = ()
    palette: dict[str, Annotated[str, pydantic.Field(pattern="^#[0-9a-fA-F]{6}$")]] = pydantic.Field(
        default_factory=dict, description="class: '#rrggbb', of masks: how files show and write them in colours"
    )
    input: InputConfig = InputConfig()
    regions: RegionsConfig | None = pydantic.Field(None, description="ask for regions once an image is labelled")
    subjects: SubjectsConfig | None = pydantic.Field(
        None,
        description="of key points: where boxes come from; None: from the labels, where an image has several subjects",
    )
    features: FeaturesConfig = FeaturesConfig()
    learner: LearnerConfig = LearnerConfig()
    pretrain: PretrainConfig = PretrainConfig()
    strategy: StrategyConfig = StrategyConfig(name="auto")
    tool: ToolConfig | None = pydantic.Field(None, description="where people label, see labelwise connect")
    map: MapMethod = pydantic.Field(
        "tsne", description="how the report lays out test images; umap needs labelwise[viz]"
    )
    seed: int = 0

    _older = pydantic.model_validator(mode="before")(older_forms)


class ImbalanceConfig(Config):
    """Fewer images of some classes, in the pool alone; see labelwise.data.imbalance."""

    profile: Literal["exponential", "step", "union"] = pydantic.Field(
        "exponential", description="union: the small classes are thinned together, not one by one"
    )
    ratio: float = pydantic.Field(ge=1, description="images of the largest class for one of the smallest")
    small: float = pydantic.Field(0.5, gt=0, lt=1, description="step, union: share of the classes that are small")
    order: Literal["index", "random"] = pydantic.Field("index", description="which classes are large")
    seed: int | Literal["run"] = pydantic.Field(0, description="of the draw; run: every seed of the study draws anew")


class ReferenceConfig(Config):
    """Labelled images of the pool, as many of every class, kept out of training; see labelwise.data.held_out."""

    size: int = pydantic.Field(ge=1, description="images in all; drawn before the pool is thinned")
    seed: int = 0


class DataConfig(Config):
    """The labelled data of a simulated study."""

    source: str = pydantic.Field(
        description="folder, file of a labelled set, .npz, torchvision:NAME or package.module:name"
    )
    root: str | None = None
    labels: str = pydantic.Field("auto", description="auto, folders (their names), or a format by name")
    names: str | None = pydantic.Field(None, description="file that says which class a number is, where labels count")
    untouched: Literal["empty", "unanswered"] = pydantic.Field(
        "unanswered", description="images without objects, where a file cannot tell looked at from never opened"
    )
    drop_twins: bool = pydantic.Field(False, description="leave out of the pool what is held out byte for byte")
    video: VideoRule | None = pydantic.Field(
        None, description="images are frames; those of one video, told by folder or name, are never split: auto guesses"
    )
    every: int = pydantic.Field(1, ge=1, description="of each video one of so many frames; above 1 means video: auto")
    download: bool = False
    subset: int | None = pydantic.Field(None, ge=2, description="only this many pool items, drawn at random by seed 0")
    test_subset: int | None = pydantic.Field(None, ge=2)
    test_share: float = pydantic.Field(
        0.2, gt=0, lt=1, description="held out where the data have no split of their own"
    )
    measure_on: Literal["test", "validation"] = pydantic.Field(
        "test", description="validation: the data's validation split is the test set, where they have no labelled test"
    )
    reference: ReferenceConfig | None = pydantic.Field(None, description="a set to match against, or just its size")
    imbalance: ImbalanceConfig | None = None
    noise: float = pydantic.Field(0.0, ge=0, lt=1, description="share of the pool's labels that are wrong")

    @pydantic.field_validator("reference", mode="before")
    @classmethod
    def _size(cls, value: Any) -> Any:
        return {"size": value} if isinstance(value, int) and not isinstance(value, bool) else value


def _seed_count(value: Any) -> Any:
    return tuple(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value


def _different_seeds(value: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(value)) < len(value):
        raise ValueError("a seed is listed twice")
    return value


S = TypeVar("S", bound=StrategyConfig)


def _listed_once(value: tuple[S, ...], beside: Callable[[S], Any] = lambda row: None) -> tuple[S, ...]:
    """Refuses rows that are the same twice, by their labels or by what they do, with what stands ``beside`` each."""
    labels = [config.label for config in value]
    does = [(config.identity, beside(config)) for config in value]
    if len(set(labels)) < len(labels) or any(a == b for a, b in itertools.combinations(does, 2)):
        raise ValueError(f"a strategy is listed twice: {', '.join(labels)}")
    return value


class RecipeConfig(Config):
    """A simulated study: which data, which learner, which strategies, how often."""

    version: int = CONFIG_VERSION
    name: str = "study"
    data: DataConfig
    task: TaskConfig = pydantic.Field(TaskConfig(), description="its name, or a mapping with a name and options")
    input: InputConfig = InputConfig()
    regions: RegionsConfig | None = pydantic.Field(
        None, description="initial counts images, and batch the regions of each round; None: images throughout"
    )
    subjects: SubjectsConfig | None = pydantic.Field(
        None,
        description="of key points: where boxes come from; None: from the labels, where an image has several subjects",
    )
    features: FeaturesConfig = FeaturesConfig()
    learner: LearnerConfig = LearnerConfig()
    learners: dict[Annotated[str, pydantic.Field(pattern=r"^[\w.-]+$")], LearnerConfig] = pydantic.Field(
        default_factory=dict, description="name: a learner of its own, which rows of strategies take by 'learner: name'"
    )
    strategies: tuple[RowConfig, ...] = pydantic.Field(
        (RowConfig(name="random"), RowConfig(name="margin")), min_length=1
    )
    judge: str | None = pydantic.Field(
        None,
        description="one of learners, or 'learner': trained on what each row has labelled, its picks are judged by",
    )
    start: StrategyConfig | None = pydantic.Field(
        None, description="how the initial set is chosen; None: at random for all alike, 'own': each strategy by itself"
    )
    initial: int = pydantic.Field(100, ge=1)
    batch: int = pydantic.Field(100, ge=1)
    rounds: int = pydantic.Field(5, ge=1)
    seeds: tuple[int, ...] = pydantic.Field((0, 1, 2, 3, 4), min_length=1, description="a count, or a list")
    warm: bool = False
    pretrain: PretrainConfig | None = pydantic.Field(
        None, description="train the network without labels first, on the pool of each seed; it starts from there"
    )
    full: bool = pydantic.Field(True, description="also train on all labels, for the headroom line")
    again: int = pydantic.Field(
        1,
        ge=0,
        description="further trainings on the same labels, for the first and the last round of the baseline's run of "
        "each seed: the noise of training, below which a gain is none; 0: not measured, nor is it with warm: true",
    )
    map: MapMethod = pydantic.Field(
        "tsne", description="how the report lays out test images; umap needs labelwise[viz]"
    )

    _older = pydantic.model_validator(mode="before")(older_forms)
    _count = pydantic.field_validator("seeds", mode="before")(_seed_count)
    _different = pydantic.field_validator("seeds")(_different_seeds)

    @pydantic.model_validator(mode="after")
    def _rows_have_learners(self) -> RecipeConfig:
        if OWN in self.learners:
            raise ValueError(f"a learner cannot be called {OWN!r}: that is the recipe's own")
        for row in self.strategies:
            self.learner_of(row)
        _listed_once(self.strategies, lambda row: self.learner_of(row))
        if self.judge is not None:
            self.learner_of(self.judge)
            if self.warm:
                raise ValueError("judge trains on each set of labels from scratch: set warm: false, or leave judge out")
        return self

    def learner_of(self, row: StrategyConfig | str) -> LearnerConfig:
        """The learner of a row, or of a name.

        Raises:
            ConfigError: there is none of that name.
        """
        name = row if isinstance(row, str) else row.learner if isinstance(row, RowConfig) else OWN
        if name != OWN and name not in self.learners:
            raise unknown("learner", name, [*self.learners, OWN])
        return self.learner if name == OWN else self.learners[name]

    @property
    def baseline(self) -> RowConfig:
        """The row that the others are compared with."""
        rows = {row.label: row for row in self.strategies}
        return rows[baseline_of(list(rows)) or ""]

    @property
    def trained(self) -> dict[str, LearnerConfig]:
        """The learners that are trained, by name: those of the rows in their order, and the judge."""
        names = [*(row.learner for row in self.strategies), *([] if self.judge is None else [self.judge])]
        return {name: self.learner_of(name) for name in names}


class HeadConfig(Config):
    """How the linear head of an evaluation is trained; see labelwise.learners.heads.LinearProtocol."""

    epochs: int = pydantic.Field(100, ge=1)
    lr: float = pydantic.Field(0.01, gt=0)
    milestones: tuple[int, ...] = (50, 75)
    batch_size: int = pydantic.Field(128, ge=1)
    normalise: bool = True


class SizesConfig(Config):
    """A study by size: strategies choose so many images from frozen features, and fixed protocols say what they teach.

    There is no campaign: no network is trained between sizes.
    """

    version: int = CONFIG_VERSION
    name: str = "study"
    data: DataConfig
    input: ReadingConfig = ReadingConfig()
    features: FeaturesConfig = FeaturesConfig()
    strategies: tuple[StrategyConfig, ...] = pydantic.Field(
        (StrategyConfig(name="random"), StrategyConfig(name="kmeans")), min_length=1
    )
    sizes: tuple[int, ...] = pydantic.Field(min_length=1, description="totals of labels, ascending")
    evaluators: tuple[Literal["linear", "knn"], ...] = pydantic.Field(("linear", "knn"), min_length=1)
    head: HeadConfig = HeadConfig()
    neighbours: int = pydantic.Field(1, ge=1)
    preset: Literal["default", "faithful"] = "default"
    seeds: tuple[int, ...] = pydantic.Field((0, 1, 2, 3, 4), min_length=1, description="a count, or a list")
    full: bool = pydantic.Field(True, description="also learn from all labels, for the headroom line")

    _count = pydantic.field_validator("seeds", mode="before")(_seed_count)
    _different = pydantic.field_validator("seeds")(_different_seeds)

    @pydantic.field_validator("strategies")
    @classmethod
    def _once(cls, value: tuple[StrategyConfig, ...]) -> tuple[StrategyConfig, ...]:
        return _listed_once(value)

    @pydantic.field_validator("sizes")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if value[0] < 1 or list(value) != sorted(set(value)):
            raise ValueError("sizes are totals: positive and ascending")
        return value


C = TypeVar("C", bound=Config)


def parse(model: type[C], values: Any, *, where: str) -> C:
    """A configuration from plain values.

    Raises:
        ConfigError: the first problem, in one line, with the nearest key where one is unknown.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} holds {type(values).__name__} where a mapping of keys is needed")
    found = values.get("version", CONFIG_VERSION)
    if isinstance(found, int) and found > CONFIG_VERSION:
        raise StateError(
            f"{where} was written by a newer labelwise (version {found}, this one reads up to "
            f"{CONFIG_VERSION}): update labelwise"
        )
    try:
        return model.model_validate(dict(values))
    except pydantic.ValidationError as error:
        # a key nobody knows often is the misspelt one that is missing
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        path = [part for part in first["loc"] if not str(part).startswith("function-before[")]
        shown = ".".join(str(part) for part in path)
        if first["type"] == "extra_forbidden":
            allowed = _keys_at(model, path[:-1])
            raise unknown(f"key in {where}", str(path[-1]), allowed) from None
        if not path:  # of the whole: what was got is no help
            raise ConfigError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
        got = "" if first["type"] == "missing" else f" (got {brief(first['input'])})"
        more = f"; and {len(error.errors()) - 1} more" if len(error.errors()) > 1 else ""
        raise ConfigError(f"{where}: {shown}: {first['msg'].removeprefix('Value error, ')}{got}{more}") from None


def _keys_at(model: type[pydantic.BaseModel], path: list[Any]) -> list[str]:
    for part in path:
        if isinstance(part, str) and part in model.model_fields:
            kinds = [model.model_fields[part].annotation]
            while kinds:
                kind = kinds.pop()
                if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
                    model = kind
                    break
                kinds += [k for k in typing.get_args(kind) if k is not type(None)]
    return list(model.model_fields)


def read_yaml(path: Path) -> Any:
    """Plain values of a YAML file.

    Raises:
        ConfigError: missing, unreadable, or not YAML; with the line.
    """
    if not path.exists():
        raise ConfigError(f"no configuration at {path}: check the path")
    beside(path.parent)
    try:
        return read_settings(path)
    except FormatError as error:
        raise ConfigError(str(error)) from None


def write_yaml(config: Config, path: Path) -> None:
    """Writes a configuration whole or not at all, leaving out what is default."""
    text = yaml.safe_dump(
        config.model_dump(mode="json", exclude_defaults=True) | {"version": CONFIG_VERSION},
        sort_keys=False,
        allow_unicode=True,
    )
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def with_flags(config: C, **flags: Any) -> C:
    """The configuration with command-line flags over it; None leaves a value as it is."""
    given = {key: value for key, value in flags.items() if value is not None}
    return parse(type(config), config.model_dump() | given, where="the command line") if given else config


#: configurations that say how pictures are read
Reads = TypeVar("Reads", ProjectConfig, RecipeConfig, SizesConfig)


def with_range(config: Reads, value_range: ValueRange | None) -> Reads:
    """A configuration that says from which values pictures of more than 8 bits are read; None leaves it as it is."""
    if value_range is None or config.input.range == value_range:
        return config
    found = parse(type(config.input), config.input.model_dump() | {"range": value_range}, where="input")
    return config.model_copy(update={"input": found})
