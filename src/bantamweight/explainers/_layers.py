"""Where in a network a map can be read: watching layers, finding the last convolution block, leaving no trace.

A layer is a submodule by its name (`layer3.1`), or, where a block's last step is a function and no module (an exported
program, a `forward` that adds and rectifies by itself), that function with its count in the forward (`relu#19`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bantamweight.errors import InputError, near
from bantamweight.types import Images

__all__ = ["Undefined", "at_rest", "find_layer", "watch"]

Kind = Literal["convolution", "inert", "other"]
Visit = Callable[[str, Kind, Tensor], Tensor]
"""Receives a layer's name, kind and output while the network runs; what it returns takes the output's place."""

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
_INERT = ("pool", "dropout", "identity")
_NORMS = "batch_norm group_norm instance_norm layer_norm"
_ACTIVATIONS = (
    "relu relu6 hardtanh clamp clamp_min leaky_relu prelu elu celu selu silu gelu mish hardswish softplus tanh"
)
_SUMS = "add iadd mul imul"
_JOINS = "cat concat concatenate"
_BLOCK_FUNCTIONS = frozenset(f"{_NORMS} {_ACTIVATIONS} {_SUMS} {_JOINS}".split())
"""Functions that a convolution block may end with. Others (a power before pooling, a copy) are none of its output."""


class Undefined(InputError):
    """This explainer has no meaning for this network; the message is the reason."""


@contextmanager
def at_rest(module: nn.Module) -> Iterator[None]:
    """Evaluation mode and no parameter gradients inside the block; everything as it was after it, also on a raise.

    Flags are set directly: an exported program refuses `.eval()`, and a module may override `.train()`.
    """
    modes = [(part, part.training) for part in module.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    try:
        for part, _ in modes:
            part.training = False
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        for part, training in modes:
            part.training = training
        for parameter, required in wanted:
            parameter.requires_grad_(required)


def _kind(part: nn.Module) -> Kind:
    if isinstance(part, _CONVOLUTIONS):
        return "convolution"
    return "inert" if any(word in type(part).__name__.lower() for word in _INERT) else "other"


class _Functions(TorchFunctionMode):
    """Shows every convolution, norm, activation, sum and join that is called as a function, in a module or not."""

    def __init__(self, visit: Visit) -> None:
        super().__init__()
        self._visit, self._calls = visit, Counter[str]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").split(".")[0].strip("_")
        if not isinstance(result, Tensor) or result.ndim != 4:
            return result
        if "conv" not in name and name not in _BLOCK_FUNCTIONS:
            return result
        self._calls[name] += 1
        return self._visit(f"{name}#{self._calls[name]}", "convolution" if "conv" in name else "other", result)


@contextmanager
def watch(module: nn.Module, visit: Visit) -> Iterator[None]:
    """Let `visit` see, and replace, the output of every layer that runs inside the block.

    Nothing of it stays in the module afterwards, also when the block raises.
    """
    with ExitStack() as stack:
        for name, part in module.named_modules(remove_duplicate=False):
            if name:
                handle = part.register_forward_hook(_hook(name, _kind(part), visit))
                stack.callback(handle.remove)
        stack.enter_context(_Functions(visit))
        yield


def _hook(name: str, kind: Kind, visit: Visit) -> Callable[[nn.Module, Any, Any], Any]:
    def seen(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        return visit(name, kind, output) if isinstance(output, Tensor) else None

    return seen


@dataclass(frozen=True)
class _Seen:
    name: str
    kind: Kind
    output: Tensor
    version: int

    @property
    def spatial(self) -> bool:
        return self.output.ndim == 4 and self.output.shape[2] * self.output.shape[3] > 1

    def as_fine_as(self, other: _Seen) -> bool:
        """One value per image and position, whatever the channels: branches that are joined have more than each."""
        mine, theirs = self.output.shape, other.output.shape
        return self.output.ndim == 4 and (mine[0], *mine[2:]) == (theirs[0], *theirs[2:])

    def same_values_as(self, other: _Seen) -> bool:
        """One tensor, not written to in between: a container's output is its last child's."""
        return self.output is other.output and self.version == other.version


@torch.no_grad()
def find_layer(module: nn.Module, images: Images, layer: str | None = None) -> str:
    """The layer of that name or, without one, the last convolution block's output with more than one position.

    That is the last convolution with a spatial output, followed through norm, activation, residual sum and the joining
    of branches, and not through pooling. Raises Undefined, with the reason, for a network that has no such layer, and
    InputError, with a near match, for a name that it has not.
    """
    seen: list[_Seen] = []

    def visit(name: str, kind: Kind, output: Tensor) -> Tensor:
        seen.append(_Seen(name, kind, output, output._version))
        return output

    with at_rest(module), watch(module, visit):
        module(images.clone())
    if layer is not None:
        known = [
            *(name for name, _ in module.named_modules(remove_duplicate=False) if name),
            *(one.name for one in seen),
        ]
        if layer in known:
            return layer
    convolutions = [at for at, one in enumerate(seen) if one.kind == "convolution"]
    if not convolutions:  # a study names one layer for several nets, so a net without any is not a typing error
        raise Undefined("no convolution: the model has no layer that keeps the image's positions")
    if layer is not None:
        raise InputError(f"expected layer to name a part of the model, got {layer!r}{near(layer, known)}")
    spatial = [at for at in convolutions if seen[at].spatial]
    if not spatial:
        size = f"{images.shape[2]}x{images.shape[3]}"
        raise Undefined(f"no convolution of the model has an output larger than 1x1 at this input size ({size})")
    last = seen[spatial[-1]]
    block = [one for one in seen[spatial[-1] :] if one.kind != "inert" and one.as_fine_as(last)]
    runs = Counter(one.name for one in seen)
    return _named(block, {name for name, times in runs.items() if times > 1})


def _named(block: list[_Seen], shared: set[str]) -> str:
    """The last output of the block, by the smallest module that makes it and runs once, or else by its function."""
    same = [one.name for one in block if one.same_values_as(block[-1]) and one.name not in shared]
    modules = [name for name in same if "#" not in name]
    inner = [name for name in modules if not any(other.startswith(f"{name}.") for other in modules)]
    return (inner or same or [block[-1].name])[0]
