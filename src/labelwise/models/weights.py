"""Weights from files: the layouts in which self-supervised training leaves them, read strictly; no code in them runs.

A checkpoint fits a network when every tensor of the network is in it with its shape, and nothing else is; the last
layer alone may be absent or of another width. Anything else is an error that names the first tensors, and the network
stays as it was.
"""

from __future__ import annotations

import argparse
import hashlib
import pickle
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from labelwise.errors import DataError, unknown

State = dict[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """How a training code names the tensors of the network inside its checkpoint.

    Args:
        name: what people write before the path, ``moco_v2:path/to/file``.
        prefix: of the network's tensors; what does not start with it belongs to another part and is left out.
        drop: starts of names, without the prefix, of heads that the training put on.
        mark: a start of a name by which the layout is known.
        label_free: whether checkpoints of this kind were trained without labels.
    """

    name: str
    prefix: str
    drop: tuple[str, ...] = ()
    mark: str = ""
    label_free: bool = True


#: the first whose mark is found decides; a named one is taken as it is
LAYOUTS = (
    Layout("moco_v2", "module.encoder_q.", ("fc.",), "module.encoder_q."),
    Layout("moco_v3", "module.base_encoder.", ("fc.", "head."), "module.base_encoder."),
    Layout("swav", "module.", ("projection_head.", "prototypes."), "module.prototypes."),
    Layout("dino", "module.backbone.", ("fc.", "head."), "module.backbone."),
    Layout("dino", "backbone.", ("fc.", "head."), "backbone."),
    # the student of CompRess: its fc was replaced by one as wide as the teacher's features
    Layout("compress", "module.", ("fc.",)),
    Layout("parallel", "module.", mark="module.", label_free=False),
    Layout("plain", "", label_free=False),
)
#: characters for names of tensors in a message of one line
_ROOM = 120
#: where checkpoints keep the state dict, beside optimiser and settings
_WRAPPERS = ("state_dict", "model", "net", "teacher")


def split_layout(weights: str) -> tuple[str | None, str]:
    """The layout's name and the path out of ``moco_v2:path``; None where none is named."""
    name, colon, path = weights.partition(":")
    return (name, path) if colon and name in {layout.name for layout in LAYOUTS} else (None, weights)


def read_state(path: str | Path) -> State:
    """The tensors of a .safetensors, or of a .pth or .pt without running any code in it, named as they are there.

    Raises:
        DataError: the file is missing, damaged, or holds something else than tensors.
    """
    file = Path(path)
    if not file.is_file():
        name, colon, rest = str(path).partition(":")
        if colon and Path(rest).is_file():
            raise unknown("layout of weights", name, dict.fromkeys(layout.name for layout in LAYOUTS), error=DataError)
        raise DataError(f"no weights at {file}: put the file there (.safetensors, .pth or .pt), or give another path")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        # CompRess keeps its command line beside the weights; a Namespace is a bag of values that runs nothing
        with torch.serialization.safe_globals([argparse.Namespace]):
            state: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(
            f"cannot read weights from {file}: {_why(error)}. Give a file written by "
            "torch.save(model.state_dict(), ...), or .safetensors"
        ) from error
    for key in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError(f"{file} holds no state dict: save model.state_dict()")
    return state


def _why(error: Exception) -> str:
    """The trouble with a file of weights, in a few words: PyTorch's own are paragraphs on its options."""
    from safetensors import SafetensorError

    if isinstance(error, pickle.UnpicklingError):
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"Python objects ({named[1]})" if named else "something else than tensors"
        return f"it holds {what}, and nothing in a file is executed"
    if isinstance(error, SafetensorError):
        return f"it is damaged or no such file ({str(error).splitlines()[0]})"
    return "it is damaged or no file of weights"


def file_digest(path: str | Path) -> str | None:
    """A digest of a file's content; None where there is none."""
    file = Path(path)
    if not file.is_file():
        return None
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def read_metadata(path: str | Path) -> Mapping[str, str]:
    """The text kept beside the tensors of a .safetensors; {} for other files and damaged ones."""
    from safetensors import SafetensorError, safe_open

    file = Path(path)
    if file.suffix != ".safetensors" or not file.is_file():
        return {}
    try:
        with safe_open(file, framework="pt") as opened:
            return dict(opened.metadata() or {})
    except (SafetensorError, OSError):
        return {}


def in_layout(state: Mapping[str, Tensor], name: str | None = None) -> tuple[Layout, State]:
    """The network's tensors under the network's names, and the layout they were in.

    Args:
        state: as it lies in the file.
        name: of the layout; None recognises it by the names.

    Raises:
        DataError: the named layout has nothing in this file.

    Example:
        >>> state = {"module.encoder_q.conv1.weight": torch.zeros(1), "module.queue": torch.zeros(1)}
        >>> layout, tensors = in_layout(state)
        >>> layout.name, list(tensors)
        ('moco_v2', ['conv1.weight'])
    """
    layout = _recognised(state) if name is None else next(one for one in LAYOUTS if one.name == name)
    if name == "dino" and not any(key.startswith(layout.prefix) for key in state):
        layout = next(one for one in LAYOUTS if one.name == name and one is not layout)
    found = {key.removeprefix(layout.prefix): value for key, value in state.items() if key.startswith(layout.prefix)}
    found = {key: value for key, value in found.items() if not (layout.drop and key.startswith(layout.drop))}
    if not found:
        raise DataError(
            f"no tensor is named as in {layout.name!r} weights ({layout.prefix}...), the first is "
            f"{next(iter(state), 'none')!r}: name another layout, or none, and it is recognised"
        )
    return layout, found


def _recognised(state: Iterable[str]) -> Layout:
    names = list(state)
    for layout in LAYOUTS:
        if layout.mark and any(name.startswith(layout.mark) for name in names):
            return layout
    return LAYOUTS[-1]


def load_weights(model: nn.Module, weights: str, *, head: Sequence[str] | None = None) -> None:
    """Loads a file into a model: every tensor, or none.

    The last layer keeps its random weights where the file has none, or one of another width. Names may differ where all
    shapes agree in order: the same network saved by another library.

    Args:
        model: gets the weights.
        weights: a path, or ``layout:path``.
        head: paths of the modules that make up the last layer; None: the last linear layer.

    Raises:
        DataError: unreadable, or it does not fit; names the first tensors that are missing, unexpected or misshapen.
    """
    from labelwise.models.taps import last_linear

    name, path = split_layout(weights)
    _, state = in_layout(read_state(path), name)
    if head is None:
        has_linear = any(isinstance(module, nn.Linear) for module in model.modules())
        head = (last_linear(model),) if has_linear else ()
    own = model.state_dict()
    renamed = not own.keys() & state.keys() and [v.shape for v in own.values()] == [v.shape for v in state.values()]
    if renamed:
        state = dict(zip(own, state.values(), strict=True))
    of_head = tuple(f"{path}." for path in head)
    missing = [key for key in own if key not in state and not key.startswith(of_head)]
    unexpected = [key for key in state if key not in own and not key.startswith(of_head)]
    # networks saved before PyTorch 0.4.1 and frozen norms do not count their batches, and nothing reads the count
    missing, unexpected = (
        [key for key in keys if not key.endswith("num_batches_tracked")] for keys in (missing, unexpected)
    )
    misshapen = [key for key in own if key in state and own[key].shape != state[key].shape]
    wrong = [key for key in misshapen if not key.startswith(of_head)]
    if missing or unexpected or wrong:
        shown = [f"{key} {_shape(state[key])} where {_shape(own[key])} is needed" for key in wrong]
        parts = (("missing", missing), ("unexpected", unexpected), ("of another shape", shown))
        said = [(what, names) for what, names in parts if names]
        few = 3 if sum(len(name) for _, names in said for name in names[:3]) < _ROOM else 1
        raise DataError(
            f"the weights in {Path(path).name} do not fit {type(model).__name__}: "
            f"{'; '.join(_first(what, names, few) for what, names in said)}. "
            "Nothing was loaded: choose the model they were saved from"
        )
    fitting = {key: value for key, value in state.items() if key in own and key not in misshapen}
    # half a head says less than a fresh one
    if any(key.startswith(of_head) for key in misshapen):
        fitting = {key: value for key, value in fitting.items() if not key.startswith(of_head)}
    model.load_state_dict(fitting, strict=False)


def _first(what: str, names: Sequence[str], count: int) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return f"{what} {', '.join(names[:count])}{more}"


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def located(value: str, base: Path) -> str:
    """A backbone or weights as they can be opened here: ``pretrained:NAME`` and files are looked up under ``base``.

    Raises:
        DataError: no network was pretrained under this name.
    """
    kind, colon, rest = value.partition(":")
    if kind == "pretrained" and colon:
        file = base / "pretrained" / f"{rest}.safetensors"
        if not file.is_file():
            there = sorted(path.stem for path in file.parent.glob("*.safetensors"))
            raise DataError(
                f"no network {rest!r} in {file.parent}: there is {', '.join(there) or 'none'}. Run 'labelwise pretrain'"
            )
        return str(file)
    layout, path = split_layout(value)
    if (base / path).is_file():
        return f"{layout}:{base / path}" if layout else str(base / path)
    return value
