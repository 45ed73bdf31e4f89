"""Weights on disk: one safetensors file that names what it was trained from; nothing in it can run code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from labelwise.errors import DataError

NAME = "weights.safetensors"


def write_weights(folder: Path, tensors: Mapping[str, Tensor], weights: str, **metadata: str) -> None:
    """Writes ``weights.safetensors``, whole or not at all.

    Args:
        folder: made when missing.
        tensors: by name.
        weights: digest of what they were trained from.
        metadata: what else people may want to know.
    """
    write_file(folder / NAME, tensors, {"weights": weights, **metadata})


def write_file(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes a .safetensors with some text beside the tensors, whole or not at all.

    Args:
        file: its folder is made when missing.
        tensors: by name.
        metadata: text by name.
    """
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    # a copy of each: tensors that share memory cannot be saved
    own = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    save_file(own, draft, metadata=dict(metadata))
    draft.replace(file)


def read_weights(folder: Path, weights: str) -> dict[str, torch.Tensor]:
    """The tensors that ``write_weights`` wrote under this digest.

    Raises:
        DataError: the file is missing or damaged, or holds other weights.
    """
    return read_described(folder, weights)[0]


def read_described(folder: Path, weights: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """As ``read_weights``, with what else people may want to know.

    Raises:
        DataError: the file is missing or damaged, or holds other weights.
    """
    from safetensors import safe_open

    file = folder / NAME
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors raises its own kinds
        raise DataError(f"cannot read weights from {file} ({error})") from error
    if (found := metadata.get("weights")) != weights:
        raise DataError(f"{file} holds weights {found}, not {weights}")
    return tensors, metadata


def trained_from(file: Path) -> str:
    """Digest of what the weights in a file were trained from.

    Raises:
        DataError: there is no such file, or ``write_weights`` did not write it.
    """
    from safetensors import safe_open

    if not file.is_file():
        raise DataError(f"no weights at {str(file)!r:.200}: give a {NAME} that labelwise has written")
    try:
        with safe_open(file, framework="pt") as opened:
            found: str | None = (opened.metadata() or {}).get("weights")
    except Exception as error:  # safetensors raises its own kinds
        raise DataError(f"cannot read weights from {str(file)!r:.150} ({error!s:.100})") from error
    if not found:
        raise DataError(f"{str(file)!r:.150} does not say what it was trained from: give a {NAME} of labelwise's own")
    return found
