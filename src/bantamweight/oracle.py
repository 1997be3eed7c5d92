"""The only caller of an attacked model.

An oracle is a *proposer* that gives gradients (a fast form of the model: batch norm folded, channels-last, bfloat16;
or a surrogate) and a *judge* that decides (float32). An access level says what an attack may see; asking for more
raises. Every answer says what it cost.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from bantamweight.errors import AccessError, InputError
from bantamweight.predict import TILE, agreeing, logits_of, pad
from bantamweight.types import Bool, Float, Images, Int64, Labels, Logits

__all__ = ["Access", "Answer", "Ledger", "Objective", "Oracle", "Query", "margin", "oracle"]

Access = Literal["white", "score", "decision", "transfer"]
Precision = Literal["fp32", "bf16"]
Want = Literal["gradient", "scores", "label"]

Objective = Callable[[Logits, Labels, Labels], Float[Tensor, " b"]]
"""What an attack raises, one number per row, from logits, labels and targets (-1: none)."""

_LEVEL: dict[str, int] = {"label": 1, "scores": 2, "gradient": 3}
_ALLOWS: dict[str, int] = {"transfer": 0, "decision": 1, "score": 2, "white": 3}


@dataclass(frozen=True)
class Query:
    """Points to look at and what to see there; `rows` says which rows need the gradient (all, when None)."""

    points: Images
    want: Want = "scores"
    objective: Objective | None = None
    rows: Bool[Tensor, " b"] | None = None


@dataclass(frozen=True)
class Answer:
    """What the oracle shows: the label always, logits and gradient as far as they were asked for."""

    label: Labels
    logits: Logits | None
    gradient: Images | None
    forwards: Int64[Tensor, " b"]
    backwards: Int64[Tensor, " b"]


@dataclass
class Ledger:
    """Everything that was computed, waste included: `padding` rows filled up tiles and served nobody, `probed` rows
    were looked at to find the tiles that agree."""

    forwards: int = 0
    backwards: int = 0
    judged: int = 0
    padding: int = 0
    probed: int = 0


def margin(logits: Logits, labels: Labels, targets: Labels) -> Float[Tensor, " b"]:
    """How far each row is from success; negative means success, NaN never does.

    Untargeted rows (target -1): the label's logit less the best other one. Targeted: the best other logit less the
    target's.
    """
    wanted = torch.where(targets >= 0, targets, labels)[:, None]
    own = logits.gather(1, wanted)[:, 0]
    best_other = logits.scatter(1, wanted, -torch.inf).amax(dim=1)
    difference = own - best_other
    return torch.where(targets >= 0, -difference, difference)


@dataclass(frozen=True)
class Oracle:
    """Answers an attack's queries and keeps the ledger.

    `slack` is how far above zero a proposer's margin still deserves the judge's look, as a share of the largest
    logit: the proposer computes in another precision than the judge. `tiles` remembers the batch sizes at which
    judge and proposer were seen to give the same bits as in a full tile, so that a few rows need not cost one.
    """

    judged: nn.Module
    proposer: nn.Module
    access: Access = "white"
    precision: Precision = "fp32"
    channels_last: bool = True
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    ledger: Ledger = field(default_factory=Ledger)
    tiles: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def slack(self) -> float:
        """Two bfloat16 ulps of the largest logit, or float32 rounding of a folded network."""
        return 2.0**-6 if self.precision == "bf16" else 1e-5

    def judge(self, images: Images) -> Logits:
        """Float32 logits of the model that is judged, on the images' device; bitwise independent of the batch."""
        here = images.to(self.device)
        if len(images) and "judge" not in self.tiles:
            with torch.no_grad():
                self.tiles["judge"] = agreeing(self.judged, here)
        self.ledger.judged += len(images)
        return logits_of(self.judged, here, sizes=self.tiles.get("judge", (TILE,))).to(images.device)

    def sizes(self, images: Images) -> tuple[int, ...]:
        """The batch sizes that queries may have; looked up once, on these images."""
        if "proposer" not in self.tiles:
            self.tiles["proposer"] = agreeing(self._steepness, images.to(self.device))
        return self.tiles["proposer"]

    def _steepness(self, images: Images) -> Images:
        """Gradients of the margin between each image's two best classes: any objective sends these bits through."""
        self.ledger.probed += 2 * len(images)
        none = torch.full((len(images),), -1, device=images.device)
        labels = self._forward(images).argmax(dim=1)
        return self._gradient(Query(images, "gradient", margin), labels, none)[1]

    def ask(self, query: Query, labels: Labels, targets: Labels, alive: Bool[Tensor, " b"]) -> Answer:
        """Answer one query over a whole tile; rows that are not alive are padding and cost nobody anything."""
        if _LEVEL[query.want] > _ALLOWS[self.access]:
            raise AccessError(f"an attack with {self.access} access asked for {query.want}; it may not see that")
        needs = alive & (query.rows if query.rows is not None else torch.ones_like(alive))
        if query.want != "gradient":
            needs = torch.zeros_like(alive)
        if bool(needs.any()):
            logits, gradient = self._gradient(query, labels, targets)
        else:
            logits, gradient = self._forward(query.points), None
        asked = int(alive.sum())
        self.ledger.forwards += asked
        self.ledger.backwards += asked if gradient is not None else 0
        self.ledger.padding += len(alive) - asked
        return Answer(
            label=logits.argmax(dim=1),
            logits=logits if query.want != "label" else None,
            gradient=gradient,
            forwards=alive.long(),
            backwards=needs.long(),
        )

    def _points(self, points: Images) -> Images:
        memory = torch.channels_last if self.channels_last else torch.contiguous_format
        return points.detach().to(self.device).contiguous(memory_format=memory)

    def _logits(self, points: Images) -> Logits:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.proposer(points).float()

    def _forward(self, points: Images) -> Logits:
        with torch.no_grad():
            return self._logits(self._points(points))

    def _gradient(self, query: Query, labels: Labels, targets: Labels) -> tuple[Logits, Images]:
        if query.objective is None:
            raise InputError("a query for a gradient needs an objective; pass one of attacks/_objectives.py")
        points = self._points(query.points).requires_grad_(True)
        with torch.enable_grad():
            logits = self._logits(points)
            # Over a full tile, whatever the batch: exp and log differ in the last bit between a vector's lanes and
            # the scalar rest of a short row of numbers. A sum, so that a row's gradient is its own.
            wide = pad(torch.arange(len(logits), device=logits.device), (TILE, len(logits)))
            total = query.objective(logits[wide], labels[wide], targets[wide])[: len(logits)].sum()
            # A model that hides its gradient gives zeros here; the checks name it, the loop goes on.
            gradient = torch.autograd.grad(total, points, allow_unused=True)[0] if total.requires_grad else None
        return logits.detach(), torch.zeros_like(points) if gradient is None else gradient.contiguous()


def oracle(
    module: nn.Module,
    *,
    precision: Precision = "fp32",
    fold: bool = True,
    channels_last: bool = True,
    access: Access = "white",
    surrogate: nn.Module | None = None,
    device: torch.device | str = "cpu",
) -> Oracle:
    """An oracle over copies of `module`, which is left as it is.

    `precision`, `fold` and `channels_last` make the proposer faster and touch no verdict: the judge stays the
    unchanged float32 model. `surrogate` gives gradients in its place (grey access).
    """
    home = torch.device(device)
    judged = _frozen(module, home)
    source = module if surrogate is None else surrogate
    if fold:
        from bantamweight.models._fold import folded

        source = folded(source)
    proposer = _frozen(source, home)
    if channels_last:
        judged, proposer = (_channels_last(net) for net in (judged, proposer))
    return Oracle(judged, proposer, access, precision, channels_last, home)


def _frozen(module: nn.Module, device: torch.device) -> nn.Module:
    return copy.deepcopy(module).to(device).eval().requires_grad_(False)


def _channels_last(module: nn.Module) -> nn.Module:
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
