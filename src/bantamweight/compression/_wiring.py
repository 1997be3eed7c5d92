"""torch-pruning's dependency graph, turned into sets of slots: one slot is one channel on one side of one layer.

Where it is mended here (1.6.1): the zeros that a shortcut pads are read as an element-wise operation, which shifts
every channel after them, and a convolution in groups is not held to losing the same channels of every group.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from bantamweight.errors import InputError
from bantamweight.models.resnet20 import Shortcut
from bantamweight.types import Images

__all__ = ["Slot", "wiring"]


class Slot(NamedTuple):
    """One channel on one side of one layer."""

    layer: str
    side: str
    number: int


def wiring(module: nn.Module, example: Images) -> tuple[list[set[Slot]], dict[Slot, str]]:
    """Slots that go together, and for some of them why they can't go.

    Gradients have to be enabled and the module's parameters have to require them: the trace follows autograd. Raises
    InputError when the module can't be traced.
    """
    graph, widths = _graph(module, example)
    names = {layer: name for name, layer in module.named_modules()}
    sets = _Sets()
    reasons: dict[Slot, str] = {}
    _join_within(module, sets)
    for layer in list(graph.module2node):
        if isinstance(layer, (_ConvNd, nn.Linear)) and layer in names:
            _join_across(graph, layer, names, widths, sets, reasons)
    for name, layer in _last(graph, names):
        for number in range(layer.weight.shape[0]):
            reasons[Slot(name, "out", number)] = "its channels are the logits"
    return sets.all(), reasons


class _Sets:
    """Disjoint sets of slots."""

    def __init__(self) -> None:
        self._above: dict[Slot, Slot] = {}

    def top(self, slot: Slot) -> Slot:
        """The slot that stands for its set."""
        self._above.setdefault(slot, slot)
        while self._above[slot] != slot:
            self._above[slot] = slot = self._above[self._above[slot]]
        return slot

    def join(self, one: Slot, other: Slot) -> None:
        """Make one set of two."""
        self._above[self.top(other)] = self.top(one)

    def all(self) -> list[set[Slot]]:
        """The sets."""
        found: dict[Slot, set[Slot]] = {}
        for slot in list(self._above):
            found.setdefault(self.top(slot), set()).add(slot)
        return list(found.values())


def _graph(module: nn.Module, example: Images) -> tuple[Any, dict[Shortcut, tuple[int, int]]]:
    try:
        import torch_pruning as tp  # type: ignore[import-untyped]
        from torch_pruning.pruner.function import BasePruningFunc  # type: ignore[import-untyped]
    except ImportError as error:
        raise InputError(
            "cutting channels needs torch-pruning, which is not installed; pip install 'torch-pruning<1.7'"
        ) from error

    widths = _shortcut_widths(module, example)

    class Padding(BasePruningFunc):  # type: ignore[misc]
        """Both sides are one numbering, that of the output; the edges shift (`_shift`)."""

        def prune_out_channels(self, layer: nn.Module, _idxs: Any) -> nn.Module:
            return layer

        prune_in_channels = prune_out_channels

        def get_out_channels(self, layer: Any) -> int:
            return widths[layer][1]

        def get_in_channels(self, layer: Any) -> int:
            return widths[layer][0]

    graph = tp.DependencyGraph()
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # it warns of what is answered for below, by name
            graph.build_dependency(module, example, customized_pruners={Shortcut: Padding()}, verbose=False)
    except Exception as error:  # it asserts, indexes and calls the user's forward
        why = str(error).strip().partition("\n")[0][:160] or type(error).__name__
        raise InputError(f"the model's channels can't be traced: {why}; prune single weights instead") from error
    for name, layer in module.named_modules():
        if isinstance(layer, (_ConvNd, nn.Linear)) and layer not in graph.module2node:
            raise InputError(
                f"{name!r} had no part in the answer to example images, so its channels can't be followed (a forward "
                "that branches on what it sees, or a layer for training alone); prune single weights instead"
            )
    for layer in widths:
        if layer in graph.module2node:
            _shift(graph.module2node[layer], layer.before, widths[layer][0])
    return graph, widths


def _shortcut_widths(module: nn.Module, example: Images) -> dict[Shortcut, tuple[int, int]]:
    """Channels in and out of every shortcut that pads."""
    widths: dict[Shortcut, tuple[int, int]] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, Shortcut)
        widths[layer] = inputs[0].shape[1], output.shape[1]

    hooks = [layer.register_forward_hook(note) for layer in module.modules() if isinstance(layer, Shortcut)]
    try:
        if hooks:
            with torch.no_grad():
                module(example)
    finally:
        for hook in hooks:
            hook.remove()
    return widths


def _shift(node: Any, before: int, inputs: int) -> None:
    """Index mappings on the edges into a padding node: its channel 0 is a zero, its input's channel 0 comes after."""
    from torch_pruning.dependency.index_mapping import _ConcatIndexMapping  # type: ignore[import-untyped]

    offset = [before, before + inputs]
    for source in node.inputs:
        for edge in node.dependencies:
            if edge.target is source:
                edge.index_mapping[0] = _ConcatIndexMapping(offset=offset, reverse=True)
        for edge in source.dependencies:
            if edge.target is node:
                edge.index_mapping[0] = _ConcatIndexMapping(offset=offset, reverse=False)


