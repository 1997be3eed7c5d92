"""Lottery tickets: the weights that a cut leaves, put back to what they were early in training, and trained again.

Frankle and Carbin 2019, "The lottery ticket hypothesis", section 1 (iterative pruning with resetting); rewinding to an
early epoch in place of the start is Frankle, Dziugaite, Roy, Carbin 2019, "Stabilizing the lottery ticket hypothesis".
The schedule goes on from that epoch; the optimizer starts afresh.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bantamweight import variants
from bantamweight.compression import Criterion, compress
from bantamweight.data import Data, align
from bantamweight.errors import InputError
from bantamweight.parts import Part, configure
from bantamweight.recipes._shown import evidence_of
from bantamweight.training import train
from bantamweight.variants import Variant

__all__ = ["Lottery", "lottery"]


@dataclass(frozen=True, eq=False)
class Lottery:
    """What came of it: the dense net, the ticket before and after its training, and the sparsity of each round.

    `control` is the same mask on other first weights, trained as the ticket was (None unless asked for): only a ticket
    that beats it has won.
    """

    dense: Variant
    ticket: Variant
    trained: Variant
    sparsities: tuple[float, ...]
    control: Variant | None = None


def lottery(
    start: Variant,
    data: Data,
    criterion: Criterion | Part | str | Mapping[str, Any] = "magnitude",
    *,
    sparsity: float,
    training: Mapping[str, Any],
    rounds: int = 3,
    rewind: int = 0,
    allocate: str | None = None,
    control: Variant | None = None,
    folder: Path | str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    trust: bool = False,
) -> Lottery:
    """Train, cut, put back and train again, `rounds` times, each leaving the same share of the weights.

    `start` has the first weights, which `rewind=0` puts back; otherwise those after that epoch of the dense training.
    `training` holds settings of `training.train`. `control` has other first weights of the same architecture. Trainings
    are kept in `folder` and go on from there. Raises InputError for a cut, a rewind or a training that can't be made.
    """
    rule = criterion if isinstance(criterion, Criterion) else configure("compression", criterion, trust=trust).make()
    if not isinstance(rule, Criterion):
        raise InputError(f"expected a criterion that scores weights, whose values can be put back, got {rule.name}")
    if not 1 <= rounds <= 100 or not 0 <= rewind < int(training.get("epochs", 0)):
        raise InputError(
            f"expected 1 to 100 rounds and a rewind to before the last epoch, got {rounds} rounds and epoch {rewind}"
        )
    data = align(data, start.classes) if start.classes else data

    def trained(which: Variant, name: str, **more: Any) -> Any:
        place = None if folder is None else Path(folder) / name
        heard = None if progress is None else lambda done, of: progress(name, done, of)
        return train(which, data, place, progress=heard, trust=trust, **{**training, **more})

    whole = trained(start, "dense", keep=(rewind,) if rewind else ())
    early = whole.kept[rewind] if rewind else start.weights
    here, sparsities = whole.variant, []
    for number in range(1, rounds + 1):
        share = 1 - (1 - sparsity) ** (number / rounds)
        cut, achieved = compress(
            here,
            rule,
            sparsity=share,
            allocate=allocate,
            evidence=evidence_of(here, rule, data, share, trust),
            trust=trust,
        )
        sparsities.append(achieved.sparsity)
        ticket = _masked(cut, early, f"{start.name}/ticket-{sparsity:g}")
        here = trained(ticket, f"round-{number}", begin=rewind).variant
    rival = None
    if control is not None:
        rival = trained(_masked(cut, control.weights, f"{start.name}/control-{sparsity:g}"), "control").variant
    return Lottery(whole.variant, ticket, here, tuple(sparsities), rival)


def _masked(cut: Variant, weights: Mapping[str, torch.Tensor], name: str) -> Variant:
    """Other weights, batch norm's included, with zeros where the cut has them."""
    alive = variants.masks(cut)
    if {key: value.shape for key, value in weights.items()} != {key: value.shape for key, value in cut.weights.items()}:
        raise InputError(f"expected weights of the same architecture as {cut.name!r} to put back, got others")
    put = {key: torch.where(alive[key], value, 0) if key in alive else value for key, value in weights.items()}
    return replace(cut, name=name, weights=put, lineage=(*cut.lineage, cut.hash))
