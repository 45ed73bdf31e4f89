"""What labels the weights of a network were trained with, as far as their name says it.

Features that were trained with the labels of the data under test have seen the answers: a comparison of methods for
buying those labels then measures little. timm names the training of weights in a tag, ``model.tag``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from labelwise.errors import DataError
from labelwise.models.by_name import chosen_backbone
from labelwise.models.trunks import on_trunk, weights_in_use
from labelwise.models.weights import LAYOUTS, in_layout, located, read_metadata, read_state, split_layout

if TYPE_CHECKING:
    from labelwise.config import FeaturesConfig, LearnerConfig

#: tags whose training used images only
_LABEL_FREE = re.compile(
    r"^(dino|fb_dino|dinov3_\w+|lvd142m|lvd1689m|sat493m|fcmae|mae|seer|in1k_ijepa|in22k_ijepa|mim_in22k|mim_m38m)$"
)
#: tags whose training used texts that stood beside the images, and no classes
_CAPTIONS = re.compile(
    r"^(openai|laion\w*|datacomp\w*|clip_laion\w*|webli\w*|v2_webli|metaclip\w*|dfn\w*|merged2b|yfcc15m|cc12m"
    r"|apple_mclip\w*|tinyclip_\w+)$"
)
_SETS = {
    "in1k": "ImageNet-1k",
    "in12k": "ImageNet-12k",
    "in21k": "ImageNet-21k",
    "inw21k": "ImageNet-21k",
    "in22k": "ImageNet-22k",
    "jft": "JFT",
    "ig1b": "hashtags of Instagram",
    "sa1b": "SA-1B masks",
}
_BY_CLASSES = {1000: "ImageNet-1k", 11821: "ImageNet-12k", 21841: "ImageNet-22k", 21843: "ImageNet-21k"}


@dataclass(frozen=True)
class Provenance:
    """What weights were trained on.

    Args:
        saw: ``nothing`` (no training), ``images`` (no label), ``captions``, ``labels`` or ``unknown``.
        labels: the data sets whose labels were used, where ``saw`` is ``labels``.
    """

    saw: Literal["nothing", "images", "captions", "labels", "unknown"]
    labels: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = {
            "nothing": "no training",
            "images": "images without labels",
            "captions": "images with texts, no class labels",
            "labels": f"labels of {' and '.join(self.labels)}",
        }
        return words.get(self.saw, "not known")


def of_tag(tag: str, classes: int = 0) -> Provenance:
    """What a timm tag says; the number of classes helps where it says nothing.

    Example:
        >>> str(of_tag("lvd142m")), str(of_tag("clip_laion2b_ft_in12k_in1k"))
        ('images without labels', 'labels of ImageNet-12k and ImageNet-1k')
    """
    if _LABEL_FREE.match(tag):
        return Provenance("images")
    parts = tag.split("_")
    # masked image modelling of a data set looks at its images only
    used = [part for before, part in zip(["", *parts], parts, strict=False) if before not in ("mim", "mae")]
    labels = tuple(dict.fromkeys(_SETS[part] for part in used if part in _SETS))
    if labels:
        return Provenance("labels", labels)
    if _CAPTIONS.match(tag):
        return Provenance("captions")
    if classes in _BY_CLASSES:
        return Provenance("labels", (_BY_CLASSES[classes],))
    return Provenance("unknown")


def provenance(model: str, weights: str | None = "default") -> Provenance:
    """What the weights of a network were trained on.

    Args:
        model: as ``build`` and ``backbone`` take it; ``pixels``, ``lite0``, a file written by ``pretrain``, and
            ``NETWORK@TRUNK``, too.
        weights: None (random), ``default``, ``lite0``, or ``[layout:]path``.
    """
    weights, model = weights_in_use(model, weights), on_trunk(model)[1] or model
    if model == "pixels" or (read_metadata(model).get("labels") == "none"):
        return Provenance("images")
    if "lite0" in (model, weights):
        return Provenance("labels", ("ImageNet-1k",))
    if weights is None:
        return Provenance("nothing")
    if weights != "default":
        return _of_file(weights)
    import timm
    from torchvision import models

    library, _, bare = model.rpartition(":")
    if library != "timm" and bare in models.list_models(module=models):
        return Provenance("labels", ("ImageNet-1k",))
    if library in ("", "timm") and timm.is_model(bare) and (config := timm.get_pretrained_cfg(bare)) is not None:
        return of_tag(config.tag or "", config.num_classes)
    return Provenance("unknown")


def _of_file(weights: str) -> Provenance:
    name, path = split_layout(weights)
    if name is None:
        if read_metadata(path).get("labels") == "none":
            return Provenance("images")
        name = in_layout(read_state(path))[0].name
    free = any(layout.label_free for layout in LAYOUTS if layout.name == name)
    return Provenance("images" if free else "unknown")


def trained_with_labels(model: str, weights: str | None = "default") -> str | None:
    """The data sets whose labels the weights have seen; None where they saw none, or nothing is known.

    Example:
        >>> trained_with_labels("resnet50"), trained_with_labels("vit_small_patch16_224.dino")
        ('ImageNet-1k', None)
    """
    found = provenance(model, weights)
    return " and ".join(found.labels) if found.saw == "labels" else None


def leak(model: str, weights: str | None, *, data: str = "", classes: Iterable[str] = ()) -> str | None:
    """A warning where weights were trained with labels of the data under test; None where nothing points to it.

    Args:
        model: the network.
        weights: its weights.
        data: where the data come from: a path or a name.
        classes: names of the classes; WordNet ids as ImageNet's folders have them give it away.
    """
    seen = trained_with_labels(model, weights)
    if seen is None or "ImageNet" not in seen:
        return None
    names = list(classes)
    coded = sum(bool(re.fullmatch(r"n\d{8}", name)) for name in names)
    if "imagenet" not in data.lower() and not coded > len(names) / 2:
        return None
    return (
        f"the weights of {model} were trained with the labels of {seen}, and the data look like ImageNet: these "
        "features have seen the answers. Choose weights without labels ('labelwise list backbones') for a fair study"
    )


@dataclass(frozen=True)
class TrainedOn:
    """What the pretrained weights in use were trained on.

    Args:
        pretraining: in words.
        warning: set where these are the labels of the data under test.
    """

    pretraining: str
    warning: str | None = None


def what_weights_saw(
    features: FeaturesConfig,
    learner: LearnerConfig | None,
    *,
    data: str,
    classes: Sequence[str],
    base: Path = Path(),
    default: str | None = None,
) -> TrainedOn:
    """What the weights behind the features or the network have seen, and whether that spoils a study of these data.

    Args:
        features: the frozen feature source.
        learner: of the network that is trained; None where only features are read.
        data: where the data come from.
        classes: their names.
        base: what paths of weights are relative to.
        default: the network that is trained where the learner names none (``Task.default_name``).
    """
    if learner is not None:
        named = learner.model or default
        weights = None if named is None else weights_in_use(named, learner.weights)
        if named is None or weights is None:
            return TrainedOn("none")
        model, weights = named, located(weights, base)
    else:
        model = located(chosen_backbone(features.backbone), base)
        weights = located(features.weights or "default", base)
    try:
        saw = provenance(model, weights)
        return TrainedOn(f"{Path(model).name}: {saw}", leak(model, weights, data=data, classes=classes))
    except DataError:  # a file that is missing or damaged is refused where it is read
        return TrainedOn(model)
