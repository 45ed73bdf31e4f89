"""Frozen backbones: what turns an image into a vector without any label of the user's."""

from __future__ import annotations

import contextlib
import copy
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from labelwise.contracts.input import IMAGENET_MEAN, IMAGENET_STD, InputSpec
from labelwise.contracts.learner import Examples
from labelwise.data.loader import PreparedImages, batches, blocks
from labelwise.errors import DataError
from labelwise.models import Taps, build
from labelwise.models.by_name import LITE0, PIXELS, REFERENCE, build_body, chosen_backbone, lite0_path, without_head
from labelwise.models.taps import pooled
from labelwise.models.weights import load_weights, read_metadata, read_state
from labelwise.rng import digest


class Backbone(ABC):
    """Images to vectors. ``weights`` names what the vectors depend on besides the image and ``input``."""

    input: InputSpec

    @abstractmethod
    def prepare(self, view: Examples) -> None:
        """Looks at unlabelled images once, before the first use; most backbones need nothing."""

    @property
    @abstractmethod
    def weights(self) -> str:
        """Digest of the weights."""

    @abstractmethod
    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """(B, D) float32 from prepared images."""


class Pixels(Backbone):
    """Built in, needs no weights: small pictures, centred, on the main axes of the pool (PCA).

    The axes come from up to 4,000 images evenly spaced by id and are kept with the project, so that later images join
    the same space.

    Args:
        side: pictures are resized to this many pixels.
        axes: at most this many principal axes are kept.
        folder: where the axes are kept.
    """

    def __init__(self, side: int = 16, axes: int = 64, folder: Path | None = None, channels: int = 3) -> None:
        self.input = InputSpec((side, side), channels=channels, mean=(0.5,), std=(0.5,))
        self.axes = axes
        self._file = None if folder is None else folder / f"pixels-{side}-{axes}-{channels}.safetensors"
        self._mean_D: Tensor | None = None
        self._axes_DK: Tensor | None = None
        if self._file is not None and self._file.is_file():
            with contextlib.suppress(DataError, KeyError):  # what is damaged is made anew
                state = read_state(self._file)
                self._mean_D, self._axes_DK = state["mean"], state["axes"]

    def prepare(self, view: Examples) -> None:
        """Fits the axes, unless they are there."""
        if self._axes_DK is not None:
            return
        rows = (
            sorted({round(i * (len(view) - 1) / 3999) for i in range(4000)})
            if len(view) > 4000
            else list(range(len(view)))
        )
        images = PreparedImages(view.source, view.ids, self.input)
        parts = [
            self._flat(part.images) for part in batches(images, [[rows[i] for i in b] for b in blocks(len(rows), 512)])
        ]
        flat_ND = torch.cat(parts) if parts else torch.empty(0, 0)
        if not len(flat_ND):
            raise DataError(f"none of the {len(view)} images can be read: there is nothing to take features from")
        self._mean_D = flat_ND.mean(0)
        covariance = (flat_ND - self._mean_D).T @ (flat_ND - self._mean_D) / max(len(flat_ND) - 1, 1)
        _, vectors = torch.linalg.eigh(covariance.double())
        axes_DK = vectors.flip(1)[:, : min(self.axes, len(flat_ND))]
        # an axis has no direction of its own: fix one, so that the same pool gives the same numbers
        sign_K = axes_DK.gather(0, axes_DK.abs().argmax(0, keepdim=True)).sign()
        self._axes_DK = (axes_DK * sign_K).float()
        if self._file is not None:
            from safetensors.torch import save_file

            self._file.parent.mkdir(parents=True, exist_ok=True)
            draft = self._file.with_name(f"{self._file.name}.{os.getpid()}.tmp")
            save_file({"mean": self._mean_D, "axes": self._axes_DK.contiguous()}, draft)
            draft.replace(self._file)

    @property
    def weights(self) -> str:
        """Digest of the axes."""
        assert self._mean_D is not None, "prepare comes first"
        assert self._axes_DK is not None
        return digest("pixels", self._mean_D.numpy().tobytes().hex(), self._axes_DK.numpy().tobytes().hex())

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """(B, axes)."""
        assert self._axes_DK is not None, "prepare comes first"
        assert self._mean_D is not None
        # in double precision: rounded to single, a row is then the same whatever batch it was read in
        centred_BD = self._flat(images_BCHW).double() - self._mean_D
        return (centred_BD @ self._axes_DK.double()).float()

    def _flat(self, images_BCHW: Tensor) -> Tensor:
        return self.input.normalise(images_BCHW).flatten(1)


