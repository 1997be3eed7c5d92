"""No gradients taken inside the forward pass (AutoAttack's flag for dynamic defences, Croce et al. 2022)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from bantamweight.attacks.checks._core import Check, Evidence, failed, passed

__all__ = ["autograd_inside"]

LEVEL = "probe"
ROWS = 8
GRADIENTS = (torch.autograd.grad, torch.Tensor.backward, torch.autograd.backward)


class _Watch(TorchFunctionMode):
    """Counts calls for gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.calls += func in GRADIENTS
        return func(*args, **(kwargs or {}))


def autograd_inside(evidence: Evidence) -> Check:
    """The model calls for no gradient while it answers.

    A defence that optimises its input at test time is not the function that white-box attacks differentiate. Costs
    1 forward of 8 images.
    """
    watch = _Watch()
    with watch:
        evidence.oracle.judge(evidence.images[:ROWS])
    if watch.calls:
        return failed(
            "autograd_inside",
            float(watch.calls),
            f"dynamic model: it took {watch.calls} gradients inside one forward pass; attack it adaptively",
        )
    return passed("autograd_inside", 0.0, "no gradient is taken inside the forward pass")
