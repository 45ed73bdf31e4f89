"""What the pool has that looks like the model's failures on a reference set, by features and gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.signal import Signal
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.errors import UnmetNeed
from labelwise.selection.fisher_kernel import FisherKernel, matches, spread_centres
from labelwise.selection.ranking import take_top
from labelwise.signals.descriptors import Descriptors, Label
from labelwise.signals.plain import Probs


@dataclass(frozen=True)
class Fisher(Strategy):
    """Images of the pool that resemble reference images which the model gets wrong: for pools with a wrong class mix.

    s(x, v) = z(x).z(v) + g(x).g(v) with pooled activations z and pooled gradients g of the loss with respect to them,
    each layer standardised over its channels. The failures of the model on the reference set are thinned to K by greedy
    k-centre where there are more; then every one takes its most similar candidate, its second, ... until K are chosen.

    Where we differ: published is the preset ``faithful``. By default the gradient of a reference image is always one
    under its true label, and the estimates over perturbed copies are mended (see ``Descriptors``). Matches are looked
    for as deep as they are needed, so few failures do no harm; with none, the reference images that the model is least
    sure of take their place. The first centre and the order of equals are drawn.

    Args:
        layers: modules whose activations count, as for ``Descriptors``; none named: the embedding.
        label: the class under which a candidate's gradient is taken: ``nearest`` (of the reference image with the most
            similar features), ``predicted``, ``none`` (features alone), ``true`` (an oracle), or one of the others of
            ``Descriptors``.
        kernel: ``sum``, as above, or ``product``: (z.z')(g.g').
        levels: ``channels`` weighs layers by their width, as published; ``equal`` alike.
        copies: perturbed copies of an image, for the labels that are estimated from them.
        preset: ``default`` or ``faithful``.

    Raises:
        UnmetNeed: there is no reference set, or (``label="true"``) there are no hidden labels.
        ConfigError: a layer that the model has not.
        DataError: descriptors that do not fit into memory, or are not finite.

    Cost: one forward and one backward pass over pool and reference, for ``nearest`` another forward pass over the
        reference and M R L operations; min(K, F) M 2 L to match F failures, K F 2 L to thin them. On MNIST that is a
        fourteenth of the time of 128 dropout draws.

    Example:
        >>> import labelwise as lw
        >>> "fisher" in lw.list_strategies()
        True

    Reference:
        Gudovskiy, Hodgkinson, Yamaguchi and Tsukizawa, "Deep Active Learning for Biased Datasets via Fisher Kernel
        Self-Supervision", CVPR 2020 (arXiv 2003.00393).
    """

    name: ClassVar[str] = "fisher"
    layers: tuple[str, ...] | list[str] = ()
    label: Label = "nearest"
    kernel: Literal["sum", "product"] = "sum"
    levels: Literal["channels", "equal"] = "channels"
    copies: int = 128
    preset: Literal["default", "faithful"] = "default"

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))  # files have lists, and strategies are hashable
        if self.kernel == "product" and self.label == "none":
            raise ValueError("kernel='product' multiplies by gradients, and label='none' takes none")
        self._descriptors(self.label)  # checks copies

    @property
    def untrained(self) -> bool:
        """The failures of a model that has seen no label yet say enough."""
        return True

    def _descriptors(self, label: Label) -> Descriptors:
        return Descriptors(tuple(self.layers), label, self.levels, self.copies, self.preset)

    @property
    def _of_reference(self) -> Descriptors:
        """A reference image has its own label, unless pool and reference have to be estimated alike."""
        if self.label in ("nearest", "nearest_joint") or (self.label == "predicted" and self.preset == "default"):
            return self._descriptors("true")
        return self._descriptors(self.label)

    def steps(self) -> tuple[Step, ...]:
        """One step, on descriptors of candidates and reference images and on what the model says of the latter."""
        pool: frozenset[Signal] = frozenset({self._descriptors(self.label)})
        reference: frozenset[Signal] = frozenset({self._of_reference, Probs()})
        needs = Needs(pool=pool, reference=reference, truth=self.label == "true", exclusive=True)
        return (Step(needs, self._choose),)

    def _choose(self, query: Query) -> Selection:
        if not len(query.reference_R) or query.labels_R is None:
            raise UnmetNeed("no image of the reference set can be read: strategy 'fisher' matches against it")
        rows_RW, probs_RC = query.of_reference(self._of_reference), query.of_reference(Probs())
        kernel = FisherKernel(self.kernel, rows_RW.shape[1] // 2)
        sought_F, notes = _sought(query, probs_RC)
        rows_FW = rows_RW[sought_F]
        centres = spread_centres(rows_FW, min(query.budget, len(rows_FW)), kernel=kernel, rng=query.rng)
        picks_K = matches(
            query.matrix(self._descriptors(self.label)),
            rows_FW[centres],
            query.budget,
            candidates_M=query.unlabelled_M,
            kernel=kernel,
            rng=query.rng,
        )
        return Selection(picks_K.cpu(), notes=notes)


def _sought(query: Query, probs_RC: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """Rows of the reference set that the model gets wrong, and what is to be said of them."""
    assert query.labels_R is not None
    labels_R = query.labels_R.to(probs_RC.device)
    notes: tuple[str, ...] = ()
    known_C = labels_R.bincount(minlength=probs_RC.shape[1]) > 0
    if query.class_counts_C is not None:
        unseen = ((query.class_counts_C.to(known_C.device) > 0) & ~known_C).nonzero().flatten().tolist()
        if unseen:
            notes += (f"the reference set has no image of class number {unseen}, whose failures nobody sees",)
    failed_F = (probs_RC.argmax(1) != labels_R).nonzero().flatten()
    if len(failed_F):
        return failed_F, (*notes, f"{len(failed_F):,} of {len(labels_R):,} reference images are misclassified")
    doubt_R = 1 - probs_RC.gather(1, labels_R[:, None])[:, 0]
    least = take_top(doubt_R, min(query.budget, len(doubt_R)), rng=query.rng)
    said = (
        f"none of {len(labels_R):,} reference images is misclassified: matched against the {len(least)} least certain"
    )
    return least, (*notes, said)
