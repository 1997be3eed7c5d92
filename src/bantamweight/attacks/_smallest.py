"""The smallest budget that breaks each image, found by bisection with any fixed-budget attack."""

from __future__ import annotations

import numpy as np
import torch

from bantamweight.attacks._core import Attack, run
from bantamweight.errors import InputError
from bantamweight.oracle import Oracle
from bantamweight.threats import Threat
from bantamweight.types import Float, Images, Labels

__all__ = ["smallest_eps"]


def smallest_eps(
    attack: Attack,
    oracle: Oracle,
    images: Images,
    labels: Labels,
    threat: Threat,
    *,
    rounds: int = 8,
    seed: int = 0,
    batch: int = 64,
) -> Float[np.ndarray, " n"]:
    """Per image, the smallest budget at which the attack was seen to succeed, within threat.eps / 2^rounds.

    0 for an image that was wrong from the start, inf for one that stood at `threat.eps` (without a budget: at the
    largest there is). An upper bound on the true distance, as every empirical one is. The attack's step must follow the
    row's budget (`rate` left at None). Raises InputError for rounds below 1.
    """
    if rounds < 1:
        raise InputError(f"expected at least 1 round of bisection, got {rounds}")
    most = min(threat.eps, threat.norm.largest(images.shape[1:]))
    begun = torch.full((len(images),), most)
    verdicts = run(attack, oracle, images, labels, threat, seed=seed, batch=batch, eps=begun)
    high = torch.where(torch.from_numpy(verdicts["success"]), most, torch.inf).double()
    high[~torch.from_numpy(verdicts["right"])] = 0.0
    low = torch.zeros_like(high)
    open_rows = torch.nonzero(high.isfinite() & (high > 0))[:, 0]
    for _ in range(rounds if len(open_rows) else 0):
        middle = (low[open_rows] + high[open_rows]) / 2
        picked, given = images[open_rows], labels[open_rows]
        seen = run(attack, oracle, picked, given, threat, seed=seed, batch=batch, eps=middle.float())
        broken = torch.from_numpy(seen["success"])
        high[open_rows] = torch.where(broken, middle, high[open_rows])
        low[open_rows] = torch.where(broken, low[open_rows], middle)
    return high.numpy()
