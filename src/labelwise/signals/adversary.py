"""How sure a net is that an image is not labelled yet, from the code that an auto-encoder gives it.

Dimension key: B images, I images of the training, Z latent dimensions, S side in pixels, P channels.

Sinha, Ebrahimi and Darrell, "Variational Adversarial Active Learning", ICCV 2019. No task model is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.contracts.signal import Prepared, Probe, ProbeContext, SignalRole
from labelwise.contracts.task import Batch, Field
from labelwise.models.autoencoder import MULTIPLE, AutoEncoder, discriminator
from labelwise.selection import progress as telling

if TYPE_CHECKING:
    import numpy as np

    from labelwise.contracts.input import InputSpec

AdversaryPreset = Literal["default", "faithful"]
#: images of each kind that the training is judged by
_JUDGED = 2000


@dataclass(frozen=True)
class _Constants:
    """What a preset fixes.

    Args:
        iterations: of the training.
        batch_size: images of each kind, labelled and not, in a step.
        widths: channels of the encoder's first convolution, for grey and for colour images.
        hidden: layers of the discriminator.
        most: unlabelled images that are learnt from, drawn at random; None: all.
    """

    iterations: int
    batch_size: int
    widths: tuple[int, int]
    hidden: int
    most: int | None


_PRESETS: dict[AdversaryPreset, _Constants] = {
    "default": _Constants(iterations=400, batch_size=64, widths=(8, 16), hidden=2, most=100_000),
    "faithful": _Constants(iterations=10_000, batch_size=25, widths=(64, 128), hidden=4, most=None),
}
_RATE, _DECAY, _DECAYS = 5e-4, 0.9, 25
#: of auto-encoder and of discriminator in one step of the training
_ROUNDS = 2


def image_elbo(seen: Tensor, images: Tensor, mean_BZ: Tensor, log_variance_BZ: Tensor, beta: float) -> Tensor:
    """Squared errors summed over pixels plus beta times the divergence summed over the code; mean over images."""
    error = (seen - images).pow(2).sum() + beta * _divergence(mean_BZ, log_variance_BZ)
    return error / len(images)


def published_elbo(seen: Tensor, images: Tensor, mean_BZ: Tensor, log_variance_BZ: Tensor, beta: float) -> Tensor:
    """Mean of the squared errors of all pixels plus beta times the divergence summed over code *and batch*.

    The sum outweighs the mean by orders of magnitude, so the code collapses to noise.
    """
    return F.mse_loss(seen, images) + beta * _divergence(mean_BZ, log_variance_BZ)


def _divergence(mean_BZ: Tensor, log_variance_BZ: Tensor) -> Tensor:
    """KL divergence of N(mean, variance) from N(0, 1), summed."""
    return -0.5 * (1 + log_variance_BZ - mean_BZ.pow(2) - log_variance_BZ.exp()).sum()


def separation(logits_known: Tensor, logits_new: Tensor) -> float:
    """Area under the ROC curve: how often a new image gets more than a known one; ties count half.

    Example:
        >>> separation(torch.tensor([0.0, 1.0]), torch.tensor([2.0, 1.0]))
        0.875
    """
    ascending, logits_new = logits_known.sort().values, logits_new.contiguous()
    below = torch.searchsorted(ascending, logits_new).double()
    up_to = torch.searchsorted(ascending, logits_new, right=True).double()
    return float((below + up_to).mean() / 2 / len(ascending))


@dataclass(frozen=True)
class Adversary(Probe):
    """(B, 3) float32: logit of "unlabelled", and the same in all rows: separation, and spread of the code.

    An auto-encoder learns to rebuild labelled and unlabelled images and to make their codes look alike; a discriminator
    learns to tell them apart by the mean of the code. *Separation* is the discriminator's area under the ROC curve on
    the images it was trained on (0.5: it cannot tell), *spread* the standard deviation of the means (0: the
    code says nothing of the image); both from at most 2,000 images of each kind.

    Args:
        preset: ``default``, or ``faithful``: the published losses, statistics, sizes and steps. The defaults below are
            the preset's.
        iterations: of the training, each of two updates of the auto-encoder and two of the discriminator.
        batch_size: labelled and unlabelled images of a step, as many of each.
        side: images are brought to this many pixels square, a multiple of 16.
        width: channels of the first convolution.
        latent: dimensions of the code.
        beta: weight of the divergence.
        fooling: weight of the auto-encoder's wish to make all images look labelled.

    Cost: the training, whatever the pool's size: iterations x 4 batch_size images through the auto-encoder and back and
        as many through the encoder; one pass of the encoder over the pool. Memory: 2 P S^2 bytes an image learnt from.
    """

    name: ClassVar[str] = "adversary"
    preset: AdversaryPreset = "default"
    iterations: int | None = None
    batch_size: int | None = None
    side: int = 32
    width: int | None = None
    latent: int = 32
    beta: float = 1.0
    fooling: float = 1.0

    def __post_init__(self) -> None:
        for option in ("iterations", "batch_size", "width", "latent"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise ValueError(f"{option} must be at least 1, got {value}")
        if self.side < MULTIPLE or self.side % MULTIPLE:
            raise ValueError(f"side must be a multiple of {MULTIPLE}, got {self.side}")
        for option in ("beta", "fooling"):
            if not 0 <= getattr(self, option) < float("inf"):
                raise ValueError(f"{option} must be 0 or more, got {getattr(self, option)}")

    @property
    def fields(self) -> frozenset[Field]:
        """Nothing that the task's model says."""
        return frozenset()

    @property
    def prepared_from(self) -> frozenset[Prepared]:
        """Both kinds of image."""
        return frozenset({"labelled", "unlabelled"})

    def prepare(self, context: ProbeContext) -> _Trained | None:
        """Trains both nets; None where one kind of image is missing, so that there is nothing to tell apart."""
        spec, most = context.task.input, _PRESETS[self.preset].most
        known = _kept(context.labelled(), self._fitted(spec), None, context.rng)
        new = _kept(context.unlabelled(), self._fitted(spec), most, context.rng)
        if known is None or new is None:
            return None
        devices = [known.device] if known.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.enable_grad():
            torch.manual_seed(int(context.rng.integers(2**62)))
            game = _Game.of(self, known, new)
            game.play()
            return game.trained(self._fitted(spec))

    def compute(self, state: _Trained | None, model: nn.Module, batch: Batch, role: SignalRole) -> Tensor:
        """(B, 3): see the class; zeros where nothing was trained."""
        if state is None:
            return torch.zeros(len(batch), 3, device=batch.images.device)
        with torch.no_grad():
            logit_B = state.new(state.fitted(batch.images))
        rest = logit_B.new_tensor([state.separation, state.spread]).expand(len(logit_B), 2)
        return torch.cat([logit_B[:, None], rest], dim=1)

    def _fitted(self, spec: InputSpec) -> Callable[[Tensor], Tensor]:
        """What brings model input to pixels in [0, 1] of the wanted size."""

        def fitted(images: Tensor) -> Tensor:
            mean, std = (images.new_tensor(part).view(1, -1, 1, 1) for part in (spec.mean, spec.std))
            pixels = images * std + mean
            if self.preset == "faithful":
                return _padded(pixels, self.side)
            size = (self.side, self.side)
            if tuple(pixels.shape[-2:]) == size:
                return pixels
            return F.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)

        return fitted


