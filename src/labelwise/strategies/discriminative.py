"""Images that a small net tells from those that are labelled, by their features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.discrimination import PUBLISHED, Discriminated, Settings, discriminate
from labelwise.signals.plain import Embedding
from labelwise.strategies.random import Random

Preset = Literal["default", "faithful"]
Features = Literal["task", "frozen", "objects"]

#: by preset: where features come from, and everything else
_PRESETS: dict[Preset, tuple[Features, Settings]] = {"default": ("frozen", Settings()), "faithful": ("task", PUBLISHED)}


@dataclass(frozen=True)
class Discriminative(Strategy):
    """The images least like what is labelled, as a small net sees it in their features.

    score = P(unlabelled | features), by a net that learns to tell candidates from labelled images. The budget is spent
    in sub-batches: what one picks counts as labelled for the next, which trains a fresh net, so that no region is
    picked twice. No label is read, so any kind of label will do. Without a labelled image the choice is random.

    The note of a selection says whether the two kinds can be told apart: of a labelled and an unlabelled image that
    such a net has not seen, how often it takes the right one for unlabelled (0.5: chance, and then the picks may be no
    better than random). It also says in how many sub-batches the net learnt no more before enough images were told
    right. Scores are of the net of their sub-batch: they fall
    within one, not over all.

    Args:
        preset: ``default``, or ``faithful``: what is published. The defaults of ``features``, ``standardise`` and
            ``epochs`` are the preset's, and so are net, batches and rate.
        features: ``frozen`` for the feature source beside the model, ``task`` for the model's own embedding,
            ``objects`` for its embedding of the objects in an image; None: frozen, faithful task.
        sub_batches: of equal size; the last is smaller where they do not divide the budget.
        candidates: unlabelled images drawn for a sub-batch, as a multiple of the labelled ones, or of the sub-batch
            where that is more; None: all.
        standardise: each feature minus its mean, by its deviation; None: yes, faithful no.
        weighted: both kinds weigh alike in the loss, however many there are of each; False: every image does.
        accuracy: a net stops learning once this share of the images is told right, counted while they are learnt
            from, over a quarter of an epoch, faithful a whole one.
        epochs: of a net at most; None: 100, faithful 500. By default it also stops where three epochs in a row did not
            bring the loss 2 % below the lowest of before.

    Raises:
        DataError: features that are not finite.
        NonFiniteScore: a training diverged.

    Cost: a training for each sub-batch and one for the note, of two to three epochs where images can be told apart.
        10,000 candidates of 512 features, 1,000 labelled, ten sub-batches: some 5 s of one core, a seventh of
        the published loop. Memory: the rows of a sub-batch in float32.

    Example:
        >>> import labelwise as lw
        >>> rows = [[0.0, 0.1 * n] for n in range(10)] + [[9.0, 0.1 * n] for n in range(10)]
        >>> picks = lw.select("discriminative", 2, embeddings=rows, labelled=[0, 1, 2, 3, 4], seed=0)
        >>> sorted(position >= 10 for position in picks.positions.tolist())
        [True, True]

    Reference:
        Gissin and Shalev-Shwartz, "Discriminative Active Learning", 2019 (arXiv 1907.06347). ``faithful`` has the
        constants of SuperAnnotate's ``active_learning`` for CIFAR-10, with the nets trained that it left untrained:
        three hidden layers, Adam at 3e-4, batches of 128, at most 500 epochs. By default we differ: features are
        standardised, the net has one hidden layer, Adam learns at one by its width in batches of up to 512 of which
        half are labelled, the stop rule is looked at in every step instead of after an epoch, and there is a second.
    """

    name: ClassVar[str] = "discriminative"
    preset: Preset = "default"
    features: Features | None = None
    sub_batches: int = 10
    candidates: int | None = 10
    standardise: bool | None = None
    weighted: bool = True
    accuracy: float = 0.982
    epochs: int | None = None

    def __post_init__(self) -> None:
        _ = self.settings  # checks the options

    @property
    def settings(self) -> Settings:
        """Everything but the features."""
        by = _PRESETS[self.preset][1]
        return replace(
            by,
            sub_batches=self.sub_batches,
            candidates=self.candidates,
            standardise=by.standardise if self.standardise is None else self.standardise,
            weighted=self.weighted,
            accuracy=self.accuracy,
            epochs=by.epochs if self.epochs is None else self.epochs,
        )

    @property
    def signal(self) -> Embedding:
        """The features."""
        return Embedding(self.features or _PRESETS[self.preset][0])

    @property
    def cold(self) -> bool:
        """Frozen features need no model, and without a label the choice is random."""
        return self.signal.source == "frozen"

    def acts_as(self, query: Query) -> Strategy:
        """Random while nothing is labelled: there are no two kinds to tell apart."""
        return self if len(query.labelled_L) else Random()

    def steps(self) -> tuple[Step, ...]:
        """One step, on embeddings of candidates and labelled items."""
        signals = frozenset({self.signal})
        return (Step(Needs(pool=signals, labelled=signals), self._choose),)

    def _choose(self, query: Query) -> Selection:
        if not len(query.labelled_L):  # there are some, and none of them can be read
            return Random().steps()[0].select(query)
        found = discriminate(
            query.matrix(self.signal),
            query.budget,
            labelled_L=query.labelled_L,
            candidates_M=query.unlabelled_M,
            settings=self.settings,
            rng=query.rng,
        )
        return Selection(found.rows_K.cpu(), found.scores_K.cpu(), tuple(self._notes(found, len(query.unlabelled_M))))

    def _notes(self, found: Discriminated, free: int) -> list[str]:
        turns, apart = found.turns, found.apart
        if not turns:
            return []
        if apart is None:
            said = "whether labelled and unlabelled images can be told apart is unknown: too few to hold some out"
        else:
            said = (
                f"of {apart.labelled} labelled and {apart.unlabelled} unlabelled images held out, {apart.pairs:.0%} of "
                "all pairs are told apart (50%: chance)"
            )
            said += "; that may be chance, and then the picks are no better than random ones" * apart.chance
        notes = [f"discriminative: {said}"]
        if short := [turn.accuracy for turn in turns if not turn.reached]:
            notes.append(
                f"discriminative: in {len(short)} of {len(turns)} sub-batches the net learnt no more before "
                f"{self.accuracy:.1%} of its images were told right (lowest: {min(short):.1%})"
            )
        if turns[0].drawn < free:
            drawn = turns[0].drawn
            notes.append(f"discriminative: {drawn} of {free} candidates were drawn for a sub-batch (option candidates)")
        return notes
