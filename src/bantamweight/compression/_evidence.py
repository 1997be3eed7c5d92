"""What criteria are shown of the user's images: gathered here, once, and handed on as plain tensors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from bantamweight.compression._core import Evidence, Needs, prunable
from bantamweight.errors import InputError, near
from bantamweight.types import Images, Labels

__all__ = ["gather"]

LEAST = 8
"""Images below which a mean over them says little more than which they were."""


def gather(module: nn.Module, needs: Needs, images: Images, labels: Labels, *, batch: int = 64) -> Evidence:
    """The evidence that a criterion declares, from images (floats in [0, 1] or bytes) and their labels.

    `gradients`: by weight name, the gradient of the mean cross-entropy to each prunable weight. `contributions`: by
    layer name, for each image and output channel the sum over positions of output x gradient of that image's
    cross-entropy: to first order, what the loss would lose were the channel zero. `none` gives nothing. The module is
    asked in eval mode and left as it was, frozen parameters included. Raises InputError for kinds that are gathered
    elsewhere, for fewer than 8 images and for labels that don't fit.
    """
    if needs == "none":
        return {}
    kinds: dict[str, Callable[[nn.Module, Images, Labels, int], dict[str, Tensor]]] = {
        "gradients": _gradients,
        "contributions": _contributions,
    }
    if needs not in kinds:
        raise InputError(f"{needs!r} can't be gathered from images alone{near(needs, kinds)}")
    if len(images) < LEAST or len(images) != len(labels):
        raise InputError(
            f"expected at least {LEAST} images with a label each to gather {needs} from, "
            f"got {len(images)} images and {len(labels)} labels; pass more"
        )
    modes = {part: part.training for part in module.modules()}
    frozen = [parameter for parameter in module.parameters() if not parameter.requires_grad]
    try:
        module.eval()
        with torch.enable_grad():
            return kinds[needs](module, images, labels, batch)
    finally:
        for part, training in modes.items():
            part.training = training
        for parameter in frozen:
            parameter.requires_grad_(False)


def _pixels(images: Images, rows: slice) -> Images:
    part = images[rows]
    return part.to(torch.float32) / 255.0 if part.dtype == torch.uint8 else part


def _losses(module: nn.Module, images: Images, labels: Labels) -> Tensor:
    logits = module(images)
    if int(labels.max()) >= logits.shape[1]:
        raise InputError(f"expected labels below {logits.shape[1]}, the number of logits, got {int(labels.max())}")
    return F.cross_entropy(logits, labels.long(), reduction="sum")


def _gradients(module: nn.Module, images: Images, labels: Labels, batch: int) -> dict[str, Tensor]:
    weights = {name: module.get_parameter(name) for name in prunable(module)}
    for weight in weights.values():
        weight.requires_grad_(True)
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for start in range(0, len(images), batch):
        rows = slice(start, start + batch)
        loss = _losses(module, _pixels(images, rows), labels[rows])
        # Not backward(): the caller's .grad stays what it was.
        for (name, _), gradient in zip(weights.items(), torch.autograd.grad(loss, list(weights.values())), strict=True):
            total[name] += gradient / len(images)
    return total


def _contributions(module: nn.Module, images: Images, labels: Labels, batch: int) -> dict[str, Tensor]:
    seen: list[tuple[str, Tensor]] = []
    hooks = [
        layer.register_forward_hook(_note(seen, name))
        for name, layer in module.named_modules()
        if isinstance(layer, (_ConvNd, nn.Linear, _BatchNorm))
    ]
    found: dict[str, list[Tensor]] = {}
    try:
        for start in range(0, len(images), batch):
            rows = slice(start, start + batch)
            seen.clear()
            # Images that require a gradient give every output one, frozen layers included.
            loss = _losses(module, _pixels(images, rows).detach().requires_grad_(True), labels[rows])
            gradients = torch.autograd.grad(loss, [output for _, output in seen], allow_unused=True)
            once: dict[str, Tensor] = {}
            for (name, output), gradient in zip(seen, gradients, strict=True):
                product = torch.zeros_like(output) if gradient is None else output.detach() * gradient
                term = product.flatten(2).sum(dim=2) if product.dim() > 2 else product
                once[name] = once[name] + term if name in once else term
            for name, term in once.items():
                found.setdefault(name, []).append(term)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.cat(terms) for name, terms in found.items()}


def _note(seen: list[tuple[str, Tensor]], name: str) -> Callable[..., None]:
    def hook(_layer: nn.Module, _inputs: object, output: Tensor) -> None:
        seen.append((name, output))

    return hook
