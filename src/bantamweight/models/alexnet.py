"""AlexNet (Krizhevsky et al. 2012, section 3), in two groups as on its two GPUs, and ungrouped.

60,965,224 parameters and 724,406,816 MACs at 3x224x224 and 1,000 classes; 62,378,344 and 1,135,256,096 ungrouped. The
first convolution pads by 2, without which 224 pixels give 54 and not the 55 of the paper. The form for small images has
a 3x3 first convolution that doesn't stride; no count is published for it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from bantamweight.errors import InputError
from bantamweight.models._forms import Form, for_imagenet, he_initialised
from bantamweight.models._normalize import Normalize, check_input

__all__ = ["alexnet", "alexnet_ungrouped"]

HIDDEN = 4096


def _alexnet(
    groups: int,
    channels: int,
    classes: int,
    size: int,
    form: Form,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> nn.Module:
    check_input(channels=channels, classes=classes, size=size)
    imagenet = for_imagenet(form, size)
    side = _side(size) if imagenet else -(-size // 8)
    if side < 1:
        raise InputError(f"expected images of at least 63 pixels for AlexNet's form for ImageNet, got size={size}")
    first = nn.Conv2d(channels, 96, 11, stride=4, padding=2) if imagenet else nn.Conv2d(channels, 96, 3, padding=1)
    edge = 0 if imagenet else 1
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", first),
        ("relu1", nn.ReLU()),
        ("norm1", _response()),
        ("pool1", nn.MaxPool2d(3, stride=2, padding=edge)),
        ("conv2", nn.Conv2d(96, 256, 5, padding=2, groups=groups)),
        ("relu2", nn.ReLU()),
        ("norm2", _response()),
        ("pool2", nn.MaxPool2d(3, stride=2, padding=edge)),
        ("conv3", nn.Conv2d(256, 384, 3, padding=1)),
        ("relu3", nn.ReLU()),
        ("conv4", nn.Conv2d(384, 384, 3, padding=1, groups=groups)),
        ("relu4", nn.ReLU()),
        ("conv5", nn.Conv2d(384, 256, 3, padding=1, groups=groups)),
        ("relu5", nn.ReLU()),
        ("pool5", nn.MaxPool2d(3, stride=2, padding=edge)),
        ("flatten", nn.Flatten()),
        ("dropout6", nn.Dropout(0.5)),
        ("fc6", nn.Linear(256 * side * side, HIDDEN)),
        ("relu6", nn.ReLU()),
        ("dropout7", nn.Dropout(0.5)),
        ("fc7", nn.Linear(HIDDEN, HIDDEN)),
        ("relu7", nn.ReLU()),
        ("fc8", nn.Linear(HIDDEN, classes)),
    ]
    return he_initialised(nn.Sequential(OrderedDict([("normalize", Normalize(channels, mean, std)), *layers])))


def _side(size: int) -> int:
    """Pixels a side that reach fc6: 224 -> 55 -> 27 -> 13 -> 6."""
    side = (size + 2 * 2 - 11) // 4 + 1
    for _ in range(3):
        side = (side - 3) // 2 + 1
    return side


def _response() -> nn.Module:
    """Section 3.3: k = 2, n = 5, alpha = 1e-4, beta = 0.75; torch divides alpha by n, the paper does not."""
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


def alexnet(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    form: Form = "auto",
) -> nn.Module:
    """The first deep net of ImageNet; choose it where linear layers dominate. `b c h w` in [0, 1] to logits `b k`.

    Raises InputError when a size, a number of channels or of classes is impossible.

    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(weight.numel() for weight in alexnet(size=224, classes=1000).parameters())
    60965224
    """
    return _alexnet(2, channels, classes, size, form, mean, std)


def alexnet_ungrouped(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    form: Form = "auto",
) -> nn.Module:
    """AlexNet as if on one GPU: every convolution reads all channels; see `alexnet`."""
    return _alexnet(1, channels, classes, size, form, mean, std)
