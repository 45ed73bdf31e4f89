"""The contract test of sources: images by id, whoever keeps them.

In a test of a source of one's own::

    def test_it_keeps_the_contract():
        check_source(MySource(...))
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, get_args

import numpy as np
import torch

from labelwise.contracts.source import Role, Source, is_subject
from labelwise.testing.refusals import refusal

#: images that are decoded
LOOKED_AT = 20


def check_source(source: Source, *, broken: Sequence[str] = ()) -> None:
    """Holds a source to its contract; of a large one the first images are decoded.

    Args:
        source: with one image at least.
        broken: ids of images in it that cannot be decoded.

    Raises:
        AssertionError: the first promise that is broken, in words.
    """
    check_ids(source)
    check_facts(source)
    readable = [item for item in source.ids if item not in set(broken)][:LOOKED_AT]
    assert readable, "give a source with an image that can be read"
    for item in readable:
        check_image(source, item)
    for item in broken:
        check_broken(source, item)
    check_content(source, readable, broken)


def check_ids(source: Source) -> None:
    """Unique, ascending, stable."""
    ids = list(source.ids)
    assert ids, "a source has images"
    assert all(isinstance(item, str) and item for item in ids), "ids are texts that are not empty"
    assert len({*ids}) == len(ids), "ids are unique"
    assert ids == sorted(ids), "ids are ascending in plain string order"
    assert ids == list(source.ids), "ids are the same whenever they are asked for"
    assert not any("\\" in item or item.startswith("/") for item in ids), (
        "ids are relative POSIX paths, or made-up names"
    )


def check_facts(source: Source) -> None:
    """Truth, roles and groups speak of items that there are."""
    ids = {*source.ids}
    for what, names in (("truth", [*source.truth]), ("roles", [*source.roles]), ("groups", [*source.groups])):
        strange = next((name for name in names if name not in ids), None)
        assert strange is None, f"{what} speaks of {strange!r}, which is no id"
    roles = {*source.roles.values()}
    assert roles <= {*get_args(Role)}, f"roles are {get_args(Role)}, not {sorted(roles)}"
    if source.classes is not None:
        assert len({*source.classes}) == len(source.classes), "classes are unique"
    native = list(source.native_order())
    assert len({*native}) == len(native), "in the native order an id stands once"
    assert all(isinstance(line, str) and "\n" not in line for line in source.notes()), "notes are one line each"


def check_image(source: Source, item: str) -> None:
    """One image: its pixels, size, thumbnail, and what lies in what."""
    image = source.load(item)
    if isinstance(image, torch.Tensor):
        assert image.is_floating_point() and image.dim() == 3, f"{item}: a tensor is float (C, H, W)"  # noqa: PT018
        height, width = image.shape[1:]
    else:
        assert isinstance(image, np.ndarray), f"{item}: an image is an array or a tensor, not {type(image).__name__}"
        assert image.dtype == np.uint8, f"{item}: an array is uint8, not {image.dtype}"
        assert image.ndim == 3, f"{item}: (H, W, channels), not {image.shape}"
        assert image.shape[2] in (1, 3), f"{item}: grey or RGB, not {image.shape[2]} channels"
        height, width = image.shape[:2]
    assert _equal(source.load(item), image), f"{item}: another image when it is loaded again"
    if source.within(item)[1] is None:
        assert source.size(item) == (width, height), (
            f"{item}: size says {source.size(item)}, and it is {(width, height)}"
        )
    small = source.thumbnail(item, 8)
    assert small.dtype == np.uint8, f"{item}: a thumbnail is uint8"
    assert small.ndim == 3, f"{item}: a thumbnail is (H, W, 1 or 3)"
    assert max(small.shape[:2]) <= 8, f"{item}: a thumbnail of side 8 is {small.shape}"
    assert isinstance(source.path(item), str)
    whole, place = source.within(item)
    if is_subject(place):  # its image is no item
        window = source.window(item)
        assert window is not None, f"{item}: a subject says where it is cut out"
        assert window[2:] == (width, height), f"{item}: its window is {window[2:]}, and it is {(width, height)}"
    else:
        assert whole in {*source.ids}, f"{item} lies in {whole!r}, which is no id"
    _check_batch(source, item, image)


def _check_batch(source: Source, item: str, image: Any) -> None:
    found = source.batch([item])
    if found is not None:
        assert found.shape[0] == 1, f"{item}: a batch of one has {found.shape[0]}"
        assert _equal(found[0], image), f"{item}: in a batch it is another image"


def _equal(one: Any, other: Any) -> bool:
    return bool(np.array_equal(np.asarray(one), np.asarray(other)))


def check_broken(source: Source, item: str) -> None:
    """An image that cannot be decoded is said to be so, in a line."""
    refusal(partial(source.load, item), f"the broken image {item}")


def check_content(source: Source, readable: Sequence[str], broken: Sequence[str] = ()) -> None:
    """Digests tell images apart and are stable; images that cannot be read raise nothing."""
    found = source.content(list(readable))
    assert len(found) == len(readable), "a digest for each image"
    assert all(len(digest) == 32 and int(digest, 16) >= 0 for digest in found), "digests are 32 hexadecimal digits"
    assert source.content(list(readable)) == found, "digests are the same whenever they are asked for"
    assert source.content([readable[-1]]) == found[-1:], "the digest of an image does not depend on the others"
    for one, digest in enumerate(found):
        for other in range(one):
            images = source.load(readable[one]), source.load(readable[other])
            if digest == found[other]:
                assert _equal(*images), f"{readable[one]} and {readable[other]} differ, and have one digest"
    assert len(source.content(list(broken))) == len(broken), 'a digest for each image, "" where nothing can be read'
    stats = source.stat_key(list(readable))
    assert stats is None or len(stats) == len(readable), "stat_key says something of each image"
