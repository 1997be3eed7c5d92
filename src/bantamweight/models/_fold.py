"""Batch norm folded into the layer before it (or the linear layer after it), for inference and gradients to the images.

Jacob et al. 2018 (arXiv:1712.05877), section 3.2: W' = W * gamma / sigma, b' = (b - mu) * gamma / sigma + beta.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from bantamweight.models._plan import Ref, refs_of
from bantamweight.models._program import Program
from bantamweight.types import Images

__all__ = ["Pair", "example_images", "fold", "foldable", "folded", "traced"]

Pair = tuple[str, str]
"""Names of two layers, the first of which feeds the second and nothing else."""

TOLERANCE = 1e-4
_SHAPES = ((32, 32), (28, 28), (8, 8), (64, 64), (96, 96), (16, 16), (224, 224), (299, 299))
_CHANNELS = (3, 1)


def folded(module: nn.Module, *, example: Images | None = None) -> nn.Module:
    """A copy in eval mode without the batch norm that follows a convolution or touches a linear layer.

    Names of layers stay, folded ones become the identity. `example` is a batch the module takes; without it one is
    guessed. Where the copy's answers differ by more than 1e-4 of their scale, or no batch is known, nothing is folded.
    The module itself is left alone.
    """
    return fold(module, foldable(module, example=example))


def fold(module: nn.Module, pairs: Iterable[Pair]) -> nn.Module:
    """A copy in eval mode with these pairs folded, as `foldable` found them; weights may have changed since."""
    whole = copy.deepcopy(module).eval()
    for first, second in pairs:
        _fold(whole, first, second)
    return whole


def foldable(module: nn.Module, *, example: Images | None = None) -> list[Pair]:
    """The pairs of layers that `folded` folds, looked up once where the same net is folded again and again."""
    plain = copy.deepcopy(module).eval()
    images = example if example is not None else example_images(plain)
    if images is None:
        return []
    with torch.no_grad():
        before = plain(images)
        traced = _traced_pairs(plain)
        pairs = _observed_pairs(plain, images) if traced is None else traced
        if _close(fold(plain, pairs)(images), before):
            return pairs
        return _one_by_one(plain, pairs, images, before)


def traced(module: nn.Module) -> list[Pair]:
    """The pairs that the graph of a module in eval mode shows, whatever its weights; none where there is no graph."""
    return _traced_pairs(module) or []


def _one_by_one(plain: nn.Module, pairs: list[Pair], images: Images, before: Tensor) -> list[Pair]:
    """Those pairs whose folding changes nothing: an observed pair may also feed something else."""
    kept: list[Pair] = []
    for pair in pairs:
        if _close(fold(plain, [*kept, pair])(images), before):
            kept.append(pair)
    return kept


def _close(after: Tensor, before: Tensor) -> bool:
    scale = max(1.0, float(before.abs().max()))
    return bool(torch.isfinite(after).all()) and float((after - before).abs().max()) <= TOLERANCE * scale


def example_images(module: nn.Module, rows: int = 8) -> Images | None:
    """Eight random images that the module takes, of the first shape tried that it takes; the mode must be eval."""
    draws = torch.Generator().manual_seed(0)
    at = next(module.parameters(), next(module.buffers(), torch.empty(0)))
    shapes = [module.input_shape] if isinstance(module, Program) else list(_shapes(module))
    for shape in shapes:
        images = torch.rand((rows, *shape), generator=draws).to(at.device)
        images = images.to(at.dtype) if at.is_floating_point() else images
        try:
            with torch.no_grad():
                answer = module(images)
        except Exception:  # a module may complain of a shape in any way
            continue
        if isinstance(answer, Tensor) and answer.dim() == 2 and len(answer) == rows:
            return images
    return None


def _shapes(module: nn.Module) -> Iterator[tuple[int, int, int]]:
    """Likely image shapes, the most likely first: what the first layers say, then what is usual."""
    layers = list(module.modules())
    convolution = next((layer for layer in layers if isinstance(layer, nn.Conv2d)), None)
    linear = next((layer for layer in layers if isinstance(layer, nn.Linear)), None)
    channels = (convolution.in_channels,) if convolution is not None else _CHANNELS
    if convolution is None and linear is not None:
        for count in channels:
            side = round((linear.in_features / count) ** 0.5)
            if count * side * side == linear.in_features:
                yield count, side, side
    yield from ((count, *side) for side in _SHAPES for count in channels)


def _traced_pairs(module: nn.Module) -> list[Pair] | None:
    """Pairs read off the module's graph, or None when it can't be traced."""
    if isinstance(module, Program):
        return _program_pairs(module)
    try:
        graph = fx.Tracer().trace(module)
    except Exception:
        return None
    called = Counter(node.target for node in graph.nodes if node.op == "call_module")
    pairs = []
    for node in graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        if isinstance(before, fx.Node) and before.op == "call_module" and len(before.users) == 1:
            pairs.append((str(before.target), str(node.target)))
    return _foldable(module, [pair for pair in pairs if called[pair[0]] == called[pair[1]] == 1])


def _program_pairs(program: Program) -> list[Pair]:
    readers = Counter(name for step in program._steps for name in refs_of(step))
    called = Counter(step.module for step in program._steps)
    maker = {step.out: step.module for step in program._steps if step.module}
    pairs = []
    for step in program._steps:
        source = step.args[0] if step.module and isinstance(step.args[0], Ref) else None
        if source and source.name in maker and readers[source.name] == 1 and source.name != program._plan.answer:
            pairs.append((maker[source.name], step.module))
    return _foldable(program, [pair for pair in pairs if called[pair[0]] == called[pair[1]] == 1])


def _observed_pairs(module: nn.Module, images: Images) -> list[Pair]:
    """Pairs seen in one forward pass: a layer whose input is the very tensor that another returned."""
    seen: dict[int, tuple[str, Tensor]] = {}
    pairs: list[Pair] = []
    called: Counter[str] = Counter()

    def note(name: str, inputs: tuple[Any, ...], output: Any) -> None:
        called[name] += 1
        if inputs and id(inputs[0]) in seen:
            pairs.append((seen[id(inputs[0])][0], name))
        if isinstance(output, Tensor):
            seen[id(output)] = (name, output)  # the reference keeps the id from being given to another tensor

    kinds = nn.Conv2d | nn.Linear | _BatchNorm
    hooks = [
        layer.register_forward_hook(lambda _, inputs, output, name=name: note(name, inputs, output))
        for name, layer in module.named_modules()
        if isinstance(layer, kinds)
    ]
    try:
        module(images)
    finally:
        for hook in hooks:
            hook.remove()
    firsts = Counter(first for first, _ in pairs)
    return _foldable(
        module, [pair for pair in pairs if called[pair[0]] == called[pair[1]] == 1 and firsts[pair[0]] == 1]
    )


def _foldable(module: nn.Module, pairs: list[Pair]) -> list[Pair]:
    """Those of the right kinds; a batch norm between two layers goes into the first."""
    layers = dict(module.named_modules(remove_duplicate=False))
    kept: list[Pair] = []
    gone: set[str] = set()
    for first, second in pairs:
        before, after = layers[first], layers[second]
        norm, other = (after, before) if isinstance(after, _BatchNorm) else (before, after)
        name = second if norm is after else first
        fits = isinstance(other, nn.Conv2d | nn.Linear) if norm is after else isinstance(other, nn.Linear)
        if fits and name not in gone and _plain_norm(norm) and not parametrize.is_parametrized(other):
            kept.append((first, second))
            gone.add(name)
    return kept


def _plain_norm(norm: nn.Module) -> bool:
    return isinstance(norm, _BatchNorm) and norm.running_mean is not None and not norm.training


def _fold(module: nn.Module, first: str, second: str) -> None:
    """Fold one pair in place and put the identity where the batch norm was."""
    before, after = module.get_submodule(first), module.get_submodule(second)
    name, norm, layer = (second, after, before) if isinstance(after, _BatchNorm) else (first, before, after)
    assert isinstance(norm, _BatchNorm)
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    scale, shift = _affine(norm)
    weight = layer.weight.detach().double()
    bias = torch.zeros(len(weight), dtype=torch.float64, device=weight.device)
    if layer.bias is not None:
        bias = layer.bias.detach().double()
    if norm is after:
        bias = bias * scale + shift
        weight = weight * scale.view(-1, *[1] * (weight.dim() - 1))
    else:
        bias = bias + weight @ shift
        weight = weight * scale
    keep = layer.weight
    layer.weight = nn.Parameter(weight.to(keep.dtype), keep.requires_grad)
    layer.bias = nn.Parameter(bias.to(keep.dtype), keep.requires_grad)
    owner, _, last = name.rpartition(".")
    setattr(module.get_submodule(owner), last, nn.Identity())


def _affine(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Batch norm as scale * x + shift, in float64 so that folding adds one rounding only."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    shift = -norm.running_mean.double() * scale
    return scale, shift if norm.bias is None else shift + norm.bias.detach().double()
