"""The only caller of an attacked model.

An oracle is a *proposer* that gives gradients (a fast form of the model: batch norm folded, channels-last, bfloat16;
or a surrogate) and a *judge* that decides (float32). An access level says what an attack may see; asking for more
raises. Every answer says what it cost.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from bantamweight.errors import AccessError, InputError
from bantamweight.machine import device_of
from bantamweight.predict import LARGER, SMALLER, TILE, agreeing, agrees, logits_of, pad, volume
from bantamweight.types import Bool, Float, Images, Int64, Labels, Logits

__all__ = [
    "Access",
    "Answer",
    "Classes",
    "Ledger",
    "Objective",
    "Oracle",
    "Query",
    "fooled",
    "margin",
    "oracle",
    "reached",
]

Access = Literal["white", "score", "decision", "transfer"]
Precision = Literal["fp32", "bf16"]
Want = Literal["gradient", "jacobian", "scores", "label", "nothing"]

Objective = Callable[[Logits, Labels, Labels], Float[Tensor, " b"]]
"""What an attack raises, one number per row, from logits, labels and targets (-1: none)."""

Classes = Callable[[Logits, Labels, Labels], Int64[Tensor, "b j"]]
"""Which classes' gradients a Jacobian has, from logits, labels and targets (-1: none)."""

LIGHT_BYTES = 128 << 20
"""What a forward of the largest tile may write; the residual nets of the zoo write ten times as much."""

_LEVEL: dict[str, int] = {"nothing": 0, "label": 1, "scores": 2, "gradient": 3, "jacobian": 3}
_ALLOWS: dict[str, int] = {"transfer": 0, "decision": 1, "score": 2, "white": 3}


@dataclass(frozen=True)
class Query:
    """Points to look at and what to see there.

    `rows` says which rows need the gradient of the objective (all, when None); a Jacobian has the gradients of the
    logits of the `classes` of each row, which may be chosen by a function of the logits at those very points. The
    answer is the mean over `samples` looks at the points, for models that draw random numbers; each look costs.
    """

    points: Images
    want: Want = "scores"
    objective: Objective | None = None
    rows: Bool[Tensor, " b"] | None = None
    classes: Int64[Tensor, "b j"] | Classes | None = None
    samples: int = 1


@dataclass(frozen=True)
class Answer:
    """What the oracle shows: the label always, logits and gradients as far as they were asked for."""

    label: Labels
    logits: Logits | None
    gradient: Images | None
    forwards: Int64[Tensor, " b"]
    backwards: Int64[Tensor, " b"]
    jacobian: Float[Tensor, "b j c h w"] | None = None


