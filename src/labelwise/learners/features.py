"""Learning on frozen features: a backbone run once per image, and a small head trained on what it says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from labelwise.contracts.head import LinearHead
from labelwise.contracts.learner import Auxiliary, Examples, FitReport, Learner, LearnerData, Producer
from labelwise.contracts.passes import Dropout, Passes
from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.signal import Draw, Probe, Signal, SignalRole, SignalTable, read_targets
from labelwise.contracts.task import Batch, Field, Outputs, Task
from labelwise.data.loader import PreparedImages, batches, blocks, default_workers
from labelwise.errors import DataError, UnmetNeed
from labelwise.learners.backbones import Backbone
from labelwise.learners.inference import Collector, gathered, logits_from, prepared_with, wanted_fields
from labelwise.learners.passes import dropout_mask
from labelwise.learners.probed import ProbedHead, blank_layer
from labelwise.learners.saved import NAME, read_weights, write_weights
from labelwise.processes import several, share
from labelwise.rng import digest, torch_generator
from labelwise.selection.arrays import as_tensor
from labelwise.signals.cache import SignalCache
from labelwise.signals.plain import Embedding

#: rows of features handled at once
BLOCK = 8192
#: rows whose nearest neighbours are measured at once
_MEASURED = 512


class FeatureSource:
    """A frozen backbone over a source, its vectors kept on disk: rows survive every fit.

    Args:
        backbone: turns images into vectors.
        cache: keeps the rows; None computes them anew each time.
        batch_size: images per step.
        dtype: of the rows on disk; ``float16`` halves them and rounds to 0.05 %. What is computed from them is float32.
    """

    def __init__(
        self,
        backbone: Backbone,
        cache: SignalCache | None = None,
        *,
        batch_size: int = 256,
        dtype: Literal["float32", "float16"] = "float32",
    ) -> None:
        self.backbone = backbone
        self.cache = cache or SignalCache(None)
        self.batch_size = batch_size
        self.dtype = dtype

    def collect(
        self,
        view: Examples,
        signals: frozenset[Signal],
        *,
        role: SignalRole = "pool",
        data: LearnerData | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> SignalTable:
        """Embeddings, from disk where they lie there; only images never seen before go through the backbone.

        Raises:
            UnmetNeed: anything but an embedding is asked for.
        """
        for signal in signals:
            if not isinstance(signal, Embedding):
                raise UnmetNeed(f"a frozen feature source gives embeddings and nothing else; {signal!r} was asked for")
        table = self.cache.table(_Pass(self), view, frozenset({FROZEN}), progress=progress)
        return SignalTable(table.ids, dict.fromkeys(signals, table[FROZEN]), table.failed)

    def signal_key(self, signal: Signal, *, data: LearnerData | None = None, seed: int = 0) -> str:
        """Backbone, transform and precision on disk."""
        parts = () if self.dtype == "float32" else (self.dtype,)
        return digest("frozen", self.backbone.weights, repr(self.backbone.input), *parts)


FROZEN = Embedding("frozen")


class _Pass:
    """One pass of the backbone over images: what the cache calls for rows it lacks."""

    def __init__(self, source: FeatureSource) -> None:
        self.source = source

    def collect(
        self,
        view: Examples,
        signals: frozenset[Signal],
        *,
        role: SignalRole = "pool",
        data: LearnerData | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> SignalTable:
        """Embeddings of all images of the view, raw; of several processes each reads a share of them."""
        backbone = self.source.backbone
        images = PreparedImages(view.source, view.ids, backbone.input)
        mine = share(len(view))
        workers = default_workers(view.source, len(mine))
        order = [[mine[i] for i in block] for block in blocks(len(mine), self.source.batch_size)]
        kept: list[int] = []
        failed: dict[str, str] = {}
        parts: list[Tensor] = []
        with torch.inference_mode():
            for loaded in batches(images, order, workers=workers):
                failed.update({view.ids[row]: reason for row, reason in loaded.failed.items()})
                if loaded.rows:
                    kept += loaded.rows
                    parts.append(self._stored(backbone(loaded.images).cpu(), [view.ids[row] for row in loaded.rows]))
                progress("reading features", len(kept) + len(failed), len(mine))
        columns = dict.fromkeys(signals, torch.cat(parts).numpy()) if parts else {}
        table = SignalTable(tuple(view.ids[row] for row in kept), columns, failed)
        if several():
            table = gathered(table, view.ids)
        return table if table.columns else SignalTable((), dict.fromkeys(signals, np.empty((0, 0), "f4")), table.failed)

    def _stored(self, rows_BD: Tensor, ids: Sequence[str]) -> Tensor:
        stored_BD = rows_BD.half() if self.source.dtype == "float16" else rows_BD
        finite_B = stored_BD.isfinite().all(1)
        if not bool(finite_B.all()):
            item = ids[int(finite_B.int().argmin())]
            if bool(rows_BD.isfinite().all()):
                raise DataError(
                    f"the features of {item!r} reach {float(rows_BD.abs().max()):.3g}, and float16 ends at 65504: set "
                    "features: {dtype: float32}"
                )
            raise DataError(f"the features of {item!r} hold NaN or infinity: check the weights of the backbone")
        return stored_BD

    def signal_key(self, signal: Signal, *, data: LearnerData | None = None, seed: int = 0) -> str:
        """As the source says."""
        return self.source.signal_key(signal)


class FeatureLearner(Learner):
    """A linear or k-NN head on frozen features; training takes well under a second.

    Args:
        task: what is learnt; its unit must be the image.
        source: gives the features.
        head: ``linear`` (multinomial logistic regression) or ``knn``.
        strength: weight of the ridge on the linear head, in units of one image's loss: 1 is scikit-learn's C = 1. None:
            ``usual_strength`` of the labels there are.
        neighbours: k of the k-NN head, votes weighted by 1 / distance.
    """

    passes = frozenset({Dropout})
    keeps_rows = False
    quick = True
    called = "the head on frozen features"

    def __init__(
        self,
        task: Task[Any],
        source: FeatureSource,
        *,
        head: Literal["linear", "knn"] = "linear",
        strength: float | None = None,
        neighbours: int = 5,
    ) -> None:
        self.task = task
        self.source = source
        self.head = head
        self.strength = strength
        self.neighbours = neighbours
        self._state: dict[str, Tensor] = {}
        self._weights: str | None = None

    @property
    def provides(self) -> frozenset[Field]:
        """Probabilities, logits and embeddings."""
        return frozenset({"probs", "per_image", "logits", "embedding", "loss"})

    @property
    def headless(self) -> str:
        """A k-NN head is no linear layer."""
        return "" if self.head == "linear" else f"its {self.head} head is no linear layer: set head: linear"

    def linear_head(self) -> LinearHead | None:
        """The head as it acts on the features as they lie: their normalisation is folded in.

        Raises:
            DataError: there are no weights yet.
        """
        if self.headless:
            return None
        self._check_fitted()
        weight_CD = self._state["weight"] / self._state["scale"]
        return LinearHead(weight_CD, self._state["bias"] - weight_CD @ self._state["mean"])

    @property
    def config(self) -> Mapping[str, Any]:
        """Backbone and head."""
        return {
            "learner": "features",
            "backbone": self.source.backbone.weights,
            "input": repr(self.source.backbone.input),
            "head": self.head,
            "strength": self.strength,
            "neighbours": self.neighbours,
        }

    @property
    def weights(self) -> str | None:
        """Digest of the head in use."""
        return self._weights

    def fit(
        self,
        data: LearnerData,
        seed: int,
        *,
        init: str | None = None,
        auxiliaries: Sequence[Auxiliary] = (),
        progress: Progress = silent,
    ) -> FitReport:
        """Trains the head; ``seed`` changes nothing, the optimum is one.

        Raises:
            DataError: no label, or no labelled image that can be read.
            UnmetNeed: auxiliaries are asked for.
        """
        if auxiliaries:
            raise UnmetNeed("a head on frozen features trains no auxiliary: use a torch learner")
        started = time.perf_counter()
        ids, rows_LD, failed = self._features(data.labelled, progress)
        if not len(ids):
            if failed:
                raise DataError(f"none of the {len(failed)} labelled images can be read: check the files")
            raise DataError("there is no label to train on: import labels first, or suggest with a cold-start strategy")
        target_of = dict(zip(data.labelled.ids, data.labelled.targets or (), strict=True))
        task = self.task.under(data.labelled.targets or ())
        labels_L = task.collate([target_of[item] for item in ids])
        rows_LD = rows_LD.float()
        mean_D = rows_LD.mean(0)
        scale = (rows_LD - mean_D).pow(2).mean().sqrt().clamp_min(1e-6)
        self._state = {"mean": mean_D, "scale": scale.reshape(1)}
        x_LD = (rows_LD - mean_D) / scale
        loss = 0.0
        if self.head == "linear":
            strength = usual_strength(*x_LD.shape) if self.strength is None else self.strength
            weight_CD, bias_C, loss = fit_linear(x_LD, labels_L, len(task.classes), strength, task.positives)
            self._state |= {"weight": weight_CD, "bias": bias_C}
        else:
            self._state |= {"rows": x_LD, "labels": labels_L}
        self._weights = self.fit_key(data, seed)
        return FitReport(loss, 1, time.perf_counter() - started, failed)

    def fit_key(
        self, data: LearnerData, seed: int, *, init: str | None = None, auxiliaries: Sequence[Auxiliary] = ()
    ) -> str:
        """As for all learners, without the seed: the optimum does not depend on it."""
        return super().fit_key(data, 0)

    def evaluate(self, view: Examples, *, progress: Progress = silent) -> dict[str, float]:
        """Metrics on labelled items; images that cannot be read are left out.

        Raises:
            DataError: there are no weights yet.
        """
        self._check_fitted()
        ids, rows_ND, _ = self._features(view, progress)
        target_of = dict(zip(view.ids, view.targets or (), strict=True))
        metrics = self.task.metrics()
        for block in blocks(len(ids), BLOCK):
            metrics.update(self._outputs(rows_ND[block.start : block.stop]), [target_of[ids[row]] for row in block])
        return metrics.compute()

    def collect(
        self,
        view: Examples,
        signals: frozenset[Signal],
        *,
        role: SignalRole = "pool",
        data: LearnerData | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> SignalTable:
        """All signals from cached features; only images never seen before go through the backbone.

        Raises:
            UnmetNeed: a loss is asked for, and there is no label.
            DataError: there are no weights yet.
        """
        self._check_fitted()
        if (labels := "loss" in wanted_fields(signals)) and view.targets is None:
            raise UnmetNeed("the loss of an image needs its label, and images without labels were given")
        target_of = dict(zip(view.ids, view.targets or (), strict=False))
        ids, rows_ND, failed = self._features(view, progress)
        probes = frozenset(signal for signal in signals if isinstance(signal, Probe))
        collector = Collector(signals - probes, partial(self._drawn, seed=seed), {}, role)
        for block in blocks(len(ids), BLOCK) if collector.signals else ():
            batch = Batch(rows_ND[block.start : block.stop])
            collector.add(None, batch, partial(self._said, batch, [target_of.get(ids[row]) for row in block], labels))
        columns = collector.columns()
        if probes:
            head = ProbedHead(self.task, lambda other: self._features(other, progress)[:2], self._state)
            seen = head.over(ids, rows_ND, target_of if read_targets(probes) else {})
            columns |= head.columns(probes, seen, head.prepared(probes, data, seed), role)
        return SignalTable(tuple(ids), columns, failed)

    def probed_by(self, signal: Probe) -> bool:
        """One that a last layer and features are enough for, where there is such a layer."""
        return self.head == "linear" and not signal.of_images

    def check_probe(self, signal: Probe) -> None:
        """Asks the probe, with a layer of the head's kind."""
        signal.check(blank_layer(2, len(self.task.classes)), self.task)

    def signal_key(self, signal: Signal, *, data: LearnerData | None = None, seed: int = 0) -> str:
        """Embeddings depend on the backbone only; the rest on the head as well."""
        if isinstance(signal, Embedding):
            return self.source.signal_key(FROZEN)
        if isinstance(signal, Probe):
            return digest(self._weights, signal.key, *prepared_with(signal, data, seed))
        return digest(self._weights, signal.key, seed if isinstance(signal, Draw) else None)

    def _check_fitted(self) -> None:
        if not self._state:
            raise DataError("the head has no weights yet: fit it first")

    def _features(self, view: Examples, progress: Progress) -> tuple[Sequence[str], Tensor, Mapping[str, str]]:
        table = self.source.collect(view, frozenset({FROZEN}), progress=progress)
        return table.ids, as_tensor(table[FROZEN]), table.failed

    def _outputs(self, rows_BD: Tensor, mask_D: Tensor | None = None) -> Outputs:
        x_BD = (rows_BD.float() - self._state["mean"]) / self._state["scale"]
        if mask_D is not None:
            x_BD = x_BD * mask_D
        if self.head == "linear":
            logits_BC = x_BD @ self._state["weight"].T + self._state["bias"]
            probs_BC = logits_BC.softmax(1) if self.task.exclusive else logits_BC.sigmoid()
        else:
            probs_BC = self._votes(x_BD)
            logits_BC = logits_from(probs_BC, exclusive=self.task.exclusive)
        return Outputs.of_images(probs_BC, exclusive=self.task.exclusive, logits=logits_BC, embedding=rows_BD)

    def _said(self, batch: Batch, targets: Sequence[Any], loss: bool) -> Outputs:
        outputs = self._outputs(batch.images)
        return outputs.with_extra({"loss": _loss(outputs, self.task.collate(targets))}) if loss else outputs

    def _votes(self, x_BD: Tensor) -> Tensor:
        return torch.cat([self._votes_of(part_BD) for part_BD in torch.split(x_BD, _MEASURED)])

    def _votes_of(self, x_BD: Tensor) -> Tensor:
        rows_LD = self._state["rows"]
        count = min(self.neighbours, len(rows_LD))
        # one product for all is fast, and wrong by a thousandth where rows are nearly equal (and exact for a few rows,
        # so that an image would depend on its batch): those that may be nearest are measured again
        rough_BL = torch.cdist(x_BD, rows_LD)
        likely_BK = rough_BL.topk(min(2 * count + 8, len(rows_LD)), largest=False).indices.sort(1).values
        exact_BK = (x_BD[:, None] - rows_LD[likely_BK]).norm(dim=2)
        near = exact_BK.topk(count, largest=False)
        weight_BK = 1 / near.values.clamp_min(1e-6)
        labels = self._state["labels"][likely_BK.gather(1, near.indices)]
        if not self.task.exclusive:
            shares_BC: Tensor = (weight_BK[..., None] * labels).sum(1) / weight_BK.sum(1, keepdim=True)
            return shares_BC
        votes_BC = torch.zeros(len(x_BD), len(self.task.classes))
        votes_BC.scatter_add_(1, labels, weight_BK)
        return votes_BC / votes_BC.sum(1, keepdim=True)

    def _drawn(self, batch: Batch, passes: Passes, first: Outputs, *, seed: int) -> Iterator[Outputs]:
        assert isinstance(passes, Dropout)
        for draw in range(passes.draws):
            mask = dropout_mask(batch.images, passes.p, torch_generator(seed, "dropout", draw, "features"))
            yield self._outputs(batch.images, mask)

    def save(self, folder: Path) -> None:
        """Writes ``weights.safetensors``, whole or not at all."""
        write_weights(folder, self._state, self._weights or "")

    def load(self, folder: Path, weights: str, *, auxiliaries: Sequence[Auxiliary] = ()) -> None:
        """Takes a saved head into use.

        Raises:
            DataError: the file is missing or damaged, or holds other weights, or a head of another kind.
        """
        state = read_weights(folder, weights)
        wanted = {"mean", "scale", *(("weight", "bias") if self.head == "linear" else ("rows", "labels"))}
        if set(state) != wanted:
            raise DataError(f"{folder / NAME} holds no {self.head} head on frozen features: train again")
        if "bias" in state and len(state["bias"]) != len(self.task.classes):
            raise DataError(
                f"{folder / NAME} is of {len(state['bias'])} classes, not of {len(self.task.classes)}: train again"
            )
        self._state, self._weights = state, weights


