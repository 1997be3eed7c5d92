"""Gradual pruning: Zhu and Gupta 2017, "To prune, or not to prune", equation 1.

The paper lets a masked weight return when others shrink below it; here a weight that has gone stays gone, so that what
is cut at a step can be read off the weights, and a training that was killed continues to the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from bantamweight.compression._allocations import Allocation
from bantamweight.compression._core import Criterion, score
from bantamweight.errors import InputError
from bantamweight.parts import Part, Room
from bantamweight.training._projection import cuttable, laid, projection, refuse_denser, rising, sparsity_of, warn
from bantamweight.training._values import Factor, Pruning, Span

__all__ = ["gradual"]


def gradual(
    span: Span,
    *,
    sparsity: Annotated[float, Field(gt=0, lt=1)] | None = None,
    keep: float | None = None,
    criterion: Annotated[str | dict[str, Any] | Part, Room("compression")] = "magnitude",
    allocate: str | None = None,
    start: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    begin: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    end: Annotated[float, Field(gt=0, le=1)] = 0.7,
    every: Annotated[int, Field(ge=1)] = 20,
    rise: Annotated[str | dict[str, Any] | Part | None, Room("schedules")] = None,
) -> Pruning:
    """From the sparsity `start` to `sparsity` along a cubic, fast while there is much to lose and slow at the end.

    `rise` is another way there: a schedule between those two steps (`linear`, `stepwise`).

    Weights go after every `every` steps between the shares `begin` and `end` of all steps; the rest of the training
    recovers. `keep` may say what share stays in place of `sparsity`, the share that goes. A layer that would lose
    everything keeps one weight, which an epoch's row counts (`layers_spared`) and the last cut warns of. Raises
    InputError for a criterion that needs evidence or has one sparsity only, for an end that is not after the beginning,
    and for a net of which more is gone already.
    """
    sparsity = sparsity_of(sparsity, keep)
    rule, how = projection(criterion, sparsity, allocate)
    if rule.only is not None:
        raise InputError(f"{rule.name} has one sparsity only, {rule.only:g}, and none on the way there; use admm")
    first, last = round(begin * span.steps), max(1, round(end * span.steps)) - 1
    if last < first or start > sparsity:
        raise InputError(
            f"expected an end after the beginning and a sparsity above the start, got {begin:g} to {end:g}"
        )
    return _Gradual(rule, how, (start, sparsity), (first, last), every, rising(rise, last - first))


@dataclass
class _Gradual:
    """`state`: how many layers the last cut would have left nothing of, if any."""

    rule: Criterion
    how: str | Allocation
    ends: tuple[float, float]
    window: tuple[int, int]
    every: int
    rise: Factor | None
    state: dict[str, Tensor] = field(default_factory=dict)

    @property
    def sparsity(self) -> float:
        return self.ends[1]

    def due(self, step: int) -> float | None:
        """The sparsity to reach after a step, at steps that have one."""
        first, last = self.window
        if not first <= step <= last or ((last - step) % self.every and step != last):
            return None
        start, end = self.ends
        if self.rise is not None:
            return start + (end - start) * self.rise(step - first) if step < last else end
        left = 1 - (step - first) / max(1, last - first)
        return end + (start - end) * left**3 if step < last else end

    def penalty(self, module: nn.Module) -> None:
        """Nothing: weights go, and are not drawn towards anything."""

    def after(self, module: nn.Module, step: int) -> Mapping[str, Tensor] | None:
        share = self.due(step)
        if share is None:
            return None
        refuse_denser(module, self.sparsity)
        names = cuttable(module)
        scores = score(module, self.rule, names)
        gone = {name: module.get_parameter(name).detach() == 0 for name in names}
        left = {name: scores[name].masked_fill(gone[name], -torch.inf) for name in names}
        masks, spared = laid(left, share, self.how)
        self.state = {"spared": torch.tensor(float(len(spared)))} if spared else {}
        if self.settled(step):
            warn(spared, share)
        return masks

    def settled(self, step: int) -> bool:
        return step >= self.window[1]

    def measures(self, since: int) -> Mapping[str, float]:  # noqa: ARG002
        """The layers of which the last cut would have left nothing, if any."""
        return {f"layers_{name}": float(count) for name, count in self.state.items()}
