"""Trunks: networks that turn an image into maps of features of several strides, for networks that read such maps.

``centre`` and ``unet`` alone have small trunks of their own, trained from scratch. ``centre@lite0`` puts the same head
on EfficientNet-lite0 with its ImageNet weights, ``unet@timm:resnet18`` on any network of timm that gives maps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from labelwise.contracts.input import IMAGENET_MEAN, IMAGENET_STD
from labelwise.errors import ConfigError, DataError, cut
from labelwise.models.by_name import LITE0, _downloaded, chosen_backbone, lite0_path, renormalised, unknown_network
from labelwise.models.weights import load_weights, read_state, split_layout

if TYPE_CHECKING:
    from labelwise.contracts.input import InputSpec

#: networks that can stand on another trunk, with the strides of the maps that they read
STRIDES: Mapping[str, tuple[int, ...]] = {
    "centre": (8, 16, 32),
    "unet": (2, 4, 8, 16),
    "simple_baseline": (32,),
}
#: the network of timm that the weights of lite0 are of
_LITE0 = "tf_efficientnet_lite0"
#: trunks with maps of all strides from 2 to 32, for those who named one without
_FITTING = "mobilenetv3_small_050, resnet18 or tf_efficientnet_lite0"


class Trunk(nn.Module):
    """Images in, one map for each stride out, from the finest to the coarsest.

    A map of stride s has H / s x W / s places, rounded up by most networks and down by some.

    A pretrained trunk is frozen: it learns where a phase names it (``rates: [[trunk, 0.0001]]``, or ``trainable``). Its
    batch norm keeps the statistics that it came with even then: those of a batch of eight images say less.

    Args:
        net: gives the maps of images of three channels.
        widths: channels of each map.
        pretrained: whether its weights are worth keeping.
    """

    #: heads beside the model read its maps, and nothing within it
    gives_stages: ClassVar[bool] = True

    def __init__(self, net: nn.Module, widths: Sequence[int], *, pretrained: bool = False) -> None:
        super().__init__()
        self.net = net
        self.widths = tuple(widths)
        self.pretrained = pretrained
        #: gives the maps instead, while it is there (``labelwise.models.kept_maps``)
        self.kept: Callable[[Tensor], tuple[Tensor, ...]] | None = None
        self.requires_grad_(not pretrained)

    @property
    def _rests(self) -> bool:
        """Whether it gives the same of an image each time, and nobody watches its modules at work."""
        learns = any(parameter.requires_grad for parameter in self.parameters())
        return not learns and not any(module.training or module._forward_hooks for module in self.net.modules())

    def maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, width, H / stride, W / stride) for each stride, computed."""
        return tuple(self.net(images.expand(-1, 3, -1, -1)))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """As ``maps``, or what was kept of them in training."""
        # tensors made in inference mode could not be learnt from later
        if self.kept is None or torch.is_inference_mode_enabled() or not self._rests:
            return self.maps(images)
        return self.kept(images)

    def train(self, mode: bool = True) -> Trunk:
        """Training mode, but for the statistics of pretrained weights."""
        super().train(mode)
        if self.pretrained:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


def on_trunk(model: str) -> tuple[str, str | None]:
    """The network and the trunk that a name speaks of; the trunk is None where the network stands on its own.

    Example:
        >>> on_trunk("centre@lite0"), on_trunk("unet"), on_trunk("my_package.nets:build")
        (('centre', 'lite0'), ('unet', None), ('my_package.nets:build', None))
    """
    network, at, trunk = model.partition("@")
    return (network, trunk) if at and ":" not in network else (model, None)


def apart_from_mil(model: str) -> tuple[str, bool]:
    """A detector's name without ``+mil``, which gives it more heads, and whether it was there.

    Example:
        >>> apart_from_mil("centre+mil@lite0"), apart_from_mil("centre")
        (('centre@lite0', True), ('centre', False))
    """
    network, trunk = on_trunk(model)
    bare = network.removesuffix("+mil")
    return (bare if trunk is None else f"{bare}@{trunk}"), bare != network


def with_mil(model: str) -> str:
    """The name of a detector with a second class head and a head of multiple instances.

    Example:
        >>> with_mil("centre"), with_mil("centre@lite0"), with_mil("centre+mil")
        ('centre+mil', 'centre+mil@lite0', 'centre+mil')
    """
    network, trunk = on_trunk(apart_from_mil(model)[0])
    return f"{network}+mil" if trunk is None else f"{network}+mil@{trunk}"


