"""What a net in training is worth on the validation split: plain, and under the objective's own attack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bantamweight.data import Split
from bantamweight.predict import logits_of
from bantamweight.training._values import Row, Step
from bantamweight.types import Images, Labels, Logits

__all__ = ["Judge", "Verdict", "watched"]

ROWS = 64
"""Images attacked at a time."""


class Verdict(NamedTuple):
    """Mean cross-entropy, right answers, and those that are still right under attack (None: nobody asked)."""

    loss: float
    right: int
    robust: int | None


class Judge:
    """Judges the module as it is now, in eval mode; `probe` is the attack where robust accuracy is watched."""

    def __init__(
        self,
        module: nn.Module,
        device: torch.device,
        memory_format: torch.memory_format,
        *,
        half: bool,
        seed: int,
        probe: Callable[[nn.Module, Images, Labels, Step], Images] | None = None,
    ) -> None:
        self.module, self.device, self.memory_format = module, device, memory_format
        self.half, self.seed, self.probe = half, seed, probe
        self.modes = [(part, part.training) for part in module.modules()]

    def __call__(self, split: Split, *, attacked: bool = True) -> Verdict:
        """The verdict on a split, with or without the probe; the modes are as they were afterwards."""
        labels = split.labels.to(self.device)
        with _evaluating(self.modes):
            logits = self._answers(split.images.to(self.device))
            loss, right = float(cross_entropy(logits, labels)), logits.argmax(dim=1) == labels
            if self.probe is None or not attacked:
                return Verdict(loss, int(right.sum()), None)
            parts = torch.arange(len(split)).split(ROWS)
            left = torch.cat([self._answers(self._worst(rows, split)).argmax(dim=1) for rows in parts]) == labels
        return Verdict(loss, int(right.sum()), int((right & left).sum()))

    def _answers(self, images: Tensor) -> Logits:
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            return logits_of(self.module, images)

    def _worst(self, rows: Tensor, split: Split) -> Images:
        assert self.probe is not None
        images = split.floats(rows).to(self.device).contiguous(memory_format=self.memory_format)
        step = Step(0, 0, 1, self.seed, rows, 1, self.half)
        return self.probe(self.module, images, split.labels[rows].to(self.device), step)


def watched(row: Row, monitor: str) -> float:
    """What "best" compares, lower being better."""
    if monitor == "loss":
        return row.loss
    return -row.measures["robust_accuracy"] if "robust_accuracy" in row.measures else -row.accuracy


@contextmanager
def _evaluating(modes: list[tuple[nn.Module, bool]]) -> Iterator[None]:
    """Eval mode, then each part's own mode again; flags and not `.eval()`, which exported programs refuse."""
    for part, _ in modes:
        part.training = False
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
