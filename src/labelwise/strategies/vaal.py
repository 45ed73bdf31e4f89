"""Images that a discriminator takes for unlabelled, by the code of an auto-encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.ranking import take_top
from labelwise.signals.adversary import Adversary, AdversaryPreset
from labelwise.strategies.random import Random


@dataclass(frozen=True)
class VAAL(Strategy):
    """The images least like what is labelled, as a discriminator sees it in the code of an auto-encoder.

    score = 1 - D(mu(x)). A variational auto-encoder rebuilds labelled and unlabelled images x and tries to make D take
    the mean mu(x) of any code for that of a labelled image; D learns to tell them apart. Both start afresh each round.
    Neither labels nor the model in training are read, so any kind of label will do. Without a labelled image the choice
    is random.

    The note of a selection says how well D tells the images apart that it was trained on (0.5: not at all, and then
    the picks are as good as random) and how far the codes are spread (0: they say nothing of the images).

    Args:
        preset: ``default``, or ``faithful``: what is published, flaws included. The defaults of ``iterations``,
            ``batch_size`` and ``width`` are the preset's.
        iterations: of the training, each of two updates of the auto-encoder and two of D; 400, faithful 10,000.
        batch_size: labelled and unlabelled images of a step, as many of each; 64, faithful 25.
        side: images are brought to this many pixels square, a multiple of 16.
        width: channels of the first of four convolutions; 8 (colour 16), faithful 64 (colour 128).
        latent: dimensions of the code.
        beta: weight of the divergence of the code from a normal distribution.
        fooling: weight of the auto-encoder's wish to mislead D.

    Raises:
        NonFiniteScore: the training diverged.
        UnmetNeed: the learner hands out no images.

    Cost: the training, whatever the size of the pool: iterations x 4 batch_size images through the auto-encoder and
        back and as many through the encoder; one pass of the encoder over the pool. On one core a minute a round,
        ``faithful`` 3.5 hours on grey images.

    Example:
        >>> import labelwise as lw
        >>> lw.select("vaal", 1, probs=[[0.5, 0.5], [0.9, 0.1]], labelled=[0])
        Traceback (most recent call last):
        ...
        labelwise.errors.UnmetNeed: ...

    Reference:
        Sinha, Ebrahimi and Darrell, "Variational Adversarial Active Learning", ICCV 2019, equations 1 to 5 and
        algorithm 2. ``faithful`` has the constants of the comparison in Gudovskiy et al., CVPR 2020. By default we
        differ: the loss of the auto-encoder is summed over pixels and latent dimensions and averaged over images (as
        published it is averaged over pixels and summed over the batch, and the code collapses); both kinds of image
        share the statistics of batch norm in training, and scores come from running statistics, so that no image's
        depends on its neighbours'; larger images are shrunk without aliasing; nets and training are smaller. In both,
        images are in [0, 1] and are not flipped, and the task's model is trained as for any other strategy.
    """

    name: ClassVar[str] = "vaal"
    preset: AdversaryPreset = "default"
    iterations: int | None = None
    batch_size: int | None = None
    side: int = 32
    width: int | None = None
    latent: int = 32
    beta: float = 1.0
    fooling: float = 1.0

    def __post_init__(self) -> None:
        _ = self.signal  # checks the options

    @property
    def signal(self) -> Adversary:
        """Both nets and their training."""
        return Adversary(
            self.preset,
            iterations=self.iterations,
            batch_size=self.batch_size,
            side=self.side,
            width=self.width,
            latent=self.latent,
            beta=self.beta,
            fooling=self.fooling,
        )

    def acts_as(self, query: Query) -> Strategy:
        """Random while nothing is labelled: there are no two kinds to tell apart."""
        return self if len(query.labelled_L) else Random()

    def steps(self) -> tuple[Step, ...]:
        """One step."""
        return (Step(Needs(pool=frozenset({self.signal})), self._choose),)

    def _choose(self, query: Query) -> Selection:
        rows_M3 = query.pool(self.signal)
        # logits keep apart what rounds to a probability of one
        chosen_K = take_top(rows_M3[:, 0], query.budget, rng=query.rng)
        separation, spread = rows_M3[0, 1:].tolist()
        note = f"the discriminator tells unlabelled from labelled images at {separation:.2f} (0.5: not at all); "
        note += f"codes are spread by {spread:.3f} (0: they say nothing)"
        return Selection(query.unlabelled_M[chosen_K], torch.sigmoid(rows_M3[chosen_K, 0]), (note,))
