"""Activation maximisation: Simonyan, Vedaldi, Zisserman 2014, "Deep Inside Convolutional Networks", section 2, with the
priors of Mahendran, Vedaldi 2016, "Visualizing Deep Convolutional Neural Networks Using Natural Pre-Images"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bantamweight import rng
from bantamweight.errors import InputError
from bantamweight.explainers._gradients import logits_in
from bantamweight.explainers._layers import at_rest
from bantamweight.explainers.pictures._search import Prior, Progress, search
from bantamweight.types import Float, Images, Int64

__all__ = ["Maximised", "maximise"]


@dataclass(frozen=True)
class Maximised:
    """One image per class, the best of its restarts, with the class's logit and probability on it.

    `losses` has every term at every step of every restart, `(k, restarts, steps)`; its `fit` is the negative logit.
    """

    images: Images
    classes: Int64[Tensor, " k"]
    logits: Float[Tensor, " k"]
    probabilities: Float[Tensor, " k"]
    losses: dict[str, Float[Tensor, "k r s"]]


def maximise(
    module: nn.Module,
    classes: Sequence[int],
    shape: tuple[int, int, int],
    *,
    prior: Prior = Prior(tv=1000.0, l2=100.0, norm=10.0),
    steps: int = 300,
    scales: Sequence[float] = (0.25, 0.5, 1.0),
    rate: float = 0.05,
    jitter: int = 2,
    restarts: int = 1,
    seed: int = 0,
    batch: int = 64,
    progress: Progress | None = None,
) -> Maximised:
    """Images of `shape` (channels, height, width) in [0, 1] that a class's logit likes best, within the prior.

    Choose it to see what a class stands for in the model, apart from any image. `progress` hears the steps done and to
    do. The module is as it was on return. Raises InputError for a class that is not there or settings that can't be
    meant.
    """
    if restarts < 1 or not len(classes) or batch < 1:
        raise InputError(f"expected classes, restarts and a batch, got {len(classes)}, {restarts} and {batch}")
    weight = next(module.parameters(), torch.empty(0))
    wanted = torch.as_tensor(list(classes), device=weight.device)
    with torch.inference_mode(False), at_rest(module):
        with torch.no_grad():
            count = logits_in(module(torch.full((8, *shape), 0.5, device=weight.device, dtype=weight.dtype))).shape[1]
        if int(wanted.min()) < 0 or int(wanted.max()) >= count:
            raise InputError(f"expected classes from 0 to {count - 1}, got {list(classes)}")

        def loss(shown: Images, rows: Tensor) -> Tensor:
            logits = logits_in(module(shown.to(weight.dtype))).float()
            return -logits.gather(1, wanted[rows // restarts, None])[:, 0]

        places = torch.arange(restarts, device=wanted.device).repeat(len(wanted))
        keys = rng.fold(wanted.repeat_interleave(restarts), places + restarts * seed)
        found = search(
            loss, keys, shape, name="maximisation", prior=prior, steps=steps, scales=scales, rate=rate, jitter=jitter,
            rows=batch, progress=progress,
        )  # fmt: skip
        with torch.no_grad():
            logits = torch.cat([logits_in(module(part.to(weight.dtype))).float() for part in found.images.split(batch)])
    own = logits.gather(1, wanted.repeat_interleave(restarts)[:, None]).reshape(-1, restarts)
    shown = logits.softmax(dim=1).gather(1, wanted.repeat_interleave(restarts)[:, None]).reshape(-1, restarts)
    best, place = own.max(dim=1)
    rows = torch.arange(len(wanted), device=place.device) * restarts + place
    curves = {name: values.reshape(len(wanted), restarts, -1).cpu() for name, values in found.losses.items()}
    return Maximised(
        found.images[rows].cpu(), wanted.cpu(), best.cpu(), shown.gather(1, place[:, None])[:, 0].cpu(), curves
    )
