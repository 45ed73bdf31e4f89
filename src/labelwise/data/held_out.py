"""Labelled images beside the pool, and labels as annotators give them: a reference set, and a share of wrong labels."""

from __future__ import annotations

from collections import defaultdict

from labelwise.contracts.source import Role, Source
from labelwise.data.views import View
from labelwise.errors import ConfigError, DataError
from labelwise.rng import generator


def with_reference(source: Source, size: int, seed: int = 0) -> View:
    """The source with ``size`` images of its pool as a reference set: as many of every class, as near as can be.

    Where a label is no class, as boxes or masks are, images are drawn whatever is on them.

    Reference images have labels, are kept out of training, and some methods match the pool against them; what they cost
    is part of every report. The draw depends on the seed and the set of ids, not on their order.

    Args:
        source: labelled images; those that are a reference set already stay one.
        size: images in all, at least one for each class. Classes that get one more are drawn.
        seed: of the draw.

    Raises:
        ConfigError: fewer than one for each class.
        DataError: no labels in the pool, or a class with too few images; it is named.

    Example:
        >>> import numpy as np
        >>> from labelwise.data import ArraySource
        >>> balanced = ArraySource(np.zeros((40, 4, 4), np.uint8), labels=[0, 1] * 20)
        >>> sorted(with_reference(balanced, 6).roles.values()).count("reference")
        6
    """
    members: dict[str, list[str]] = defaultdict(list)
    for item in source.ids:
        if source.roles.get(item, "pool") == "pool" and item in source.truth:
            label = source.truth[item]
            members[str(label) if isinstance(label, str | int) else ""].append(item)
    if not members:
        raise DataError("a reference set is drawn from labelled images, and no image of the pool has a label")
    if size < len(members):
        raise ConfigError(
            f"a reference set of {size} images for {len(members)} classes: give at least one for each class"
        )
    names = sorted(members)
    order = [names[n] for n in generator(seed, "reference", "classes").permutation(len(names)).tolist()]
    each, more = divmod(size, len(names))
    roles: dict[str, Role] = dict(source.roles)
    for rank, name in enumerate(order):
        wanted = each + (rank < more)
        if wanted >= len(members[name]):
            raise DataError(
                f"a reference set of {size} images takes {wanted}{f' of class {name!r}' if name else ''}, and the "
                f"pool has {len(members[name])}: ask for fewer, so that some are left in the pool"
            )
        drawn = generator(seed, "reference", name).choice(len(members[name]), wanted, replace=False)
        roles |= dict.fromkeys((members[name][n] for n in drawn.tolist()), "reference")
    return View(source, roles=roles)


def with_noise(source: Source, share: float, seed: int = 0) -> View:
    """The source with wrong labels for a share of its pool: another class, drawn uniformly, as from a tired annotator.

    Test, validation and reference images keep their labels. Which images are hit depends on the seed and the set of
    ids; a larger share of one seed hits those of a smaller one, too.

    Args:
        source: images with class names.
        share: of the labelled images of the pool, in [0, 1).
        seed: of the draws.

    Raises:
        ConfigError: a share outside [0, 1).
        DataError: fewer than two classes.

    Example:
        >>> import numpy as np
        >>> from labelwise.data import ArraySource
        >>> clean = ArraySource(np.zeros((40, 4, 4), np.uint8), labels=[0, 1] * 20)
        >>> noisy = with_noise(clean, 0.25)
        >>> sum(noisy.truth[item] != clean.truth[item] for item in clean.ids)
        10
    """
    if not 0 <= share < 1:
        raise ConfigError(f"a share of {share} wrong labels: give 0 (none) or more, below 1")
    classes = list(source.classes or sorted({str(label) for label in source.truth.values()}))
    if len(classes) < 2:
        raise DataError(f"a wrong label needs another class to name, and there are {len(classes)} classes")
    pool = [item for item in source.ids if source.roles.get(item, "pool") == "pool" and item in source.truth]
    hit = generator(seed, "noise").permutation(len(pool))[: round(share * len(pool))]
    truth = dict(source.truth)
    steps = generator(seed, "noise", "classes").integers(1, len(classes), len(pool))
    for n in hit.tolist():
        at = classes.index(str(truth[pool[n]]))
        truth[pool[n]] = classes[(at + int(steps[n])) % len(classes)]
    return View(source, truth=truth)