@dataclass(frozen=True)
class _Trained:
    """Both nets after the training, with how far they came."""

    encoder: AutoEncoder
    judge: nn.Sequential
    fitted: Callable[[Tensor], Tensor]
    separation: float
    spread: float

    def new(self, images_BPSS: Tensor) -> Tensor:
        """(B,) logit of "unlabelled"."""
        return -self.judge(self.encoder.encode(images_BPSS)[0])[:, 0]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Game:
    """Auto-encoder and discriminator against each other, on labelled (``known``) and unlabelled (``new``) images."""

    signal: Adversary
    known: Tensor
    new: Tensor
    encoder: AutoEncoder
    judge: nn.Sequential

    @classmethod
    def of(cls, signal: Adversary, known: Tensor, new: Tensor) -> _Game:
        """Fresh nets, from torch's global random state."""
        constants, channels = _PRESETS[signal.preset], known.shape[1]
        width = signal.width or constants.widths[0 if channels == 1 else 1]
        encoder = AutoEncoder(channels, signal.side, width, signal.latent).to(known.device)
        judge = discriminator(signal.latent, constants.hidden).to(known.device)
        return cls(signal, known, new, encoder, judge)

    def play(self) -> None:
        """All steps; the order of images, noise and all comes from torch's global random state."""
        constants = _PRESETS[self.signal.preset]
        steps = self.signal.iterations or constants.iterations
        size = self.signal.batch_size or constants.batch_size
        encoding = torch.optim.Adam(self.encoder.parameters(), lr=_RATE)
        judging = torch.optim.Adam(self.judge.parameters(), lr=_RATE)
        pairs = zip(_endless(self.known, size), _endless(self.new, size), strict=False)
        for step in range(steps):
            for optimiser in (encoding, judging):
                for group in optimiser.param_groups:
                    group["lr"] = _RATE * _DECAY ** (step * _DECAYS // steps)
            for _ in range(_ROUNDS):
                pair = next(pairs)
                _learn(encoding, self.encoder_loss(*pair))
            _learn(judging, self.judge_loss(*pair))
            for _ in range(_ROUNDS - 1):
                _learn(judging, self.judge_loss(*next(pairs)))
            telling.report("training the adversary", step + 1, steps)

    def encoder_loss(self, known: Tensor, new: Tensor) -> Tensor:
        """Rebuild both kinds, and have both judged labelled."""
        elbo = published_elbo if self.signal.preset == "faithful" else image_elbo
        loss = known.new_zeros(())
        for images, (mean_BZ, log_variance_BZ, seen) in zip((known, new), self._rebuilt(known, new), strict=True):
            logit_B = self.judge(mean_BZ)[:, 0]
            fooled = F.binary_cross_entropy_with_logits(logit_B, torch.ones_like(logit_B))
            loss = loss + elbo(seen, images, mean_BZ, log_variance_BZ, self.signal.beta) + self.signal.fooling * fooled
        return loss

    def judge_loss(self, known: Tensor, new: Tensor) -> Tensor:
        """Tell both kinds apart by codes that stay as they are; nothing is decoded."""
        with torch.no_grad():
            codes = [mean_BZ for mean_BZ, _ in self._encoded(known, new)]
        loss = known.new_zeros(())
        for mean_BZ, label in zip(codes, (1.0, 0.0), strict=True):
            logit_B = self.judge(mean_BZ)[:, 0]
            loss = loss + F.binary_cross_entropy_with_logits(logit_B, torch.full_like(logit_B, label))
        return loss

    def _encoded(self, known: Tensor, new: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(mean, log variance) of both kinds.

        As published each kind is normalised by its own batch, which hides what sets the kinds apart; by default one
        batch holds both.
        """
        if self.signal.preset == "faithful":
            return [self.encoder.encode(known), self.encoder.encode(new)]
        mean, log_variance = self.encoder.encode(torch.cat([known, new]))
        cut = len(known)
        return [(mean[:cut], log_variance[:cut]), (mean[cut:], log_variance[cut:])]

    def _rebuilt(self, known: Tensor, new: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """(mean, log variance, image as rebuilt) of both kinds."""
        codes = self._encoded(known, new)
        drawn = [mean + torch.randn_like(mean) * (0.5 * log_variance).exp() for mean, log_variance in codes]
        if self.signal.preset == "faithful":
            seen = tuple(self.encoder.decode(code) for code in drawn)
        else:
            seen = torch.split(self.encoder.decode(torch.cat(drawn)), [len(known), len(new)])
        return [(*code, image) for code, image in zip(codes, seen, strict=True)]

    def trained(self, fitted: Callable[[Tensor], Tensor]) -> _Trained:
        """Both nets at rest, judged on images they have seen."""
        self.encoder.eval()
        if self.signal.preset == "faithful":
            for module in self.encoder.modules():
                if isinstance(module, nn.BatchNorm2d):  # statistics of whatever batch is scored, as published
                    module.track_running_stats, module.running_mean, module.running_var = False, None, None
        trained = _Trained(self.encoder, self.judge, fitted, 0.0, 0.0)
        with torch.no_grad():
            images = torch.cat([self.known[:_JUDGED], self.new[:_JUDGED]])
            known_I = torch.arange(len(images)) < min(len(self.known), _JUDGED)
            # both kinds in each batch: where its statistics are read, they must not give the kind away
            order = torch.randperm(len(images))
            parts = [images[rows.to(images.device)].float() for rows in torch.split(order, 256)]
            logit_I = torch.cat([trained.new(part) for part in parts])
            spread = float(torch.cat([self.encoder.encode(part)[0] for part in parts]).std(0, correction=0).mean())
        known_I = known_I[order].to(images.device)
        found = separation(logit_I[known_I], logit_I[~known_I])
        return _Trained(self.encoder, self.judge, fitted, found, spread)


def _learn(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _endless(images: Tensor, size: int) -> Iterator[Tensor]:
    """Batches of ``size`` images for ever, each image once before any comes again."""
    order = torch.empty(0, dtype=torch.int64)
    while True:
        while len(order) < size:
            order = torch.cat([order, torch.randperm(len(images))])
        yield images[order[:size].to(images.device)].float()
        order = order[size:]


def _kept(
    batches: Iterator[Batch], fitted: Callable[[Tensor], Tensor], most: int | None, rng: np.random.Generator
) -> Tensor | None:
    """(I, P, S, S) float16: all images in memory, or ``most`` of them drawn at random; None where there is none.

    Float16 holds pixels of eight bits exactly enough: its steps in [0, 1] are eight times finer.
    """
    kept: list[Tensor] = []
    keys: list[Tensor] = []
    for batch in batches:
        if not len(batch):
            continue
        kept.append(fitted(batch.images).half())
        keys.append(torch.from_numpy(rng.random(len(batch))))
        if most is not None and sum(map(len, kept)) > 2 * most:
            kept, keys = _lowest(kept, keys, most)
    if most is not None and sum(map(len, kept)) > most:
        kept, keys = _lowest(kept, keys, most)
    return torch.cat(kept) if kept else None


def _lowest(kept: list[Tensor], keys: list[Tensor], most: int) -> tuple[list[Tensor], list[Tensor]]:
    """The images with the lowest keys: a random subset, whatever is still to come."""
    key_I = torch.cat(keys)
    rows = key_I.argsort()[:most].sort().values
    return [torch.cat(kept)[rows.to(kept[0].device)]], [key_I[rows]]


def _padded(pixels: Tensor, side: int) -> Tensor:
    """Smaller images amid zeros, larger ones shrunk to the nearest pixel, as published."""
    height, width = pixels.shape[-2:]
    if height > side or width > side:
        return F.interpolate(pixels, (side, side), mode="nearest")
    top, left = (side - height) // 2, (side - width) // 2
    return F.pad(pixels, (left, side - width - left, top, side - height - top))
