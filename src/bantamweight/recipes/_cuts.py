"""One cut to one target, whatever the criterion scores: weights, channels of coupled groups, or the ranks of layers."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from bantamweight import variants
from bantamweight.compression import (
    AchievedChannels,
    AchievedRanks,
    ChannelCriterion,
    Criterion,
    Factorisation,
    by_sensitivity,
    compress,
    compress_channels,
    compress_ranks,
    measure,
    recalibrate,
    sensitivity,
    sizes,
)
from bantamweight.compression._allocations import Allocation
from bantamweight.compression._core import allocation_of, check_sparsity
from bantamweight.compression._greedy import compress_greedily
from bantamweight.data import Data
from bantamweight.errors import InputError, near
from bantamweight.models._profile import profile
from bantamweight.parts import Part
from bantamweight.predict import logits_of
from bantamweight.recipes._shown import SHOWN, evidence_of
from bantamweight.runtimes._core import prepare
from bantamweight.runtimes._latency import measure as clock
from bantamweight.variants import Variant

__all__ = ["TARGETS", "Cut", "Rule", "cut_to", "latency_on", "target_of", "value_of"]

CALIBRATED = 256
"""Training images from which a runtime of integers takes its ranges."""

TARGETS = ("sparsity", "macs", "parameters", "size_bytes", "latency_ms")
Rule = Criterion | ChannelCriterion | Factorisation
SPREADS = {"per_layer": "local", "independent": "local"}
"""What the ways to spread a cut over weights are called for channels."""

SENSED = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
"""Where a layer's curve is measured."""


@dataclass(frozen=True, eq=False)
class Cut:
    """A variant that was cut, the target's value there and at the points beside it, and what could not be cut."""

    variant: Variant
    reached: float
    below: float | None = None
    above: float | None = None
    uncut: Mapping[str, str] | None = None

    def seen(self, scale: Callable[[float], float]) -> Cut:
        """The same with its values in another unit."""
        below, above = (None if value is None else scale(value) for value in (self.below, self.above))
        return replace(self, reached=scale(self.reached), below=below, above=above)


def target_of(target: Mapping[str, float], rule: Rule) -> tuple[str, float]:
    """A target's kind and value, checked against what the rule can do; `sparsity` of channels is the share that goes.

    Raises InputError for an unknown kind, a value out of range, and a kind that this rule can't lower.
    """
    if len(target) != 1:
        raise InputError(
            f"expected one target out of {', '.join(TARGETS)}, got {', '.join(target) or 'none'}; give one"
        )
    kind, value = next(iter(target.items()))
    if kind not in TARGETS:
        raise InputError(f"{kind!r} is no target{near(str(kind), TARGETS)}")
    number = not isinstance(value, bool) and isinstance(value, int | float) and bool(np.isfinite(value))
    if kind == "sparsity":
        check_sparsity(value)
        if isinstance(rule, Factorisation):
            raise InputError(f"{rule.name} makes no zeros; ask for macs, parameters, size_bytes or latency_ms")
        if isinstance(rule, Criterion):
            allocation_of(rule, float(value), None)
    elif not number or value <= 0:
        raise InputError(f"expected a positive {kind} to compress to, got {value!r}")
    elif kind in ("macs", "parameters") and value == 1:
        raise InputError(f"{kind}=1 is the model as it is; ask for a share below 1, or a count")
    if isinstance(rule, Criterion) and kind in ("macs", "parameters", "latency_ms"):
        raise InputError(
            f"{rule.name} sets weights to zero, which lowers no {kind} of a dense layer; "
            "ask for sparsity or size_bytes, or use l1_channels or low_rank"
        )
    return str(kind), float(value)


def cut_to(
    variant: Variant,
    rule: Rule,
    kind: str,
    value: float,
    data: Data,
    *,
    name: str,
    allocate: str | None = None,
    round_to: int = 1,
    layers: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    uncut: Literal["refuse", "say"] = "refuse",
    latency: Callable[[Variant], float] | None = None,
    trust: bool = False,
) -> Cut:
    """The largest cut within the target, batch norm recalibrated on training images where layers became narrower.

    Evidence is gathered from at most 1,024 training images. Raises InputError for a target that nothing reaches.
    """
    asked = value if kind == "sparsity" else None
    evidence = (
        None
        if isinstance(rule, Factorisation)
        else evidence_of(variant, rule, data, asked, trust, layers=layers, skip=skip)
    )
    if isinstance(rule, Criterion):
        how: str | Allocation | None = allocate
        if allocate == "sensitivity":
            how = _sensed(variant, rule, data, evidence, trust)
        return _weights(variant, rule, kind, value, name, how, layers, skip, evidence, trust)
    common: dict[str, Any] = {"layers": layers, "skip": skip, "latency": latency, "name": name, "trust": trust}
    achieved: AchievedRanks | AchievedChannels
    if isinstance(rule, Factorisation):
        if allocate is not None:
            raise InputError(f"{rule.name} spreads its cut by singular values; leave out allocate, got {allocate!r}")
        made, achieved = compress_ranks(variant, rule, target={kind: value}, **common)
    elif allocate == "greedy":
        if kind != "sparsity":
            raise InputError(f"greedy selection takes one share of every group; ask for sparsity, not {kind}")
        del common["latency"]
        made, achieved = compress_greedily(variant, rule, ratio=value, round_to=round_to, uncut=uncut, **common)
    else:
        target = {"ratio" if kind == "sparsity" else kind: value}
        spread: Any = SPREADS.get(allocate or "global", allocate or "global")
        made, achieved = compress_channels(
            variant, rule, target=target, allocate=spread, round_to=round_to, uncut=uncut, evidence=evidence, **common
        )
    images = data.splits["train"].images[:SHOWN] if len(data.splits.get("train", ())) > 1 else None
    narrower = {key: value.shape for key, value in made.weights.items()} != {
        key: value.shape for key, value in variant.weights.items()
    }
    if images is not None and narrower:
        made = recalibrate(made, images, name=name, trust=trust)
    return Cut(made, achieved.reached, achieved.below, achieved.above, achieved.uncut)


