"""The exact distance to a hyperplane inside the box, found the slow way, for every norm."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def distance(norm: str, image: Tensor, weights: Tensor, gap: float) -> float:
    """The least size of a change in the box that lowers `gap + <weights, change>` to zero; inf if none does."""
    x, w = image.double().flatten(), weights.double().flatten()
    room = torch.where(w > 0, x, 1.0 - x)
    gains = w.abs() * room
    if float(gains.sum()) <= gap:
        return math.inf
    if norm in ("linf", "l2"):
        pull = torch.ones_like(w) if norm == "linf" else w.abs()
        low, high = 0.0, float((room / pull).max())
        for _ in range(200):
            level = (low + high) / 2.0
            fallen = float((w.abs() * torch.minimum(room, level * pull)).sum())
            low, high = (level, high) if fallen < gap else (low, level)
        moved = torch.minimum(room, high * pull)
        return float(moved.max() if norm == "linf" else moved.square().sum().sqrt())
    if norm == "l1":
        spent = 0.0
        for place in w.abs().argsort(descending=True).tolist():
            if gap <= float(gains[place]):
                return spent + gap / float(w[place].abs())
            gap, spent = gap - float(gains[place]), spent + float(room[place])
    pixels = gains.reshape(image.shape).sum(dim=0).flatten().sort(descending=True).values
    return 1.0 + int((pixels.cumsum(dim=0) <= gap).sum())


def distances(norm: str, model: torch.nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """From each image to the nearest other class of a linear model."""
    weights, logits = model.layer.weight, model(images)
    found = []
    for image, label, scores in zip(images, labels.tolist(), logits, strict=True):
        others = [k for k in range(len(weights)) if k != label]
        pairs = [((weights[label] - weights[k]).reshape(image.shape), float(scores[label] - scores[k])) for k in others]
        found.append(min(distance(norm, image, w, gap) for w, gap in pairs))
    return torch.tensor(found)
