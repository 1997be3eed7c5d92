"""What a criterion has to be shown before it can score: images, images under attack, or a training of its own."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bantamweight import variants
from bantamweight.compression import ChannelCriterion, Criterion, gather
from bantamweight.compression._core import select
from bantamweight.data import Data, Split
from bantamweight.errors import InputError
from bantamweight.training import Step, train
from bantamweight.training._inner import ascend, ascent
from bantamweight.variants import Variant

__all__ = ["SHOWN", "evidence_of"]

SHOWN = 1024
"""Images of the training split that criteria with evidence, and batch norm after a cut, are shown."""

ROWS = 64


def evidence_of(
    variant: Variant,
    rule: Criterion | ChannelCriterion,
    data: Data,
    sparsity: float | None,
    trust: bool,
    *,
    layers: Iterable[str] | None = None,
    skip: Iterable[str] = (),
) -> Mapping[str, Tensor] | None:
    """The evidence that a rule needs (None for one without), from the split `train`.

    `sparsity` is what will be cut, where that is known; `layers` and `skip` say where. Raises InputError where there is
    no such split, and for a rule that learns for one sparsity and is asked for something else.
    """
    if rule.needs == "none":
        return None
    split = data.splits.get("train")
    if split is None or not len(split):
        raise InputError(f"{rule.name} learns from a split 'train', and {data.name!r} has none; add one")
    module = variants.build(variant, trust=trust)
    if rule.needs == "learned scores":
        if sparsity is None:
            raise InputError(f"{rule.name} learns its scores for one sparsity; ask for that and for no other target")
        return _learned(module, rule, data, sparsity, select(module, layers, skip))
    shown = split.take(slice(0, SHOWN))
    if rule.needs == "adversarial gradients":
        return gather(module, "gradients", _attacked(module, rule, shown), shown.labels)
    return gather(module, rule.needs, shown.images, shown.labels)


def _attacked(module: nn.Module, rule: Criterion | ChannelCriterion, split: Split) -> Tensor:
    """The images under PGD, the net being in eval mode."""
    how = ascent(
        rule.name, rule.asks["threat"], steps=rule.asks["steps"], rate=None, share=2.5 / rule.asks["steps"],
        start="random", mode="eval", growth="constant",
    )  # fmt: skip
    worst = [
        ascend(how, module, split.floats(rows), split.labels[rows], Step(0, 0, 1, 0, rows))
        for rows in torch.arange(len(split)).split(ROWS)
    ]
    return torch.cat(worst)


def _learned(
    module: nn.Module, rule: Criterion | ChannelCriterion, data: Data, sparsity: float, names: Sequence[str]
) -> dict[str, Tensor]:
    """Scores by weight name, trained while the weights stand still; only the named ones are thinned meanwhile."""
    net, asks = copy.deepcopy(module).requires_grad_(False), rule.asks
    if len(list(net.named_parameters(remove_duplicate=False))) > len(list(net.named_parameters())):
        raise InputError(f"{rule.name} can't learn scores for weights that layers share; use another criterion")
    layers = {name.rpartition(".")[0]: name for name in names}
    for layer in layers:
        kept = _Kept(net.get_parameter(layers[layer]).detach(), sparsity)
        parametrize.register_parametrization(net.get_submodule(layer), "weight", kept, unsafe=True)
    trained = train(
        net,
        data,
        epochs=asks["epochs"],
        batch=asks["batch"],
        rate=asks["rate"],
        seed=asks["seed"],
        optimizer={"use": "sgd", "momentum": 0.9},
        schedule="cosine",
        objective=asks["objective"],
    )
    inside = "parametrizations.weight.0.scores"
    return {name: trained.last[f"{layer}.{inside}".lstrip(".")].abs() for layer, name in layers.items()}


class _Kept(nn.Module):
    """Keeps the weights with the largest scores; their gradient goes straight to the scores."""

    def __init__(self, weight: Tensor, sparsity: float) -> None:
        super().__init__()
        scale = math.sqrt(6.0 / max(1, weight[0].numel())) / weight.abs().max().clamp_min(1e-12)
        self.scores = nn.Parameter(weight * scale)
        self.gone = round(sparsity * weight.numel())

    def forward(self, weight: Tensor) -> Tensor:
        sizes = self.scores.abs()
        flat = sizes.detach().flatten()
        edge = flat.kthvalue(self.gone).values if self.gone else flat.new_tensor(-1.0)
        kept = (sizes.detach() > edge).to(sizes.dtype)
        return weight * (kept + (sizes - sizes.detach()))  # the brackets are an exact zero
