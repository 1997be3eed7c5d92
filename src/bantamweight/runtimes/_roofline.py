"""The roofline of this machine (Williams et al. 2009), and how long each layer takes beneath it.

No layer can be faster than its FLOPs at the rate of a large matrix product, nor than its bytes at the rate of memory.
Both rates are measured, in about a second; what the caches hold can be read faster than memory, so a layer whose data
fit in them may lie above the slope.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter_ns

import torch
from torch import nn

from bantamweight.errors import InputError
from bantamweight.models._anatomy import hooked
from bantamweight.runtimes._core import pinned, probe

__all__ = ["LayerTime", "Roof", "layer_times", "measure_roof"]

SIDES = (512, 1024, 2048)
"""Of the matrices multiplied; small ones miss the peak, and which is best differs between machines."""
ARRAY_BYTES = 1 << 27
"""More than caches hold."""


@dataclass(frozen=True)
class Roof:
    """Best rates seen, in float32: FLOPs per second of matrix products, bytes read or written per second."""

    flops: float
    bandwidth: float
    threads: int

    @property
    def ridge(self) -> float:
        """FLOPs per byte from which arithmetic is the limit and not memory."""
        return self.flops / self.bandwidth

    def attainable(self, intensity: float) -> float:
        """FLOPs per second that a kernel of so many FLOPs per byte can reach at most.

        >>> Roof(flops=100.0, bandwidth=10.0, threads=1).attainable(2.0)
        20.0
        """
        return min(self.flops, self.bandwidth * intensity)

    def seconds(self, flops: float, moved_bytes: float) -> float:
        """The least time that so many FLOPs and bytes can take."""
        return max(flops / self.flops, moved_bytes / self.bandwidth)


@dataclass(frozen=True)
class LayerTime:
    """The median of one layer's calls, in seconds; the order is that of the forward pass."""

    name: str
    seconds: float


def measure_roof(*, threads: int = 1, seconds: float = 1.0) -> Roof:
    """The best rates within about `seconds` of trying. Raises InputError when there is no thread or no time."""
    if threads < 1 or seconds <= 0:
        raise InputError(f"expected 1 thread or more and a positive time, got {threads} and {seconds}")
    with pinned(threads), torch.no_grad():
        rates = []
        for side in SIDES:
            matrices = torch.ones(3, side, side)
            best = _fastest(partial(torch.mm, matrices[0], matrices[1], out=matrices[2]), seconds / 2 / len(SIDES))
            rates.append(2 * side**3 / best)
        source, target = (torch.zeros(ARRAY_BYTES // 4) for _ in range(2))
        copying = _fastest(partial(target.copy_, source), seconds / 2)
    return Roof(max(rates), 2 * ARRAY_BYTES / copying, threads)


def _fastest(call: Callable[[], object], seconds: float) -> float:
    """Seconds of the fastest of several calls, after one that does not count; three at least."""
    call()
    taken: list[int] = []
    while len(taken) < 3 or sum(taken) < seconds * 1e9:
        started = perf_counter_ns()
        call()
        taken.append(max(1, perf_counter_ns() - started))
    return min(taken) * 1e-9


def layer_times(
    module: nn.Module, input_shape: tuple[int, int, int], *, batch: int = 1, threads: int = 1, runs: int = 20
) -> tuple[LayerTime, ...]:
    """How long each call of each layer takes in eval mode, as the median of `runs` forward passes after two others.

    The clock itself takes about a microsecond a layer. Raises InputError when a number is not positive. The module and
    its modes are left as they are.
    """
    if batch < 1 or threads < 1 or runs < 1:
        raise InputError(f"expected batch, threads and runs of 1 or more, got {batch}, {threads} and {runs}")
    at = next(module.parameters(), torch.empty(0))
    images = torch.from_numpy(probe(input_shape, batch, "layers")).to(at.device, at.dtype)
    names: list[str] = []
    taken: list[list[int]] = []
    started = [0]
    calls: list[int] = []

    def begin(_: str) -> None:
        started[0] = perf_counter_ns()

    def end(name: str, *_: object) -> None:
        calls.append(perf_counter_ns() - started[0])
        names.append(name)

    modes = [(part, part.training) for part in module.modules()]
    try:
        module.eval()
        with pinned(threads), torch.inference_mode(), hooked(module, begin, end):
            for _ in range(2 + runs):
                names.clear()
                calls.clear()
                module(images)
                taken.append(calls.copy())
    finally:
        for part, mode in modes:
            part.training = mode
    return tuple(
        LayerTime(name, median(call) * 1e-9) for name, call in zip(names, zip(*taken[2:], strict=True), strict=True)
    )
