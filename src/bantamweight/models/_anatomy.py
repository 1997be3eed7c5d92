"""Layer by layer: what a net computes, keeps, moves and sees."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from bantamweight.models._fields import Following, Pair
from bantamweight.models._profile import macs_of, profile

__all__ = ["Anatomy", "LayerAnatomy", "anatomy", "ghost", "hooked"]


@dataclass(frozen=True)
class LayerAnatomy:
    """One call of one layer, for one image; `name` is "" for what no layer accounts for.

    `activation_bytes` is new memory for the answer (0 for a view), `saved_bytes` what backward will need that no layer
    before had kept, `moved_bytes` inputs, weights and answer read or written once. `field` and `stride` are in pixels
    of the image (height, width), None where unknown; `depth` counts weighted layers on the longest way here.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    macs: int
    activation_bytes: int
    saved_bytes: int
    moved_bytes: int
    field: Pair | None
    stride: Pair | None
    depth: int

    @property
    def flops(self) -> int:
        """Two for each multiply-accumulate, as `torch.utils.flop_counter` counts."""
        return 2 * self.macs

    @property
    def intensity(self) -> float:
        """FLOPs per byte moved."""
        return self.flops / self.moved_bytes if self.moved_bytes else 0.0


@dataclass(frozen=True)
class Anatomy:
    """All layers of a model in the order in which they ran."""

    layers: tuple[LayerAnatomy, ...]

    @property
    def parameters(self) -> int:
        """Numbers that training moves."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and matrix products for one image."""
        return sum(layer.macs for layer in self.layers)

    @property
    def flops(self) -> int:
        """Twice the MACs."""
        return 2 * self.macs

    @property
    def activation_bytes(self) -> int:
        """All answers of all layers for one image, were they all kept."""
        return sum(layer.activation_bytes for layer in self.layers)

    @property
    def saved_bytes(self) -> int:
        """What is kept for backward, for one image."""
        return sum(layer.saved_bytes for layer in self.layers)

    @property
    def moved_bytes(self) -> int:
        """What layers read and write for one image."""
        return sum(layer.moved_bytes for layer in self.layers)

    @property
    def intensity(self) -> float:
        """FLOPs per byte moved."""
        return self.flops / self.moved_bytes if self.moved_bytes else 0.0

    @property
    def depth(self) -> int:
        """Weighted layers on the longest way from the image to the logits."""
        return max((layer.depth for layer in self.layers), default=0)

    @property
    def linear_parameters(self) -> int:
        """Parameters of fully connected layers."""
        return sum(layer.parameters for layer in self.layers if layer.kind == "Linear")

    @property
    def field(self) -> Pair | None:
        """Receptive field of the last convolution."""
        return next((layer.field for layer in reversed(self.layers) if layer.kind == "Conv2d"), None)


def anatomy(module: nn.Module, input_shape: tuple[int, int, int]) -> Anatomy:
    """What each layer computes, keeps, moves and sees, for one image of `input_shape` (channels, height, width).

    Nothing is computed where the module runs on the meta device, so any size is quick. Bytes are those of the module's
    own type. Raises InputError when the module does not take such images. The module is left as it is.

    >>> from bantamweight.models.resnet20 import resnet20
    >>> anatomy(resnet20(), (3, 32, 32)).depth
    20
    """
    double = ghost(module).eval()
    try:
        rows = _forward(double, _images(double, input_shape, 1))
    except Exception:  # control flow on data, or an operation that the meta device lacks
        profile(module, input_shape)  # refuses, in a sentence, what the module does not take
        double = copy.deepcopy(module).eval()
        rows = _forward(double, _images(double, input_shape, 1))
    kept = _saved(double, input_shape)
    rows = [replace(row, saved_bytes=kept.pop(row.name, 0)) for row in rows]
    left = profile(double, input_shape)
    parameters, macs = (left.parameters, left.macs)
    parameters -= sum(row.parameters for row in rows)
    macs -= sum(row.macs for row in rows)
    if parameters or macs or any(kept.values()):
        depth = max((row.depth for row in rows), default=0)
        rows.append(LayerAnatomy("", "functional", (), parameters, macs, 0, sum(kept.values()), 0, None, None, depth))
    return Anatomy(tuple(rows))


