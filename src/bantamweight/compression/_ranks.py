"""Layers factored to a budget: singular values say how far a layer's rank may fall, one threshold says it for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bantamweight import variants
from bantamweight.compression._core import select
from bantamweight.errors import InputError, near
from bantamweight.models._factor import factor, full_rank
from bantamweight.models._profile import profile, size_bytes
from bantamweight.variants import Variant

__all__ = ["AchievedRanks", "Factorisation", "compress_ranks", "factored"]

Split = tuple[Tensor, Tensor, Tensor]

KINDS = ("macs", "parameters", "size_bytes", "latency_ms")


@dataclass(frozen=True)
class Factorisation:
    """A way to write a layer's matrix as a product; `compress_ranks` cuts by it.

    `split(matrix)` returns left (n, k), values (k,) in falling order and right (k, m), whose product is the matrix.
    """

    name: str
    split: Callable[[Tensor], Split]


@dataclass(frozen=True)
class AchievedRanks:
    """What a factorisation was asked for and what it did, measured on the variant that came out.

    `reached` is the target's value at the point taken, `below` and `above` at its neighbours (None at an end).
    `ranks` has the rank of each factored layer; `uncut` says why another layer was left.
    """

    asked: Mapping[str, float]
    reached: float
    below: float | None
    above: float | None
    macs: int
    dense_macs: int
    parameters: int
    dense_parameters: int
    size_bytes: int
    dense_size_bytes: int
    ranks: Mapping[str, int]
    uncut: Mapping[str, str]


class _Layer(NamedTuple):
    """A layer that may be factored: its factors, the energy lost at each rank (from 1), and the dense sides."""

    left: Tensor
    values: Tensor
    right: Tensor
    lost: np.ndarray

    @property
    def pays(self) -> int:
        """The largest rank at which two layers hold fewer weights than one."""
        rows, columns = len(self.left), self.right.shape[1]
        return (rows * columns - 1) // (rows + columns)

    def saves(self, rank: int) -> int:
        """Weights fewer than the layer has."""
        rows, columns = len(self.left), self.right.shape[1]
        return rows * columns - rank * (rows + columns)


def compress_ranks(
    variant: Variant,
    scheme: Factorisation,
    *,
    target: Mapping[str, float],
    layers: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    latency: Callable[[Variant], float] | None = None,
    name: str | None = None,
    trust: bool = False,
) -> tuple[Variant, AchievedRanks]:
    """Factor layers until the target is met, every layer losing at most the same share of its squared values.

    `target` is one of `macs` or `parameters` (a share of the variant's up to 1, a count above), `size_bytes` of the
    dense float32 file, or `latency_ms`, which `latency(variant)` measures. The largest point at or below it is taken.
    A layer stays whole where two would cost more than one. Raises InputError for a target that nothing reaches.
    """
    kind, value = _target(target)
    module = variants.build(variant, trust=trust)
    able, uncut = _able(variant, module, scheme, layers, skip)
    # Every rank that pays is a point, at the energy that it loses; the first point is the dense net.
    points = np.unique([-1.0, *(float(lost) for layer in able.values() for lost in layer.lost[: layer.pays])])
    before = profile(module, variant.input_shape)
    label = name or f"{variant.name}/{scheme.name}-{kind}-{value:g}"

    splits = {name: (layer.left, layer.values, layer.right) for name, layer in able.items()}
    positions = {
        row.name: row.macs // module.get_parameter(f"{row.name}.weight").numel()
        for row in before.layers
        if row.name in able
    }

    @cache
    def made(point: int) -> Variant:
        return _factored(variant, _ranks(able, points[point]), splits, label, trust)

    @cache
    def measured(point: int) -> float:
        if kind == "latency_ms":
            if latency is None:
                raise InputError("a target in milliseconds has to be measured; pass latency=, a function of a variant")
            return float(latency(made(point)))
        if kind == "size_bytes":
            return float(size_bytes(variants.build(made(point), trust=trust)))
        whole = getattr(before, kind)
        saved = sum(
            able[name].saves(rank) * (positions.get(name, 0) if kind == "macs" else 1)
            for name, rank in _ranks(able, points[point]).items()
        )
        return (whole - saved) / (whole if value <= 1 else 1)

    point = _first(kind, value, len(points) - 1, measured)
    result = made(point)
    after = profile(variants.build(result, trust=trust), variant.input_shape)
    return result, AchievedRanks(
        asked={kind: value},
        reached=measured(point),
        below=measured(point + 1) if point + 1 < len(points) else None,
        above=measured(point - 1) if point else None,
        macs=after.macs,
        dense_macs=before.macs,
        parameters=after.parameters,
        dense_parameters=before.parameters,
        size_bytes=after.size_bytes,
        dense_size_bytes=before.size_bytes,
        ranks=_ranks(able, points[point]),
        uncut=uncut,
    )


def factored(
    variant: Variant, ranks: Mapping[str, int], scheme: Factorisation, *, name: str, trust: bool = False
) -> Variant:
    """The variant with these layers factored to these ranks, which its edit says; the one given is untouched."""
    dense = variants.build(variant, trust=trust)
    splits = {layer: scheme.split(_matrix(dense.get_submodule(layer))) for layer in ranks}
    return _factored(variant, ranks, splits, name, trust)


def _factored(
    variant: Variant, ranks: Mapping[str, int], splits: Mapping[str, Split], name: str, trust: bool
) -> Variant:
    module = variants.build(variant, trust=trust)
    biases = {layer: module.get_submodule(layer).bias for layer in ranks}
    factor(module, ranks)
    with torch.no_grad():
        for layer, rank in ranks.items():
            two, (left, values, right) = module.get_submodule(layer), splits[layer]
            root = values[:rank].sqrt()
            _copy(two, "0.weight", root[:, None] * right[:rank])
            _copy(two, "1.weight", left[:, :rank] * root)
            if isinstance(bias := biases[layer], Tensor):
                _copy(two, "1.bias", bias)
    return variants.capture(variant, module, name=name, edits=({"edit": "low_rank", "ranks": dict(ranks)},))


def _copy(layer: nn.Module, part: str, values: Tensor) -> None:
    own = layer.get_parameter(part)
    own.copy_(values.reshape(own.shape))


def _matrix(layer: nn.Module) -> Tensor:
    return layer.get_parameter("weight").detach().double().flatten(1)


def _target(target: Mapping[str, float]) -> tuple[str, float]:
    if len(target) != 1:
        raise InputError(f"expected one target out of {', '.join(KINDS)}, got {', '.join(target) or 'none'}; give one")
    kind, value = next(iter(target.items()))
    if kind not in KINDS:
        raise InputError(f"{kind!r} is no target for low rank{near(str(kind), KINDS)}")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise InputError(f"expected a positive {kind} to factor down to, got {value!r}")
    return kind, float(value)


def _able(
    variant: Variant, module: nn.Module, scheme: Factorisation, layers: Iterable[str] | None, skip: Iterable[str]
) -> tuple[dict[str, _Layer], dict[str, str]]:
    """The layers that can be factored, and why the others can't."""
    masked = variants.masks(variant)
    able: dict[str, _Layer] = {}
    uncut: dict[str, str] = {}
    for weight in select(module, layers, skip):
        layer = weight.removesuffix(".weight")
        if weight in masked:
            raise InputError(f"{weight!r} was set to zero in part, and its factors would not be; factor its parent")
        if layer == weight or full_rank(module.get_submodule(layer)) is None:
            uncut[layer] = "its channels work in groups"
            continue
        left, values, right = scheme.split(_matrix(module.get_submodule(layer)))
        energy = (values**2).cumsum(0)
        whole = float(energy[-1])
        found = _Layer(left, values, right, 1 - (energy / (whole or 1.0)).cpu().numpy())
        if found.pays < 1:
            uncut[layer] = "two layers would be larger at any rank"
        else:
            able[layer] = found
    if not able:
        raise InputError("expected a layer that a lower rank makes smaller, got a choice without any; skip fewer")
    return able, uncut


def _ranks(able: Mapping[str, _Layer], threshold: float) -> dict[str, int]:
    """The smallest rank of each layer that loses no more than the threshold, where that pays."""
    ranks = {name: int(np.argmax(layer.lost <= threshold)) + 1 for name, layer in able.items()}
    return {
        name: rank for name, rank in ranks.items() if rank <= able[name].pays and able[name].lost[rank - 1] <= threshold
    }


def _first(kind: str, value: float, last: int, measured: Callable[[int], float]) -> int:
    """The first point at or below the budget, by bisection; costs fall along the path."""
    if (least := measured(last)) > value:
        raise InputError(f"expected {kind} of at most {value:g}, and the smallest that low rank reaches is {least:.6g}")
    low, high = 0, last
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if measured(middle) <= value else (middle + 1, high)
    return high
