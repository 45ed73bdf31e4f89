"""Where images come from: folders, arrays, torchvision data sets, a user's own PyTorch data set."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labelwise.data.arrays import ArraySource, EncodedSource, read_npz
    from labelwise.data.dataset import DatasetSource, from_dataset
    from labelwise.data.folder import ImageFolder
    from labelwise.data.held_out import with_noise, with_reference
    from labelwise.data.imagenet_lt import ListedImages
    from labelwise.data.images import decode
    from labelwise.data.imbalance import imbalanced
    from labelwise.data.labelled import LabelledFolder, open_labelled
    from labelwise.data.open import open_source
    from labelwise.data.torchvision_sets import open_torchvision
    from labelwise.data.views import View, split, subset, with_labels

__all__ = [
    "ArraySource",
    "DatasetSource",
    "EncodedSource",
    "ImageFolder",
    "LabelledFolder",
    "ListedImages",
    "View",
    "decode",
    "from_dataset",
    "imbalanced",
    "open_labelled",
    "open_source",
    "open_torchvision",
    "read_npz",
    "split",
    "subset",
    "with_labels",
    "with_noise",
    "with_reference",
]

#: where each name is defined; modules load when a name is first asked for: the command line starts without NumPy
_HOME = {
    "ArraySource": "arrays",
    "EncodedSource": "arrays",
    "read_npz": "arrays",
    "DatasetSource": "dataset",
    "from_dataset": "dataset",
    "ImageFolder": "folder",
    "LabelledFolder": "labelled",
    "open_labelled": "labelled",
    "ListedImages": "imagenet_lt",
    "with_noise": "held_out",
    "with_reference": "held_out",
    "imbalanced": "imbalance",
    "decode": "images",
    "open_source": "open",
    "open_torchvision": "torchvision_sets",
    "View": "views",
    "split": "views",
    "subset": "views",
    "with_labels": "views",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