def usual_strength(labels: int, width: int) -> float:
    """The ridge of a linear head where nobody says one: a ten-thousandth of the labels for each feature, 0.4 at most.

    Up to 4,000 labels the ridge on the mean loss is thus the same whatever their number. Few labels want next to none;
    a head on a thousand features that has none learns thousands of labels by heart.

    Example:
        >>> usual_strength(20, 1280), usual_strength(1000, 1280), usual_strength(50_000, 1280)
        (2.56, 128.0, 512.0)
    """
    return width * min(1e-4 * labels, 0.4)


def fit_linear(
    x_LD: Tensor, labels: Tensor, classes: int, strength: float, positives: Sequence[float] = ()
) -> tuple[Tensor, Tensor, float]:
    """Logistic regression with a ridge, by L-BFGS: multinomial, or one against the rest for each class.

    Minimises mean cross-entropy + strength / (2 L) (|W|^2 + |b|^2 / 100). The light ridge on the bias keeps that of a
    class without labels from running away; scikit-learn has none there. Of images of several classes the cross-entropy
    is the sum of the binary ones, so that each class is a problem of its own with the ridge that it would have alone.

    Args:
        x_LD: features.
        labels: int64 (L,), the class of each; or float (L, C), 1 where an image has a class.
        classes: how many there are.
        strength: of the ridge.
        positives: of images of several classes, how much more the yes of each class weighs than its no.

    Returns:
        weight (C, D), bias (C,), and the mean cross-entropy reached, over classes too where each is by itself. Classes
        without a label get a low bias by themselves.
    """
    x, ridge = x_LD.double(), strength / (2 * len(x_LD))
    # the ridge keeps the optimum within the span of the rows: with fewer labels than features solve it there, exactly
    span = torch.linalg.svd(x, full_matrices=False).Vh if x.shape[0] < x.shape[1] else None
    if span is not None:
        x = x @ span.T
    weight = torch.zeros(classes, x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    weigh_C = torch.tensor(positives, dtype=torch.float64)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=200, tolerance_change=1e-9, line_search_fn="strong_wolfe")

    def entropy() -> Tensor:
        logits_LC = x @ weight.T + bias
        if labels.ndim == 1:
            return F.cross_entropy(logits_LC, labels)
        return F.binary_cross_entropy_with_logits(logits_LC, labels.double(), pos_weight=weigh_C) * classes

    def closure() -> Tensor:
        optimiser.zero_grad()
        # a light ridge on the bias too: else that of a class without labels runs away
        loss = entropy() + ridge * (weight.pow(2).sum() + 1e-2 * bias.pow(2).sum())
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        reached = float(entropy()) / (1 if labels.ndim == 1 else classes)
        full = weight if span is None else weight @ span
    return full.detach().float(), bias.detach().float(), reached


def _loss(outputs: Outputs, labels: Tensor) -> Tensor:
    """(B,) minus the log probability of each label, of several classes the mean of theirs.

    One that has underflowed is the worst there is, not infinite.
    """
    probs_BC = outputs.probs_UC
    if outputs.exclusive:
        hit_BC = probs_BC.gather(1, labels[:, None])
    else:
        hit_BC = torch.where(labels > 0, probs_BC, 1 - probs_BC)
    return -hit_BC.clamp_min(torch.finfo(hit_BC.dtype).tiny).log().mean(1)


class WhenRead:
    """A feature source whose backbone is loaded when somebody reads features: most strategies never do."""

    def __init__(self, build: Callable[[], Producer]) -> None:
        self._build = build

    @cached_property
    def _source(self) -> Producer:
        return self._build()

    def collect(self, view: Examples, signals: frozenset[Signal], **how: Any) -> SignalTable:
        """As the source."""
        return self._source.collect(view, signals, **how)

    def signal_key(self, signal: Signal, **how: Any) -> str:
        """As the source."""
        return self._source.signal_key(signal, **how)
