"""Which channels hang together: a channel taken from one layer has to go from every layer that is wired to it.

The wiring is read off by torch-pruning's dependency graph (Fang et al. 2023, "DepGraph: towards any structural
pruning", sections 3.2 and 3.3), which is imported only when it is needed: a cut that was made is replayed without it.
What it says is not taken on trust: `groups` takes half of the channels of every group out of a copy and compares its
answers with those of a copy whose channels are zero instead, and a group for which they differ can't be cut.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.utils import parametrize

from bantamweight import rng
from bantamweight.compression._wiring import Slot, wiring
from bantamweight.errors import InputError, near
from bantamweight.models._narrow import narrow
from bantamweight.models._stirred import stirred
from bantamweight.types import Images

__all__ = ["SINGLE", "Group", "Part", "chosen", "groups", "removal"]

SINGLE = "it is a single channel"
"""Why a group can only stay as it is."""

TOLERANCE = 1e-3
"""Of the effect of the cut itself, which is what a wrong wiring would be as large as."""

Side = Literal["out", "in", "pad"]


@dataclass(frozen=True)
class Part:
    """What a group has in one layer: for each of its channels, the numbers that go from that side of the layer."""

    layer: str
    side: Side
    positions: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Group:
    """Channels that live in exactly the same layers; each goes from all of them or from none.

    `name` is the first layer that makes them, `size` how many they are, `reason` why they can't be cut ("" if they
    can). A residual stream and what widens it later are groups of their own: no layer of either is ever emptied.
    """

    name: str
    size: int
    parts: tuple[Part, ...]
    reason: str = ""

    def of(self, side: Side) -> tuple[Part, ...]:
        """Its parts on one side of their layers."""
        return tuple(part for part in self.parts if part.side == side)


class _Unit(NamedTuple):
    """One channel: its slots, sorted."""

    slots: tuple[Slot, ...]
    reason: str


def groups(module: nn.Module, example: Images) -> tuple[Group, ...]:
    """The coupled groups of a module in the order of its layers, those that can't be cut included, with the reason.

    `example` is a batch the module takes. Frozen parameters and `torch.no_grad` make no difference, and the module is
    left as it was. The layer that gives the logits is found by itself. Raises InputError when the module can't be
    traced or has no channels, and when torch-pruning is not installed.
    """
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        plain = copy.deepcopy(module).eval()
        for parameter in plain.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        order = {name: number for number, (name, _) in enumerate(plain.named_modules())}
        found = _grouped(plain, _units(plain, example[:2]), order)
        if not found:
            raise InputError("expected a model with convolutions or linear layers to cut, got one without any")
        return _tried(plain.requires_grad_(False), found, example[:2])


def chosen(found: Sequence[Group], layers: Iterable[str] | None = None, skip: Iterable[str] = ()) -> list[Group]:
    """The groups named by `layers` (all when None) and not by `skip`: by their own name or by a layer that makes them.

    A block stands for every layer under it. Raises InputError for a name that stands for none.
    """
    kept = list(found) if layers is None else _named(found, layers)
    without = {id(group) for group in _named(found, skip)}
    return [group for group in kept if id(group) not in without]


def _named(found: Sequence[Group], names: Iterable[str]) -> list[Group]:
    wanted: list[Group] = []
    for name in [names] if isinstance(names, str) else names:
        hits = [group for group in found if any(_under(maker, name) for maker in _makers(group))]
        if not hits:
            raise InputError(f"{name!r} makes no channels that can be cut{near(name, [group.name for group in found])}")
        wanted += [group for group in hits if not any(group is other for other in wanted)]
    return [group for group in found if any(group is other for other in wanted)]


def _makers(group: Group) -> list[str]:
    return [group.name, *(part.layer for part in group.of("out"))]


def _under(layer: str, name: str) -> bool:
    return layer == name or layer.startswith(f"{name}.")


def removal(found: Iterable[Group], channels: Iterable[Sequence[int]]) -> dict[str, dict[str, list[int]]]:
    """What goes from each layer when these channels of each group go, as `narrow` takes it and an edit stores it."""
    gone: dict[str, dict[str, list[int]]] = {}
    for group, numbers in zip(found, channels, strict=True):
        for part in group.parts if len(numbers) else ():
            gone.setdefault(part.layer, {}).setdefault(part.side, []).extend(
                position for number in numbers for position in part.positions[number]
            )
    return {layer: {side: sorted(which) for side, which in sorted(sides.items())} for layer, sides in gone.items()}


def _units(module: nn.Module, example: Images) -> list[_Unit]:
    """Slots joined to channels, and the reasons that the wiring gives."""
    joined, reasons = wiring(module, example)
    return [
        _Unit(tuple(sorted(slots)), next((reasons[slot] for slot in sorted(slots) if slot in reasons), ""))
        for slots in joined
    ]


def _grouped(module: nn.Module, units: list[_Unit], order: dict[str, int]) -> list[Group]:
    """Channels with one signature: the same sides of the same layers, as often, and the same reason."""
    layers = dict(module.named_modules())
    alike: dict[tuple[Any, ...], list[_Unit]] = {}
    for unit in units:
        sides = sorted((order[slot.layer], slot.layer, slot.side) for slot in unit.slots)
        if any(side == "out" and not isinstance(layers[layer], _BatchNorm) for _, layer, side in sides):
            alike.setdefault((*sides, unit.reason), []).append(unit)
    found: list[Group] = []
    for signature, members in alike.items():
        members.sort(key=lambda unit: unit.slots)
        kinds = list(dict.fromkeys(signature[:-1]))
        parts = tuple(
            Part(layer, side, tuple(tuple(s.number for s in unit.slots if s[:2] == (layer, side)) for unit in members))
            for _, layer, side in kinds
        )
        makers = [part.layer for part in parts if part.side == "out" and not isinstance(layers[part.layer], _BatchNorm)]
        reason = signature[-1] or next((why for part in parts if (why := _unfit(layers[part.layer], part))), "")
        found.append(Group(makers[0], len(members), parts, reason))
    found.sort(key=lambda group: (order[group.name], group.parts[0].positions[0]))
    taken: dict[str, int] = {}
    for number, group in enumerate(found):
        taken[group.name] = taken.get(group.name, 0) + 1
        if taken[group.name] > 1:
            found[number] = replace(group, name=f"{group.name}#{taken[group.name]}")
    return found


def _unfit(layer: nn.Module, part: Part) -> str:
    """Why a layer can't lose channels whatever its wiring."""
    if isinstance(layer, _ConvTransposeNd):
        return f"{part.layer!r} is a transposed convolution, which is not cut"
    if parametrize.is_parametrized(layer):
        return f"the weight of {part.layer!r} is computed from another; remove the parametrisation"
    return ""


