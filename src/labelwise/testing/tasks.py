"""The contract test of tasks: the training side of a kind of label.

In a test of a task of one's own::

    def test_it_keeps_the_contract():
        check_task(MyTask(("cat", "dog"), InputSpec((32, 32))), images, labels)
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from labelwise.contracts.kind import Kind
from labelwise.contracts.losses import batch_loss, image_losses
from labelwise.contracts.task import PROMISES, Batch, Outputs, Task
from labelwise.testing.configuration import check_frozen
from labelwise.testing.refusals import refusal


def check_task(
    task: Task[Any], images: Sequence[np.ndarray], labels: Sequence[Any], *, model: nn.Module | None = None
) -> None:
    """Holds a task to its contract, on some labelled images.

    Args:
        task: with its classes.
        images: uint8 (H, W, 1 or 3), four at least, of any sizes.
        labels: the raw label of each; not all alike.
        model: network to try it with; None: the task's own.

    Raises:
        AssertionError: the first promise that is broken, in words.
    """
    assert len(images) == len(labels) >= 4, "give four labelled images or more"
    check_frozen(task)
    check_labels(task, labels)
    net = (model or task.default_model()).eval()
    task.check_model(net)
    targets = [task.load(label) for label in labels]
    prepared = torch.stack([task.input.prepare(image) for image in images])
    check_batch(task, prepared, targets)
    with torch.no_grad():
        check_loss(task, net, prepared, targets)
        outputs = check_outputs(task, net, task.batch(prepared, None, train=False))
        check_answers(task, outputs)
    check_metrics(task, outputs, targets)
    check_learns(task, model or task.default_model(), prepared, targets)


def check_labels(task: Task[Any], labels: Sequence[Any]) -> None:
    """Raw labels are JSON, come back as they were, and are of the task's kind."""
    assert isinstance(task.kind, Kind), "a task names its kind of label"
    for label in labels:
        target = task.load(label)
        raw = task.dump(target)
        assert json.loads(json.dumps(raw, allow_nan=False)) == raw, f"{raw!r:.80} is no plain JSON"
        assert task.kind.same(task.dump(task.load(raw)), raw), f"{raw!r:.80} comes back as another label"
        task.kind.check(raw, task.classes, None)
        numbers = task.objects(target)
        assert all(0 <= number < len(task.classes) for number in numbers), f"objects of classes {numbers}"
        assert task.kind.same(task.dump(task.merge([target])), raw), "one label alone is merged into itself"
    strangers: tuple[Any, ...] = ("no such class", {"no": "label"}, [[]], 10**400)
    for strange in strangers:
        refusal(partial(task.load, strange), f"as a label {strange!r:.40}")


