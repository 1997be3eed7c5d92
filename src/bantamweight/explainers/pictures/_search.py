"""Searching for an image: priors, scales, restarts; Mahendran, Vedaldi 2015, "Understanding Deep Image Representations
by Inverting Them", section 3.

Every row (an image and a restart) is searched by itself: the optimiser works element by element, and each row's first
noise comes from its own key, so no result depends on who else is searched, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bantamweight import rng
from bantamweight.errors import InputError
from bantamweight.types import Float, Images, Int64

__all__ = ["Prior", "Progress", "Search", "alpha_norm", "search", "total_variation"]

Progress = Callable[[int, int], None]
"""Called with the steps done and the steps there are."""

_GREY = 0.5


def total_variation(images: Images, beta: float = 2.0) -> Float[Tensor, " b"]:
    """Sum over pixels of (squared forward differences)^(beta / 2); differences over the border count as zero."""
    down = F.pad(images[:, :, 1:] - images[:, :, :-1], (0, 0, 0, 1))
    right = F.pad(images[:, :, :, 1:] - images[:, :, :, :-1], (0, 1))
    squared = down.square() + right.square()
    if beta < 2:
        squared = squared + 1e-12  # the derivative of a root is infinite at zero
    return squared.pow(beta / 2).flatten(1).sum(dim=1)


def alpha_norm(images: Images, alpha: float = 6.0) -> Float[Tensor, " b"]:
    """Sum over pixels of |x - grey|^alpha; the paper's alpha is 6, which keeps pixels inside their range."""
    return (images - _GREY).abs().pow(alpha).flatten(1).sum(dim=1)


@dataclass(frozen=True)
class Prior:
    """What images are likely: weights and exponents of the three terms, each taken per pixel and channel.

    `tv` weighs total variation (exponent `beta`; 1 is sparse, 2 smooth), `l2` the squared distance to grey, `norm` the
    `alpha`-th power of that distance as a share of the way to black or white.
    """

    tv: float = 1.0
    beta: float = 2.0
    l2: float = 0.0
    norm: float = 1.0
    alpha: float = 6.0

    def __post_init__(self) -> None:
        if min(self.tv, self.l2, self.norm) < 0 or self.beta <= 0 or self.alpha < 1:
            raise InputError(f"expected weights of 0 or more, beta above 0 and alpha of 1 or more, got {self}")

    def terms(self, images: Images) -> dict[str, Float[Tensor, " b"]]:
        """The weighted terms; those without weight are left out."""
        count = images[0].numel()
        said = {
            "tv": (self.tv, lambda: total_variation(images, self.beta)),
            "l2": (self.l2, lambda: alpha_norm(images, 2.0)),
            "norm": (self.norm, lambda: alpha_norm(2.0 * images - _GREY, self.alpha)),
        }
        return {name: weight * term() / count for name, (weight, term) in said.items() if weight > 0}


@dataclass(frozen=True)
class Search:
    """What was found: images of one row each, and every term of the loss at every step, `(rows, steps)`."""

    images: Images
    losses: dict[str, Float[Tensor, "r s"]]

    @property
    def total(self) -> Float[Tensor, "r s"]:
        """The sum of the terms."""
        return torch.stack(list(self.losses.values())).sum(dim=0)


def search(
    loss: Callable[[Images, Int64[Tensor, " r"]], Float[Tensor, " r"]],
    keys: Int64[Tensor, " r"],
    shape: tuple[int, int, int],
    *,
    name: str,
    prior: Prior,
    steps: int,
    scales: Sequence[float],
    rate: float,
    jitter: int = 0,
    rows: int = 64,
    progress: Progress | None = None,
) -> Search:
    """Images in [0, 1] that make `loss(images, row numbers)` plus the prior's terms small, one per key.

    The first scale's share of the steps is spent on a small image that is enlarged for the model, then the next:
    coarse structure is found first. Adam (Kingma, Ba 2015), kept inside [0, 1]; the best image seen at the last scale
    is kept. `jitter` moves the image by up to so many pixels at each step. At most `rows` rows are searched at a time.
    """
    if steps < len(scales) or not scales or not all(0 < scale <= 1 for scale in scales) or rate <= 0 or jitter < 0:
        raise InputError(
            f"expected scales in (0, 1] with at least a step each, a rate above 0 and jitter of 0 or more, "
            f"got {list(scales)}, {steps} steps, {rate} and {jitter}"
        )
    found, curves = [], []
    turns = -(-len(keys) // rows)
    for turn in range(turns):
        chosen = torch.arange(turn * rows, min(len(keys), (turn + 1) * rows), device=keys.device)
        heard = None if progress is None else _part(progress, turn, turns, steps)
        one = _searched(loss, chosen, keys[chosen], shape, name, prior, steps, scales, rate, jitter, heard)
        found.append(one.images)
        curves.append(one.losses)
    return Search(torch.cat(found), {term: torch.cat([one[term] for one in curves]) for term in curves[0]})


def _part(progress: Progress, turn: int, turns: int, steps: int) -> Callable[[int], None]:
    return lambda step: progress(turn * steps + step, turns * steps)


def _searched(
    loss: Callable[[Images, Tensor], Tensor],
    numbers: Tensor,
    keys: Tensor,
    shape: tuple[int, int, int],
    name: str,
    prior: Prior,
    steps: int,
    scales: Sequence[float],
    rate: float,
    jitter: int,
    heard: Callable[[int], None] | None,
) -> Search:
    channels, height, width = shape
    image = _GREY + 0.1 * rng.normal(keys, (channels, height, width), name, "start")
    best, least = image.clone(), torch.full((len(keys),), torch.inf, device=keys.device)
    curves: dict[str, list[Tensor]] = {}
    done = 0
    for place, scale in enumerate(scales):
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        leaf = _enlarged(image, size).clamp(0.0, 1.0).detach().requires_grad_()
        optimiser = torch.optim.Adam([leaf], lr=rate)
        until = round(steps * (place + 1) / len(scales))
        while done < until:
            shown = _enlarged(leaf, (height, width))
            terms = {"fit": loss(_moved(shown, keys, jitter, name, done), numbers), **prior.terms(leaf)}
            total = torch.stack(list(terms.values())).sum(dim=0)
            if place == len(scales) - 1:
                better = total.detach() < least
                least = torch.where(better, total.detach(), least)
                best[better] = shown.detach()[better]
            for term, values in terms.items():
                curves.setdefault(term, []).append(values.detach())
            (leaf.grad,) = torch.autograd.grad(total.sum(), leaf)
            optimiser.step()
            leaf.data.clamp_(0.0, 1.0)
            done += 1
            if heard is not None:
                heard(done)
        image = _enlarged(leaf.detach(), (height, width))
    return Search(best, {term: torch.stack(values, dim=1) for term, values in curves.items()})


def _enlarged(image: Images, size: tuple[int, int]) -> Images:
    if tuple(image.shape[2:]) == size:
        return image
    return F.interpolate(image, size, mode="bilinear", align_corners=False)


def _moved(images: Images, keys: Tensor, jitter: int, name: str, step: int) -> Images:
    """Rows rolled by their own whole number of pixels."""
    if not jitter:
        return images
    by = (rng.uniform(keys, (2,), name, "jitter", step) * (2 * jitter + 1)).long() - jitter
    return torch.stack([one.roll((int(y), int(x)), (1, 2)) for one, (y, x) in zip(images, by, strict=True)])