@dataclass
class Ledger:
    """Everything that was computed, waste included: `padding` rows filled up tiles and served nobody, `probed` rows
    were looked at to find the tiles that agree."""

    forwards: int = 0
    backwards: int = 0
    judged: int = 0
    padding: int = 0
    probed: int = 0
    _pending: list[tuple[Tensor, int]] = field(default_factory=list, repr=False)

    def ask(self, alive: Bool[Tensor, " b"], backwards: int) -> None:
        """Count one query over a tile; where counting would make the host wait for the device, it is put off."""
        self._pending.append((alive, backwards))
        if alive.device.type == "cpu":
            self.close()

    def add(self, other: Ledger) -> None:
        """Count what another ledger has counted, too."""
        for name in ("forwards", "backwards", "judged", "padding", "probed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def close(self) -> None:
        """Count what was put off."""
        for alive, backwards in self._pending:
            asked = int(alive.sum())
            self.forwards += asked
            self.backwards += asked * backwards
            self.padding += len(alive) - asked
        self._pending.clear()


def reached(answer: Labels, labels: Labels, targets: Labels) -> Bool[Tensor, " b"]:
    """Which rows are answered with the target or, where there is none (-1), not with the label."""
    return torch.where(targets >= 0, answer == targets, answer != labels)


def fooled(logits: Logits, labels: Labels, targets: Labels, confidence: float = 0.0) -> Bool[Tensor, " b"]:
    """Which rows are a success, judged by their logits.

    The answer is the first of the largest logits, as for `right` before an attack: a net whose logits tie, because
    they are of few bits, must not be right by one rule and unbroken by another. NaN is no success. `confidence` is the
    margin by which the row must be beyond the boundary besides.
    """
    success = reached(logits.argmax(dim=1), labels, targets) & ~logits.isnan().any(dim=1)
    return success if confidence == 0.0 else success & (margin(logits, labels, targets) < -confidence)


def margin(logits: Logits, labels: Labels, targets: Labels) -> Float[Tensor, " b"]:
    """How far each row is from success; below zero it is one, at zero `fooled` decides, and NaN is none.

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
    logit: the proposer computes in another precision than the judge. `tiles` and `agreed` remember the batch sizes at
    which judge and proposer were seen to give the same bits as in a full tile, so that few rows need not cost one.
    `scorers` are the proposer's fused forms, which answer where no gradient is asked for; `fuse` says whether to.
    `grey` says that the proposer is another model than the judge: then scores and labels are the judge's own, whose
    faults an attack without gradients would otherwise never meet.
    """

    judged: nn.Module
    proposer: nn.Module
    access: Access = "white"
    precision: Precision = "fp32"
    channels_last: bool = True
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    ledger: Ledger = field(default_factory=Ledger)
    tiles: dict[str, tuple[int, ...]] = field(default_factory=dict)
    agreed: dict[tuple[str, int], bool] = field(default_factory=dict, repr=False)
    fuse: bool = True
    grey: bool = False
    scorers: dict[str, nn.Module | None] = field(default_factory=dict, repr=False)

    @property
    def slack(self) -> float:
        """Two bfloat16 ulps of the largest logit, or float32 rounding of a folded network."""
        return 2.0**-6 if self.precision == "bf16" else 1e-5

    def judge(self, images: Images) -> Logits:
        """Float32 logits of the model that is judged, on the images' device; bitwise independent of the batch."""
        here = images.to(self.device)
        if len(images) and "judge" not in self.tiles:
            with torch.no_grad():
                self._refuse(here[:8])
                # The smallest alone: the judge sees a few rows at a time, or many.
                self.tiles["judge"] = agreeing(self._probed, here, SMALLER[:1])
        self.ledger.judged += len(images)
        return logits_of(self.judged, here, sizes=self.tiles.get("judge", (TILE,))).to(images.device)

    def _probed(self, images: Images) -> Logits:
        self.ledger.probed += len(images)
        logits: Logits = self.judged(images)
        return logits

    def _refuse(self, images: Images) -> None:
        """Raise InputError where nobody could attack: no gradients, a model that answers no logits, or one that writes
        into what it is given (the images would not be the caller's any longer, nor the points those that are stored).
        """
        if torch.is_inference_mode_enabled():
            raise InputError("torch.inference_mode() leaves no gradients to attack with; attack outside it")
        given = images.clone()
        written, said = given._version, self._probed(given)
        if not isinstance(said, Tensor) or said.ndim != 2:
            found = f"shape {tuple(said.shape)}" if isinstance(said, Tensor) else type(said).__name__
            raise InputError(
                f"expected a model that answers logits, a row per image and a column per class, got {found}"
            )
        if given._version != written:
            raise InputError(
                "the model writes into the images it is given; clone them in its forward, or say inplace=False in its "
                "first layer"
            )

    def fit(self, images: Images, rows: int) -> int:
        """The smallest batch that holds so many rows, else the largest there is; more than a tile for light nets only.

        A size is tried on these images before it is used for the first time, and a smaller one than a tile no sooner
        than as many rows as that costs have filled up tiles: most attacks end before it would pay.
        """
        if rows == TILE:
            return TILE
        sizes = [*SMALLER, TILE, *(LARGER if rows > TILE and self.light(images) else ())]
        ample, scant = [size for size in sizes if size >= rows], [size for size in reversed(sizes) if size < rows]
        return next(size for size in [*ample, *scant] if size == TILE or self._agrees(images, size))

    def _agrees(self, images: Images, size: int) -> bool:
        seen = {"white": "gradients", "decision": "labels"}.get(self.access, "scores") + self.precision
        if (seen, size) not in self.agreed:
            self.ledger.close()
            if size < TILE and self.ledger.padding < TILE + 3 * size:
                return False
            probe = self.steepness if self.access == "white" else self._scores
            self.agreed[seen, size] = agrees(probe, images.to(self.device), size)
        return self.agreed[seen, size]

    def light(self, images: Images) -> bool:
        """Whether the net is so small, on a processor, that a call costs more than its rows; looked up once.

        The largest tile then fits into memory that every machine can spare. A net that draws random numbers is never
        light: what it draws depends on the order of the calls.
        """
        return self.device.type == "cpu" and self._look_over(images)[0] * LARGER[-1] <= LIGHT_BYTES

    def _look_over(self, images: Images) -> tuple[int, ...]:
        """Bytes that a forward writes per image, and 1 if it draws random numbers; such a net counts as a large one."""
        if "volume" not in self.tiles:
            self.ledger.probed += 8
            before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
            size = volume(self.proposer, images.to(self.device))
            same = torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]
            draws = not same or str(np.random.get_state()) != before[2]  # noqa: NPY002
            torch.set_rng_state(before[0])
            random.setstate(before[1])
            self.tiles["volume"] = (LIGHT_BYTES if draws else size, int(draws))
        return self.tiles["volume"]

    def steepness(self, images: Images) -> Images:
        """Gradients of the margin between each image's two best classes: any objective sends these bits through."""
        self.ledger.probed += 2 * len(images)
        none = torch.full((len(images),), -1, device=images.device)
        labels = self._forward(images).argmax(dim=1)
        return self._gradient(Query(images, "gradient", margin), labels, none)[1]

    def _scores(self, images: Images) -> Logits:
        self.ledger.probed += len(images)
        return self._forward(images)

    def limited(self, access: Access, *, exact: bool = False) -> Oracle:
        """The same oracle, ledger and all, for an attack that may see no more than `access`, in float32 if `exact`."""
        level = min(self.access, access, key=lambda level: _ALLOWS[level])
        return replace(self, access=level, precision="fp32" if exact else self.precision)

    def ask(self, query: Query, labels: Labels, aims: Labels, alive: Bool[Tensor, " b"]) -> Answer:
        """Answer one query over a whole tile; rows that are not alive are padding and cost nobody anything.

        `aims` are the classes that the objective moves towards, -1 where it moves away from the label.
        """
        if _LEVEL[query.want] > _ALLOWS[self.access]:
            raise AccessError(f"an attack with {self.access} access asked for {query.want}; it may not see that")
        if query.want == "nothing":
            none = torch.zeros_like(alive).long()
            # As if every row had been answered as hoped: the judge alone decides.
            return Answer(label=aims, logits=None, gradient=None, forwards=none, backwards=none)
        needs = alive & (query.rows if query.rows is not None else torch.ones_like(alive))
        if query.want not in ("gradient", "jacobian"):
            needs = torch.zeros_like(alive)
        # Off the CPU nobody waits to hear whether any row needs it.
        plain = (self.device.type == "cpu" and not bool(needs.any())) or query.want in ("scores", "label")
        looks = [self._look(query, labels, aims, plain) for _ in range(query.samples)]
        logits, gradient, jacobian = (_mean(parts) for parts in zip(*looks, strict=True))
        assert logits is not None
        passes = 1 if jacobian is None else jacobian.shape[1]
        for _ in looks:
            self.ledger.ask(alive, passes if gradient is not None or jacobian is not None else 0)
        return Answer(
            label=logits.argmax(dim=1),
            logits=logits if query.want != "label" else None,
            gradient=gradient,
            forwards=alive.long() * query.samples,
            backwards=needs.long() * passes * query.samples,
            jacobian=jacobian,
        )

    def _look(
        self, query: Query, labels: Labels, aims: Labels, plain: bool
    ) -> tuple[Logits, Images | None, Float[Tensor, "b j c h w"] | None]:
        """One look at the points: logits, and a gradient or a Jacobian unless it is a plain one."""
        if plain and query.want in ("scores", "label"):
            return self._forward(query.points), None, None
        if plain:
            # Not the fused form, which differs in the last bits: whether a row's neighbours are done must not show.
            with torch.no_grad():
                return self._logits(self._points(query.points)), None, None
        if query.want == "jacobian":
            logits, jacobian = self._jacobian(query, labels, aims)
            return logits, None, jacobian
        return *self._gradient(query, labels, aims), None

    def _points(self, points: Images) -> Images:
        memory = torch.channels_last if self.channels_last else torch.contiguous_format
        return points.detach().to(self.device).contiguous(memory_format=memory)

    def _logits(self, points: Images) -> Logits:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.proposer(points).float()

    def _forward(self, points: Images) -> Logits:
        if self.access == "decision" or self.grey:
            # A label has no slack that could make up for another form's rounding: who sees nothing else sees the
            # judge's, or would walk along a boundary that is not there.
            with torch.no_grad():
                return self.judged(points.detach().to(self.device).contiguous()).float()
        scorer = self._scorer(points)
        with torch.no_grad():
            if scorer is not None:
                logits: Logits = scorer(points.detach().contiguous()).float()
                return logits
            return self._logits(self._points(points))

    def prepare(self, images: Images) -> None:
        """Make what is otherwise made when it is first asked for, of a few images; for a loop in several threads.

        A graph is traced by replacing the call of every module in the process, which no other thread may meet.
        """
        self._scorer(images[:TILE].to(self.device))

    def _scorer(self, points: Images) -> nn.Module | None:
        """The proposer's fused form, made from its graph when it is first asked for; None if it has none."""
        if not self.fuse or self.device.type != "cpu" or self.access == "decision" or self.grey:
            return None
        precision = self.precision
        if precision not in self.scorers:
            from bantamweight.models._fuse import fused

            # A graph would draw a net's random numbers once and for all.
            draws = self._look_over(points)[1] > 0
            self.ledger.probed += 0 if draws else 24
            self.scorers[precision] = None if draws else fused(self.proposer, points, precision)
        return self.scorers[precision]

    def _gradient(self, query: Query, labels: Labels, aims: Labels) -> tuple[Logits, Images]:
        if query.objective is None:
            raise InputError("a query for a gradient needs an objective; pass one of attacks/_objectives.py")
        points = self._points(query.points).requires_grad_(True)
        with torch.enable_grad():
            logits = self._logits(points)
            # Over a full tile, whatever the batch: exp and log differ in the last bit between a vector's lanes and
            # the scalar rest of a short row of numbers. A sum, so that a row's gradient is its own.
            wide = pad(torch.arange(len(logits), device=logits.device), (TILE, len(logits)))
            total = query.objective(logits[wide], labels[wide], aims[wide])[: len(logits)].sum()
            # A model that hides its gradient gives zeros here; the checks name it, the loop goes on.
            gradient = torch.autograd.grad(total, points, allow_unused=True)[0] if total.requires_grad else None
        return logits.detach(), torch.zeros_like(points) if gradient is None else gradient.contiguous()

    def _jacobian(self, query: Query, labels: Labels, aims: Labels) -> tuple[Logits, Float[Tensor, "b j c h w"]]:
        if query.classes is None:
            raise InputError("a query for a Jacobian needs the classes of each row")
        points = self._points(query.points).requires_grad_(True)
        with torch.enable_grad():
            logits = self._logits(points)
            chosen = query.classes(logits.detach(), labels, aims) if callable(query.classes) else query.classes
            gradients = [
                torch.autograd.grad(logits.gather(1, one[:, None]).sum(), points, retain_graph=True, allow_unused=True)
                for one in chosen.T
            ]
        columns = [torch.zeros_like(points) if column is None else column for (column,) in gradients]
        return logits.detach(), torch.stack([column.contiguous() for column in columns], dim=1)


