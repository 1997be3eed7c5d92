"""C&W (Carlini and Wagner 2017, "Towards evaluating the robustness of neural networks", section VI; L2 and L-inf)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from bantamweight.attacks._boundaries import like, only
from bantamweight.attacks._core import Attack, Rows, State
from bantamweight.attacks._objectives import negative_margin
from bantamweight.errors import InputError
from bantamweight.oracle import Answer, Query, margin
from bantamweight.threats import Norm, Threat
from bantamweight.threats._core import per_row
from bantamweight.types import Bool, Float, Images, Int64, Tensor

__all__ = ["cw"]

WIDTH = 1.02
"""How wide a span of the tanh is laid over the box: black and white lie where its slope is 4% of grey's, not 0."""
EDGE = math.atanh(1.0 / WIDTH)

FIRST, SECOND = 0.9, 0.999
"""Adam's decay of the mean gradient and of its square (Kingma and Ba 2015)."""

NONE = 1e10
"""Stands for a constant that never succeeded, as in the authors' code."""

Budget = Float[Tensor, " b"]
Mask = Bool[Tensor, " b"]


@dataclass(frozen=True)
class _Variant:
    """What differs between the norms.

    `cost` is the distance term and its slope; `checks` says at which steps the least loss so far is noted and `early`,
    which knows the one noted last, whether the round is over; `turn` prepares the next round and `over` says that there
    is none.
    """

    rate: float
    const: float
    rounds: int
    cost: Callable[[Images, State], tuple[Budget, Images]]
    checks: Callable[[Int64[Tensor, " b"]], Mask]
    early: Callable[[State, Budget], Mask]
    turn: Callable[[State], State]
    over: Callable[[State], Mask]


def cw(
    threat: Threat,
    *,
    steps: int = 1000,
    rate: float | None = None,
    const: float | None = None,
    rounds: int = 9,
    shrink: float = 0.9,
    kappa: float = 0.0,
) -> Attack:
    """Adam on distance + const x hinge of the logit margin, in a variable that cannot leave the box.

    Choose it where thoroughness matters more than time; run it until "converged". L2: `rounds` rounds of at most
    `steps` steps (10,000 in the authors' code), a bisection over the constant, from `const` = .001; a round ends when
    a fifth of it brought nothing. L-inf: the distance is what exceeds a threshold, which falls by `shrink` at each
    success, while the constant, from 1e-5, doubles at each failure. Every row has its own constant, Adam and end.
    `rate` is Adam's, .01 for L2 and .005 for L-inf; `kappa` the margin in logits that an adversarial point must have.
    Costs up to rounds x steps forwards and backwards, L-inf 75 x steps. Raises InputError for other norms.
    """
    only("cw", threat, "l2", "linf")
    if steps < 1 or rounds < 1 or not 0.0 < shrink < 1.0 or kappa < 0.0:
        raise InputError(
            "expected steps and rounds of at least 1, shrink between 0 and 1 and kappa >= 0, "
            f"got steps={steps}, rounds={rounds}, shrink={shrink:g}, kappa={kappa:g}"
        )
    variant = {"l2": _l2, "linf": _linf}[threat.norm.name](steps, rounds, shrink)
    rate = variant.rate if rate is None else rate
    const = variant.const if const is None else const
    if not rate > 0.0 or not const > 0.0:
        raise InputError(f"expected rate and const above 0, got rate={rate:g}, const={const:g}")
    return _rounds(threat.norm, variant, steps, rate, const, kappa)


