"""Where in a network a map can be read: watching layers, finding the last convolution block, leaving no trace.

A layer is a submodule by its name (`layer3.1`), or, inside an exported program, whose convolutions are operators
and not modules, a node of the graph by its name (`relu_6`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn

from bantamweight.errors import InputError, near
from bantamweight.types import Images

__all__ = ["Undefined", "at_rest", "check_layer", "find_layer", "layer_names", "watch"]

Kind = Literal["convolution", "pool", "other"]
Visit = Callable[[str, Kind, Tensor], Tensor]
"""Receives a layer's name, kind and output while the network runs; what it returns takes the output's place."""

_NO_CONVOLUTION = "no convolution: the model has no layer that keeps the image's positions"
_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


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


def _kind_of_module(part: nn.Module) -> Kind:
    if isinstance(part, _CONVOLUTIONS):
        return "convolution"
    return "pool" if "pool" in type(part).__name__.lower() else "other"


def _kind_of_node(node: fx.Node) -> Kind:
    name = str(node.target).lower()
    if "conv" in name:
        return "convolution"
    return "pool" if "pool" in name else "other"


def _programs(module: nn.Module) -> dict[str, fx.GraphModule]:
    """The graphs inside a network whose convolutions are operators, by the name of the submodule that holds them."""
    return {
        name: part
        for name, part in module.named_modules()
        if isinstance(part, fx.GraphModule) and any(_watchable(node) for node in part.graph.nodes)
    }


def _watchable(node: fx.Node) -> bool:
    """An operator of an exported graph; a traced graph's `call_module` nodes are watched as submodules."""
    return node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload)


def _node_name(prefix: str, node: fx.Node) -> str:
    return f"{prefix}.{node.name}" if prefix else node.name


class _Watched(fx.Interpreter):
    """Runs an exported graph node by node and shows every tensor that an operator makes."""

    def __init__(self, graph: fx.GraphModule, prefix: str, visit: Visit) -> None:
        super().__init__(graph, garbage_collect_values=True)
        self._prefix, self._visit = prefix, visit

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if _watchable(n) and isinstance(result, Tensor):
            return self._visit(_node_name(self._prefix, n), _kind_of_node(n), result)
        return result


@contextmanager
def watch(module: nn.Module, visit: Visit) -> Iterator[None]:
    """Let `visit` see, and replace, the output of every layer that runs inside the block.

    Nothing of it stays in the module afterwards, also when the block raises.
    """
    with ExitStack() as stack:
        for name, part in module.named_modules():
            if name:
                handle = part.register_forward_hook(_hook(name, _kind_of_module(part), visit))
                stack.callback(handle.remove)
        for name, graph in _programs(module).items():
            # An instance attribute hides the compiled forward for the time of the block; its class keeps it.
            object.__setattr__(graph, "forward", _Watched(graph, name, visit).run)
            stack.callback(object.__delattr__, graph, "forward")
        yield


def _hook(name: str, kind: Kind, visit: Visit) -> Callable[[nn.Module, Any, Any], Any]:
    def seen(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        return visit(name, kind, output) if isinstance(output, Tensor) else None

    return seen


def layer_names(module: nn.Module) -> list[str]:
    """Every name that `layer` may take: submodules, and the operators of exported programs."""
    names = [name for name, _ in module.named_modules() if name]
    for prefix, graph in _programs(module).items():
        names += [_node_name(prefix, node) for node in graph.graph.nodes if _watchable(node)]
    return names


def check_layer(module: nn.Module, layer: str) -> str:
    """The name itself if the module has such a layer, else an InputError with a near match.

    A net without any convolution is Undefined, not mistyped: a study names one layer for several nets.
    """
    known = layer_names(module)
    if layer not in known and not _has_convolution(module):
        raise Undefined(_NO_CONVOLUTION)
    if layer not in known:
        raise InputError(f"expected layer to name a part of the model, got {layer!r}{near(layer, known)}")
    return layer


def _has_convolution(module: nn.Module) -> bool:
    nodes = (node for graph in _programs(module).values() for node in graph.graph.nodes if _watchable(node))
    return any(_kind_of_module(part) == "convolution" for part in module.modules()) or any(
        _kind_of_node(node) == "convolution" for node in nodes
    )


@dataclass(frozen=True)
class _Seen:
    name: str
    kind: Kind
    output: Tensor
    version: int

    @property
    def spatial(self) -> bool:
        return self.output.ndim == 4 and self.output.shape[2] * self.output.shape[3] > 1

    def same_values_as(self, other: _Seen) -> bool:
        """One tensor, not written to in between: a container's output is its last child's."""
        return self.output is other.output and self.version == other.version


@torch.no_grad()
def find_layer(module: nn.Module, images: Images) -> str:
    """The last convolution block's output that still has more than one position.

    That is the last convolution with a spatial output, followed through batch norm, activation and residual sum
    as long as they are layers of their own (a function inside `forward` counts to the block that calls it), and
    not through pooling. Raises Undefined, with the reason, for a network without such a layer.
    """
    seen: list[_Seen] = []

    def visit(name: str, kind: Kind, output: Tensor) -> Tensor:
        seen.append(_Seen(name, kind, output, output._version))
        return output

    with at_rest(module), watch(module, visit):
        module(images.clone())
    convolutions = [at for at, one in enumerate(seen) if one.kind == "convolution"]
    if not convolutions:
        raise Undefined(_NO_CONVOLUTION)
    spatial = [at for at in convolutions if seen[at].spatial]
    if not spatial:
        raise Undefined(
            f"no convolution of the model has an output larger than 1x1 at this input size ({_size(images)})"
        )
    last = seen[spatial[-1]]
    block = [one for one in seen[spatial[-1] :] if one.kind != "pool" and one.output.shape == last.output.shape]
    runs = Counter(one.name for one in seen)
    return _innermost(block, {name for name, times in runs.items() if times > 1}).name


def _innermost(block: list[_Seen], shared: set[str]) -> _Seen:
    """The last output of the block, named by the smallest part that makes it and nothing else in this forward."""
    chosen = block[-1]
    for one in reversed(block):
        if one.same_values_as(chosen) and one.name.startswith(f"{chosen.name}.") and one.name not in shared:
            chosen = one
    return chosen


def _size(images: Images) -> str:
    return f"{images.shape[2]}x{images.shape[3]}"
