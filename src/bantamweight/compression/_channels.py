"""Channels scored, ordered and taken out: the cut that makes a model faster wherever it runs.

What comes out is a smaller model, not one with zeros in it. Its edit says which channels of which layers went, so it is
built again without torch-pruning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from bantamweight import variants
from bantamweight.compression._budget import KINDS, Found, pick
from bantamweight.compression._core import ChannelCriterion, Evidence
from bantamweight.compression._groups import SINGLE, Group, chosen, groups
from bantamweight.compression._path import Allocate, Path, costs, path
from bantamweight.errors import InputError, near
from bantamweight.models._narrow import Removed, narrow
from bantamweight.models._profile import profile
from bantamweight.rng import generator
from bantamweight.variants import Variant

__all__ = ["AchievedChannels", "compress_channels", "coupled", "cut_channels", "score_channels"]


@dataclass(frozen=True)
class AchievedChannels:
    """What a cut of channels was asked for and what it did, measured on the variant that came out.

    `asked` is the target; `reached` is its value at the point taken, `below` and `above` at the nearest points that
    could have been taken instead (None at an end of the path). Sizes are those of the cut model, `dense_...` those of
    its parent; `ratio` is the share of channels gone from the groups that were cut. `widths` has kept and dense
    channels per group, `uncut` why a group was left alone.
    """

    asked: Mapping[str, float]
    reached: float
    below: float | None
    above: float | None
    ratio: float
    macs: int
    dense_macs: int
    parameters: int
    dense_parameters: int
    size_bytes: int
    dense_size_bytes: int
    widths: Mapping[str, tuple[int, int]]
    uncut: Mapping[str, str]

    @property
    def macs_share(self) -> float:
        """MACs as a share of the parent's."""
        return self.macs / self.dense_macs


def coupled(variant: Variant, *, trust: bool = False) -> tuple[Group, ...]:
    """The coupled groups of a variant, those that can't be cut included, with the reason."""
    return groups(variants.build(variant, trust=trust), _example(variant))


def _example(variant: Variant) -> Tensor:
    drawn = generator(0, "example images").random((2, *variant.input_shape), dtype="float32")
    return torch.from_numpy(drawn)


def score_channels(
    module: nn.Module, criterion: ChannelCriterion, found: Iterable[Group], evidence: Evidence | None = None
) -> dict[str, Tensor]:
    """First verb: one finite number per channel of each group, by the group's name.

    Raises InputError when the criterion needs evidence that was not given, can't score a group, or gives no numbers.
    """
    if not isinstance(criterion, ChannelCriterion):
        name = getattr(criterion, "name", criterion)
        raise InputError(f"{name} scores weights, not channels; ask for a sparsity, or use l1_channels")
    if criterion.needs != "none" and not evidence:
        raise InputError(f"{criterion.name} scores from {criterion.needs}, and none were given; pass evidence=")
    scores = {}
    for group in found:
        given = criterion.score(module, evidence or {}, group).detach()
        if given.shape != (group.size,) or not bool(torch.isfinite(given).all()):
            raise InputError(
                f"expected {group.size} finite scores for the group {group.name!r} from {criterion.name}, got shape "
                f"{tuple(given.shape)} or NaN; the weights or the evidence hold such values, train again or skip it"
            )
        scores[group.name] = given
    return scores


def cut_channels(variant: Variant, removed: Removed, *, name: str, trust: bool = False) -> Variant:
    """Third verb: a variant without these channels; its edit says which, and it is built again from that.

    The variant given is untouched. Raises InputError for channels that a layer does not have.
    """
    module = variants.build(variant, trust=trust)
    narrow(module, removed)
    plain = {layer: {side: [*numbers] for side, numbers in sides.items()} for layer, sides in removed.items()}
    return variants.capture(variant, module, name=name, edits=({"edit": "channels", "removed": plain},))


def compress_channels(
    variant: Variant,
    criterion: ChannelCriterion,
    *,
    target: Mapping[str, float],
    allocate: Allocate = "global",
    round_to: int = 1,
    layers: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    uncut: Literal["refuse", "say"] = "refuse",
    evidence: Evidence | None = None,
    latency: Callable[[Variant], float] | None = None,
    name: str | None = None,
    trust: bool = False,
) -> tuple[Variant, AchievedChannels]:
    """Score, order and cut the channels of coupled groups once; returns the cut variant and what was achieved.

    `target` is one of `ratio` (share of channels to remove, in [0, 1)), `macs` or `parameters` (a share of the
    variant's up to 1, a count above), `size_bytes` (dense float32 file), and `latency_ms`, which `latency(variant)`
    measures along the path. A budget gives the largest point at or below it. Groups of `layers` (all when None) and
    not of `skip` are cut, to multiples of `round_to` with at least one left. A group that can't be cut is an error that
    names it, or with `uncut="say"` an entry in the answer; the layer of the logits is always left alone. Raises
    InputError for a target that nothing reaches, with the nearest that can be.
    """
    kind, value = _target(target)
    module = variants.build(variant, trust=trust)
    able, left = _able(groups(module, _example(variant)), layers, skip, uncut, round_to)
    scores = _scored(module, criterion, able, evidence, left if uncut == "say" else None)
    able = [group for group in able if group.name in scores]
    cost = costs(module, tuple(able), variant.input_shape)
    along = path(
        able, scores, allocate=allocate, round_to=round_to, comparable=criterion.comparable, prices=cost.prices()
    )
    label = name or f"{variant.name}/{criterion.name}-{'' if allocate == 'global' else f'{allocate}-'}{kind}-{value:g}"

    def made(widths: np.ndarray) -> Variant:
        return cut_channels(variant, along.removed(widths), name=label, trust=trust)

    found = pick(kind, value, along, cost, made, latency)
    result = made(found.widths)
    return result, _achieved(variant, module, variants.build(result, trust=trust), along, found, (kind, value), left)


