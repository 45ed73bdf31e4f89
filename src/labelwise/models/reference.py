"""Small nets that train in seconds on a CPU, in their published shapes."""

from __future__ import annotations

from torch import Tensor, nn


class LeNet(nn.Module):
    """LeNet-5 with ReLU and max pooling: two 5x5 convolutions, then 120, 84 and the classes.

    Args:
        classes: width of the output.
        channels: of the input.
        size: side of the input in pixels, at least 16.

    Reference:
        LeCun et al., "Gradient-based learning applied to document recognition", Proc. IEEE 1998. We differ: ReLU, max
        pooling, and dropout before the last layer so that dropout draws work out of the box.
    """

    def __init__(self, classes: int, channels: int = 1, size: tuple[int, int] = (28, 28)) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        width = 16 * (size[0] // 4) * (size[1] // 4)
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(width, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU())
        self.dropout = nn.Dropout(0.25)
        self.head = nn.Linear(84, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, classes) logits."""
        return self.head(self.dropout(self.hidden(self.features(images))))  # type: ignore[no-any-return]


class SmallLeNet(nn.Module):
    """Two 5x5 convolutions without padding, 10 and 20 channels, a hidden layer of 50: 21,840 parameters on digits.

    Args:
        classes: width of the output.
        channels: of the input.
        size: side of the input in pixels, at least 16.

    Reference:
        The network of Gudovskiy et al., "Deep Active Learning for Biased Datasets via Fisher Kernel Self-Supervision",
        CVPR 2020, on MNIST. No dropout: dropout draws name the modules that they are put behind.
    """

    def __init__(self, classes: int, channels: int = 1, size: tuple[int, int] = (28, 28)) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(channels, 10, 5), nn.MaxPool2d(2), nn.ReLU())
        self.block2 = nn.Sequential(nn.Conv2d(10, 20, 5), nn.MaxPool2d(2), nn.ReLU())
        sides = [((side - 4) // 2 - 4) // 2 for side in size]
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(20 * sides[0] * sides[1], 50), nn.ReLU())
        self.head = nn.Linear(50, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, classes) logits."""
        return self.head(self.hidden(self.block2(self.block1(images))))  # type: ignore[no-any-return]


def resnet10(classes: int, channels: int = 3) -> nn.Module:
    """ResNet of one basic block for each of four widths, 64 to 512, behind the stem of ImageNet networks.

    4.9 million parameters. On images of 32 pixels the last stage sees a single place.

    Reference:
        He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; in this depth as used by Gudovskiy et al.,
        CVPR 2020, on SVHN.
    """
    from torchvision.models.resnet import BasicBlock, ResNet

    model: nn.Module = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=classes)
    if channels != 3:
        model.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    return model


def resnet18_cifar(classes: int, channels: int = 3) -> nn.Module:
    """ResNet-18 for small images: a 3x3 stem of stride 1 and no first pooling.

    Reference:
        He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; the stem is the one customary on CIFAR.
    """
    from torchvision.models import resnet18

    model: nn.Module = resnet18(weights=None, num_classes=classes)
    model.conv1 = nn.Conv2d(channels, 64, 3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    return model


def resnet10_small(classes: int, channels: int = 3) -> nn.Module:
    """As ``resnet10``, narrow and for small images: four widths, 16 to 64, a 3x3 stem of stride 1 and no first pooling.

    0.09 million parameters: trained from nothing on a CPU in seconds.

    Reference:
        He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
    """
    from torchvision.models.resnet import BasicBlock, ResNet

    model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=classes)
    model.conv1, model.bn1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
    model.maxpool = nn.Identity()
    model.inplanes = 16
    for number, width in enumerate((16, 24, 32, 64), 1):
        setattr(model, f"layer{number}", model._make_layer(BasicBlock, width, 1, stride=1 if number == 1 else 2))
    model.fc = nn.Linear(64, classes)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    made: nn.Module = model
    return made
