"""Networks for segmentation by name: the small one, DRN-D-22, torchvision's, or ``package.module:function``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn
from torchvision.models import mobilenet_v3_large, resnet50, resnet101, segmentation

from labelwise.contracts.input import IMAGENET_MEAN, IMAGENET_STD
from labelwise.errors import ConfigError, unknown
from labelwise.models.by_name import _downloaded, renormalised
from labelwise.models.drn import DRND22
from labelwise.models.trunks import build_on_trunk, check_trunk, on_trunk
from labelwise.models.unet import UNet
from labelwise.models.weights import load_weights, read_state, split_layout
from labelwise.registry import made_by

if TYPE_CHECKING:
    from labelwise.contracts.input import InputSpec

#: torchvision's networks, each with the classifier that its backbone is
_BACKBONES: dict[str, Any] = {
    "lraspp_mobilenet_v3_large": mobilenet_v3_large,
    "deeplabv3_mobilenet_v3_large": mobilenet_v3_large,
    "deeplabv3_resnet50": resnet50,
    "deeplabv3_resnet101": resnet101,
    "fcn_resnet50": resnet50,
    "fcn_resnet101": resnet101,
}
#: modules that know the classes
_HEADS = ("classifier.4", "aux_classifier.4", "classifier.low_classifier", "classifier.high_classifier")
#: DRN-D-22 without and with dropout layers
_DRN = {"drn_d_22": 0.0, "drn_d_22_dropout": 0.5}

#: all networks by name
SEGMENTERS = ("unet", *_DRN, *_BACKBONES)


def build_segmenter(name: str, classes: int, spec: InputSpec, *, weights: str | None = None) -> nn.Module:
    """A network for segmentation by name.

    Args:
        name: ``unet`` (small, for a CPU), the same on another trunk (``unet@lite0``, ``unet@timm:resnet18``),
            ``drn_d_22`` (and ``drn_d_22_dropout``, as it was published for MC dropout),
            torchvision's ``lraspp_mobilenet_v3_large``, ``deeplabv3_...`` and ``fcn_...``, perhaps after
            ``torchvision:``, or ``package.module:function`` called with (classes, spec).
        classes: number of classes.
        spec: the input it will get.
        weights: None (random), ``default`` (torchvision's download of the whole network), or a file: of the whole
            network (layers that know the classes stay random where there are others), or of the classifier that is its
            backbone. All but ``unet`` then undo the input's normalisation and apply that of ImageNet. Of a network on a
            trunk the weights are the trunk's (``labelwise.models.trunks.build_on_trunk``).

    Raises:
        ConfigError: unknown name, or an input that the network cannot take.
        DataError: weights that cannot be had or do not fit.
    """
    if on_trunk(name)[1] is not None:
        check_trunk(name, SEGMENTERS)
        return build_on_trunk(lambda trunk: UNet(classes, trunk=trunk), name, spec, weights, head=("head",))
    library, _, bare = name.rpartition(":")
    if library not in ("", "torchvision"):
        model: nn.Module = made_by(name, classes, spec, told="(number of classes, input)")
        if weights is not None:
            load_weights(model, weights)
        return model
    if bare not in SEGMENTERS or (library and bare not in _BACKBONES):
        raise unknown("network for segmentation", bare, _BACKBONES if library else SEGMENTERS)
    if weights == "default" and bare not in _BACKBONES:
        raise ConfigError(f"there is no download for {bare!r}: leave weights out, or name a file")
    if bare == "unet":
        net: nn.Module = UNet(classes, spec.channels)
        if weights is not None:
            load_weights(net, weights, head=("head",))
        return net
    if bare in _DRN:
        net = DRND22(classes, spec.channels, _DRN[bare])
        if weights is not None:
            load_weights(net, weights, head=("head", "fc"))
    else:
        net = _of_torchvision(bare, classes, spec, weights)
    return net if weights is None else renormalised(net, spec, IMAGENET_MEAN, IMAGENET_STD)


def _of_torchvision(name: str, classes: int, spec: InputSpec, weights: str | None) -> nn.Module:
    if spec.channels != 3:
        raise ConfigError(f"network {name!r} takes 3 channels, and the input has {spec.channels}: set channels: 3")
    make = getattr(segmentation, name)
    # LR-ASPP was trained without a second head
    second = {} if name.startswith("lraspp") else {"aux_loss": True}
    net: nn.Module = make(weights=None, weights_backbone=None, num_classes=classes, **second)
    if weights == "default":
        full = _downloaded(name, lambda: make(weights="DEFAULT"))
        known = {key: value for key, value in full.state_dict().items() if not key.startswith(_HEADS)}
        net.load_state_dict(known, strict=False)
    elif weights is not None:
        path = split_layout(weights)[1]
        if {key.split(".")[0] for key in read_state(path)} >= {"backbone", "classifier"}:
            # named, or its "backbone." would be taken for that of a checkpoint without labels
            load_weights(net, f"plain:{path}", head=_HEADS)
        else:
            whole = _BACKBONES[name](weights=None)
            load_weights(whole, weights)
            body = getattr(whole, "features", whole)
            net.get_submodule("backbone").load_state_dict(_without_head(body))
    return net


def _without_head(body: nn.Module) -> dict[str, Any]:
    return {key: value for key, value in body.state_dict().items() if not key.startswith("fc.")}
