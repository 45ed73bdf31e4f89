"""Where stochastic passes come from. What draws are made of is declared by the signal, made by the learner."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias


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


@dataclass(frozen=True)
class Dropout(Passes):
    """Dropout at inference; batch norm never moves.

    There is one mask per layer and draw, seeded by (seed, draw) and shared by all images.

    Args:
        p: share of channels set to zero, in (0, 1), for inserted layers; the model's own layers keep theirs.
        after: module paths behind which dropout is inserted; empty: the model's own dropout layers.

    Reference:
        Gal and Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016.
    """

    p: float = 0.5
    after: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.p < 1:
            raise ValueError(f"p must lie between 0 and 1, got {self.p}")


@dataclass(frozen=True)
class Members(Passes):
    """Each draw is another member of an ensemble learner, in turn.

    Reference:
        Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles", NeurIPS
        2017.
    """


@dataclass(frozen=True)
class Views(Passes):
    """Each draw looks at a changed image, changed alike for all: a flip on every other draw, a rotation, noise.

    Args:
        flip: whether every other draw is mirrored.
        degrees: largest rotation to either side.
        noise: standard deviation of pixel noise in units of normalised input.
    """

    flip: bool = True
    degrees: float = 10.0
    noise: float = 0.05


PassKind: TypeAlias = Literal["dropout", "views", "members"]
_KINDS: dict[PassKind, type[Passes]] = {"dropout": Dropout, "views": Views, "members": Members}


def passes_of(source: Passes | PassKind, draws: int | None = None) -> Passes:
    """The passes that an option names, or describes in full; ``draws`` of them, where that is said.

    Example:
        >>> passes_of("views", 4).draws
        4
    """
    passes = _KINDS[source]() if isinstance(source, str) else source
    return passes if draws is None else replace(passes, draws=draws)
