"""The operations of a program as the layers they came from.

A convolution that reads `net.conv1.weight` and `net.conv1.bias` becomes an `nn.Conv2d` called `net.conv1`. So a program
can be pruned, fine-tuned, explained, profiled and folded like any other module, by code that knows nothing of programs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from bantamweight.errors import InputError
from bantamweight.models._plan import DTYPES, Plan, Ref, Step, refs_of

__all__ = ["lift"]

Bound = Mapping[str, Any]
Lifted = tuple[str, nn.Module, str]
"""The layer's name, the layer, and the argument that stays an argument."""


def lift(plan: Plan, steps: tuple[Step, ...], dimensions: Mapping[str, int]) -> tuple[list[Step], dict[str, nn.Module]]:
    """Steps that call layers wherever a layer says the same, and those layers by name.

    Raises InputError when the program was exported in training mode.
    """
    readers = Counter(name for step in steps for name in refs_of(step))
    layers: dict[str, nn.Module] = {}
    lifted: list[Step] = []
    for index, step in enumerate(steps):
        rule = _RULES.get(step.op)
        # What a layer returns is the first result; an operation whose others are read stays an operation.
        alone = not any(readers[name] for name in step.outs[1:])
        found = rule(plan, _bound(step), dimensions, readers, index) if rule and alone else None
        if found is None or found[0] in layers:
            lifted.append(step)
            continue
        name, layer, image = found
        layers[name] = layer
        out = step.outs[0]
        lifted.append(replace(step, call=None, module=name, out=out, args=(_bound(step)[image],), kwargs={}))
    return lifted, layers


def _bound(step: Step) -> dict[str, Any]:
    """Every argument of an operation, defaults included."""
    schema = step.call._schema.arguments  # type: ignore[union-attr]
    defaults = {arg.name: arg.default_value for arg in schema if arg.has_default_value()}
    return {**defaults, **step.kwargs}


def _owner(plan: Plan, bound: Bound, wanted: Mapping[str, str], readers: Counter[str]) -> str | None:
    """The name of the layer that owns these arguments, if one does and nothing else reads them."""
    owners = set()
    for argument, suffix in wanted.items():
        value = bound[argument]
        if value is None:
            continue
        if not isinstance(value, Ref) or value.name not in plan.weights or readers[value.name] != 1:
            return None
        weight = plan.weights[value.name]
        owner, _, last = weight.name.rpartition(".")
        if last != suffix or weight.parameter is suffix.startswith("running") or not weight.dtype.startswith("float"):
            return None
        owners.add(owner)
    return owners.pop() if len(owners) == 1 and "" not in owners else None


def _pair(values: list[int] | int) -> tuple[int, ...] | None:
    numbers = [values] if isinstance(values, int) else values
    if not all(isinstance(number, int) for number in numbers):
        return None
    return tuple(numbers) * 2 if len(numbers) == 1 else tuple(numbers)


def _convolution(plan: Plan, bound: Bound, dims: Mapping[str, int], readers: Counter[str], _: int) -> Lifted | None:
    name = _owner(plan, bound, {"weight": "weight", "bias": "bias"}, readers)
    if name is None or bound.get("transposed") or dims.get(bound["input"].name) != 4:
        return None
    weight = plan.weights[bound["weight"].name]
    padding = bound["padding"] if isinstance(bound["padding"], str) else _pair(bound["padding"])
    stride, dilation, groups = _pair(bound["stride"]), _pair(bound["dilation"]), bound["groups"]
    if len(weight.shape) != 4 or None in (padding, stride, dilation) or not isinstance(groups, int):
        return None
    outputs, inputs, *kernel = weight.shape
    layer = nn.Conv2d(
        inputs * groups,
        outputs,
        tuple(kernel),  # type: ignore[arg-type]
        stride,  # type: ignore[arg-type]
        padding,  # type: ignore[arg-type]
        dilation,  # type: ignore[arg-type]
        groups,
        bias=bound["bias"] is not None,
        device="meta",
        dtype=DTYPES[weight.dtype],
    )
    return name, layer, "input"


def _linear(plan: Plan, bound: Bound, _: Mapping[str, int], readers: Counter[str], __: int) -> Lifted | None:
    name = _owner(plan, bound, {"weight": "weight", "bias": "bias"}, readers)
    if name is None or not isinstance(bound["input"], Ref):
        return None
    weight = plan.weights[bound["weight"].name]
    if len(weight.shape) != 2:
        return None
    outputs, inputs = weight.shape
    bias = bound["bias"] is not None
    return name, nn.Linear(inputs, outputs, bias=bias, device="meta", dtype=DTYPES[weight.dtype]), "input"


def _batch_norm(plan: Plan, bound: Bound, dims: Mapping[str, int], readers: Counter[str], _: int) -> Lifted | None:
    if bound.get("training"):
        raise InputError("the program was exported in training mode; call model.eval() before torch.export.export")
    wanted = {name: name for name in ("weight", "bias", "running_mean", "running_var")}
    name = _owner(plan, bound, wanted, readers)
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}.get(dims.get(bound["input"].name, 0))
    affine = bound["weight"] is not None
    if name is None or kind is None or affine is not (bound["bias"] is not None) or bound["running_mean"] is None:
        return None
    mean = plan.weights[bound["running_mean"].name]
    layer = kind(mean.shape[0], bound["eps"], bound["momentum"], affine, device="meta", dtype=DTYPES[mean.dtype])
    return name, layer, "input"


def _dropout(_: Plan, bound: Bound, __: Mapping[str, int], ___: Counter[str], index: int) -> Lifted:
    if bound["train"]:
        raise InputError("the program was exported in training mode; call model.eval() before torch.export.export")
    return f"_dropout{index}", nn.Dropout(float(bound["p"])), "input"


_RULES: dict[str, Callable[[Plan, Bound, Mapping[str, int], Counter[str], int], Lifted | None]] = {
    "aten.conv2d.default": _convolution,
    "aten.conv2d.padding": _convolution,
    "aten.convolution.default": _convolution,
    "aten.linear.default": _linear,
    "aten.batch_norm.default": _batch_norm,
    "aten._native_batch_norm_legit_no_training.default": _batch_norm,
    "aten.dropout.default": _dropout,
}
