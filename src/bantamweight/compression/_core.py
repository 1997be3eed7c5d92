"""Three verbs and nothing else: `score` weights, `allocate` the cut among layers, `cut`.

A criterion says what a weight is worth, an allocation turns worth into keep masks, and a cut makes a new variant whose
weights hold the zeros and whose edits say which tensors keep them. `compress` is the three in a row, and reports what
was asked beside what was achieved, counted in the weights of what came out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from bantamweight import variants
from bantamweight.compression._allocations import (
    ALLOCATIONS,
    Allocation,
    Masks,
    Scores,
    check_sparsity,
    global_masks,
    per_layer_masks,
)
from bantamweight.compression._allocations import allocate as allocate_masks  # `compress` has a setting of that name
from bantamweight.errors import InputError, near
from bantamweight.types import Float
from bantamweight.variants import Variant

if TYPE_CHECKING:
    from bantamweight.compression._groups import Group

__all__ = [
    "ALLOCATIONS",
    "Achieved",
    "Allocation",
    "ChannelCriterion",
    "Criterion",
    "Evidence",
    "Masks",
    "Needs",
    "Scores",
    "allocation_of",
    "check_sparsity",
    "compress",
    "cut",
    "global_masks",
    "measure",
    "per_layer_masks",
    "prunable",
    "score",
    "select",
]

Needs = Literal["none", "gradients", "activations", "adversarial gradients", "contributions", "learned scores"]
Evidence = Mapping[str, Tensor]
"""What a criterion was shown, one tensor per weight name; empty for one that needs none."""


@dataclass(frozen=True)
class Criterion:
    """A rule that says what each weight is worth, and the evidence it needs for that.

    `score(module, evidence)` returns one score for each weight of every tensor in `prunable(module)` and leaves the
    module as it was. Scores must not depend on a ratio, so that masks for growing ratios are nested. A scheme is a
    criterion with an `allocation` of its own; one that can reach a single sparsity says which as `only`. `asks` says
    how its evidence is to be gathered, where images alone don't settle that.
    """

    name: str
    needs: Needs
    score: Callable[[nn.Module, Evidence], Mapping[str, Tensor]]
    allocation: Allocation | None = None
    only: float | None = None
    asks: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ChannelCriterion:
    """A rule that says what each channel of a coupled group is worth; `compress_channels` cuts by it.

    `score(module, evidence, group)` returns one number per channel of the group and leaves the module as it was.
    `comparable` says that scores of different groups are on one scale as they are; otherwise each group's are divided
    by their mean before groups are compared. Scores must not depend on a ratio, so that cuts are nested.
    """

    name: str
    needs: Needs
    score: Callable[[nn.Module, Evidence, Group], Float[Tensor, " channels"]]
    comparable: bool = False
    asks: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Achieved:
    """What a cut was asked for and what it did, counted in the weights of the result.

    `asked` and `sparsity` are shares of zeros among the `weights` of the selected layers, `layers` is the same per
    tensor; `nonzeros` and `parameters` count every parameter of the model, biases and batch norm included.
    """

    asked: float
    sparsity: float
    zeros: int
    weights: int
    layers: Mapping[str, float]
    nonzeros: int
    parameters: int


def prunable(module: nn.Module) -> dict[str, Tensor]:
    """The weights a cut may thin: those of convolutions and linear layers, by tensor name, in module order.

    Biases, batch norm and normalisation buffers are never among them; a weight shared by two layers comes once.
    """
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for prefix, layer in module.named_modules():
        weight = layer._parameters.get("weight") if isinstance(layer, (_ConvNd, nn.Linear)) else None
        if weight is not None and id(weight) not in seen:
            seen.add(id(weight))
            found[f"{prefix}.weight" if prefix else "weight"] = weight.detach()
    return found


def select(module: nn.Module, layers: Iterable[str] | None = None, skip: Iterable[str] = ()) -> list[str]:
    """Names of the prunable tensors under `layers` (all when None) and not under `skip`, in module order.

    A name is a tensor (`conv1.weight`), a layer (`conv1`) or a block that holds some (`stages.0`). Raises InputError
    for a name that stands for none, and when nothing is left.
    """
    known = list(prunable(module))
    if not known:
        raise InputError("expected a model with convolutions or linear layers to prune, got one without any")
    wanted = set(known) if layers is None else {name for given in _listed(layers) for name in _under(given, known)}
    unwanted = {name for given in _listed(skip) for name in _under(given, known)}
    chosen = [name for name in known if name in wanted - unwanted]
    if not chosen:
        raise InputError("expected at least one layer to prune, got a choice that leaves none; skip fewer layers")
    return chosen


def _listed(given: Iterable[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)  # one name is a common slip for a list of one


def _under(given: str, known: list[str]) -> list[str]:
    found = [name for name in known if name == given or name.startswith(f"{given}.")]
    if not found:
        options = {name.removesuffix(".weight") for name in known}
        raise InputError(f"{given!r} is no layer that can be pruned{near(given.removesuffix('.weight'), options)}")
    return found


def _check_weights(criterion: Criterion | ChannelCriterion) -> None:
    if not isinstance(criterion, Criterion):
        raise InputError(f"{criterion.name} scores channels, not weights; cut with compress_channels, or ask for MACs")


def score(module: nn.Module, criterion: Criterion, names: Iterable[str], evidence: Evidence | None = None) -> Scores:
    """First verb: the criterion's scores for the named tensors, checked.

    Raises InputError when the criterion needs evidence that was not given, or when a score is not a finite number.
    """
    _check_weights(criterion)
    if criterion.needs != "none" and not evidence:
        raise InputError(f"{criterion.name} scores from {criterion.needs}, and none were given; pass evidence=")
    given = criterion.score(module, evidence or {})
    weights = prunable(module)
    chosen: dict[str, Tensor] = {}
    for name in names:
        if name not in given:
            raise InputError(f"expected {criterion.name} to score {name!r}, got none; skip that layer")
        scores = given[name].detach()
        if scores.shape != weights[name].shape:
            shape = tuple(weights[name].shape)
            raise InputError(f"expected {shape} scores for {name!r} from {criterion.name}, got {tuple(scores.shape)}")
        if not bool(torch.isfinite(scores).all()):
            raise InputError(
                f"expected finite scores from {criterion.name}, got NaN or infinity for {name!r}; "
                "the weights or the evidence hold such values, train again or skip that layer"
            )
        chosen[name] = scores
    return chosen


def cut(variant: Variant, masks: Mapping[str, Tensor], *, name: str) -> Variant:
    """Third verb: a new variant with zeros where the masks say so, which stay zero when it is trained further.

    The variant given is untouched. Raises InputError for a mask that fits no weight of it.
    """
    weights = dict(variant.weights)
    for layer, mask in masks.items():
        if layer not in weights:
            raise InputError(f"{variant.name!r} has no weight {layer!r} to cut{near(layer, weights)}")
        if weights[layer].shape != mask.shape:
            shape = tuple(weights[layer].shape)
            raise InputError(f"expected a mask of shape {shape} for {layer!r}, got {tuple(mask.shape)}")
        # Not weight * mask: that turns negative weights into -0.0 and keeps NaN.
        weights[layer] = torch.where(mask.to(weights[layer].device), weights[layer], 0)
    return replace(
        variant,
        name=name,
        weights=weights,
        edits=(*variant.edits, {"edit": "mask", "layers": sorted(masks)}),
        lineage=(*variant.lineage, variant.hash),
    )


def measure(
    module: nn.Module, *, asked: float = 0.0, layers: Iterable[str] | None = None, skip: Iterable[str] = ()
) -> Achieved:
    """Count zeros in a module as it is, over the selected prunable tensors; for any model, cut or not."""
    weights = prunable(module)
    zeros = {name: int((weights[name] == 0).sum()) for name in select(module, layers, skip)}
    sizes = {name: weights[name].numel() for name in zeros}
    parameters = list(module.parameters())
    return Achieved(
        asked=asked,
        sparsity=sum(zeros.values()) / sum(sizes.values()),
        zeros=sum(zeros.values()),
        weights=sum(sizes.values()),
        layers={name: zeros[name] / sizes[name] for name in zeros},
        nonzeros=sum(int((parameter != 0).sum()) for parameter in parameters),
        parameters=sum(parameter.numel() for parameter in parameters),
    )


def compress(
    variant: Variant,
    criterion: Criterion,
    *,
    sparsity: float,
    allocate: str | Allocation | None = None,
    layers: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    evidence: Evidence | None = None,
    name: str | None = None,
    trust: bool = False,
) -> tuple[Variant, Achieved]:
    """Score, allocate and cut once; returns the cut variant and what was asked and achieved.

    `sparsity` is the share of all weights of the selected layers that are zero afterwards, those already cut before
    included (they go first). `allocate` is a name in ALLOCATIONS or a function: unless said, the scheme's own, else
    global. Raises InputError for whatever can't be cut as asked; nothing is skipped silently.
    """
    check_sparsity(sparsity)
    _check_weights(criterion)
    how = allocation_of(criterion, sparsity, allocate)
    module = variants.build(variant, trust=trust)
    names = select(module, layers, skip)
    scores = dict(score(module, criterion, names, evidence))
    before = variants.masks(variant)
    for layer in set(before) & set(scores):
        scores[layer] = scores[layer].masked_fill(~before[layer], -torch.inf)
    masks = allocate_masks(scores, sparsity, how)
    for layer in set(before) & set(masks):
        if bool((masks[layer] & ~before[layer]).any()):
            share = float((~before[layer]).float().mean())
            raise InputError(
                f"expected a sparsity above what {variant.name!r} has been cut to already ({share:.3g} of {layer!r}), "
                f"got {sparsity:g}; ask for more, or cut its parent"
            )
    spread = f"{how}-" if isinstance(how, str) and how != "global" else ""
    label = name or f"{variant.name}/{criterion.name}-{spread}{sparsity:g}"
    result = cut(variant, _with_aliases(module, masks), name=label)
    module.load_state_dict(dict(result.weights), strict=False)  # files may lack num_batches_tracked
    return result, measure(module, asked=float(sparsity), layers=names)


def allocation_of(criterion: Criterion, sparsity: float, allocate: str | Allocation | None) -> str | Allocation:
    """How a cut will be spread: as asked, or as the scheme says; InputError where the two contradict each other."""
    if criterion.only is not None and abs(sparsity - criterion.only) > 1e-9:
        raise InputError(f"{criterion.name} cuts to a sparsity of {criterion.only:g} and no other, got {sparsity:g}")
    if criterion.allocation is None:
        return allocate or "global"
    if allocate is not None:
        raise InputError(f"{criterion.name} spreads its cut by a rule of its own; leave out allocate")
    return criterion.allocation


def _with_aliases(module: nn.Module, masks: Masks) -> Masks:
    """The masks under every name that a shared weight has in the state dict."""
    named = dict(module.named_parameters(remove_duplicate=False))
    first = {id(named[name]): mask for name, mask in masks.items()}
    return {name: first[id(parameter)] for name, parameter in named.items() if id(parameter) in first}
