"""Detectors by name: the small one, torchvision's, or ``package.module:function``; with or without weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torchvision.models import detection, mobilenet_v3_large, resnet18, resnet50, vgg16
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.ssd import _vgg_extractor
from torchvision.models.detection.ssdlite import SSDLiteHead, _mobilenet_extractor, _normal_init
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.ops.misc import FrozenBatchNorm2d

from labelwise.errors import ConfigError, DataError, unknown
from labelwise.models.by_name import _downloaded, renormalised
from labelwise.models.centre import CentreNet
from labelwise.models.detectors import Detector, TwoSteps
from labelwise.models.multiple_instance import MultipleInstance
from labelwise.models.one_stage import FCOS, SSD, RetinaNet
from labelwise.models.trunks import apart_from_mil, build_on_trunk, check_trunk, on_trunk
from labelwise.models.two_stage import FasterRCNN
from labelwise.models.weights import load_weights, read_state
from labelwise.registry import made_by

if TYPE_CHECKING:
    from labelwise.contracts.input import InputSpec

#: makes torchvision's detector from (classes, backbone weights, whether anything is pretrained)
Make = Callable[[int, str | None, bool], Any]

#: torchvision's whole detectors, by our names
WHOLE = {
    "fcos_resnet50": "fcos_resnet50_fpn",
    "retinanet_resnet50": "retinanet_resnet50_fpn",
    "faster_rcnn_resnet50": "fasterrcnn_resnet50_fpn",
    "ssd300_vgg16": "ssd300_vgg16",
    "ssdlite320": "ssdlite320_mobilenet_v3_large",
}


def _resnet(make: Any, norm: Any, weights: str | None) -> Any:
    return _backbone(make.__name__, make, weights, norm_layer=norm)


def _backbone(name: str, make: Any, weights: str | None, **options: Any) -> Any:
    if weights == "default":
        return _downloaded(name, lambda: make(weights="DEFAULT", **options))
    net = make(weights=None, **options)
    if weights is not None:
        # by way of the network that files are of: frozen statistics leave out what no file should
        whole = make(weights=None, **{key: value for key, value in options.items() if key != "norm_layer"})
        load_weights(whole, weights)
        net.load_state_dict(whole.state_dict())
    return net


def _pyramid(
    kind: Any, resnet: Any, classes: int, weights: str | None, pretrained: bool, *, coarse: bool = True
) -> Any:
    # on the few images of a batch, statistics of pretrained layers are better left as they are
    net = _resnet(resnet, FrozenBatchNorm2d if pretrained else nn.BatchNorm2d, weights)
    if coarse:
        # as torchvision: coarse levels from the last map of the pyramid
        maps = _resnet_fpn_extractor(net, 5, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256))
    else:
        maps = _resnet_fpn_extractor(net, 5)
    return kind(maps, classes)


def _ssd300(classes: int, weights: str | None, pretrained: bool) -> Any:
    boxes = DefaultBoxGenerator(
        [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
        scales=[0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
        steps=[8, 16, 32, 64, 100, 300],
    )
    maps = _vgg_extractor(_backbone("vgg16", vgg16, weights), False, 5)
    # the mean and scale of the weights that the network was published with
    published = {"image_mean": [0.48235, 0.45882, 0.40784], "image_std": [1 / 255] * 3}
    return detection.ssd.SSD(maps, boxes, (300, 300), classes + 1, **published)


def _ssdlite(classes: int, weights: str | None, pretrained: bool) -> Any:
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    net = _backbone("mobilenet_v3_large", mobilenet_v3_large, weights, norm_layer=norm, reduced_tail=weights is None)
    if weights is None:
        _normal_init(net)
    maps = _mobilenet_extractor(net, 6, norm)
    boxes = DefaultBoxGenerator([[2, 3] for _ in range(6)], min_ratio=0.2, max_ratio=0.95)
    widths = detection._utils.retrieve_out_channels(maps, (320, 320))
    head = SSDLiteHead(widths, boxes.num_anchors_per_location(), classes + 1, norm)
    scale = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    return detection.ssd.SSD(maps, boxes, (320, 320), classes + 1, head=head, **scale)


def _of_pyramid(kind: Any, resnet: Any) -> Make:
    return lambda classes, weights, pretrained: _pyramid(kind, resnet, classes, weights, pretrained)


def _of_proposals(resnet: Any) -> Make:
    def make(classes: int, weights: str | None, pretrained: bool) -> Any:
        return _pyramid(detection.FasterRCNN, resnet, classes + 1, weights, pretrained, coarse=False)

    return make


_SSD = partial(SSD, image=1)
_MAKERS: dict[str, tuple[Callable[[Any], Detector], Make]] = {
    "fcos_resnet18": (FCOS, _of_pyramid(detection.FCOS, resnet18)),
    "fcos_resnet50": (FCOS, _of_pyramid(detection.FCOS, resnet50)),
    "retinanet_resnet18": (RetinaNet, _of_pyramid(detection.RetinaNet, resnet18)),
    "retinanet_resnet50": (RetinaNet, _of_pyramid(detection.RetinaNet, resnet50)),
    "faster_rcnn_resnet18": (FasterRCNN, _of_proposals(resnet18)),
    "faster_rcnn_resnet50": (FasterRCNN, _of_proposals(resnet50)),
    "ssd300_vgg16": (_SSD, _ssd300),
    "ssdlite320": (_SSD, _ssdlite),
}

#: all detectors by name
DETECTORS = ("centre", *_MAKERS)


def build_detector(name: str, classes: int, spec: InputSpec, *, weights: str | None = None) -> nn.Module:
    """A detector by name.

    Args:
        name: ``centre`` (small, for a CPU), the same on another trunk (``centre@lite0``, ``centre@timm:resnet18``),
            ``fcos``, ``retinanet`` or ``faster_rcnn`` with ``_resnet18`` or ``_resnet50``, ``ssd300_vgg16``,
            ``ssdlite320``, perhaps after ``torchvision:``, or ``package.module:function`` called with (classes, spec).
            ``+mil`` behind that of a one-stage detector (``centre+mil``, ``centre+mil@lite0``) gives it a second class
            head and a head of multiple instances.
        classes: number of classes, without a background.
        spec: the input it will get.
        weights: None (random), ``default`` (torchvision's download: the whole detector where there is one, else its
            backbone), or a file: of the whole detector (heads of other widths stay random) or of the classifier that
            is its backbone. Pretrained networks undo the input's normalisation and apply their own. Of a network on a
            trunk the weights are the trunk's (``labelwise.models.trunks.build_on_trunk``).

    Raises:
        ConfigError: unknown name, or an input that the network cannot take.
        DataError: weights that cannot be had or do not fit.
    """
    bare, several = apart_from_mil(name)
    model = _build(bare, classes, spec, weights, apart=several)
    if several and not isinstance(model, TwoSteps):
        raise ConfigError(
            f"detector {bare!r} has no dense class head, so +mil can give it no second one: take centre, fcos, "
            "retinanet or ssd"
        )
    return MultipleInstance(model) if several and isinstance(model, TwoSteps) else model


def _build(name: str, classes: int, spec: InputSpec, weights: str | None, *, apart: bool = False) -> nn.Module:
    if on_trunk(name)[1] is not None:
        check_trunk(name, DETECTORS)
        return build_on_trunk(
            lambda trunk: CentreNet(classes, trunk=trunk, apart=apart), name, spec, weights, head=("peaks",)
        )
    library, _, bare = name.rpartition(":")
    if library == "torchvision" and bare in _MAKERS:
        name = bare
    if ":" in name and library not in ("torchvision", "timm"):
        model: nn.Module = made_by(name, classes, spec, told="(number of classes, input)")
        if weights is not None:
            load_weights(model, weights)
        return of_ones_own(model, classes, spec)
    if name == "centre":
        model = CentreNet(classes, spec.channels, apart=apart)
        if weights is not None:
            _load_whole(model, read_state(weights), weights)
        return model
    if name not in _MAKERS:
        raise unknown("detector", name, DETECTORS)
    _check_input(name, spec)
    wrap, make = _MAKERS[name]
    whole = weights == "default" and name in WHOLE
    state = None if weights in (None, "default") else read_state(weights)
    whole = whole or (state is not None and any(key.startswith(("backbone.", "net.backbone.")) for key in state))
    net = make(classes, None if whole else weights, weights is not None)
    if whole and state is None:
        full = _downloaded(name, lambda: getattr(detection, WHOLE[name])(weights="DEFAULT"))
        state = full.state_dict()
    if whole and state is not None:
        _load_whole(net, state, str(weights))
    if weights is None:
        return wrap(net)
    return renormalised(wrap(net), spec, net.transform.image_mean, net.transform.image_std)


#: what wraps torchvision's networks, by their type; networks that add masks or key points are of a type of these
_WRAPPERS: tuple[tuple[type, Callable[[Any], Detector], Callable[[Any], int]], ...] = (
    (detection.FCOS, FCOS, lambda net: net.head.classification_head.num_classes),
    (detection.RetinaNet, RetinaNet, lambda net: net.head.classification_head.num_classes),
    (detection.ssd.SSD, _SSD, lambda net: net.head.classification_head.num_columns - 1),
    (detection.FasterRCNN, FasterRCNN, lambda net: net.roi_heads.box_predictor.cls_score.out_features - 1),
)


def of_ones_own(model: nn.Module, classes: int, spec: InputSpec) -> nn.Module:
    """A detector of the user's own: one of ours as it is, torchvision's with what labelwise asks of it.

    A network of ``torchvision.models.detection`` is told by its type, whatever its backbone is. Its own resizing is
    left aside, its own mean and scale are applied.

    Args:
        model: the network.
        classes: number of classes, without a background.
        spec: the input that it will get.

    Raises:
        ConfigError: torchvision's, made for another number of classes.
    """
    for kind, wrap, count in _WRAPPERS:
        if not isinstance(model, kind):
            continue
        try:
            found = count(model)
        except AttributeError:  # a head of somebody's own: what it gives is checked when it gives it
            found = classes
        if found != classes:
            background = " and one for the background" if kind in (detection.ssd.SSD, detection.FasterRCNN) else ""
            raise ConfigError(
                f"the {type(model).__name__} was made for {found} classes, and the data have {classes}: give it one "
                f"output for each{background}"
            )
        own: Any = model.transform
        return renormalised(wrap(model), spec, own.image_mean, own.image_std)
    return model


def _check_input(name: str, spec: InputSpec) -> None:
    if spec.channels != 3:
        raise ConfigError(f"detector {name!r} takes 3 channels, and the input has {spec.channels}: set channels: 3")
    # two convolutions without padding on the coarsest maps
    if name == "ssd300_vgg16" and min(spec.size) < 268:
        raise ConfigError(
            f"detector 'ssd300_vgg16' needs images of at least 268 x 268 pixels, and the input has "
            f"{spec.size[0]} x {spec.size[1]}: set size: 300"
        )


def _load_whole(net: nn.Module, state: dict[str, Tensor], name: str) -> None:
    """Loads all that fits of a detector; only the layers that know the classes may differ."""
    own = net.state_dict()
    found = {key.removeprefix("module.").removeprefix("net."): value for key, value in state.items()}
    fitting = {key: value for key, value in found.items() if key in own and own[key].shape == value.shape}
    of_classes = ("classification_head", "box_predictor", "peaks", "num_batches_tracked")
    missing = [key for key in own if key not in fitting and not any(part in key for part in of_classes)]
    if missing:
        raise DataError(
            f"the weights {name} do not fit: {len(fitting)} of {len(own)} tensors match, first missing {missing[:3]}. "
            "Choose the detector they were saved from, or a file of its backbone"
        )
    net.load_state_dict(fitting, strict=False)
