"""Networks by name: small reference nets, torchvision, timm, or ``package.module:function``.

``build("lenet", 10, spec)``, ``build("resnet18_cifar", ...)``, ``build("torchvision:resnet50", ...)``,
``build("timm:vit_small_patch16_224", ...)``.
"""

from labelwise.models.by_name import build, model_names
from labelwise.models.taps import Taps, last_linear
from labelwise.models.weights import load_weights

__all__ = ["Taps", "build", "last_linear", "load_weights", "model_names"]
