"""Probes: one forward-mode derivative for a batch against one gradient for each image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import tiny
from labelwise.contracts.learner import Phase
from labelwise.errors import UnmetNeed
from labelwise.signals import Embedding, Logits
from labelwise.signals.probes import LossSlope

SOURCE = tiny.digits(50, reference=8)
POOL, LABELLED, REFERENCE = SOURCE.ids[:30], SOURCE.ids[30:42], SOURCE.ids[42:]


def _learner(**options):
    learner = tiny.torch_learner(phases=[Phase(epochs=10, batch_size=6, lr=5e-3)], batch_size=9, **options)
    learner.fit(tiny.learner_data(SOURCE, LABELLED, reference=REFERENCE), 0)
    return learner


def _images(learner, ids):
    return learner.task.batch(learner.task.input.prepare_batch(SOURCE.batch(ids)), None, train=False).images


def _gradient(net, images, labels) -> torch.Tensor:
    """Gradient of the mean loss, as one long vector."""
    net.zero_grad()
    F.cross_entropy(net(images), torch.as_tensor(labels)).backward()
    return torch.cat([p.grad.flatten() for p in net.parameters()])


@pytest.mark.heavy
@pytest.mark.parametrize("along", ["labelled", "reference"])
@pytest.mark.parametrize("model", [tiny.TinyNet, tiny.plain_net])
def test_loss_slope_against_one_gradient_for_each_image(along, model):
    learner = _learner(model=model)
    data = tiny.learner_data(SOURCE, LABELLED, reference=REFERENCE)
    signal = LossSlope(along)
    rows = learner.collect(tiny.view(SOURCE, POOL, labels=False), frozenset({signal}), data=data)[signal]

    net = learner.networks.nets[0]
    known = LABELLED if along == "labelled" else REFERENCE
    direction = _gradient(net, _images(learner, known), [int(SOURCE.truth[item]) for item in known])
    expected = []
    for item in POOL:
        image = _images(learner, [item])
        with torch.no_grad():
            guess = net(image).argmax(1).tolist()
        expected.append(float(_gradient(net, image, guess) @ direction))
    net.zero_grad()
    scale = np.abs(expected).max()
    assert scale > 1e-3
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5 * scale)


def test_a_step_along_an_image_changes_the_known_loss_as_it_says():
    """What the number means: the first-order change of the known items' loss for a step taken on the image."""
    learner = _learner(model=tiny.plain_net)
    net = learner.networks.nets[0]
    rows = learner.collect(
        tiny.view(SOURCE, POOL[:1], labels=False), frozenset({LossSlope()}), data=tiny.learner_data(SOURCE, LABELLED)
    )[LossSlope()]
    image = _images(learner, POOL[:1])
    with torch.no_grad():
        guess = net(image).argmax(1).tolist()
    gradient = _gradient(net, image, guess)
    labels = torch.tensor([int(SOURCE.truth[item]) for item in LABELLED])
    step, at = 1e-3, 0
    with torch.no_grad():
        before = F.cross_entropy(net(_images(learner, LABELLED)).double(), labels)
        for parameter in net.parameters():
            part = gradient[at : at + parameter.numel()].reshape(parameter.shape)
            parameter -= step * part
            at += parameter.numel()
        after = F.cross_entropy(net(_images(learner, LABELLED)).double(), labels)
    assert float((before - after) / step) == pytest.approx(float(rows[0]), rel=0.05, abs=1e-3)


def test_it_does_not_depend_on_what_a_phase_froze(tmp_path):
    learner = tiny.torch_learner(phases=[Phase(epochs=2, trainable=("head",))])
    data = tiny.learner_data(SOURCE, LABELLED)
    learner.fit(data, 0)
    learner.save(tmp_path)
    loaded = tiny.torch_learner(phases=[Phase(epochs=2, trainable=("head",))])
    loaded.load(tmp_path, learner.weights)
    rows = [
        one.collect(tiny.view(SOURCE, POOL, labels=False), frozenset({LossSlope()}), data=data)[LossSlope()]
        for one in (learner, loaded)
    ]
    np.testing.assert_array_equal(rows[0], rows[1])
    for parameter in learner.networks.nets[0].parameters():
        parameter.requires_grad_(False)
    frozen = learner.collect(tiny.view(SOURCE, POOL, labels=False), frozenset({LossSlope()}), data=data)[LossSlope()]
    np.testing.assert_array_equal(frozen, rows[0])


def test_nothing_to_prepare_with():
    learner = _learner()
    view = tiny.view(SOURCE, POOL, labels=False)
    with pytest.raises(UnmetNeed, match="none were given"):
        learner.collect(view, frozenset({LossSlope()}))
    with pytest.raises(UnmetNeed, match="no reference items"):
        learner.collect(view, frozenset({LossSlope("reference")}), data=tiny.learner_data(SOURCE, LABELLED))


def test_labelled_images_that_cannot_be_read_do_not_count():
    learner = _learner()
    broken = tiny.Broken(SOURCE, LABELLED[:3])
    rows = [
        learner.collect(tiny.view(SOURCE, POOL, labels=False), frozenset({LossSlope()}), data=data)[LossSlope()]
        for data in (tiny.learner_data(broken, LABELLED), tiny.learner_data(SOURCE, LABELLED[3:]))
    ]
    np.testing.assert_allclose(rows[0], rows[1], rtol=1e-4, atol=1e-6)


def test_embedding_and_logits_against_hooks_by_hand():
    learner = _learner()
    net = learner.networks.nets[0]
    seen: list[torch.Tensor] = []
    hook = net.head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    with torch.inference_mode():
        logits = net(_images(learner, POOL))
    hook.remove()
    table = learner.collect(tiny.view(SOURCE, POOL, labels=False), frozenset({Embedding(), Logits()}))
    np.testing.assert_allclose(table[Embedding()], seen[0].numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(table[Logits()], logits.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        table[Logits()],
        table[Embedding()] @ net.head.weight.detach().numpy().T + net.head.bias.detach().numpy(),
        rtol=1e-4,
        atol=1e-5,
    )
