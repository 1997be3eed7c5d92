"""ADMM: Zhang et al. 2018, "A systematic DNN weight pruning framework using alternating direction method of
multipliers", equations 5 to 8; during adversarial training as in Ye et al. 2019, "Adversarial robustness vs. model
compression, or both?", section 4.

Weights W are trained on the loss plus rho/2 |W - Z + U|^2, where Z lies in the scheme: from time to time Z becomes the
scheme's nearest point to W + U, and U grows by W - Z (the scaled form of Boyd et al. 2011, section 3.1.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from bantamweight.compression._allocations import Allocation
from bantamweight.compression._core import Criterion
from bantamweight.errors import InputError
from bantamweight.parts import Part, Room
from bantamweight.training._projection import cuttable, kept_at, projection, refuse_denser, rising, sparsity_of, warn
from bantamweight.training._values import Factor, Pruning, Span

__all__ = ["admm"]


def admm(
    span: Span,
    *,
    sparsity: Annotated[float, Field(gt=0, lt=1)] | None = None,
    keep: float | None = None,
    scheme: Annotated[str | dict[str, Any] | Part, Room("compression")] = "magnitude",
    allocate: str | None = None,
    start: Annotated[float, Field(ge=0, lt=1)] | None = None,
    rho: Annotated[float, Field(gt=0, le=1e6)] = 1e-2,
    growth: Annotated[float, Field(ge=1, le=1000)] = 1.3,
    updates: Annotated[int, Field(ge=1, le=100_000)] = 20,
    begin: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    end: Annotated[float, Field(gt=0, le=1)] = 0.7,
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 1e-2,
    rise: Annotated[str | dict[str, Any] | Part, Room("schedules")] = "linear",
) -> Pruning:
    """Draw the weights to a scheme while they are trained, cut what is left over, and train on.

    Choose it for high sparsity: the net is talked into zeros before it loses them. Either `sparsity` says what share of
    the weights goes, or `keep` what share stays. `scheme` is any criterion that scores weights alone (`magnitude`,
    `funnel`, `redundant`, `n_m`, `filters`, `channel_groups`), spread as `allocate` says: unless told as the scheme
    does, else globally, `redundant` per layer. A layer that would lose everything keeps one weight, which an epoch's
    row counts (`layers_spared`) and the last cut warns of. Weights that are frozen are not cut.

    Between the shares `begin` and `end` of all steps Z and U are updated `updates` times and rho multiplied by `growth`
    each time (U divided by it, as its scaled form asks). Weights that stay are drawn to where they were as well, so a
    rho too large stops the net from learning: the default is for Adam, and SGD at a rate of 0.1 wants a hundredth of it
    (benchmarks/hardening.md). With `start` the sparsity of Z grows from there to `sparsity` as the schedule `rise` says
    (`linear`, `stepwise`). The cut comes at `end`, or earlier, once both residuals (|W - Z| / |W| and |Z - Z'| / |Z|)
    are at most `tolerance`. Raises InputError for a scheme that needs evidence, an end that is not after the beginning,
    and for a net of which more is gone already.
    """
    sparsity = sparsity_of(sparsity, keep)
    rule, how = projection(scheme, sparsity, allocate)
    if start is not None and rule.only is not None:
        raise InputError(f"{rule.name} has one sparsity only, {rule.only:g}, and none to start from; leave out start")
    if start is not None and start > sparsity:
        raise InputError(
            f"expected a start of at most the sparsity {sparsity:g}, got {start:g}; lower it, or leave it out"
        )
    first, last = round(begin * span.steps), max(1, round(end * span.steps)) - 1
    if last <= first:
        raise InputError(f"expected an end after the beginning, got {begin:g} to {end:g} of {span.steps} steps")
    due = frozenset(first + (last - first) * (number + 1) // updates for number in range(updates))
    ends, way = (sparsity if start is None else start, sparsity), rising(rise, last - first)
    assert way is not None
    return _Admm(rule, how, ends, rho, growth, (first, last), due, tolerance, way)


@dataclass
class _Admm:
    """`state`: Z and U by weight, and under "" rho, both residuals, the step of the cut (-1 before it), how many layers
    the scheme would leave nothing of, and the step of the last update (-1 before the first)."""

    rule: Criterion
    how: str | Allocation
    ends: tuple[float, float]
    rho: float
    growth: float
    window: tuple[int, int]
    due: frozenset[int]
    tolerance: float
    rise: Factor
    state: dict[str, Tensor] = field(default_factory=dict)

    @property
    def sparsity(self) -> float:
        return self.ends[1]

    def penalty(self, module: nn.Module) -> Tensor | None:
        """rho/2 of the squared distance between W and Z - U; None before the first Z and after the cut."""
        if not self.state or self._cut_at >= 0:
            return None
        rho = float(self.state[""][0])
        terms = [
            (module.get_parameter(name) - self.state[f"Z/{name}"] + self.state[f"U/{name}"]).square().sum()
            for name in self._names
        ]
        return 0.5 * rho * torch.stack(terms).sum()

    @torch.no_grad()
    def after(self, module: nn.Module, step: int) -> Mapping[str, Tensor] | None:
        first, last = self.window
        if step < first or self._cut_at >= 0:
            return None
        if not self.state:
            self._start(module)
        if step not in self.due and step != last:
            return None
        start, end = self.ends
        sparsity = start + (end - start) * self.rise(step - first) if step < last else end
        primal, dual = self._update(module, sparsity)
        self.state[""][5] = step
        if step < last and (sparsity < end or max(primal, dual) > self.tolerance):
            return None
        masks, spared = kept_at(module, {}, self.rule, self.how, end)
        self.state[""][3:5] = torch.tensor([step, len(spared)])
        warn(spared, end)
        return masks

    def settled(self, step: int) -> bool:
        return step >= self.window[1] or 0 <= self._cut_at <= step

    def measures(self, since: int) -> Mapping[str, float]:
        """Residuals of the last update, if there was one, and the layers the scheme would leave nothing of, if any."""
        if not self.state:
            return {}
        _, primal, dual, _, spared, updated = self.state[""].tolist()
        residuals = {"primal_residual": primal, "dual_residual": dual} if updated >= since else {}
        return {**residuals, **({"layers_spared": spared} if spared else {})}

    @property
    def _names(self) -> list[str]:
        return [key.removeprefix("Z/") for key in self.state if key.startswith("Z/")]

    @property
    def _cut_at(self) -> float:
        return float(self.state[""][3]) if self.state else -1.0

    def _start(self, module: nn.Module) -> None:
        refuse_denser(module, self.sparsity)
        weights = {name: module.get_parameter(name).detach() for name in cuttable(module)}
        masks, spared = kept_at(module, {}, self.rule, self.how, self.ends[0])
        self.state |= {f"Z/{name}": weight * masks[name] for name, weight in weights.items()}
        self.state |= {f"U/{name}": torch.zeros_like(weight) for name, weight in weights.items()}
        self.state[""] = torch.tensor([self.rho, 1.0, 1.0, -1.0, len(spared), -1.0], dtype=torch.float64)

    def _update(self, module: nn.Module, sparsity: float) -> tuple[float, float]:
        """New Z and U; the residuals, each as a share of what it is a residual of."""
        weights = {name: module.get_parameter(name).detach() for name in self._names}
        points = {name: weight + self.state[f"U/{name}"] for name, weight in weights.items()}
        masks, spared = kept_at(module, points, self.rule, self.how, sparsity)
        apart, moved, whole, kept = 0.0, 0.0, 0.0, 0.0
        for name, weight in weights.items():
            old, new = self.state[f"Z/{name}"], points[name] * masks[name]
            apart += float((weight - new).square().sum())
            moved += float((new - old).square().sum())
            whole += float(weight.square().sum())
            kept += float(new.square().sum())
            self.state[f"Z/{name}"] = new
            self.state[f"U/{name}"] = (points[name] - new) / self.growth
        primal, dual = (apart / max(whole, 1e-30)) ** 0.5, (moved / max(kept, 1e-30)) ** 0.5
        self.state[""][:3] = torch.tensor([float(self.state[""][0]) * self.growth, primal, dual])
        self.state[""][4] = len(spared)
        return primal, dual
