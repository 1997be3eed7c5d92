"""What a method's maps cost: time in the net forward and backward, time outside it, passes, and memory on top."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from bantamweight.errors import InputError
from bantamweight.explainers._core import Explainer, explain
from bantamweight.explainers._layers import at_rest
from bantamweight.facts import Fact
from bantamweight.machine import describe
from bantamweight.predict import pad
from bantamweight.stats import median_interval
from bantamweight.types import Images

__all__ = ["explain_cost", "peak_bytes"]


@dataclass
class _Watch:
    """Seconds and rows in the net, forward and backward, since the watch was made."""

    forward: float = 0.0
    backward: float = 0.0
    rows_forward: int = 0
    rows_backward: int = 0
    began: list[float] = field(default_factory=list)


class _Backward(TorchFunctionMode):
    """Sees every call of `torch.autograd.grad`, by whichever part of a method."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.autograd.grad:
            return func(*args, **(kwargs or {}))
        began = perf_counter()
        found = func(*args, **(kwargs or {}))
        self._watch.backward += perf_counter() - began
        self._watch.rows_backward += len(args[1] if isinstance(args[1], Tensor) else args[1][0])
        return found


@contextmanager
def _watched(module: nn.Module) -> Iterator[_Watch]:
    """Hooks that see the module and its copies run; none of them stays."""
    watch = _Watch()

    def before(_module: nn.Module, given: Any) -> None:
        watch.began.append(perf_counter())
        watch.rows_forward += len(given[0])

    def after(_module: nn.Module, _given: Any, _told: Any) -> None:
        watch.forward += perf_counter() - watch.began.pop()

    hooks = [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        with _Backward(watch):
            yield watch
    finally:
        for hook in hooks:
            hook.remove()


def explain_cost(
    module: nn.Module,
    images: Images,
    methods: Sequence[Explainer],
    *,
    batches: Sequence[int] = (1, 8, 32),
    sizes: Sequence[int] | None = None,
    runs: int = 7,
    heard: Callable[[float, str], None] | None = None,
    **columns: Any,
) -> list[Fact]:
    """Facts per method, batch and side of the image, one class each.

    `explain_ms` per image (median of `runs`, which take turns), its parts `explain_forward_ms`, `explain_backward_ms`
    and `explain_rest_ms`, the rows that pass through the net per image, `explain_forwards` and `explain_backwards`, and
    `explain_peak_bytes` beyond plain inference.

    `item` is the method, `batch` how many images are explained at once, `step` the side in pixels; images are resized
    to `sizes`. A method that is not defined has `explainer_undefined`. Padding to full tiles, and what is computed once
    per call, count. Raises InputError for fewer runs than an interval needs.
    """
    if runs < 6:
        raise InputError(f"expected at least 6 runs for an interval of the median, got {runs}")
    facts: list[Fact] = []
    cells = [(side, batch) for side in sizes or (max(images.shape[2:]),) for batch in batches]
    for done, (side, batch) in enumerate(cells):
        if heard is not None:
            heard(done / len(cells), f"{side} pixels, batch {batch}")
        rows = images[torch.arange(batch) % len(images)]
        if rows.shape[2:] != (side, side) and sizes is not None:
            rows = F.interpolate(rows, (side, side), mode="bilinear", antialias=True).clamp(0.0, 1.0)
        facts += _cell(module, rows, methods, runs, {"batch": batch, "step": float(side), **columns})
    return facts


def _cell(
    module: nn.Module, rows: Images, methods: Sequence[Explainer], runs: int, columns: Mapping[str, Any]
) -> list[Fact]:
    """All methods on one batch of images."""
    facts, able = [], []
    for method in methods:
        reason = method.undefined(module, rows[:1])
        if reason is None:
            able.append(method)
        else:
            named = {**columns, "item": method.name, "note": reason}
            facts.append(Fact(metric="explainer_undefined", kind="flag", value=1.0, **named))
    times: dict[str, list[float]] = {method.name: [] for method in able}
    for run in range(runs + 1):
        for method in able:
            took = _seconds(lambda method=method: explain(method, module, rows, batch=len(rows)))  # type: ignore[misc]
            if run:  # the first warms caches and is not counted
                times[method.name].append(1000.0 * took / len(rows))
    plain = peak_bytes(lambda: _answered(module, rows))
    for method in able:
        facts += _facts_of(method, module, rows, times[method.name], plain, columns)
    return facts


def _facts_of(
    method: Explainer, module: nn.Module, rows: Images, times: list[float], plain: int, columns: Mapping[str, Any]
) -> list[Fact]:
    n = len(rows)
    with _watched(module) as watch:
        whole = _seconds(lambda: explain(method, module, rows, batch=n))
    forward, backward = 1000.0 * watch.forward / n, 1000.0 * watch.backward / n
    parts = {"forward": forward, "backward": backward, "rest": max(0.0, 1000.0 * whole / n - forward - backward)}
    interval = median_interval(times)
    about = describe()
    measured = {**columns, "item": method.name, "origin": "measured", "machine": str(about)}
    measured["threads"] = torch.get_num_threads()
    low, high = interval if interval else (None, None)
    facts = [
        Fact(metric="explain_ms", kind="time", value=float(np.median(times)), low=low, high=high, n=len(times),
             unit="ms", **measured),
        *(Fact(metric=f"explain_{name}_ms", kind="time", value=value, unit="ms", n=1, **measured)
          for name, value in parts.items()),
    ]  # fmt: skip
    counts = {"forwards": watch.rows_forward / n, "backwards": watch.rows_backward / n}
    computed = {**columns, "item": method.name}
    facts += [
        Fact(metric=f"explain_{name}", kind="score", value=value, unit="rows per image", **computed)
        for name, value in counts.items()
    ]
    beyond = peak_bytes(lambda: explain(method, module, rows, batch=n)) - plain
    facts.append(Fact(metric="explain_peak_bytes", kind="count", value=float(max(0, beyond)), unit="bytes", **computed))
    return facts


@torch.no_grad()
def _answered(module: nn.Module, rows: Images) -> Tensor:
    """Plain inference of the tile that an explainer gets: at least eight rows."""
    with at_rest(module):
        told: Tensor = module(rows[pad(torch.arange(len(rows)), (8 * -(-len(rows) // 8),))])
    return told


def _seconds(call: Callable[[], Any]) -> float:
    began = perf_counter()
    call()
    return perf_counter() - began


def peak_bytes(call: Callable[[], Any]) -> int:
    """The most bytes of tensors on the CPU that a call holds at once, beyond those there were before it.

    From the allocator's own events, so it does not depend on what the process did before.
    """
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    held = most = 0
    results = seen.profiler.kineto_results if seen.profiler is not None else None
    events = [one for one in results.events() if one.name() == "[memory]"] if results is not None else []
    for event in sorted(events, key=lambda one: one.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return int(most)
