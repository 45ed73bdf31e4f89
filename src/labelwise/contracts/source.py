"""The one contract for images: ``Source``. Projects, learners and reports read images through it and nothing else."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from labelwise.errors import ConfigError, brief

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import torch

Role = Literal["pool", "reference", "validation", "test"]

#: how frames tell their video: by the folder they lie in, or by their name before its last number; auto is a guess
VideoRule: TypeAlias = Literal["auto", "folder", "name"]

#: how the place of a subject begins, as ``within`` gives it: an item of its own, which no image covers
SUBJECT = "subject:"

#: the two values that become black and white in pictures of more than 8 bits
ValueRange: TypeAlias = tuple[float, float]


def checked_range(given: Any) -> ValueRange | None:
    """Two values as a range; None stays None.

    Raises:
        ConfigError: other than two finite numbers, the lower first.

    Example:
        >>> checked_range([0, 4095])
        (0.0, 4095.0)
    """
    if given is None:
        return None
    try:
        low, high = (_number(value) for value in given)
        fits = low < high and math.isfinite(high - low) and high - low > 1e-30
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        raise ConfigError(
            f"{brief(given)} is no range: give two finite numbers, the value that becomes black and the value "
            "that becomes white, as [0, 4095]"
        )
    return low, high


def is_region(place: str | None) -> bool:
    """Whether a place within an image, as ``Source.within`` gives it, is a region that its whole image covers."""
    return place is not None and not place.startswith(SUBJECT)


def is_subject(place: str | None) -> bool:
    """Whether a place within an image is that of a subject: an item of its own."""
    return place is not None and place.startswith(SUBJECT)


def read_for(source: Source, item_id: str) -> str:
    """The item whose picture is read for an item: of a region that of its image."""
    image, place = source.within(item_id)
    return image if is_region(place) else item_id


def _number(value: Any) -> float:
    if isinstance(value, (str, bool)):
        raise TypeError
    return float(value)


class Source(ABC):
    """Images by id, with what is known about them.

    ``ids`` are unique, ascending (plain string order), and stable: a POSIX path relative to the data root, or a made-up
    name for items of an array. A source knows nothing of rounds, picks or answers; those are events of the pool.
    """

    #: ascending, unique
    ids: Sequence[str]
    #: the folder that ids are relative to and that no path of an imported file may leave; None where there is none
    root: Path | None = None
    #: class names in index order, when the data say so (folder names, a data set's own list); else None
    classes: tuple[str, ...] | None = None
    #: colour of each class, when the data say so (masks often do); else None
    palette: tuple[tuple[int, int, int], ...] | None = None
    #: id -> raw label (the class name, for classification), where labels lie on disk; only a held-back oracle and
    #: ``init`` read it
    truth: Mapping[str, Any] = {}
    #: name of the kind of label that ``truth`` holds; None where nothing says so
    kind: str | None = None
    #: name of the format that the labels were read from; None where they come from elsewhere
    format: str | None = None
    #: number of an image -> id, and number of a class -> name, where the data number them (COCO)
    numbers: Mapping[int | str, str] = {}
    categories: Mapping[int, str] = {}
    #: id -> role, where the data come with a split; ids not named are "pool"
    roles: Mapping[str, Role] = {}
    #: id -> group (video, patient, site); never split between train and test
    groups: Mapping[str, str] = {}
    #: the two values that become black and white in pictures of more than 8 bits; None: as their headers say
    value_range: ValueRange | None = None

    @abstractmethod
    def load(self, item_id: str) -> np.ndarray | torch.Tensor:
        """One image: uint8 array of shape (H, W, 1 | 3), or a float tensor (C, H, W) that is used exactly as it is.

        Raises:
            DataError: when the image cannot be decoded (missing, truncated, empty, far too many pixels), in one line.
        """

    @abstractmethod
    def content(self, item_ids: Sequence[str]) -> list[str]:
        """A digest of each image's content (32 hex digits); "" for one that cannot be read."""

    def stat_key(self, item_ids: Sequence[str]) -> list[str] | None:
        """For each image a text that changes whenever its content does, found without reading it; "" for a missing one.

        A store may keep ``content`` under it. None where there is nothing cheaper than ``content`` itself.
        """
        return None

    def in_range(self, value_range: ValueRange | None) -> Source:
        """The same images with one range for all pictures of more than 8 bits; ``content`` tells ranges apart.

        Sources that hold no such pictures return themselves.
        """
        return self

    def encoded(self, item_id: str) -> str | bytes | None:
        """The file that an image is decoded from, as a path or its bytes; None where there is none."""
        return None

    def path(self, item_id: str) -> str:
        """What people call this item: the path to show and to export. The id, unless the source knows better."""
        return item_id

    def size(self, item_id: str) -> tuple[int, int]:
        """Width and height of the image in pixels; without decoding it, where the source can.

        Raises:
            DataError: as for ``load``.
        """
        image = self.load(item_id)
        height, width = image.shape[-2:] if not hasattr(image, "strides") else image.shape[:2]
        return int(width), int(height)

    def within(self, item_id: str) -> tuple[str, str | None]:
        """The image that an item lies in, and which region or subject of it the item is; None for a whole image."""
        return item_id, None

    def window(self, item_id: str) -> tuple[int, int, int, int] | None:
        """Where in its image lies what ``load`` cuts out of it for a subject: x, y, width, height, perhaps beyond it.

        None where whole images are loaded, and of regions.
        """
        return None

    def price(self, item_id: str) -> Mapping[str, float]:
        """What a simulated annotator pays for an item, in units that its label does not tell."""
        return {}

    def expected_cost(self, item_ids: Sequence[str], unit: str) -> np.ndarray | None:
        """What labelling each of these items will probably cost in this unit; None where nothing is known of it."""
        return None

    def outline(self, item_id: str) -> tuple[np.ndarray, tuple[int, int]]:
        """Bool pixels of a region in its bounding box, and (x, y) of that in the image; of a whole image all."""
        import numpy as np

        width, height = self.size(item_id)
        return np.ones((height, width), bool), (0, 0)

    def instances(self, item_id: str) -> np.ndarray | None:
        """(H, W) which object each pixel of an image belongs to, where the data say so; any integers."""
        return None

    def batch(self, item_ids: Sequence[str]) -> np.ndarray | None:
        """Many images at once as uint8 (B, H, W, C), where they lie in one array; None where each has to be loaded."""
        return None

    def native_order(self) -> Sequence[str]:
        """Ids of the training items in the data's own order: what a position in an index file counts.

        A property of the data as they lie: views that thin them, rename labels or split a test set off leave it alone.
        """
        return [item for item in self.ids if self.roles.get(item, "pool") == "pool"]

    def notes(self) -> list[str]:
        """What people should know about files that were left out, one line each; empty when nothing was."""
        return []

    def thumbnail(self, item_id: str, max_side: int) -> np.ndarray:
        """The image as people see it, uint8 (H, W, 1 | 3), neither side longer than ``max_side`` pixels.

        Raises:
            DataError: as for ``load``.
        """
        from labelwise.contracts.picture import picture

        return picture(self.load(item_id), max_side)
