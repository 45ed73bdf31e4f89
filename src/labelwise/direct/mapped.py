"""One array out of a .npy or .safetensors file, mapped: rows are read from the disk when they are looked at."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from labelwise.errors import FormatError, cut
from labelwise.formats.npy_header import read_npy_header
from labelwise.selection.arrays import as_tensor


def map_array(path: str | os.PathLike[str], name: str) -> Tensor:
    """The array of a file, on the file's memory: nothing is read yet, nothing is ever unpickled.

    Args:
        path: ends in ``.npy`` or ``.safetensors``; ``FILE.safetensors#TENSOR`` names one tensor of several.
        name: the tensor to take where a file holds several and the path names none.

    Memory: none; only numbers in the byte order of another machine are copied.

    Raises:
        FormatError: a file that is missing, damaged, of another format, or of several tensors none of which is meant.
    """
    text = os.fspath(path)
    file, tensor = _parts(text)
    shown = repr(file)
    if not Path(file).is_file():
        raise FormatError(f"{shown} does not exist: check the path")
    ending = Path(file).suffix
    if ending not in (".npy", ".safetensors"):
        raise FormatError(f"{shown} ends in {ending!r}: give a .npy or .safetensors file, or an array")
    try:
        if ending == ".safetensors":
            return _safetensors(file, tensor or name, named=bool(tensor))
        with Path(file).open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            header = read_npy_header(opened, size, shown, objects="save numbers, for example float32")
        if header.dtype.kind not in "biufc":
            raise FormatError(f"{shown} holds values of type {cut(str(header.dtype))}: save float32 numbers")
        return as_tensor(np.lib.format.open_memmap(file, mode="r"))
    except (ValueError, OSError, EOFError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:120]
        raise FormatError(f"{shown} cannot be read ({reason}): write it again") from None


def _parts(path: str) -> tuple[str, str]:
    file, mark, tensor = path.rpartition("#")
    return (file, tensor) if mark and file.endswith(".safetensors") else (path, "")


def _safetensors(file: str, name: str, *, named: bool) -> Tensor:
    with safe_open(file, framework="pt") as held:
        names = list(held.keys())
        chosen = names[0] if len(names) == 1 and not named else name
        if chosen not in names:
            shown = ", ".join(sorted(names)[:10]) or "none"
            raise FormatError(
                f"{file!r} has no tensor {name!r}; it holds {shown}: name one of them, '{Path(file).name}#TENSOR'"
            )
        tensor: Tensor = held.get_tensor(chosen)
    return tensor


def spool(blocks: Iterable[Tensor], dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """Blocks of rows written to a nameless temporary file one after another, and mapped as one array.

    The file goes when the tensor does. It lies where ``tempfile`` puts files: ``TMPDIR`` names another place.

    Raises:
        FormatError: there is no room for it.
    """
    try:
        with tempfile.TemporaryFile() as file:
            for block in blocks:
                file.write(block.contiguous().view(torch.uint8).numpy().data)
            file.flush()
            written = np.memmap(file, dtype=np.uint8, mode="r")
    except OSError as error:
        raise FormatError(
            f"cannot put the rows into the order of their ids in {tempfile.gettempdir()!r} ({error}): set TMPDIR to a "
            "folder with room, or sort the file by id once"
        ) from error
    return as_tensor(written).view(dtype).view(shape)
