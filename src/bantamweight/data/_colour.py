"""Brightness, contrast, saturation and hue of a batch, each image by its own amount."""

from __future__ import annotations

import torch
from torch import Tensor

from bantamweight.types import Float, Images

__all__ = ["recolour"]

_GREY = (0.299, 0.587, 0.114)


def recolour(
    images: Images, moved: Float[Tensor, "b 4"], *, changes: tuple[bool, ...] = (True, True, True, True)
) -> Images:
    """Factors 1 + m for brightness, contrast and saturation, then a turn of the hue by m (in turns), clipped to [0, 1].

    As torchvision's `ColorJitter`, in this order: contrast mixes with the mean grey of the image, saturation with the
    grey of the pixel, hue turns in HSV. `changes` leaves out what does nothing.
    """
    factors = (1.0 + moved[:, :3])[:, :, None, None, None]
    brightness, contrast, saturation = factors[:, 0], factors[:, 1], factors[:, 2]
    if changes[0]:
        images = (images * brightness).clamp_(0.0, 1.0)
    if changes[1]:
        images = _mix(images, _mean(_grey(images)), contrast)
    if images.shape[1] == 3 and changes[2]:
        images = _mix(images, _grey(images), saturation)
    if images.shape[1] == 3 and changes[3]:
        images = _turned(images, moved[:, 3][:, None, None, None])
    return images


def _mix(images: Images, other: Tensor, amount: Tensor) -> Images:
    return (images * amount).add_(other * (1.0 - amount)).clamp_(0.0, 1.0)


def _grey(images: Images) -> Float[Tensor, "b 1 h w"]:
    if images.shape[1] == 1:
        return images
    red, green, blue = (images[:, channel : channel + 1] for channel in range(3))
    return red * _GREY[0] + green * _GREY[1] + blue * _GREY[2]


def _mean(grey: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 1 1"]:
    """Added up as whole numbers: the order in which a sum of floats is taken depends on the batch."""
    total = (grey * 2.0**24).to(torch.int64).sum(dim=(1, 2, 3), keepdim=True)
    return (total.to(torch.float64) / (2.0**24 * grey[0].numel())).to(torch.float32)


def _turned(images: Images, turn: Float[Tensor, "b 1 1 1"]) -> Images:
    """To hue, saturation, value and back (Smith, 1978), with the hue moved; counted in sixths of the circle."""
    red, green, blue = (images[:, channel : channel + 1] for channel in range(3))
    value = images.amax(dim=1, keepdim=True)
    chroma = value - images.amin(dim=1, keepdim=True)
    safe = torch.where(chroma > 0, chroma, 1.0)
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, (blue - red) / safe + 2.0, (red - green) / safe + 4.0),
    )
    place = hue + turn * 6.0 + torch.tensor([5.0, 3.0, 1.0], device=images.device)[None, :, None, None]
    place = place.sub_((place / 6.0).floor_().mul_(6.0))
    return torch.minimum(place, 4.0 - place).clamp_(0.0, 1.0).mul_(chroma).neg_().add_(value)