def _l2(steps: int, rounds: int, shrink: float) -> _Variant:  # noqa: ARG001 (the norms' common signature)
    """Squared distance; the constant is bisected between the largest that failed and the smallest that succeeded."""

    def cost(delta: Images, state: State) -> tuple[Budget, Images]:  # noqa: ARG001
        return delta.square().flatten(1).sum(dim=1), 2.0 * delta

    def checks(at: Int64[Tensor, " b"]) -> Mask:
        return at % max(steps // 5, 1) == 0

    def early(state: State, loss: Budget) -> Mask:  # noqa: ARG001
        # The authors compare the loss itself every tenth, and all of a batch must have stopped; one row's swings up and
        # down around its least, and rests for longer than a tenth.
        return checks(state["at"]) & (state["least"] > 0.9999 * state["noted"])

    def turn(state: State) -> State:
        const, hit = state["const"], state["hit"]
        final = (state["round"] == rounds - 2) if rounds >= 10 else torch.zeros_like(hit)
        low = torch.where(hit, state["low"], torch.maximum(state["low"], const))
        high = torch.where(hit, torch.minimum(state["high"], const), state["high"])
        tried = torch.where(high < NONE, (low + high) / 2.0, const * 10.0)
        # Ten rounds or more end with the smallest constant that ever succeeded, as in the authors' code.
        tried = torch.where(final, high, tried)
        again = {"variable": state["rest"], "best": torch.full_like(low, torch.inf)}
        return {"low": low, "high": high, "const": tried, **again}

    def over(state: State) -> Mask:
        return state["round"] >= rounds

    return _Variant(0.01, 0.001, rounds, cost, checks, early, turn, over)


def _linf(steps: int, rounds: int, shrink: float) -> _Variant:  # noqa: ARG001
    """The sum of what exceeds a threshold; each round goes on from where the one before it stopped."""
    finest, largest, first = 1.0 / 256.0, 20.0, 1e-5
    most = math.ceil(math.log(finest) / math.log(shrink)) + math.ceil(math.log2(largest / first)) + 1

    def cost(delta: Images, state: State) -> tuple[Budget, Images]:
        over = (delta.abs() - per_row(state["threshold"])).clamp_min(0.0)
        return over.flatten(1).sum(dim=1), torch.where(over > 0.0, delta.sign(), 0.0)

    def early(state: State, loss: Budget) -> Mask:
        return loss < 0.0001 * state["const"]

    def turn(state: State) -> State:
        hit = state["hit"]
        reached = shrink * torch.minimum(state["threshold"], state["best"])
        return {
            "threshold": torch.where(hit, reached, state["threshold"]),
            "const": torch.where(hit, state["const"], 2.0 * state["const"]),
        }

    def over(state: State) -> Mask:
        return (state["threshold"] <= finest) | (state["const"] >= largest)

    return _Variant(0.005, first, most, cost, lambda at: at < 0, early, turn, over)


def _outward(variable: Images) -> Images:
    """The pixels of a variable; in float64, whose last bit, which may depend on the batch, is then rounded away."""
    return (0.5 + 0.5 * WIDTH * torch.tanh(variable.double())).float().clamp(0.0, 1.0)


def _inward(images: Images) -> Images:
    return torch.atanh((2.0 * images.double() - 1.0) / WIDTH).float()


def _rounds(norm: Norm, variant: _Variant, steps: int, rate: float, const: float, kappa: float) -> Attack:
    """Rounds of Adam, each with the constant that the one before it calls for."""

    def init(rows: Rows) -> State:
        rest, none, zero = _inward(rows.images), torch.zeros_like(rows.images), torch.zeros_like(rows.eps)
        images = {"points": rows.images, "rest": rest, "variable": rest, "mean": none, "square": none}
        numbers = {"low": zero, "high": zero + NONE, "const": zero + const, "threshold": zero + 1.0}
        begun = {"best": zero + torch.inf, "least": zero + torch.inf, "noted": zero + torch.inf, "hit": zero > 0.0}
        counts = {"at": torch.zeros_like(rows.step), "round": torch.zeros_like(rows.step)}
        return {key: leaf.clone() for key, leaf in (images | numbers | begun | counts).items()}

    def ask(rows: Rows, state: State) -> Query:  # noqa: ARG001
        return Query(state["points"], "gradient", negative_margin)

    def tell(rows: Rows, state: State, answer: Answer) -> State:
        assert answer.logits is not None
        assert answer.gradient is not None
        gap = margin(answer.logits, rows.labels, rows.targets) + kappa
        delta = state["points"] - rows.images
        cost, slope = variant.cost(delta, state)
        loss = cost + state["const"] * gap.clamp_min(0.0)
        size = norm.size(delta)
        closer = (gap < 0.0) & (size < state["best"])
        # The objective rises where the margin falls.
        stepped = _adam(state, slope - per_row(state["const"] * (gap > 0.0)) * answer.gradient, rate)
        least = torch.minimum(state["least"], loss)
        noted = torch.where(variant.checks(state["at"]), least, state["noted"])
        now = {**state, **stepped, "least": least, "noted": noted, "hit": state["hit"] | closer, "at": state["at"] + 1}
        now["best"] = torch.where(closer, size, state["best"])
        ended = variant.early({**state, "least": least}, loss) | (now["at"] >= steps)
        told = _chosen(ended, {**now, **_fresh(now), **variant.turn(now)}, now)
        return {**told, "points": _outward(told["variable"])}

    def stop(rows: Rows, state: State) -> Mask:  # noqa: ARG001
        return variant.over(state)

    return Attack("cw", variant.rounds * steps, init, ask, tell, stop=stop, confidence=kappa, exact=True)


def _fresh(state: State) -> State:
    """What every round begins with."""
    none, start = torch.zeros_like(state["mean"]), torch.zeros_like(state["at"])
    later = {"round": state["round"] + 1, "at": start, "hit": torch.zeros_like(state["hit"])}
    unknown = torch.full_like(state["least"], torch.inf)
    return later | {"mean": none, "square": none, "least": unknown, "noted": unknown}


def _chosen(mask: Mask, new: State, old: State) -> State:
    return {key: torch.where(like(mask, leaf), new[key], leaf) for key, leaf in old.items()}


def _adam(state: State, slope: Images, rate: float) -> State:
    """One step of Adam on the variable, kept where the pixels are in the box."""
    pixels = (2.0 * state["points"] - 1.0) / WIDTH
    gradient = slope * (0.5 * WIDTH * (1.0 - pixels * pixels))
    mean = FIRST * state["mean"] + (1.0 - FIRST) * gradient
    square = SECOND * state["square"] + (1.0 - SECOND) * gradient * gradient
    count = (state["at"] + 1).double()
    # A grey pixel moves as far as in a variable whose span is just the box, for which the rate was published.
    scale = (rate / WIDTH / (1.0 - FIRST**count)).float()
    root = (1.0 - SECOND**count).sqrt().float()
    moved = state["variable"] - per_row(scale) * mean / (square.sqrt() / per_row(root) + 1e-8)
    return {"variable": moved.clamp(-EDGE, EDGE), "mean": mean, "square": square}
