"""Images whose gradient lowers the loss of known items most: first-order influence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.pursuit import pursued
from labelwise.selection.ranking import take_top
from labelwise.selection.reduction import Empty
from labelwise.signals.curvature import Curvature, Hessian
from labelwise.signals.probes import COLUMNS, LossSlope
from labelwise.signals.slopes import Believed, Method

Along = Literal["labelled", "validation", "reference", "test"]
Preset = Literal["default", "faithful_classification", "faithful_fcos", "faithful_faster_rcnn"]

_LISSA = {"along": "test", "hessian": "lissa", "damping": 0.01, "repeats": 4}
_FCOS = ("net.head.classification_head.cls_logits", "net.head.regression_head.bbox_reg")
_CENTRE = "net.head.regression_head.bbox_ctrness"
_RPN, _ROI = "net.rpn.head", "net.roi_heads.box_predictor"
#: what is not said is the preset's; of the published ones sections 2.2 to 2.4 of the code, scores of FCOS being roots
PRESETS: dict[Preset, Mapping[str, Any]] = {
    "default": {
        "along": "labelled",
        "hessian": "identity",
        "damping": 1.0,
        "iterations": 20,
        "layers": ("all",),
        "confident": 0.1,
        "scale": 1e4,
        "repeats": 1,
    },
    "faithful_classification": {**_LISSA, "iterations": 250, "layers": ("all",), "confident": 0.1, "scale": 1e4},
    "faithful_fcos": {
        **_LISSA,
        "iterations": 1002,
        "layers": (*_FCOS, _CENTRE),
        "confident": 0.316,
        "scale": ((_FCOS[0], 100.0), (_FCOS[1], 8000.0), (_CENTRE, 5000.0)),
    },
    "faithful_faster_rcnn": {
        **_LISSA,
        "iterations": 1002,
        "layers": (f"{_RPN}.cls_logits", f"{_RPN}.bbox_pred", f"{_ROI}.cls_score", f"{_ROI}.bbox_pred"),
        "confident": 0.1,
        "scale": ((_RPN, 1000.0), (f"{_ROI}.cls_score", 5000.0), (f"{_ROI}.bbox_pred", 1000.0)),
    },
}


@dataclass(frozen=True)
class Influence(Strategy):
    """The images on which a step of training would lower the loss of known items most.

    score(x) = <grad l(x, y), H^-1 v> with v the mean gradient of the loss over the known items, y the label that the
    model believes x to have, and H the curvature of the loss over the labelled items. Positive: their loss falls.

    Works for every task whose loss is known: classes, boxes, masks. Of an ensemble the first network is asked.

    Args:
        along: the known items: ``labelled`` (what the model was trained on: free), ``validation`` or ``reference``
            (labelled, kept out of training), or ``test``: as published, a leak, in simulated studies alone and marked
            there.
        hessian: H: ``identity``; ``fisher`` (conjugate gradients, ``iterations`` at most; the note says how far they
            came); ``ekfac`` (Kronecker factors; wants the extra ``ekfac``); ``lissa`` (as published). See
            ``Curvature``.
        damping: added to the diagonal of H.
        iterations: of conjugate gradients; labelled images of a repetition of ``lissa``.
        layers: ``all`` weights, those of the ``last`` layer (of detectors: the prediction layers), or beginnings of
            names. Another choice ranks otherwise; it is no faster way to the same.
        label: y: ``predicted``, ``soft`` (the ``top`` likeliest classes, each with its probability, fewer than there
            are) or ``true`` (an oracle).
        top: classes of a soft label.
        confident: lowest score of a box in a predicted label.
        empty: where images without such a box stand: ``last`` (as published), ``median`` or ``first``.
        strata: 1: the best. More: the ranking is cut into so many blocks, and the best of each are taken.
        biases: whether biases and factors of normalisations count.
        batch: ``top``: each image by itself. ``greedy``: after each pick, what lies along its own gradient is taken out
            of the direction, so that a twin of it has nothing left to give; gradients in ``sketch`` dimensions.
        sketch: see ``batch``; inner products are off by about 1 / sqrt(sketch).
        scale: of ``lissa``: one number, or (beginning of names, number) for each part.
        repeats: of ``lissa``.
        method: ``forward``, or ``difference`` where an operation of the network cannot be differentiated forwards.
        preset: ``default``, or the published constants of one of three networks: ``faithful_classification``,
            ``faithful_fcos``, ``faithful_faster_rcnn``. What is None above is the preset's.

    Raises:
        UnmetNeed: no such set, no labels, or a network or loss without the derivatives.
        ConfigError: layers that are not there, as many soft classes as there are.
        DataError: a direction that is not finite.

    Cost: one forward and backward pass over the known items; two such an iteration of ``fisher`` over the labelled
        ones; then three to seven forward passes over the pool, for the last layer one to two. ``greedy``
        takes one forward and backward pass with ``sketch`` more channels in each layer, which gives the scores too, and
        O(K M sketch). Memory: a copy of the weights or two, whatever the number of images.

    Example:
        >>> import labelwise as lw
        >>> lw.select("influence", 1, probs=[[0.5, 0.5], [0.9, 0.1]], labelled=[0])
        Traceback (most recent call last):
        ...
        labelwise.errors.UnmetNeed: ...

    Reference:
        Liu, Ding, Zhong, Li, Dai and He, "Influence Selection for Active Learning", ICCV 2021 (arXiv 2108.09331). By
        default we differ: the known items are the labelled ones and not the test images, H is the identity, and for
        detectors all weights count (docs/influence.md).
    """

    name: ClassVar[str] = "influence"
    along: Along | None = None
    hessian: Hessian | None = None
    damping: float | None = None
    iterations: int | None = None
    layers: str | tuple[str, ...] | list[str] | None = None
    label: Literal["predicted", "soft", "true"] = "predicted"
    top: int = 2
    confident: float | None = None
    empty: Empty = "last"
    strata: int = 1
    biases: bool = False
    batch: Literal["top", "greedy"] = "top"
    sketch: int = 32
    scale: float | tuple[Any, ...] | list[Any] | None = None
    repeats: int | None = None
    method: Method = "forward"
    preset: Preset = "default"

    def __post_init__(self) -> None:
        # files have lists, and strategies are hashable
        if isinstance(self.layers, list):
            object.__setattr__(self, "layers", tuple(self.layers))
        if isinstance(self.scale, list):
            object.__setattr__(self, "scale", tuple(map(tuple, self.scale)))
        if self.strata < 1 or self.sketch < 1:
            raise ValueError(f"strata and sketch are {self.strata} and {self.sketch}: give 1 or more")
        if self.batch == "greedy" and self.strata > 1:
            raise ValueError("strata cuts a ranking into blocks, and batch=greedy makes none: choose one of them")
        _ = self.signal  # checks the options

    def _said(self, option: str) -> Any:
        given = getattr(self, option)
        return PRESETS[self.preset][option] if given is None else given

    @property
    def signal(self) -> LossSlope:
        """The slope of each image, with what there is to say of it."""
        layers = self._said("layers")
        return LossSlope(
            along=self._said("along"),
            curvature=self._curvature(),
            layers=(layers,) if isinstance(layers, str) else layers,
            biases=self.biases,
            believed=Believed(self.label, self.top, self._said("confident")),
            empty=self.empty,
            method=self.method,
            sketch=self.sketch if self.batch == "greedy" else 0,
        )

    def _curvature(self) -> Curvature:
        hessian, lissa = self._said("hessian"), self._said("hessian") == "lissa"
        scale, repeats = (self._said("scale"), self._said("repeats")) if lissa else (1.0, 1)
        asked = Curvature(hessian, self._said("damping"), self._said("iterations"), scale, repeats)
        return Curvature() if hessian == "identity" else asked

    def steps(self) -> tuple[Step, ...]:
        """One step, on the slopes of the candidates."""
        return (Step(Needs(pool=frozenset({self.signal})), self._choose),)

    def _choose(self, query: Query) -> Selection:
        rows_MW = query.pool(self.signal)
        slope_M, notes = rows_MW[:, 0], self._notes(rows_MW)
        if self.batch == "greedy":
            chosen_K, score_K = pursued(slope_M, rows_MW[:, len(COLUMNS) :], query.budget, rng=query.rng)
            return Selection(query.unlabelled_M[chosen_K], score_K, notes)
        if self.strata == 1:
            chosen_K = take_top(slope_M, query.budget, rng=query.rng).cpu()
        else:
            chosen_K = _stratified(take_top(slope_M, len(slope_M), rng=query.rng).cpu(), query.budget, self.strata)
        return Selection(query.unlabelled_M[chosen_K], slope_M.cpu()[chosen_K], notes)

    def _notes(self, rows_MW: Tensor) -> tuple[str, ...]:
        signal, count = self.signal, len(rows_MW)
        residual, steps, length = rows_MW[0, 2:5].tolist()
        empty = int(rows_MW[:, 1].sum())
        notes: list[str] = []
        if signal.along == "test":
            notes.append("a leak: images are chosen by the labels of the test images")
        if not length:
            notes.append(f"the loss of the {signal.along} images falls along no direction: the picks are random")
        if signal.curvature.hessian == "fisher":
            notes.append(
                f"conjugate gradients on the Fisher matrix came to a residual of {residual:.2g} in {steps:.0f} steps, "
                f"damping {signal.curvature.damping:g}"
            )
        if empty:
            place = {"last": "last", "median": "in the middle", "first": "first"}[self.empty]
            notes.append(
                f"in {empty:,} of {count:,} images the model finds nothing with a score of "
                f"{signal.believed.confident:g} or more: they stand {place}"
            )
        return tuple(notes)


def _stratified(ranked_M: Tensor, budget: int, strata: int) -> Tensor:
    """The best of each of so many blocks of a ranking, as many of each."""
    shares = torch.tensor_split(torch.arange(budget), strata)
    blocks = torch.tensor_split(ranked_M, strata)
    return torch.cat([block[: len(share)] for block, share in zip(blocks, shares, strict=True)])