def weights_in_use(model: str, weights: str | None) -> str | None:
    """The weights that a network starts from: ``lite0`` stands for its own, where nothing else is said."""
    return LITE0 if weights is None and on_trunk(model)[1] == LITE0 else weights


def with_known_trunk(network: str, spec: InputSpec) -> str:
    """A network on EfficientNet-lite0, where its weights are installed and the images are large enough for its maps."""
    known = chosen_backbone("auto") == LITE0 and min(spec.size) >= STRIDES[network][-1]
    return f"{network}@{LITE0}" if known else network


def trunk_to_be_had(name: str | None) -> str:
    """What to install where a network that nobody named learns everything from few labels; "" elsewhere.

    Args:
        name: of the network (``Task.default_name``).
    """
    if name != "unet" or chosen_backbone("auto") == LITE0:
        return ""
    return (
        "unet learns everything from your labels: pip install 'labelwise[backbone]' puts it on a trunk that has seen "
        "photographs (unet@lite0), which needs fewer of them"
    )


def check_trunk(model: str, networks: Iterable[str] = STRIDES) -> None:
    """Refuses a network that stands on no other trunk, and a trunk that does not exist.

    Args:
        model: ``NETWORK@TRUNK``.
        networks: all networks of the task.

    Raises:
        ConfigError: with the nearest names.
    """
    import timm

    network, trunk = on_trunk(model)
    assert trunk is not None, "of networks on a trunk"
    fitting = [f"{name}@{cut(trunk)}" for name in STRIDES if name in networks]
    if network not in STRIDES or network not in networks:
        said = f"write {' or '.join(fitting)}" if fitting else "leave out what follows the @"
        raise ConfigError(f"{cut(network)!r} stands on no other trunk here: {said}")
    library, _, bare = trunk.rpartition(":")
    if trunk != LITE0 and (library not in ("", "timm") or not timm.is_model(bare)):
        raise unknown_network("trunk", trunk, [LITE0, *timm.list_models()])


def build_trunk(model: str, spec: InputSpec, weights: str | None = None) -> Trunk:
    """The trunk of ``NETWORK@TRUNK``.

    Levels deeper than the network reads are cut off. A trunk sees what its weights were trained to see, whatever the
    input's normalisation is, and three channels: grey images are given three times.

    Args:
        model: ``centre@lite0``, ``unet@resnet18``, ``unet@timm:resnet18.a1_in1k``.
        spec: the input it will get.
        weights: None (random), ``lite0`` (of the ``backbone`` extra), ``default`` (timm's download), or
            ``[layout:]file`` of the classifier.

    Raises:
        ConfigError: unknown names, no maps of the strides that are needed, or images smaller than the coarsest.
        DataError: weights that cannot be had or do not fit.

    Example:
        >>> from labelwise.contracts.input import InputSpec
        >>> trunk = build_trunk("centre@test_resnet", InputSpec((64, 100)))
        >>> trunk.widths, [tuple(maps.shape[2:]) for maps in trunk(torch.zeros(1, 3, 64, 100))]
        ((48, 192, 96), [(8, 13), (4, 7), (2, 4)])
    """
    check_trunk(model)
    network, trunk = on_trunk(model)
    assert trunk is not None, "check_trunk comes first"
    strides = STRIDES[network]
    if min(spec.size) < strides[-1]:
        raise ConfigError(
            f"{model!r} reads maps of stride {strides[-1]}, and the input has {spec.size[0]} x {spec.size[1]} pixels: "
            f"set size to at least {strides[-1]}"
        )
    bare = _LITE0 if trunk == LITE0 else trunk.rpartition(":")[2]
    net = _maps_net(bare, strides, model, pretrained=weights == "default")
    if weights not in (None, "default"):
        _load(net, bare, str(lite0_path()) if weights == LITE0 else str(weights))
    mean, std = _seen_by(bare)
    seeing = renormalised(net, replace(spec, channels=3), mean, std)
    made = Trunk(seeing, net.feature_info.channels(), pretrained=weights is not None)
    _check_maps(made, strides, spec, model)
    return made


