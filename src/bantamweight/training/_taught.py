"""Whether a teacher has any robustness to teach."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import nn

from bantamweight.training._inner import Ascent
from bantamweight.training._values import Step
from bantamweight.types import Images, Labels

__all__ = ["warned"]

HALF = 0.5
"""A teacher that keeps less than this share of its right answers under attack is taken for a natural one."""


def warned(teacher: nn.Module, how: Ascent) -> Callable[[Images, Labels, Step], None]:
    """A check that attacks the teacher on the first batch it sees and warns where it falls; after that it is silent."""
    done = False

    def check(images: Images, labels: Labels, step: Step) -> None:
        nonlocal done
        if done:
            return
        done = True
        worst = how.probe(teacher, images, labels, step)
        with torch.no_grad():
            right, left = ((teacher(points).argmax(dim=1) == labels) for points in (images, worst))
        before, after = int(right.sum()), int((right & left).sum())
        if after < HALF * before:
            warnings.warn(
                f"of {before} images that the teacher gets right, {after} are left under attack at {how.threat}: a "
                "natural teacher has no robustness to teach; train the teacher against attack first",
                stacklevel=2,
            )

    return check
