"""What an attack saw on its way, written down by the oracle that it asks."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch

from bantamweight.oracle import Answer, Oracle, Query, margin
from bantamweight.predict import TILE, pad
from bantamweight.threats import TOLERANCE, Threat
from bantamweight.types import Bool, Float, Images, Labels, Tensor

__all__ = ["Recorder", "Tape", "recorder"]


@dataclass(frozen=True)
class Tape:
    """An attack's objective by step and row, and the point of each row that came closest, within the budget alone.

    A loss is -inf where the point lay outside: some attacks walk through larger balls before they come down to the
    one that is asked about. A margin below -slack is a success in the proposer's eyes beyond what its precision
    explains; it is inf, and the point the image itself, where a row never came inside.
    """

    losses: Float[Tensor, "steps b"]
    closest: Images
    margins: Float[Tensor, " b"]
    slack: Float[Tensor, " b"]


@dataclass(frozen=True, kw_only=True)
class Recorder(Oracle):
    """An oracle that writes down what it answers about `images`.

    They are one tile, and with `until="budget"` no row leaves it. Of the points only each row's closest call is kept:
    whole paths of large images would not fit.
    """

    images: Images
    threat: Threat
    losses: list[Tensor] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    def ask(self, query: Query, labels: Labels, aims: Labels, alive: Bool[Tensor, " b"]) -> Answer:
        """The oracle's own answer."""
        answer = super().ask(query, labels, aims, alive)
        if answer.logits is None or query.objective is None or not bool(alive.any()):
            return answer
        here = self.images[pad(torch.arange(len(self.images)), (len(labels),))].to(query.points)
        eps = self.threat.eps
        inside = self.threat.norm.size(query.points - here) <= eps + TOLERANCE * max(1.0, eps)
        gap = margin(answer.logits, labels, torch.full_like(labels, -1))
        loss = query.objective(answer.logits, labels, aims)
        self.losses.append(torch.where(inside, loss, -torch.inf).cpu())
        gap = torch.where(inside, gap, torch.inf)
        if not self.best:
            far = torch.full_like(gap, torch.inf)
            self.best.update(points=here, gap=far, slack=torch.zeros_like(gap))
        near = gap < self.best["gap"]
        seen = {"points": query.points, "gap": gap, "slack": self.slack * answer.logits.abs().amax(dim=1)}
        for key, value in seen.items():
            self.best[key][near] = value[near]
        return answer

    def fit(self, images: Images, rows: int) -> int:  # noqa: ARG002 (whatever the oracle's own would say)
        """One size for the whole run: every row keeps its place."""
        return TILE

    def tape(self) -> Tape:
        """What was written down of the images; the rest of the tile repeats them."""
        rows = len(self.images)
        held = (self.best[key][:rows].cpu() for key in ("points", "gap", "slack"))
        return Tape(torch.stack([loss[:rows] for loss in self.losses]), *held)


def recorder(oracle: Oracle, images: Images, threat: Threat) -> Recorder:
    """The same oracle, ledger and all, with a tape."""
    own = {f.name: getattr(oracle, f.name) for f in fields(Oracle)}
    return Recorder(**own, images=images, threat=threat)