def _join_within(module: nn.Module, sets: _Sets) -> None:
    """A convolution in groups loses the same channels of every group; a depthwise one loses whole groups."""
    for name, layer in module.named_modules():
        if not isinstance(layer, _ConvNd) or layer.groups == 1:
            continue
        each, width = layer.out_channels // layer.groups, layer.in_channels // layer.groups
        for number in range(layer.out_channels):
            first = number // each * each if width == 1 else number % each
            sets.join(Slot(name, "out", first), Slot(name, "out", number))
        for number in range(layer.in_channels if width > 1 else 0):
            sets.join(Slot(name, "in", number % width), Slot(name, "in", number))


def _join_across(
    graph: Any,
    root: nn.Module,
    names: dict[nn.Module, str],
    widths: dict[Shortcut, tuple[int, int]],
    sets: _Sets,
    reasons: dict[Slot, str],
) -> None:
    """Every slot that goes with an output of this layer."""
    outputs = root.weight.shape[0]  # type: ignore[index, union-attr]
    home = names[root]
    starts = [Slot(home, "out", number) for number in range(outputs)]
    for start in starts:
        sets.top(start)
    group = graph.get_pruning_group(root, graph.get_pruner_of_module(root).prune_out_channels, list(range(outputs)))
    for item in group:
        layer = item.dep.target.module
        inward = graph.is_in_channel_pruning_fn(item.dep.handler) and not graph.is_out_channel_pruning_fn(
            item.dep.handler
        )
        why = _reason(layer, names)
        for number, start in zip(item.idxs, item.root_idxs, strict=True):
            if why:
                reasons.setdefault(starts[start], why)
            else:
                for slot in _slots(layer, names.get(layer, ""), number, inward, widths):
                    if slot.number < _width(layer, slot.side):
                        sets.join(starts[start], slot)
                    else:
                        reasons.setdefault(starts[start], f"its way into {slot.layer!r} can't be followed")


def _reason(layer: Any, names: dict[nn.Module, str]) -> str:
    """Why channels that reach this can't be cut; operations without weights pass."""
    if isinstance(layer, nn.Parameter):
        return f"it reaches a bare parameter of shape {tuple(layer.shape)}"
    if not isinstance(layer, nn.Module) or layer not in names:
        return ""  # torch-pruning's own nodes for operations
    kind = f"it reaches {names[layer]!r}, a {type(layer).__name__}"
    if isinstance(layer, (nn.GroupNorm, nn.LayerNorm)):  # with weights or without
        return f"{kind}, which mixes channels"
    handled = isinstance(layer, (_ConvNd, nn.Linear, _BatchNorm, Shortcut))
    return "" if handled or not layer._parameters else f"{kind}, which is not handled"


def _slots(layer: Any, name: str, number: int, inward: bool, widths: dict[Shortcut, tuple[int, int]]) -> Iterator[Slot]:
    if isinstance(layer, Shortcut):
        inputs = widths[layer][0]
        if number < layer.before:
            yield Slot(name, "pad", number)
        elif number >= layer.before + inputs:
            yield Slot(name, "pad", number - inputs)
    elif isinstance(layer, _BatchNorm):
        yield Slot(name, "out", number)
    elif isinstance(layer, _ConvNd) and layer.groups > 1 and layer.groups == layer.in_channels and inward:
        each = layer.out_channels // layer.groups
        yield from (Slot(name, "out", number * each + offset) for offset in range(each))
    elif isinstance(layer, (_ConvNd, nn.Linear)):
        yield Slot(name, "in" if inward else "out", number)


def _width(layer: Any, side: str) -> int:
    if isinstance(layer, Shortcut):
        return layer.before + layer.after
    if isinstance(layer, _BatchNorm):
        return layer.num_features
    # Not the attributes: `groups` narrows the second dimension of a convolution's weight.
    width = layer.weight.shape[0] if side == "out" else layer.weight.shape[1]
    return int(width) * (layer.groups if side == "in" and isinstance(layer, _ConvNd) else 1)


def _last(graph: Any, names: dict[nn.Module, str]) -> list[tuple[str, Any]]:
    """The layers whose outputs are the model's, whatever without channels of its own comes after them."""
    ends = [node for node in graph.module2node.values() if not node.outputs]
    found, seen = [], set()
    while ends:
        node = ends.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        layer = node.module
        own = isinstance(layer, nn.Linear) or (isinstance(layer, _ConvNd) and layer.groups != layer.in_channels)
        if own and layer in names:
            found.append((names[layer], layer))
        else:
            ends += node.inputs
    return found
