"""A variational auto-encoder on small square images, and a net that judges its latent code.

Dimension key: B images, Z latent dimensions, S side of an image in pixels, P channels.

Sinha, Ebrahimi and Darrell, "Variational Adversarial Active Learning", ICCV 2019, in the shapes of its repository.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

#: four convolutions of stride 2 lie between an image and its code
MULTIPLE = 16


class AutoEncoder(nn.Module):
    """Encoder to mean and log variance of a code, decoder back to the image.

    Four 4x4 convolutions of stride 2, each twice as wide as the one before, and their mirror image; batch norm and ReLU
    after each. There is no output activation.

    Args:
        channels: of the images.
        side: of the images in pixels, a multiple of 16.
        width: channels of the first convolution; 128 as published.
        latent: dimensions of the code.

    Example:
        >>> import torch
        >>> net = AutoEncoder(1, 32, 4, 8)
        >>> mean_BZ, log_variance_BZ = net.encode(torch.zeros(2, 1, 32, 32))
        >>> mean_BZ.shape, net.decode(mean_BZ).shape
        (torch.Size([2, 8]), torch.Size([2, 1, 32, 32]))
    """

    def __init__(self, channels: int, side: int, width: int, latent: int) -> None:
        super().__init__()
        self.shape = (8 * width, side // 8, side // 8)
        widths = [channels, width, 2 * width, 4 * width, 8 * width]
        down = [_down(before, after) for before, after in pairwise(widths)]
        self.encoder = nn.Sequential(*down, nn.Flatten())
        flat = 8 * width * (side // MULTIPLE) ** 2
        self.mean = nn.Linear(flat, latent)
        self.log_variance = nn.Linear(flat, latent)
        self.widen = nn.Linear(latent, 8 * width * (side // 8) ** 2)
        up = [_up(before, after) for before, after in pairwise(widths[:0:-1])]
        self.decoder = nn.Sequential(*up, nn.ConvTranspose2d(width, channels, 1))
        initialise(self)

    def encode(self, images_BPSS: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the code, each (B, Z)."""
        flat = self.encoder(images_BPSS)
        return self.mean(flat), self.log_variance(flat)

    def decode(self, code_BZ: Tensor) -> Tensor:
        """(B, P, S, S)."""
        return self.decoder(self.widen(code_BZ).view(-1, *self.shape))  # type: ignore[no-any-return]


def discriminator(latent: int, hidden: int, width: int = 512) -> nn.Sequential:
    """Codes (B, Z) to logits (B, 1), through some hidden layers with ReLU.

    Args:
        latent: dimensions of the code.
        hidden: number of hidden layers, at least 1.
        width: of each.
    """
    widths = [latent, *[width] * hidden]
    layers = [nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(widths)]
    net = nn.Sequential(*layers, nn.Linear(width, 1))
    initialise(net)
    return net


def initialise(net: nn.Module) -> None:
    """Kaiming-normal weights and no bias in linear layers and convolutions; transposed ones keep torch's default."""
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _down(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())


def _up(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
