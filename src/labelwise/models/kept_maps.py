"""What a frozen trunk gave of images that it has seen: it gives the same each time, and takes most of a step.

Maps are known by the pixels of the image, so that a mirror image has its own and nobody needs to say which image is
which. They are made one image at a time, whatever batch it came in: a training that was killed and goes on makes them
again to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b

import torch
from torch import Tensor, nn

from labelwise.models.trunks import Trunk

#: bytes of maps that are in memory at most: those of about 2,000 images of 120 x 160 pixels and their mirror images
MOST = 2 << 30
#: how many images each becomes under the changes that have few outcomes
VIEWS = {"none": 1, "flip": 2}


class KeptMaps:
    """Maps of single images by the digest of their pixels.

    Args:
        maps_of: (1, C, H, W) to its maps.

    Example:
        >>> kept = KeptMaps(lambda image: (image.mean(1, keepdim=True),))
        >>> kept(torch.zeros(5, 3, 2, 2))[0].shape, len(kept.known)
        (torch.Size([5, 1, 2, 2]), 1)
    """

    def __init__(self, maps_of: Callable[[Tensor], tuple[Tensor, ...]]) -> None:
        self.maps_of = maps_of
        self.known: dict[bytes, tuple[Tensor, ...]] = {}

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """The maps of a batch; those of images not seen before are made."""
        rows = [self._row(image[None]) for image in images]
        return tuple(torch.cat(maps) for maps in zip(*rows, strict=True))

    def _row(self, image: Tensor) -> tuple[Tensor, ...]:
        pixels = image.detach().contiguous().view(torch.uint8).numpy().data
        digest = blake2b(pixels, digest_size=16).digest()
        if digest not in self.known:
            with torch.no_grad():
                self.known[digest] = self.maps_of(image)
        return self.known[digest]


@contextmanager
def kept_maps(model: nn.Module, images: int, augmentation: str, example: Tensor) -> Iterator[None]:
    """Within the block the trunks of a model that are frozen keep what they gave, where that fits into memory.

    They do where the change of the images has few outcomes (``VIEWS``), on a CPU: a GPU is faster than the looking up.
    A trunk that learns, or whose modules somebody watches by forward hooks, computes as ever.

    Args:
        model: with any number of ``Trunk``.
        images: how many it will see, without their changes.
        augmentation: the name of the change.
        example: a batch on the model's device.
    """
    views = VIEWS.get(augmentation, 0) if example.device.type == "cpu" else 0
    trunks = [part for part in model.modules() if isinstance(part, Trunk) and part.pretrained and views]
    keeping = [part for part in trunks if images * views * _bytes(part, example[:1]) <= MOST]
    for part in keeping:
        part.kept = KeptMaps(part.maps)
    try:
        yield
    finally:
        for part in keeping:
            part.kept = None


def _bytes(trunk: Trunk, image: Tensor) -> int:
    with torch.no_grad():
        return sum(maps.nbytes for maps in trunk.maps(image))
