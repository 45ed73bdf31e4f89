"""Where stochastic passes come from. What draws are made of is declared by the signal, made by the learner."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

from labelwise.errors import ConfigError, unknown


@dataclass(frozen=True)
class Passes:
    """A declared source of stochastic passes.

    Args:
        draws: how many passes T.
    """

    draws: int = 10

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"draws must be at least 1, got {self.draws}")

    def count(self, members: int) -> int:
        """How many passes that makes with an ensemble of so many networks."""
        return self.draws


DropoutUnit: TypeAlias = Literal["element", "channel"]


@dataclass(frozen=True)
class Dropout(Passes):
    """Dropout at inference; batch norm never moves.

    There is one mask per layer and draw, seeded by (seed, draw) and shared by all images, so that what is said of an
    image does not depend on the others of its batch.

    Args:
        p: share of activations set to zero, in (0, 1), for inserted layers; the model's own layers keep theirs.
        after: module paths behind which dropout is inserted, each perhaps as (path, p) with a share of its own; empty:
            the model's own dropout layers.
        unit: what an inserted layer decides about: each ``element`` of a map by itself, as ``torch.nn.Dropout`` in
            training, or whole ``channel``s. The model's own layers decide as they did in training.

    Reference:
        Gal and Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016.
    """

    p: float = 0.5
    after: tuple[str | tuple[str, float], ...] = ()
    unit: DropoutUnit = "element"

    def __post_init__(self) -> None:
        super().__post_init__()
        for p in (self.p, *(place[1] for place in self.after if not isinstance(place, str))):
            if not 0 < p < 1:
                raise ValueError(f"p must lie between 0 and 1, got {p}")
        if self.unit not in ("element", "channel"):
            raise ValueError(f"unit must be 'element' or 'channel', got {self.unit!r}")

    @property
    def places(self) -> tuple[tuple[str, float], ...]:
        """Module paths behind which dropout is inserted, each with its share."""
        return tuple((place, self.p) if isinstance(place, str) else place for place in self.after)


@dataclass(frozen=True)
class Members(Passes):
    """Each member of an ensemble learner in turn, every one as often as the others.

    Args:
        draws: passes of each member; without dropout they all say the same.
        dropout: masks the member of each pass, another mask each time; None runs it as it is.

    Example:
        >>> Members(draws=16, dropout=Dropout(p=0.25, after=("block1",))).count(members=4)
        64

    Reference:
        Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles", NeurIPS
        2017.
    """

    draws: int = 1
    dropout: Dropout | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dropout is not None and not isinstance(self.dropout, Dropout):
            raise ValueError(f"dropout must describe masks, as {{p: 0.25, after: [block1]}}, got {self.dropout!r}")

    def count(self, members: int) -> int:
        """``draws`` of each."""
        return self.draws * members


@dataclass(frozen=True)
class Views(Passes):
    """Each draw looks at a changed image, changed alike for all: a flip on every other draw, a rotation, noise.

    Args:
        flip: whether every other draw is mirrored.
        degrees: largest rotation to either side.
        noise: standard deviation of pixel noise in units of normalised input; several: of one draw after the other.

    Example:
        >>> [Views(draws=3, noise=(0.1, 0.2)).noise_of(draw) for draw in range(3)]
        [0.1, 0.2, 0.1]
    """

    flip: bool = True
    degrees: float = 10.0
    noise: float | tuple[float, ...] = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        levels = (self.noise,) if isinstance(self.noise, int | float) else self.noise
        if not levels or not all(0 <= level < math.inf for level in levels):
            raise ValueError(f"noise must be one standard deviation of 0 or more, or several, got {self.noise}")

    def noise_of(self, draw: int) -> float:
        """Standard deviation of the noise of a draw, counted from 0."""
        return self.noise if isinstance(self.noise, int | float) else self.noise[draw % len(self.noise)]


PassKind: TypeAlias = Literal["dropout", "views", "members"]
_KINDS: dict[PassKind, type[Passes]] = {"dropout": Dropout, "views": Views, "members": Members}


def passes_of(source: Passes | PassKind | Mapping[str, Any], draws: int | None = None) -> Passes:
    """The passes that an option names, or describes in full; ``draws`` of them, where that is said.

    Args:
        source: passes, their kind, or a mapping as files have it: the kind under ``kind``, options beside it.
        draws: how many; None as ``source`` says.

    Raises:
        ConfigError: an unknown kind or option.

    Example:
        >>> passes_of("views", 4).draws
        4
        >>> passes_of({"kind": "dropout", "after": [["hidden", 0.5]]}).after
        (('hidden', 0.5),)
    """
    passes = _KINDS[source]() if isinstance(source, str) else source
    if isinstance(passes, Mapping):
        passes = _described(passes)
    return passes if draws is None else replace(passes, draws=draws)


def _described(source: Mapping[str, Any]) -> Passes:
    kind, options = source.get("kind", "dropout"), {key: _fixed(v) for key, v in source.items() if key != "kind"}
    if kind not in _KINDS:
        raise unknown("kind of passes", str(kind), _KINDS)
    allowed = [f.name for f in fields(_KINDS[kind])]
    for option in options:
        if option not in allowed:
            raise unknown(f"option of {kind!r} passes", option, allowed)
    try:
        return _KINDS[kind](**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{kind!r} passes refuse {options}: {error}") from error


def _fixed(value: Any) -> Any:
    """Lists, as files have them, as tuples, and the dropout within members as such: passes are part of a key."""
    if isinstance(value, Mapping):
        return _described({"kind": "dropout", **value})
    return tuple(map(_fixed, value)) if isinstance(value, list | tuple) else value
