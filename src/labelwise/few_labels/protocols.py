"""What a selection teaches, by fixed protocols: a linear head, nearest neighbours, fine-tuning, training from nothing.

Dimension key: H sets of labels, L labels, V views, T test images, C classes, D features.

The constants are those of the published low-budget system. Accuracies are of the last epoch; there is no validation and
no early stopping.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.contracts.input import IMAGENET_MEAN, IMAGENET_STD, InputSpec
from labelwise.contracts.learner import Examples, LearnerData, Phase
from labelwise.contracts.progress import Progress, silent
from labelwise.data.loader import PreparedImages, batches, blocks
from labelwise.data.random_views import CROP_FLIP
from labelwise.errors import ConfigError
from labelwise.learners.backbones import Backbone, Network
from labelwise.learners.heads import Labels, LinearProtocol, fit_heads
from labelwise.learners.nearest import nearest_classes
from labelwise.learners.torch import TorchLearner
from labelwise.models.taps import pooled
from labelwise.rng import seed_of, torch_generator
from labelwise.tasks.classification import Classification

if TYPE_CHECKING:
    from labelwise.contracts.source import Source
    from labelwise.few_labels.frozen import FrozenImages

Protocol = Literal["linear", "knn", "finetune", "scratch"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

#: Adam, backbone 1e-4, head 1e-2, a tenth at 50 and 75, no weight decay (which makes AdamW Adam)
FINETUNE = Phase(
    epochs=100, batch_size=128, optimiser="adamw", lr=1e-4, rates=(("head", 1e-2),), weight_decay=0.0,
    schedule="steps", milestones=(50, 75),
)  # fmt: skip
#: SGD with plain momentum, a tenth at 30, 60 and 90
SCRATCH = Phase(
    epochs=100, batch_size=128, optimiser="sgd", lr=0.1, momentum=0.9, nesterov=False, weight_decay=1e-4,
    schedule="steps", milestones=(30, 60, 90),
)  # fmt: skip


def accuracies(predictions_T: Tensor, labels_T: Tensor) -> dict[str, float]:
    """Top-1 accuracy, and its mean over the classes that occur.

    Example:
        >>> accuracies(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 0, 2]))
        {'accuracy': 0.75, 'balanced_accuracy': 0.5}
    """
    right_T = (predictions_T.cpu() == labels_T.cpu()).double()
    classes, of_T = torch.unique(labels_T.cpu(), return_inverse=True)
    hits_C = torch.zeros(len(classes), dtype=torch.float64).index_add_(0, of_T, right_T)
    recall_C = hits_C / of_T.bincount(minlength=len(classes))
    return {"accuracy": float(right_T.mean()), "balanced_accuracy": float(recall_C.mean())}


def labels_of(images: FrozenImages, rows_L: Tensor, seed: int) -> Labels:
    """What one classifier learns from; those of one seed share initial weights and order.

    Raises:
        DataError: an image without label.
    """
    return Labels(rows_L, images.labels_of(rows_L), seed_of(seed, "fit"))


def linear(
    images: FrozenImages,
    tests: FrozenImages,
    sets: Sequence[Labels],
    *,
    how: LinearProtocol | None = None,
    seen: CachedViews | None = None,
    progress: Progress = silent,
) -> list[dict[str, float]]:
    """A linear head on each set, all trained together; metrics and the training loss.

    Args:
        images: what the sets are made of.
        tests: what is measured on.
        sets: labels of each head.
        how: rates and sizes; None: the published ones.
        seen: augmented views to learn from instead of the centre view.
        progress: told on long work.
    """
    rows_ND, views = (images.rows_ND, 1) if seen is None else (seen.rows_XD, seen.views)
    moved = sets if seen is None else [seen.moved(one) for one in sets]
    heads = fit_heads(rows_ND, moved, len(images.classes), protocol=how, views=views, progress=progress)
    predictions_HT, losses = heads.predictions(tests.rows_ND), heads.loss_H.tolist()
    return [
        {**accuracies(predictions_T, tests.labels_N), "loss": loss}
        for predictions_T, loss in zip(predictions_HT, losses, strict=True)
    ]


@dataclass(frozen=True)
class CachedViews:
    """Augmented views of some images.

    The published evaluation augments anew in every step; this many views stand for it.

    Args:
        rows_XD: row ``i * views + v`` is view v of image i.
        used_U: rows of the pool that have views, ascending.
        views: of each image.
    """

    rows_XD: Tensor
    used_U: Tensor
    views: int

    def moved(self, one: Labels) -> Labels:
        """The same labels, of these images."""
        return Labels(torch.searchsorted(self.used_U, one.rows_L), one.labels_L, one.seed)


def cached_views(
    source: Source,
    backbone: Backbone,
    images: FrozenImages,
    sets: Sequence[Labels],
    *,
    views: int,
    progress: Progress = silent,
) -> CachedViews:
    """Views of all images that any of the sets labels; the backbone runs that many times over them."""
    used_U = torch.unique(torch.cat([one.rows_L for one in sets]))
    ids = [images.ids[row] for row in used_U.tolist()]
    return CachedViews(view_rows(source, backbone, ids, views, progress=progress), used_U, views)


def knn(
    images: FrozenImages, tests: FrozenImages, sets: Sequence[Labels], *, k: int = 1, progress: Progress = silent
) -> list[dict[str, float]]:
    """The k nearest labelled images decide; metrics."""
    predictions_HT = nearest_classes(images.rows_ND, tests.rows_ND, sets, k=k, progress=progress)
    return [{**accuracies(predictions_T, tests.labels_N), "loss": math.nan} for predictions_T in predictions_HT]


def view_rows(
    source: Source, backbone: Backbone, ids: Sequence[str], views: int, *, progress: Progress = silent
) -> Tensor:
    """(L * V, D): row ``i * V + v`` is view v of image i: a crop of 8 to 100 % of the area, mirrored half of the time.

    Raises:
        DataError: an image that cannot be read.
    """
    prepared = PreparedImages(source, tuple(ids), backbone.input)
    rng = torch_generator(0, "views")
    parts: list[Tensor] = []
    done = 0
    with torch.inference_mode():
        for loaded in batches(prepared, blocks(len(ids), max(1, 256 // views))):
            plain = backbone.input.normalise(loaded.images)
            moved = CROP_FLIP.moved(plain.repeat_interleave(views, 0), rng)
            parts.append(backbone(moved).cpu())
            done += len(loaded.rows)
            progress("reading views", done, len(ids))
    return torch.cat(parts)


class FineTuned(nn.Module):
    """A network without its last layer, and a head that scales its vector to unit length first.

    Args:
        body: images to vectors.
        width: of the vector.
        classes: width of the output.
    """

    def __init__(self, body: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(width, classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """(B, C)."""
        logits_BC: Tensor = self.head(F.normalize(pooled(self.body(images_BCHW)).float(), dim=1))
        return logits_BC


def finetuning(backbone: Backbone, classes: Sequence[str], *, phase: Phase = FINETUNE) -> TorchLearner:
    """A learner that trains a backbone and a new head on, the whole network in training mode.

    Raises:
        ConfigError: a backbone that is no network, or one that is read at an inner layer.
    """
    if not isinstance(backbone, Network):
        raise ConfigError("only a network can be fine-tuned: give --features lite0, or a timm or torchvision network")
    if backbone.layer is not None:
        raise ConfigError(f"fine-tuning reads a network's own end, not {backbone.layer!r}: leave features.layer out")
    body = backbone.net
    with torch.inference_mode():
        example = torch.zeros(2, backbone.input.channels, *backbone.input.size, device=next(body.parameters()).device)
        width = pooled(body.eval()(example)).shape[1]
    task = Classification(tuple(classes), backbone.input, "crop_flip")
    return TorchLearner(task, lambda: FineTuned(copy.deepcopy(body).cpu(), width, len(classes)), phases=[phase])


def from_scratch(model: str, classes: Sequence[str], side: int, *, phase: Phase = SCRATCH) -> TorchLearner:
    """A learner that trains a network from random weights.

    Args:
        model: as for ``labelwise.models.by_name``; published: torchvision's ResNet-18.
        classes: names.
        side: of the input in pixels; from 64 on images keep their central 7/8, as published for 224 of 256.
        phase: how.
    """
    spec = InputSpec((side, side), 3, IMAGENET_MEAN, IMAGENET_STD, 0.875 if side >= 64 else 1.0)
    return TorchLearner(Classification(tuple(classes), spec, "crop_flip"), model, phases=[phase])


def trained(
    learner: TorchLearner,
    source: Source,
    chosen: Sequence[tuple[str, int]],
    tests: Sequence[tuple[str, int]],
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, float]:
    """Trains on the chosen images and measures.

    Args:
        learner: what is trained.
        source: the images.
        chosen: (id, class) of each.
        tests: (id, class) of each.
        seed: of weights, order and augmentation.
        progress: told on long work.
    """
    nothing = Examples(source, (), ())
    labelled, held = (
        Examples(source, tuple(i for i, _ in part), tuple(c for _, c in part)) for part in (chosen, tests)
    )
    data = LearnerData(labelled=labelled, unlabelled=nothing, validation=nothing, reference=nothing)
    report = learner.fit(data, seed_of(seed, "fit"), progress=progress)
    metrics = learner.evaluate(held, progress=progress)
    return {name: metrics[name] for name in ("accuracy", "balanced_accuracy")} | {"loss": report.loss}
