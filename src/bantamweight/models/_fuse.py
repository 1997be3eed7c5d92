"""A net for forwards without gradients on a processor: what follows a convolution is done in the same pass over it.

Weights are brought into the library's own order once, relu and the sum of a residual block are computed while a
convolution's result is still in the cache, and bfloat16 weights are not cast again at every call. Queries for scores
alone take half the time. It is made from the net's graph and only used where it answers as the net itself does.
"""

from __future__ import annotations

import copy
import operator
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from bantamweight.models._plan import Ref
from bantamweight.models._program import Program
from bantamweight.types import Images

__all__ = ["fused"]

TOLERANCE = {"fp32": 1e-4, "bf16": 2.0**-6}
"""How far the answers may be from those of the net at that precision, as a share of the largest logit."""

TILE = 64
"""The batch that weights are packed for."""

RELUS = (functional.relu, torch.relu, torch.relu_, torch.ops.aten.relu.default, torch.ops.aten.relu_.default)
ADDS = (operator.add, operator.iadd, torch.add, torch.ops.aten.add.Tensor, torch.ops.aten.add_.Tensor)


class Convolution(nn.Module):
    """A convolution with its weights packed; with `other` it adds that, and then applies relu if it is to."""

    def __init__(self, layer: nn.Conv2d, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.where: tuple[Any, ...] = (layer.padding, layer.stride, layer.dilation, layer.groups)
        weight = layer.weight.detach().to(dtype).to_mkldnn()
        reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight  # type: ignore[attr-defined]
        # The best order depends on the shape of what comes in; it serves other batches as well.
        self.weight = reorder(weight, *self.where, (TILE, *shape[1:]))
        self.bias = None if layer.bias is None else layer.bias.detach().to(dtype)
        self.dtype, self.after = dtype, "none"

    def forward(self, images: Tensor, other: Tensor | None = None) -> Tensor:
        """The layer's output, and what has been fused into it."""
        operation = torch.ops.mkldnn._convolution_pointwise
        # What comes before the first convolution is faster channel by channel, so only here does the order change.
        given = images.to(self.dtype).contiguous(memory_format=torch.channels_last)
        weights = (self.weight, self.bias, *self.where)
        if other is None:
            return operation(given, *weights, self.after, [], "")
        other = other.to(self.dtype).contiguous(memory_format=torch.channels_last)
        unary = None if self.after == "none" else self.after
        return operation.binary(given, other, *weights, "add", 1.0, unary, [], None)


class Linear(nn.Module):
    """A linear layer with its weights cast once."""

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = layer.weight.detach().to(dtype)
        self.bias = None if layer.bias is None else layer.bias.detach().to(dtype)

    def forward(self, features: Tensor) -> Tensor:
        """The layer's output."""
        return functional.linear(features.to(self.weight.dtype), self.weight, self.bias)


@torch.no_grad()
def fused(module: nn.Module, images: Images, precision: Literal["fp32", "bf16"]) -> nn.Module | None:
    """The fused form of a net in eval mode for images like these; None where there is none, or it answers otherwise.

    The module itself is left alone. Its answers are logits in the precision's own type.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    points = images[:8].contiguous()
    try:
        graph = _graph(copy.deepcopy(module))
        # Shapes say which sums are plain ones.
        fx.passes.shape_prop.ShapeProp(graph).propagate(points)
        if not _rewrite(graph, dtype):
            return None
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            expected = module(points).float()
        found = graph(points).float()
    except Exception:  # a net may defy tracing, and this build of torch may lack the operations, in any way
        return None
    scale = float(expected.abs().max())
    near = found.shape == expected.shape and float((found - expected).abs().max()) <= TOLERANCE[precision] * scale
    return graph if near else None


def _graph(module: nn.Module) -> fx.GraphModule:
    return fx.GraphModule(module, _steps(module)) if isinstance(module, Program) else fx.symbolic_trace(module)


def _steps(program: Program) -> fx.Graph:
    """A program's steps as a graph of the usual kind."""
    graph, values = fx.Graph(), {}
    plan = program._plan
    values[plan.image] = graph.placeholder("images")
    for key, name in program._loose.items():
        values[key] = graph.get_attr(name)

    def fill(template: Any) -> Any:
        if isinstance(template, Ref):
            return values[template.name]
        return [fill(item) for item in template] if isinstance(template, list) else template

    for step in program._steps:
        args, kwargs = tuple(map(fill, step.args)), {name: fill(item) for name, item in step.kwargs.items()}
        if step.module:
            node = graph.call_module(step.module, args, kwargs)
        else:
            assert step.call is not None
            node = graph.call_function(step.call, args, kwargs)
        outs = (step.out,) if isinstance(step.out, str) else step.out
        for place, name in enumerate(outs):
            values[name] = node if isinstance(step.out, str) else graph.call_function(operator.getitem, (node, place))
    graph.output(values[plan.answer])
    return graph


def _rewrite(graph: fx.GraphModule, dtype: torch.dtype) -> bool:
    """Put packed layers in place of the plain ones, each with what follows it; whether there were any."""
    found = False
    for node in list(graph.graph.nodes):  # what folding has left of batch norm
        if node.op == "call_module" and type(graph.get_submodule(str(node.target))) is nn.Identity:
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    for node in list(graph.graph.nodes):
        layer = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        if type(layer) is nn.Linear:
            graph.set_submodule(str(node.target), Linear(layer, dtype))
        if type(layer) is not nn.Conv2d or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            continue
        found = True
        if sum(other.target == node.target for other in graph.graph.nodes) > 1:
            continue  # called twice: what follows one call need not follow the other
        packed = Convolution(layer, dtype, _shape(node.args[0]))
        graph.set_submodule(str(node.target), packed)
        last = _with_sum(graph, node)
        follows = _only_user(last)
        if follows is not None and _is_relu(graph, follows):
            packed.after = "relu"
            follows.replace_all_uses_with(last)
            graph.graph.erase_node(follows)
    graph.graph.lint()
    graph.recompile()
    return found


def _with_sum(graph: fx.GraphModule, node: fx.Node) -> fx.Node:
    """The node that does the convolution and the sum after it, or the convolution as it was."""
    total = _only_user(node)
    if total is None or total.op != "call_function" or total.target not in ADDS:
        return node
    operands = [*total.args, *(total.kwargs[name] for name in ("self", "other") if name in total.kwargs)]
    if len(operands) != 2 or len(total.args) + len(total.kwargs) != 2:
        return node  # one of them is scaled
    one, two = operands
    other = two if one is node else one
    if not isinstance(other, fx.Node) or other is node or _shape(other) != _shape(node) or len(_shape(node)) != 4:
        return node
    if total.target in (operator.iadd, torch.ops.aten.add_.Tensor) and one is not node and len(other.users) > 1:
        return node  # what is written to is read elsewhere
    if other.op == "call_module" and list(graph.graph.nodes).index(other) > list(graph.graph.nodes).index(node):
        return node  # the later convolution of the two takes the sum
    with graph.graph.inserting_before(total):
        merged = graph.graph.call_module(str(node.target), (node.args[0], other))
    merged.meta = dict(total.meta)
    total.replace_all_uses_with(merged)
    graph.graph.erase_node(total)
    graph.graph.erase_node(node)
    return merged


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _is_relu(graph: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return type(graph.get_submodule(str(node.target))) is nn.ReLU
    if node.op == "call_method":
        return node.target in ("relu", "relu_")
    return node.op == "call_function" and node.target in RELUS


def _shape(node: fx.Node) -> tuple[int, ...]:
    meta = node.meta.get("tensor_meta")
    return tuple(meta.shape) if meta is not None and hasattr(meta, "shape") else ()