def check_batch(task: Task[Any], images: Tensor, targets: Sequence[Any]) -> None:
    """Normalised floats; nothing random unless it trains, and then only by the generator that is given."""
    plain = task.batch(images, targets, train=False)
    assert plain.images.is_floating_point(), "a batch is float"
    assert len(plain) == len(images)
    assert torch.equal(plain.images, task.batch(images, targets, train=False).images), "without training, no chance"
    assert task.batch(images, None, train=False).targets is None, "images without labels have no targets"
    state = torch.get_rng_state()
    one, again = (task.batch(images, targets, train=True, rng=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one.images, again.images), "the same generator gives the same batch"
    assert torch.equal(torch.get_rng_state(), state), "a batch draws from the generator that it is given alone"


def check_loss(task: Task[Any], model: nn.Module, images: Tensor, targets: Sequence[Any]) -> None:
    """Splitting a batch changes nothing: parts are sums and norms of each image."""
    losses = task.loss(model, task.batch(images, targets, train=False))
    assert losses, "a loss has a part"
    for name, (sums, norms) in losses.items():
        assert sums.shape == norms.shape == (len(images),), f"{name}: (sum, norm) of each image"
        assert torch.isfinite(sums).all(), f"{name} is not finite"
        assert (norms >= 0).all(), f"{name}: norms count something"
    half = len(images) // 2
    parts = [
        task.loss(model, task.batch(images[rows], list(targets)[rows], train=False))
        for rows in (slice(None, half), slice(half, None))
    ]
    joined = {name: tuple(torch.cat([part[name][i] for part in parts]) for i in (0, 1)) for name in losses}
    for name, (sums, norms) in losses.items():
        assert torch.allclose(joined[name][0], sums, rtol=1e-4, atol=1e-5), f"{name} of an image depends on the batch"
        assert torch.equal(joined[name][1], norms), f"{name}: the norm of an image depends on the batch"
    assert torch.isfinite(batch_loss(losses))
    assert image_losses(losses).shape == (len(images),)


def check_outputs(task: Task[Any], model: nn.Module, batch: Batch) -> Outputs:
    """Units of items in order, with probabilities, and every field that the task says it provides."""
    found = task.outputs(model, batch, task.provides)
    assert found.size == len(batch), f"outputs of {found.size} images for a batch of {len(batch)}"
    assert found.unit_item_U.dtype == torch.int64
    assert (found.unit_item_U.diff() >= 0).all(), "units come image by image"
    assert len(found.probs_UC) == len(found.unit_item_U), "a distribution for each unit"
    assert found.probs_UC.shape[1] == task.outcomes, "a probability for each class"
    assert ((found.probs_UC >= 0) & (found.probs_UC <= 1 + 1e-5)).all(), "probabilities lie in [0, 1]"
    if found.exclusive and len(found.probs_UC):
        sums_U = found.probs_UC.float().sum(1)
        assert torch.allclose(sums_U, torch.ones_like(sums_U), atol=1e-4), (
            "probabilities sum to one, or exclusive=False"
        )
    if "per_image" in task.provides:
        assert found.exclusive == task.exclusive, f"outputs are exclusive={found.exclusive}, the class says otherwise"
    height, width = batch.images.shape[-2:]
    for promise, count in (("per_image", 1), ("per_pixel", height * width)):
        if promise in task.provides:
            each_B = found.unit_item_U.bincount(minlength=len(batch))
            assert (each_B == count).all(), f"it promises {promise}, and has not {count} unit(s) for each image"
    lacks = task.provides - PROMISES - {"probs", "boxes"} - found.extra.keys() - {"loss"}
    assert not lacks, f"it says that it provides {sorted(lacks)}, and does not"
    return found


def check_answers(task: Task[Any], outputs: Outputs) -> None:
    """What a model predicts are labels of the task."""
    found = task.predictions(outputs)
    assert len(found) == outputs.size, "a prediction for each image"
    for prediction in found:
        assert 0 <= prediction.score <= 1, f"a score of {prediction.score}"
        raw = task.dump(prediction.target)
        json.dumps(raw, allow_nan=False)
        task.kind.check(raw, task.classes, None)


def check_metrics(task: Task[Any], outputs: Outputs, targets: Sequence[Any]) -> None:
    """Numbers with the primary one among them; none where nothing was added."""
    assert task.metrics().compute() == {}, "of nothing there are no metrics"
    metrics = task.metrics()
    metrics.update(outputs, targets)
    found = metrics.compute()
    assert metrics.primary in found, f"the primary metric {metrics.primary!r} is not among {sorted(found)}"
    assert math.isfinite(found[metrics.primary]), f"{metrics.primary} is {found[metrics.primary]}"


def check_learns(task: Task[Any], model: nn.Module, images: Tensor, targets: Sequence[Any], *, steps: int = 30) -> None:
    """Its loss can be minimised: after some steps on the same images it is lower."""
    torch_state = torch.get_rng_state()
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = batch_loss(task.loss(model, task.batch(images, targets, train=False)))
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    torch.set_rng_state(torch_state)
    assert losses[-1] < losses[0], f"after {steps} steps its loss is {losses[-1]:.4g}, from {losses[0]:.4g}"