def _sensed(
    variant: Variant, rule: Criterion, data: Data, evidence: Mapping[str, torch.Tensor] | None, trust: bool
) -> Allocation:
    """An allocation from how accuracy falls with each layer alone; judged on `val`, else on training images."""
    shown = data.splits.get("val") or data.splits.get("train")
    if shown is None or not len(shown):
        raise InputError(f"expected a split 'val' or 'train' in {data.name!r} to measure sensitivity on, got none")
    shown = shown.take(slice(0, SHOWN))
    module = variants.build(variant, trust=trust)

    def accuracy(net: torch.nn.Module) -> float:
        return float((logits_of(net, shown.images).argmax(dim=1) == shown.labels).float().mean())

    whole, curves = accuracy(module), dict[str, list[tuple[float, float]]]()
    for reading in sensitivity(module, rule, accuracy, sparsities=SENSED, evidence=evidence):
        curves.setdefault(reading.layer, []).append((reading.sparsity, whole - reading.result))
    return by_sensitivity(curves)


def _weights(
    variant: Variant,
    rule: Criterion,
    kind: str,
    value: float,
    name: str,
    allocate: str | Allocation | None,
    layers: Iterable[str] | None,
    skip: Iterable[str],
    evidence: Mapping[str, torch.Tensor] | None,
    trust: bool,
) -> Cut:
    def at(sparsity: float) -> Variant:
        return compress(
            variant,
            rule,
            sparsity=sparsity,
            allocate=allocate,
            layers=layers,
            skip=skip,
            evidence=evidence,
            name=name,
            trust=trust,
        )[0]

    if kind == "sparsity":
        made = at(value)
        return Cut(made, value_of(made, kind, layers=layers, skip=skip, trust=trust))
    if rule.only is not None:
        raise InputError(
            f"{rule.name} cuts to a sparsity of {rule.only:g} and no other; ask for sparsity={rule.only:g}"
        )
    return _within(at, value, value_of(variant, "sparsity", layers=layers, skip=skip, trust=trust))


STEPS = 1024
"""Sparsities that a budget of bytes is looked for among."""


def _within(at: Callable[[float], Variant], budget: float, already: float) -> Cut:
    """The densest cut whose smallest file is within the budget, by bisection from the sparsity there is already."""
    seen: dict[int, tuple[Variant, int]] = {}

    def file(step: int) -> int:
        if step not in seen:
            made = at(step / STEPS)
            seen[step] = made, min(sizes(made).values())
        return seen[step][1]

    low, high, found = math.ceil(already * STEPS), STEPS - 1, -1
    while low <= high:
        middle = (low + high) // 2
        try:
            fits = file(middle) <= budget
        except InputError:  # so much would empty a layer
            high = middle - 1
            continue
        if fits:
            found, high = middle, middle - 1
        else:
            low = middle + 1
    if found < 0:
        least = f"{min(size for _, size in seen.values()):,}" if seen else "nothing"
        raise InputError(f"expected a file of at most {budget:,.0f} bytes, and zeros alone reach {least}; ask for more")
    below, above = (seen[step][1] if step in seen else None for step in (found + 1, found - 1))
    return Cut(*seen[found], below, above)


def latency_on(
    runtime: str | Mapping[str, Any] | Part, threads: int, *, data: Data | None = None, trust: bool = False
) -> Callable[[Variant], float]:
    """A function that says how many milliseconds one image takes a variant: the median of 60 calls after 10.

    A runtime of integers takes its ranges from training images of `data`.
    """
    from bantamweight.recipes._images import drawn

    train = None if data is None else data.splits.get("train")
    images = None if train is None or not len(train) else drawn(train, CALIBRATED, "calibration").floats().numpy()

    def milliseconds(variant: Variant) -> float:
        with (
            tempfile.TemporaryDirectory() as folder,
            prepare(runtime, variant, threads=threads, folder=folder, images=images, trust=trust) as session,
        ):
            seconds = clock({"": session}, threads=threads, batches=(1,), warmup=10, runs=60)
        return float(np.median(seconds[""][1])) * 1000

    return milliseconds


def value_of(
    variant: Variant,
    kind: str,
    *,
    layers: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    trust: bool = False,
) -> float:
    """What a variant has of a target's kind, clocks excepted: zeros among its weights, MACs, parameters, bytes."""
    module = variants.build(variant, trust=trust)
    if kind == "sparsity":
        return measure(module, layers=layers, skip=skip).sparsity
    counted = profile(module, variant.input_shape)
    return float({"macs": counted.macs, "parameters": counted.parameters, "size_bytes": counted.size_bytes}[kind])
