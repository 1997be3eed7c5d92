"""Gradients of class scores: to the image, to a layer's activations, and to images that a method makes up.

A class costs one backward through the part of the graph behind the leaf; the forward is shared by all classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bantamweight.errors import InputError
from bantamweight.explainers._fast import answered
from bantamweight.explainers._layers import Kind, Undefined, at_rest, watch
from bantamweight.predict import pad
from bantamweight.types import Float, Images, Int, Int64, Logits

__all__ = [
    "Make",
    "Pair",
    "activations_at",
    "answers",
    "class_gradients",
    "input_gradient",
    "logits_in",
    "pair",
    "scores_in",
    "take_gradients",
]

Classes = Int[Tensor, "b k"]
Make = Callable[[Int64[Tensor, " n"]], Images]
"""Made-up images by their numbers: number i is some change of some image, and the method knows which."""


class Pair(NamedTuple):
    """A layer's activations and the gradients of k class scores with respect to them."""

    logits: Logits
    activations: Float[Tensor, "b c u v"]
    gradients: Float[Tensor, "b k c u v"]


def logits_in(output: object) -> Logits:
    """The model's output if it is a batch of logits; raises InputError otherwise."""
    if not isinstance(output, Tensor) or output.ndim != 2:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise InputError(f"expected the model to return logits (b, classes), got {got}")
    return output


def scores_in(logits: Logits, classes: Classes) -> Float[Tensor, "b k"]:
    """The chosen classes' logits; they, not probabilities, are what the papers differentiate."""
    low, high = int(classes.min()), int(classes.max())
    if low < 0 or high >= logits.shape[1]:
        raise InputError(
            f"expected classes from 0 to {logits.shape[1] - 1} (the model has {logits.shape[1]}), "
            f"got {low if low < 0 else high}"
        )
    return logits.gather(1, classes)


def _per_class(scores: Tensor, leaf: Tensor) -> Iterator[Float[Tensor, "b ..."]]:
    """d score_k / d leaf, one column after the other: k backward passes, one gradient in memory.

    Rows are independent in evaluation mode, so the sum over rows has each row's own gradient.
    """
    if not scores.requires_grad:
        raise Undefined("no gradient reaches the class scores (they don't depend on it, or the model detaches them)")
    last = scores.shape[1] - 1
    for at in range(last + 1):
        with torch.enable_grad():
            total = scores[:, at].sum()
        yield torch.autograd.grad(total, leaf, retain_graph=at < last, materialize_grads=True)[0]


def input_gradient(module: nn.Module, images: Images, classes: Classes) -> Float[Tensor, "b k c h w"]:
    """d logit_class / d image, raw: the material of the gradient family."""
    with at_rest(module), torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        # The model gets a copy: a first layer that works in place must not write to a leaf.
        scores = scores_in(logits_in(module(leaf.clone())), classes)
        return torch.stack(list(_per_class(scores, leaf)), dim=1)


def class_gradients(
    module: nn.Module,
    images: Images,
    classes: Classes,
    layer: str,
    *,
    instead: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Logits, Float[Tensor, "b c u v"], Iterator[Float[Tensor, "b c u v"]]]:
    """Logits, activations at a layer, and the gradient there of one class column after the other.

    One forward for all classes; the graph starts at the layer, so a class costs one backward through the tail, over
    all rows at once. Of a layer that runs several times in one forward it is the last run. `instead` changes the
    activations before the rest of the network sees them.
    """
    leaves: list[Tensor] = []

    def visit(name: str, _kind: Kind, output: Tensor) -> Tensor:
        if name != layer:
            return output
        seen = output.detach().clone() if instead is None else instead(output.detach())
        leaves[:] = [seen.requires_grad_(output.is_floating_point())]
        return leaves[0].clone()  # an in-place ReLU after the layer overwrites this copy, not the activations

    with at_rest(module), torch.enable_grad(), watch(module, visit):
        logits = logits_in(module(images.detach().clone()))
    if not leaves:
        raise InputError(f"expected layer {layer!r} to run and return one tensor; it did not")
    if leaves[0].ndim != 4:
        raise InputError(
            f"expected layer {layer!r} to give (b, channels, h, w), got {tuple(leaves[0].shape)}; "
            "choose a layer before the image is flattened"
        )
    with torch.enable_grad():
        scores = scores_in(logits, classes)
    return logits.detach(), leaves[0].detach(), _per_class(scores, leaves[0])


def pair(module: nn.Module, images: Images, classes: Classes, layer: str) -> Pair:
    """Activations at a layer and the gradients of k class scores there, all at once."""
    logits, activations, gradients = class_gradients(module, images, classes, layer)
    return Pair(logits, activations, torch.stack(list(gradients), dim=1))


@torch.no_grad()
def answers(module: nn.Module, count: int, make: Make, rows: int) -> Logits:
    """Logits of `count` made-up images, of which `rows` exist at any time; the last tile is filled up."""
    told = []
    for start in range(0, count, rows):
        index = torch.arange(start, min(start + rows, count))
        told.append(logits_in(answered(module, make(pad(index, (rows,)))))[: len(index)].float())
    return torch.cat(told)


def take_gradients(
    module: nn.Module,
    count: int,
    make: Make,
    classes: Int[Tensor, "n k"],
    rows: int,
    take: Callable[[Int64[Tensor, " m"], int, Float[Tensor, "m c h w"]], None],
) -> Float[Tensor, "n k"]:
    """Scores of `count` made-up images; their gradients go to `take(numbers, column, gradients)`, tile by tile.

    `rows` images and one gradient of each exist at any time. Row i of `classes` has the classes of made-up image i.
    """
    told = []
    for start in range(0, count, rows):
        index = torch.arange(start, min(start + rows, count))
        padded = pad(index, (rows,))
        with torch.enable_grad():
            leaf = make(padded).detach().requires_grad_()
            scores = scores_in(logits_in(module(leaf.clone())), classes[padded])
        for column, gradient in enumerate(_per_class(scores, leaf)):
            take(index, column, gradient[: len(index)].float())
        told.append(scores.detach()[: len(index)].float())
    return torch.cat(told)


def activations_at(module: nn.Module, images: Images, layer: str, rows: int) -> Float[Tensor, "b c u v"]:
    """A layer's output for at most `rows` images; the forward is filled up to that many."""
    tile = images[pad(torch.arange(len(images)), (rows,))]
    first = torch.zeros(rows, 1, dtype=torch.int64, device=images.device)
    _, activations, _ = class_gradients(module, tile, first, layer)
    return activations[: len(images)].float()