def _mean(parts: Sequence[Tensor | None]) -> Tensor | None:
    """The mean of several looks; one look is returned as it is."""
    seen = [part for part in parts if part is not None]
    return None if not seen else seen[0] if len(seen) == 1 else torch.stack(seen).mean(dim=0)


def oracle(
    module: nn.Module,
    *,
    precision: Precision = "fp32",
    fold: bool = True,
    channels_last: bool = True,
    fuse: bool = True,
    access: Access = "white",
    surrogate: nn.Module | None = None,
    device: torch.device | str = "cpu",
) -> Oracle:
    """An oracle over copies of `module`, which is left as it is.

    `precision`, `fold`, `channels_last` and `fuse` make the proposer faster and touch no verdict: the judge stays the
    unchanged float32 model. `surrogate` gives gradients in its place, and nothing else (grey access). Raises InputError
    for a device that is not there.
    """
    home = device_of(device)
    judged = _frozen(module, home)
    source = module if surrogate is None else surrogate
    if fold:
        from bantamweight.models._fold import folded

        source = folded(source)
    proposer = _frozen(source, home)
    if channels_last:
        judged, proposer = (_channels_last(net) for net in (judged, proposer))
    return Oracle(judged, proposer, access, precision, channels_last, home, fuse=fuse, grey=surrogate is not None)


def _frozen(module: nn.Module, device: torch.device) -> nn.Module:
    return copy.deepcopy(module).to(device).eval().requires_grad_(False)


def _channels_last(module: nn.Module) -> nn.Module:
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
