"""One cut to a target: what was asked and what was achieved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from bantamweight.compression._core import measure
from bantamweight.facts import Fact
from bantamweight.judging.compression import share_facts, target_facts
from bantamweight.judging.sparsity import sparsity_facts
from bantamweight.models._profile import profile
from bantamweight.recipes._cuts import cut_to, latency_on
from bantamweight.studies._place import Place, part
from bantamweight.variants import Variant, build, masks

__all__ = ["clock_of", "compress", "counted"]


def compress(
    place: Place,
    *,
    criterion: dict[str, Any],
    kind: str,
    value: float,
    allocate: str | None,
    round_to: int,
    skip: Sequence[str],
    uncut: Literal["refuse", "say"],
    runtime: dict[str, Any] | None = None,
) -> list[Fact]:
    """Facts target_asked, target_reached, uncut, and those of `counted`; `variant/`."""
    parent, rule = place.variant(), part(place, "compression", criterion)
    cut = cut_to(
        parent,
        rule,
        kind,
        value,
        place.data,
        name=f"{parent.name}/{rule.name}-{value:g}",
        allocate=allocate,
        round_to=round_to,
        skip=skip,
        uncut=uncut,
        latency=clock_of(place, runtime),
        trust=place.trust,
    )
    place.save(cut.variant)
    told = target_facts(kind, value, cut.reached, below=cut.below, above=cut.above, uncut=cut.uncut)
    return told + counted(place, cut.variant, value if kind == "sparsity" else 0.0)


def clock_of(place: Place, runtime: dict[str, Any] | None) -> Callable[[Variant], float] | None:
    """What measures latency_ms on a runtime; None for targets that need no clock."""
    return None if runtime is None else latency_on(runtime, place.threads, data=place.data, trust=place.trust)


def counted(place: Place, made: Variant, asked: float) -> list[Fact]:
    """Facts macs_share and parameters_share of the dense net; of zeros: sparsity_asked, sparsity, layer_sparsity."""
    module, dense = build(made, trust=place.trust), place.variant("dense")
    ours, theirs = (profile(net, made.input_shape) for net in (module, build(dense, trust=place.trust)))
    shares = share_facts(
        {"macs": ours.macs, "parameters": ours.parameters}, {"macs": theirs.macs, "parameters": theirs.parameters}
    )
    return shares + (sparsity_facts(measure(module, asked=asked)) if masks(made) else [])