class Network(Backbone):
    """A timm or torchvision network without its last layer, or one that ``labelwise pretrain`` wrote.

    Args:
        model: a name (see ``labelwise.models.by_name``), or a file written by ``pretrain``, which names its network.
        weights: ``default`` (the library's download), ``lite0`` (the ``backbone`` extra), or ``[layout:]file``.
        size: side of the input in pixels; None: 96 for EfficientNet-lite0, else what the weights were trained at.
            Smaller images are enlarged; to run CIFAR through an ImageNet network as it is, say 32.
        layer: module whose pooled output is the vector; None: what the last layer would read.
        crop: share of the image that a central crop keeps; None: 1, the whole image.
        mean: per channel, in units of [0, 1]; None: what the weights were trained with.
        std: per channel; None likewise.
    """

    def __init__(
        self,
        model: str,
        weights: str = "default",
        *,
        size: int | None = None,
        layer: str | None = None,
        crop: float | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
    ) -> None:
        loaded = _pretrained(model, weights, size)
        spec = loaded.input
        spec = InputSpec(spec.size, spec.channels, mean or spec.mean, std or spec.std, crop or spec.crop)
        self._take(loaded.net, spec, layer or loaded.layer, loaded.name or model)

    @classmethod
    def around(cls, net: nn.Module, spec: InputSpec, *, layer: str | None = None) -> Network:
        """A copy of a network at hand, without its last layer.

        Args:
            net: ends in a linear layer.
            spec: its input.
            layer: module whose pooled output is the vector; None: what the last layer would read.
        """
        made = cls.__new__(cls)
        made._take(without_head(copy.deepcopy(net)), spec, layer, type(net).__name__)
        return made

    def _take(self, net: nn.Module, spec: InputSpec, layer: str | None, name: str) -> None:
        self.input = spec
        self.layer = layer
        self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if _has_cuda() else "cpu"
        layout = torch.channels_last if spec.channels == 3 else torch.contiguous_format
        self.net = net.eval().to(self.device, memory_format=layout)  # type: ignore[call-overload]
        self._digest = digest(name, self.layer, _state_digest(self.net))

    def prepare(self, view: Examples) -> None:
        """Nothing to do."""

    @property
    def weights(self) -> str:
        """Digest of all parameters and of the layer that is read."""
        return self._digest

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """(B, D).

        Raises:
            DataError: float images, which come as they are, of other channels than the network's.
        """
        images = self.input.normalise(images_BCHW.to(self.device))
        if images.shape[1] != self.input.channels:
            raise DataError(
                f"the frozen backbone takes {self.input.channels} channels, and these float images have "
                f"{images.shape[1]}: give uint8 images, or set features: {{backbone: pixels}}"
            )
        if images.shape[1] == 3:
            images = images.contiguous(memory_format=torch.channels_last)
        if self.layer is None:
            return pooled(self.net(images)).float()
        with Taps(self.net, [self.layer]).capture() as seen:
            self.net(images)
        return pooled(seen[self.layer]).float()


@dataclass(frozen=True)
class _Loaded:
    """A network with its weights, the input they were trained with, and the layer to read (None: its output)."""

    net: nn.Module
    input: InputSpec
    layer: str | None = None
    name: str | None = None


def _pretrained(model: str, weights: str, size: int | None) -> _Loaded:
    import timm

    if "labelwise" in (metadata := read_metadata(model)):
        return _own(model, metadata, size)
    if weights == LITE0:
        net: nn.Module = timm.create_model("tf_efficientnet_lite0")
        load_weights(net, str(lite0_path()))
        # the package's weights expect (pixel - 127) / 128
        side = size or 96
        return _Loaded(without_head(net), InputSpec((side, side), 3, (127 / 255,) * 3, (128 / 255,) * 3))
    library = model.rpartition(":")[0]
    if model in REFERENCE or library not in ("", "timm", "torchvision"):
        side = size or 32
        spec = InputSpec((side, side))
        net = build(model, 1000, spec, weights=weights)
        return _Loaded(without_head(net), spec)
    net = build_body(model, weights, side=size)
    config: Mapping[str, Any] = getattr(net, "pretrained_cfg", None) or {}
    side = size or config.get("input_size", (3, 224, 224))[-1]
    mean, std = tuple(config.get("mean", IMAGENET_MEAN)), tuple(config.get("std", IMAGENET_STD))
    return _Loaded(net, InputSpec((side, side), 3, mean, std))


def _own(file: str, metadata: Mapping[str, str], size: int | None) -> _Loaded:
    """A network that ``pretrain`` wrote, with what it needs to be used."""
    about = json.loads(metadata["labelwise"])
    given: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in about["input"].items()
    }
    spec = replace(InputSpec(), **given)
    if size is not None:
        spec = replace(spec, size=(size, size))
    net = build(about["model"], about["classes"], spec, weights=file)
    return _Loaded(without_head(net), spec, about["layer"], about["model"])


def _has_cuda() -> bool:
    return torch.cuda.is_available()


def _state_digest(net: nn.Module) -> str:
    import hashlib

    found = hashlib.blake2b(digest_size=16)
    for name, tensor in net.state_dict().items():
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def backbone(
    name: str,
    *,
    weights: str | None = None,
    size: int | None = None,
    folder: Path | None = None,
    crop: float | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Backbone:
    """A backbone by name.

    Args:
        name: ``pixels``, ``lite0``, ``auto`` (lite0 where its package is installed, else pixels), a timm or
            torchvision name, or a file written by ``pretrain``.
        weights: for networks: ``default``, or ``[layout:]file``.
        size: side of the input in pixels.
        folder: where ``pixels`` keeps its axes.
        crop: for networks: share of the image that a central crop keeps.
        mean: for networks, where it differs from that of the weights.
        std: likewise.

    Raises:
        ConfigError: unknown name.
        DataError: weights that cannot be had; says what to install or which file to put where.
    """
    name = chosen_backbone(name)
    if name == PIXELS:
        return Pixels(side=size or 16, folder=folder)
    if name == LITE0:
        name, weights = "tf_efficientnet_lite0", LITE0
    return Network(name, weights or "default", size=size, crop=crop, mean=mean, std=std)
