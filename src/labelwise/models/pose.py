"""Networks for key points by name: the small one, simple baselines, HRNet, or ``package.module:function``.

All give one map for each point, (B, K, h, w); how many cells a map has is the network's own affair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from labelwise.contracts.input import IMAGENET_MEAN, IMAGENET_STD
from labelwise.errors import ConfigError, DataError, unknown
from labelwise.models.by_name import _downloaded, renormalised
from labelwise.models.trunks import Trunk, build_on_trunk, check_trunk, on_trunk
from labelwise.models.unet import UNet
from labelwise.models.weights import load_weights, read_state, split_layout
from labelwise.registry import made_by

if TYPE_CHECKING:
    from labelwise.contracts.input import InputSpec

#: of timm, each with the width of its finest maps
_HRNETS = {"hrnet_w32": 32, "hrnet_w48": 48}
#: what a simple baseline stands on where nobody says
_PLAIN = "simple_baseline@resnet50"

#: all networks by name
POSE_NETS = ("unet", "simple_baseline", *_HRNETS)


class SimpleBaseline(nn.Module):
    """Three transposed convolutions on the coarsest map of a trunk: maps of a quarter of the input's sides.

    Args:
        points: K.
        trunk: gives the map of stride 32.
        width: channels of the transposed convolutions.

    Reference:
        Xiao, Wu and Wei, "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018.
    """

    map_path = "trunk"

    def __init__(self, points: int, trunk: Trunk, width: int = 256) -> None:
        super().__init__()
        self.trunk = trunk
        layers: list[nn.Module] = []
        for inputs in (trunk.widths[-1], width, width):
            deconvolution = nn.ConvTranspose2d(inputs, width, 4, stride=2, padding=1, bias=False)
            nn.init.normal_(deconvolution.weight, std=0.001)
            layers += [deconvolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.deconv_layers = nn.Sequential(*layers)
        self.final_layer = _last(width, points)

    def forward(self, images: Tensor) -> Tensor:
        """(B, K, H / 4, W / 4)."""
        return self.final_layer(self.deconv_layers(self.trunk(images)[-1]))  # type: ignore[no-any-return]


class HRNet(nn.Module):
    """HRNet of timm with the published head for poses: a convolution of one cell on its finest maps.

    Parts are named as in the published networks, whose last stage gives the finest maps alone, as here.

    Args:
        name: ``hrnet_w32`` or ``hrnet_w48``.
        points: K.
        channels: of the input.

    Reference:
        Sun et al., "Deep High-Resolution Representation Learning for Human Pose Estimation", CVPR 2019.
    """

    map_path = "stage4"

    def __init__(self, name: str, points: int, channels: int = 3) -> None:
        super().__init__()
        import timm

        # without the parts that classify
        whole: Any = timm.create_model(name, in_chans=channels, head="")
        for part, module in whole.named_children():
            if part not in ("global_pool", "head_drop", "classifier"):
                self.add_module(part, module)
        stage: Any = self.get_submodule("stage4")
        stage[-1].fuse_layers = stage[-1].fuse_layers[:1]
        self.final_layer = _last(_HRNETS[name], points)

    def forward(self, images: Tensor) -> Tensor:
        """(B, K, H / 4, W / 4)."""
        parts: Any = self
        maps = parts.act1(parts.bn1(parts.conv1(images)))
        maps = parts.layer1(parts.act2(parts.bn2(parts.conv2(maps))))
        streams = [maps]
        for transition, stage in (
            (parts.transition1, parts.stage2),
            (parts.transition2, parts.stage3),
            (parts.transition3, parts.stage4),
        ):
            # a stream that a transition leaves as it is goes on; a new one starts from the coarsest there is
            streams = stage(
                [
                    streams[number] if isinstance(step, nn.Identity) else step(streams[-1])
                    for number, step in enumerate(transition)
                ]
            )
        return self.final_layer(streams[0])  # type: ignore[no-any-return]


def _last(width: int, points: int) -> nn.Conv2d:
    layer = nn.Conv2d(width, points, 1)
    nn.init.normal_(layer.weight, std=0.001)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def build_pose_net(name: str, points: int, spec: InputSpec, *, weights: str | None = None) -> nn.Module:
    """A network for key points by name.

    Args:
        name: ``unet`` (small, for a CPU), ``unet@lite0`` or on another trunk, ``simple_baseline`` (on ResNet-50),
            ``simple_baseline@resnet18`` or on another trunk, ``hrnet_w32``, ``hrnet_w48``, or
            ``package.module:function`` called with (points, spec).
        points: how many maps it gives.
        spec: the input it will get.
        weights: None (random), ``default`` (timm's download of the classifier), or a file: of the whole network (the
            last layer stays random where there are other points), or of the classifier. Of a network on a trunk the
            weights are the trunk's (``labelwise.models.trunks.build_on_trunk``).

    Raises:
        ConfigError: unknown name, or an input that the network cannot take.
        DataError: weights that cannot be had or do not fit.
    """
    name = _PLAIN if name == "simple_baseline" else name
    network, trunk = on_trunk(name)
    if trunk is not None:
        check_trunk(name, POSE_NETS)

        def make(trunk: Trunk) -> nn.Module:
            return UNet(points, trunk=trunk) if network == "unet" else SimpleBaseline(points, trunk)

        return build_on_trunk(make, name, spec, weights, head=("head", "final_layer"))
    if ":" in name:
        model: nn.Module = made_by(name, points, spec, told="(number of points, input)")
        if weights is not None:
            load_weights(model, weights)
        return model
    if name not in POSE_NETS:
        raise unknown("network for key points", name, POSE_NETS)
    if name == "unet":
        if weights == "default":
            raise ConfigError("there is no download for 'unet': leave weights out, or name a file")
        net: nn.Module = UNet(points, spec.channels)
        if weights is not None:
            load_weights(net, weights, head=("head",))
        return net
    return _hrnet(name, points, spec, weights)


def _hrnet(name: str, points: int, spec: InputSpec, weights: str | None) -> nn.Module:
    if any(side % 32 for side in spec.size):
        raise ConfigError(
            f"{name!r} joins maps of strides 4 to 32, and the input has {spec.size[0]} x {spec.size[1]} pixels: set "
            "size to multiples of 32, as [256, 192]"
        )
    net = HRNet(name, points, spec.channels)
    if weights is None:
        return net
    if weights == "default":
        import timm

        whole = _downloaded(name, lambda: timm.create_model(name, pretrained=True, in_chans=spec.channels))
        _take(net, whole.state_dict(), name)
    else:
        path = split_layout(weights)[1]
        if any("incre_modules." in key for key in read_state(path)):
            import timm

            whole = timm.create_model(name, in_chans=spec.channels)
            load_weights(whole, weights, head=("classifier",))
            _take(net, whole.state_dict(), name)
        else:
            load_weights(net, f"plain:{path}", head=("final_layer",))
    return renormalised(net, spec, IMAGENET_MEAN, IMAGENET_STD)


def _take(net: HRNet, known: dict[str, Tensor], name: str) -> None:
    """What a classifier shares with the network."""
    own = [key for key in net.state_dict() if not key.startswith("final_layer.")]
    lost = [key for key in own if key not in known]
    if lost:
        raise DataError(f"the weights of {name!r} lack {lost[0]} and {len(lost) - 1} more tensors: name another file")
    net.load_state_dict({key: known[key] for key in own}, strict=False)