def _target(target: Mapping[str, float]) -> tuple[str, float]:
    if len(target) != 1:
        said = ", ".join(map(str, target)) or "none"
        raise InputError(f"expected one target out of {', '.join(KINDS)}, got {said}; give one")
    kind, value = next(iter(target.items()))
    if kind not in KINDS:
        raise InputError(f"{kind!r} is no target for cutting channels{near(str(kind), KINDS)}")
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not (0 <= value < 1 if kind == "ratio" else 0 < value < float("inf")):
        wanted = "a ratio of channels in [0, 1)" if kind == "ratio" else f"a positive {kind}"
        raise InputError(f"expected {wanted} to cut to, got {value!r}")
    return kind, float(value)


_LOGITS = "its channels are the logits"


def _able(
    found: tuple[Group, ...], layers: Iterable[str] | None, skip: Iterable[str], uncut: str, round_to: int
) -> tuple[list[Group], dict[str, str]]:
    """The groups to cut, and why the others are left; a group as narrow as `round_to` can only stay as it is.

    So can a single channel, which is no reason to refuse the others: cuts before this one may have left it.
    """
    if uncut not in ("refuse", "say"):
        raise InputError(f"{uncut!r} is no way to treat groups that can't be cut{near(uncut, ['refuse', 'say'])}")
    wanted = chosen(found, layers, skip)
    able = [group for group in wanted if not group.reason]
    stuck = [group for group in wanted if group.reason and group.reason not in (_LOGITS, SINGLE)]
    if stuck and uncut == "refuse":
        raise InputError(
            f"the channels of {stuck[0].name!r} can't be cut: {stuck[0].reason}"
            + (f" (and {len(stuck) - 1} more such groups)" if len(stuck) > 1 else "")
            + "; skip them, or ask for uncut groups to be said"
        )
    if not able:
        raise InputError("expected at least one group of channels to cut, got a choice that leaves none; skip fewer")
    narrow = {
        group.name: f"its {group.size} channels are the fewest that multiples of {round_to} leave"
        for group in able
        if group.size <= round_to
    }
    if len(narrow) == len(able):
        raise InputError(
            f"expected a group of more than {round_to} channels to cut to multiples of {round_to}, got at most "
            f"{max(group.size for group in able)}; round to less"
        )
    asked = {id(group) for group in wanted}
    left = {group.name: group.reason or "skipped" for group in found if group.reason or id(group) not in asked}
    return able, {**left, **narrow}


def _scored(
    module: nn.Module,
    criterion: ChannelCriterion,
    able: list[Group],
    evidence: Evidence | None,
    left: dict[str, str] | None,
) -> dict[str, Tensor]:
    """Scores; a group that this criterion can't score is said in `left` where there is one."""
    if left is None:
        return score_channels(module, criterion, able, evidence)
    scores: dict[str, Tensor] = {}
    first: InputError | None = None
    for group in able:
        try:
            scores |= score_channels(module, criterion, [group], evidence)
        except InputError as error:
            first = first or error
            left[group.name] = str(error)
    if not scores and first is not None:
        raise first
    return scores


def _achieved(
    parent: Variant,
    dense: nn.Module,
    cut: nn.Module,
    along: Path,
    found: Found,
    target: tuple[str, float],
    left: Mapping[str, str],
) -> AchievedChannels:
    before, after = profile(dense, parent.input_shape), profile(cut, parent.input_shape)
    kept = [int(width) for width in found.widths]
    total = sum(group.size for group in along.groups)
    return AchievedChannels(
        asked={target[0]: target[1]},
        reached=found.reached,
        below=found.below,
        above=found.above,
        ratio=1 - sum(kept) / total,
        macs=after.macs,
        dense_macs=before.macs,
        parameters=after.parameters,
        dense_parameters=before.parameters,
        size_bytes=after.size_bytes,
        dense_size_bytes=before.size_bytes,
        widths={group.name: (width, group.size) for group, width in zip(along.groups, kept, strict=True)},
        uncut=dict(left),
    )
