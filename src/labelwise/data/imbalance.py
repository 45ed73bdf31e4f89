"""Long-tailed and imbalanced views of any labelled classification set; the pool is thinned, the test set stays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from labelwise.contracts.source import Source
from labelwise.data.views import View
from labelwise.errors import ConfigError, DataError, unknown
from labelwise.rng import generator

Profile = Literal["exponential", "step", "union"]
Order = Literal["index", "random"]


def class_sizes(largest: int, classes: int, *, profile: Profile, ratio: float, small: float = 0.5) -> list[int]:
    """Images of each class, large classes first, by the published profiles.

    ``exponential``: ``n_c = floor(n_0 * ratio ** (-c / (C - 1)))``. ``step``: the first classes have ``n_0``, the last
    ``round(small * C)`` have ``floor(n_0 / ratio)``. Never fewer than one. (``union`` of ``imbalanced`` has no sizes by
    class: what is left of its rare classes is drawn from all of them together.)

    Args:
        largest: n_0, images of the largest class.
        classes: C, at least two.
        profile: ``exponential`` or ``step``.
        ratio: images of the largest class for one of the smallest, at least 1.
        small: ``step``: share of the classes that are small, in (0, 1).

    Raises:
        ConfigError: an unknown profile, a ratio below 1, a share outside (0, 1).

    Example:
        >>> class_sizes(5000, 10, profile="exponential", ratio=100)
        [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
        >>> class_sizes(500, 4, profile="step", ratio=10)
        [500, 500, 50, 50]

    Reference:
        Cui, Jia, Lin, Song and Belongie, "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019,
        section 4 (exponential); Buda, Maki and Mazurowski, "A systematic study of the class imbalance problem in
        convolutional neural networks", Neural Networks 2018 (step).
    """
    if profile not in ("exponential", "step"):
        raise unknown("profile of an imbalance", str(profile), ("exponential", "step"))
    _check(ratio, small)
    if profile == "step":
        few = round(small * classes)
        return [largest] * (classes - few) + [max(1, int(largest / ratio))] * few
    # rounded first: 5000 * 0.01 is 49.999... for some ratios
    return [max(1, int(round(largest * ratio ** (-c / max(classes - 1, 1)), 6))) for c in range(classes)]


def imbalanced(
    source: Source,
    *,
    profile: Profile = "exponential",
    ratio: float,
    small: float = 0.5,
    order: Order = "index",
    seed: int = 0,
) -> View:
    """The source with a pool whose classes have the sizes of a profile.

    The largest class keeps all its images; no class is given more than it has. Which images stay is drawn by the seed,
    class by class; a stronger imbalance of the same seed keeps a part of what a weaker one keeps. Images of the pool
    without a label are left out; test, validation and reference images stay.

    ``union``: the large classes stay whole, ``n`` images together; of all others together ``floor(n / ratio)`` stay,
    drawn uniformly, so that the rarest of them may keep next to none.

    Args:
        source: labelled images.
        profile: as for ``class_sizes``, or ``union``.
        ratio: as for ``class_sizes``.
        small: as for ``class_sizes``.
        order: which classes are large: the first by ``index``, as published, or drawn at ``random``.
        seed: of the draws.

    Raises:
        ConfigError: as for ``class_sizes``.
        DataError: no labels, or fewer than two classes in the pool.

    Example:
        >>> import numpy as np
        >>> from labelwise.data import ArraySource
        >>> balanced = ArraySource(np.zeros((40, 4, 4), np.uint8), labels=[0, 1] * 20)
        >>> len(imbalanced(balanced, ratio=10).ids)
        22

    Reference:
        ``union``: Gudovskiy et al., "Deep Active Learning for Biased Datasets via Fisher Kernel Self-Supervision", CVPR
        2020, the published code's split of MNIST and SVHN.
    """
    if order not in ("index", "random"):
        raise unknown("order of classes", str(order), ("index", "random"))
    members: dict[str, list[str]] = defaultdict(list)
    others: list[str] = []
    truth = source.truth
    for item in source.ids:
        if source.roles.get(item, "pool") != "pool":
            others.append(item)
        elif item in truth:
            members[_name(truth[item], source.classes)].append(item)
    if len(members) < 2:
        raise DataError(
            f"an imbalance needs at least two classes with labels in the pool, and there are {len(members)}"
        )
    names = [name for name in source.classes or sorted(members) if name in members]
    if order == "random":
        names = [names[n] for n in generator(seed, "imbalance", "classes").permutation(len(names)).tolist()]
    if profile == "union":
        kept = _union(members, names, ratio=ratio, small=small, seed=seed)
    else:
        largest = max(map(len, members.values()))
        sizes = class_sizes(largest, len(names), profile=profile, ratio=ratio, small=small)
        kept = []
        for name, size in zip(names, sizes, strict=True):
            drawn = generator(seed, "imbalance", name).permutation(len(members[name]))[:size]
            kept += [members[name][n] for n in drawn.tolist()]
    return View(source, ids=[*kept, *others])


def _union(
    members: Mapping[str, list[str]], names: Sequence[str], *, ratio: float, small: float, seed: int
) -> list[str]:
    """The large classes whole, and a share of all others together."""
    _check(ratio, small)
    whole = len(names) - round(small * len(names))
    kept = [item for name in names[:whole] for item in members[name]]
    rare = [item for name in names[whole:] for item in members[name]]
    drawn = generator(seed, "imbalance", "union").permutation(len(rare))[: max(1, int(len(kept) / ratio))]
    return [*kept, *(rare[n] for n in drawn.tolist())]


def _check(ratio: float, small: float) -> None:
    if not ratio >= 1 or ratio == float("inf"):
        raise ConfigError(f"an imbalance of ratio {ratio}: give 1 (balanced) or more, for example 100")
    if not 0 < small < 1:
        raise ConfigError(f"a share of {small} of the classes is to be small: give a number between 0 and 1")


def _name(label: object, classes: Sequence[str] | None) -> str:
    return classes[label] if isinstance(label, int) and classes else str(label)