def build_on_trunk(
    make: Callable[[Trunk], nn.Module], model: str, spec: InputSpec, weights: str | None, *, head: Sequence[str]
) -> nn.Module:
    """A network on its trunk, with weights of the trunk or of a whole earlier network.

    Args:
        make: the network, from its trunk.
        model: ``NETWORK@TRUNK``.
        spec: the input it will get.
        weights: as for ``build_trunk``, but None means its own weights for ``lite0``; or a file of the whole network.
        head: paths of the modules that know the classes, which stay random where a whole network has others.

    Raises:
        ConfigError: see ``build_trunk``.
        DataError: likewise.
    """
    weights = weights_in_use(model, weights)
    if weights in (None, "default", LITE0):
        return make(build_trunk(model, spec, weights))
    path = split_layout(str(weights))[1]
    if not any(key.startswith("trunk.") for key in read_state(path)):
        return make(build_trunk(model, spec, weights))
    trunk = build_trunk(model, spec)
    net = make(Trunk(trunk.net, trunk.widths, pretrained=True))
    load_weights(net, f"plain:{path}", head=head)
    return net


def _maps_net(name: str, strides: tuple[int, ...], model: str, *, pretrained: bool) -> Any:
    import timm

    try:
        whole: Any = timm.create_model(name, features_only=True)
        reductions = whole.feature_info.reduction()
    except Exception as error:  # each architecture refuses in its own way
        raise _no_levels(model, strides, f"gives none ({str(error).splitlines()[0]:.60})") from error
    if any(stride not in reductions for stride in strides):
        raise _no_levels(model, strides, f"has strides {', '.join(map(str, dict.fromkeys(reductions)))}")
    places = tuple(reductions.index(stride) for stride in strides)

    def make() -> Any:
        return timm.create_model(name, features_only=True, out_indices=places, pretrained=pretrained)

    return _downloaded(name, make) if pretrained else make()


def _no_levels(model: str, strides: tuple[int, ...], why: str) -> ConfigError:
    network, trunk = on_trunk(model)
    return ConfigError(
        f"{network} reads maps of strides {', '.join(map(str, strides))}, and {trunk!r} {why}: name a trunk that has "
        f"them, such as {_FITTING}"
    )


def _load(net: nn.Module, name: str, weights: str) -> None:
    """A file of the whole classifier, read as strictly as ever, into the part of it that gives maps."""
    import timm

    whole: Any = timm.create_model(name)
    classifier = whole.pretrained_cfg.get("classifier") or ()
    load_weights(whole, weights, head=(classifier,) if isinstance(classifier, str) else tuple(classifier))
    # parts that give maps are named as in the classifier, with dots written as underscores
    known = {key.replace(".", "_"): value for key, value in whole.state_dict().items()}
    named = {key: key.removeprefix("model.").replace(".", "_") for key in net.state_dict()}
    lost = [key for key, path in named.items() if path not in known]
    if lost:
        raise DataError(
            f"the part of {name!r} that gives maps names its tensors in another way ({lost[0]}): take "
            f"weights: default, or another trunk, such as {_FITTING}"
        )
    net.load_state_dict({key: known[path] for key, path in named.items()})


@torch.inference_mode()
def _check_maps(trunk: Trunk, strides: tuple[int, ...], spec: InputSpec, model: str) -> None:
    """Looks at the maps of one black image: some transformers take one size only, or put channels last."""
    try:
        found = [tuple(maps.shape) for maps in trunk.eval()(torch.zeros(1, spec.channels, *spec.size))]
    except Exception as error:  # each architecture refuses in its own way
        raise _no_levels(model, strides, f"refuses such images ({str(error).splitlines()[0]:.60})") from error
    finally:
        trunk.train()
    for maps, width, stride in zip(found, trunk.widths, strides, strict=True):
        # of sides that the stride does not divide the rest is a place of its own, or left out
        if (
            len(maps) != 4
            or maps[1] != width
            or not all(
                side // stride <= places <= -(-side // stride) for side, places in zip(spec.size, maps[2:], strict=True)
            )
        ):
            raise _no_levels(model, strides, f"gives {maps} for {spec.size[0]} x {spec.size[1]} pixels")


def _seen_by(name: str) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and scale of the images that the weights of a network were trained on."""
    import timm

    if name == _LITE0:
        return (127 / 255,) * 3, (128 / 255,) * 3
    config = timm.get_pretrained_cfg(name)
    return (IMAGENET_MEAN, IMAGENET_STD) if config is None else (config.mean, config.std)