def _tried(module: nn.Module, found: list[Group], example: Images) -> tuple[Group, ...]:
    """Each group that can be cut by its wiring, tried on weights that hide nothing."""
    probe = stirred(module)
    halves = [_half(group) for group in found]
    able = [number for number, group in enumerate(found) if not group.reason and halves[number]]
    if not _faithful(probe, [found[n] for n in able], [halves[n] for n in able], example):
        wrong = [n for n in able if not _faithful(probe, [found[n]], [halves[n]], example)]
        if not wrong:  # each is right alone, and together they are not
            wrong = able
        for number in wrong:
            why = "the model's forward does not follow when its channels go (a hard-coded shape, or channels it mixes)"
            found[number] = replace(found[number], reason=why)
    return tuple(replace(group, reason=SINGLE) if not group.reason and group.size < 2 else group for group in found)


def _half(group: Group) -> list[int]:
    """Half of the channels, drawn at random: a rule of one channel in two would hide a wrong order."""
    drawn = rng.generator(0, "trial of a group", group.name).permutation(group.size)
    return sorted(int(number) for number in drawn[: group.size // 2])


@torch.no_grad()
def _faithful(module: nn.Module, found: list[Group], channels: list[list[int]], example: Images) -> bool:
    """Whether taking the channels out answers what setting them to zero answers."""
    gone = removal(found, channels)
    if not gone:
        return True
    dense, masked, cut = module(example), copy.deepcopy(module), copy.deepcopy(module)
    _silence(masked, gone)
    expected = masked(example)
    try:
        narrow(cut, gone)
        got = cut(example)
    except Exception:  # a forward may fail in any way when a shape is another
        return False
    if not isinstance(got, Tensor) or got.shape != expected.shape:
        return False
    effect = float((expected - dense).abs().max())
    scale = 1e-4 * float(dense.abs().max())
    return bool(torch.isfinite(got).all()) and float((got - expected).abs().max()) <= max(TOLERANCE * effect, scale)


def _silence(module: nn.Module, gone: dict[str, dict[str, list[int]]]) -> None:
    """Zero weights at the channels, on both of their sides: exact whatever the activation between them is."""
    for name, sides in gone.items():
        layer = module.get_submodule(name)
        if rows := sides.get("out"):
            for part in ("weight", "bias"):
                tensor = layer._parameters.get(part)
                if tensor is not None:
                    tensor[rows] = 0
            if isinstance(layer, _BatchNorm) and layer.weight is None and layer.running_mean is not None:
                layer.running_mean[rows] = 0
        columns = sides.get("in", [])
        if columns and (weight := layer._parameters.get("weight")) is not None:
            width = weight.shape[1]
            each = weight.shape[0] // (getattr(layer, "groups", 1))
            for column in columns:
                group = column // width
                weight[group * each : (group + 1) * each, column % width] = 0