def ghost(module: nn.Module) -> nn.Module:
    """A copy of the module on the meta device, whose tensors have shapes and no numbers; nothing is copied."""
    parameters = {id(one): nn.Parameter(_shape_of(one), one.requires_grad) for one in module.parameters()}
    buffers = {id(one): _shape_of(one) for one in module.buffers()}
    return copy.deepcopy(module, {**parameters, **buffers})


def _shape_of(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="meta", requires_grad=False)


def _images(module: nn.Module, input_shape: tuple[int, int, int], batch: int) -> Tensor:
    at = next(module.parameters(), torch.empty(0))
    return torch.zeros((batch, *input_shape), device=at.device, dtype=at.dtype)


@contextmanager
def hooked(
    module: nn.Module, before: Callable[[str], object], after: Callable[[str, nn.Module, Any, Any], object]
) -> Iterator[None]:
    """Calls back around every layer that has no layers inside; the hooks are gone afterwards."""
    hooks = []
    for name, layer in module.named_modules():
        if any(True for _ in layer.children()):
            continue

        # What a hook returns would replace the layer's inputs or answer.
        def enter(_: nn.Module, __: Any, name: str = name) -> None:
            before(name)

        def leave(one: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
            after(name, one, inputs, output)

        hooks += [layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _forward(module: nn.Module, images: Tensor) -> list[LayerAnatomy]:
    rows: list[LayerAnatomy] = []
    seen: set[str] = set()

    def note(name: str, layer: nn.Module, inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            return
        read = [one for one in inputs if isinstance(one, Tensor)]
        view = any(one.untyped_storage()._cdata == output.untyped_storage()._cdata for one in read)
        weights = list(layer.parameters())
        moved = 0 if view else sum(one.nbytes for one in (*read, *weights, output))
        field = following.of(output)
        rows.append(
            LayerAnatomy(
                name,
                type(layer).__name__,
                tuple(output.shape[1:]),
                0 if name in seen else sum(one.numel() for one in weights),
                macs_of(layer, output),
                0 if view else output.nbytes,
                0,
                moved,
                field.size if field else None,
                field.stride if field and output.dim() == 4 else None,
                field.depth if field else 0,
            )
        )
        seen.add(name)

    following = Following(images)
    with torch.no_grad(), following, hooked(module, lambda _: None, note):
        module(images)
    return rows


def _saved(module: nn.Module, input_shape: tuple[int, int, int]) -> dict[str, int]:
    """Bytes that each layer saves for backward per image in training: the slope between batches of 2 and 4.

    Batch norm refuses a batch of one where its maps have one pixel, and what it saves per batch is no activation.
    """
    training = copy.deepcopy(module).train()
    for parameter in training.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    two, four = (_saved_of_batch(training, _images(training, input_shape, batch)) for batch in (2, 4))
    return {name: (four[name] - two.get(name, 0)) // 2 for name in four}


def _saved_of_batch(module: nn.Module, images: Tensor) -> dict[str, int]:
    own = {one.untyped_storage()._cdata for one in (*module.parameters(), *module.buffers())}
    kept: dict[int, Tensor] = {}
    found: dict[str, int] = {}
    inside = [""]

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own and storage._cdata not in kept:
            kept[storage._cdata] = tensor.detach()  # kept, or the address would be given to another
            found[inside[-1]] = found.get(inside[-1], 0) + storage.nbytes()
        return tensor

    with (
        saved_tensors_hooks(pack, lambda tensor: tensor),
        hooked(module, inside.append, lambda *_: inside.pop()),
    ):
        module(images)
    return found
