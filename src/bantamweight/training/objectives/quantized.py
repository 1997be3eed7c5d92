"""Quantization-aware training: Jacob et al. 2018 (arXiv 1712.05877), section 3; straight-through gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from bantamweight.errors import InputError
from bantamweight.parts import Part, Room, configure
from bantamweight.training._job import learns_from_a_teacher
from bantamweight.training._values import Loss, Objective, Step
from bantamweight.types import Images, Labels

__all__ = ["Integers", "quantized"]


def quantized(
    label_smoothing: float,
    *,
    objective: Annotated[str | dict[str, Any] | Part, Room("objectives")] = "standard",
    weight_bits: Annotated[int, Field(ge=2, le=8)] = 8,
    activation_bits: Annotated[int, Field(ge=2, le=8)] = 8,
) -> Objective:
    """Another objective, seen through weights and activations rounded as int8 will round them; for what int8 loses.

    Before every convolution and matrix product its weight is rounded to a symmetric grid per output channel (which
    folding batch norm afterwards does not change) and its input to a grid over the range of the batch, so there is
    nothing to remember between steps; the gradient passes through the rounding. What sits between (sums of branches)
    stays float, as does the look at the validation split. Forward passes are float32. Weights that are zero stay zero.
    Raises InputError for an objective with a teacher.
    """
    part = configure("objectives", objective)
    if learns_from_a_teacher(part):
        raise InputError(f"quantized needs an objective without a teacher, got {part.name!r}; use standard")
    inner: Objective = part.make(label_smoothing)
    kept = getattr(inner, "replays", 1), getattr(inner, "probe", None), getattr(inner, "budget", None)
    return _Rounded(inner, weight_bits, activation_bits, *kept)


@dataclass(frozen=True)
class _Rounded:
    """`replays`, `probe` and `budget` are the inner objective's; the probe attacks what is judged, the float net."""

    inner: Objective
    weight_bits: int
    activation_bits: int
    replays: int
    probe: Callable[[nn.Module, Images, Labels, Step], Images] | None
    budget: Callable[[Step], float] | None

    def __call__(self, module: nn.Module, images: Images, labels: Labels, step: Step) -> Loss:
        # In bfloat16 a level would not even be a number.
        with torch.autocast(images.device.type, enabled=False), Integers(self.weight_bits, self.activation_bits):
            return self.inner(module, images, labels, step)


class Integers(TorchFunctionMode):
    """Inside, convolutions and linear layers round their input and weight, whoever calls them.

    >>> with Integers(8, 8):
    ...     functional.linear(torch.tensor([[1.0, 0.3]]), torch.tensor([[127.0, 0.4]])).item()
    127.0
    """

    def __init__(self, weight_bits: int, activation_bits: int) -> None:
        super().__init__()
        self._weight, self._input = 2 ** (weight_bits - 1) - 1, 2**activation_bits - 1

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """A product is called with both its factors rounded, anything else as it is."""
        if func in _PRODUCTS and len(args) >= 2:
            first = _straight(args[0], _on_range(args[0].detach(), self._input))
            second = _straight(args[1], _on_grid(args[1].detach(), self._weight))
            args = (first, second, *args[2:])
        return func(*args, **(kwargs or {}))


_PRODUCTS = {
    functional.conv2d,
    functional.linear,
    torch.conv2d,
    torch.ops.aten.conv2d.default,
    torch.ops.aten.linear.default,
    torch.ops.aten.convolution.default,
}


def _straight(real: Tensor, near: Tensor) -> Tensor:
    """The rounded number, with the gradient of the real one."""
    return real + (near - real).detach()


def _on_grid(weight: Tensor, levels: int) -> Tensor:
    """Symmetric, one scale per output channel; zero stays zero."""
    scale = weight.abs().amax(dim=tuple(range(1, weight.ndim)), keepdim=True) / levels
    return torch.where(scale > 0, (weight / scale.clamp_min(1e-38)).round() * scale, 0.0)


def _on_range(real: Tensor, levels: int) -> Tensor:
    """Asymmetric, one scale for all, zero being one of the levels."""
    low, high = real.amin().clamp(max=0.0), real.amax().clamp(min=0.0)
    scale = ((high - low) / levels).clamp_min(1e-38)
    zero = (-low / scale).round()
    return ((real / scale + zero).round().clamp(0, levels) - zero) * scale
