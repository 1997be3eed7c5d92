"""FAB (Croce and Hein 2020, "Minimally distorted adversarial examples with a fast adaptive boundary attack").

`fab_t` is the targeted form of "Reliable evaluation of adversarial robustness" (Croce and Hein 2020, section 4), as
AutoAttack runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from bantamweight.attacks._boundaries import contenders, nearest, only
from bantamweight.attacks._core import Attack, Rows, State
from bantamweight.attacks._objectives import chosen, negative_margin
from bantamweight.attacks._parts import any_row, likeliest, select
from bantamweight.errors import InputError
from bantamweight.oracle import Answer, Query, margin
from bantamweight.threats import Norm, Threat
from bantamweight.threats._core import per_row, total
from bantamweight.types import Bool, Float, Images, Int64, Labels, Logits, Tensor

__all__ = ["fab", "fab_t"]

RADIUS = {"linf": 0.3, "l2": 1.0, "l1": 5.0}
"""The ball of random starts where the threat's budget has no end (the reference's defaults)."""

View = tuple[Float[Tensor, " b"], Images]
"""A boundary as seen from a point: the value and the gradient of a function that is zero on it."""


@dataclass(frozen=True)
class _Pace:
    """The settings of the walk, by the paper's names."""

    steps: int
    alpha_max: float
    eta: float
    beta: float
    search: int


def fab(
    threat: Threat,
    *,
    steps: int = 100,
    alpha_max: float = 0.1,
    eta: float = 1.05,
    beta: float = 0.9,
    restarts: int = 1,
    search: int = 3,
    classes: int = 10,
) -> Attack:
    """Project image and point onto the nearest boundary of the linearised model, and go between the two projections.

    Choose it for distances in L-inf, L2 or L1 where gradients may be badly scaled: it has no step size; run it until
    "converged". Past the boundary a point goes back to `beta` of its perturbation. Further `restarts` begin at random
    points, up to half the budget away. `search` secant steps between image and best point end each run. `classes` are
    the likeliest ones looked at, the label included. Costs 2 x steps forwards and steps x classes backwards per run.
    Raises InputError for L0.
    """
    _check("fab", threat, _Pace(steps, alpha_max, eta, beta, search), restarts, classes)
    choose = contenders(classes)

    def ask(rows: Rows, points: Images, needed: Bool[Tensor, " b"]) -> Query:  # noqa: ARG001
        return Query(points, "jacobian", rows=needed, classes=choose)

    def see(rows: Rows, answer: Answer) -> View | None:
        return None if answer.jacobian is None else nearest(threat.norm, rows, answer, choose)

    pace = _Pace(steps, alpha_max, eta, beta, search)
    return _walk("fab", threat, pace, ask, see, lanes=restarts, starts=restarts)


def fab_t(
    threat: Threat,
    *,
    steps: int = 100,
    alpha_max: float = 0.1,
    eta: float = 1.05,
    beta: float = 0.9,
    restarts: int = 1,
    search: int = 3,
    targets: int = 9,
) -> Attack:
    """FAB towards each of the `targets` likeliest other classes in turn, one backward a step instead of one per class.

    Choose it over `fab` for many classes, and in place of it in a cascade. Any wrong class is a success, unless the
    run has targets of its own. Costs 2 x steps forwards and steps backwards per target and restart. Raises InputError
    for L0.
    """
    _check("fab_t", threat, _Pace(steps, alpha_max, eta, beta, search), restarts, targets + 1)

    def objective(rows: Rows) -> Callable[[Logits, Labels, Labels], Float[Tensor, " b"]]:
        wanted = rows.targets >= 0
        return chosen(wanted.long(), _lead, negative_margin) if any_row(wanted) else _lead

    def ask(rows: Rows, points: Images, needed: Bool[Tensor, " b"]) -> Query:
        return Query(points, "gradient", objective(rows), needed)

    def see(rows: Rows, answer: Answer) -> View | None:
        if answer.gradient is None:
            return None
        assert answer.logits is not None
        return objective(rows)(answer.logits, rows.labels, rows.aims), answer.gradient

    def aim(logits: Logits, labels: Labels) -> Int64[Tensor, "b lanes"]:
        return likeliest(targets)(logits, labels).repeat_interleave(restarts, dim=1)

    pace = _Pace(steps, alpha_max, eta, beta, search)
    return _walk("fab_t", threat, pace, ask, see, lanes=targets * restarts, starts=restarts, aim=aim)


def _lead(logits: Logits, labels: Labels, targets: Labels) -> Float[Tensor, " b"]:
    """The target's logit above the label's, whoever else leads: the one boundary that a lane of `fab_t` goes for."""
    ahead = logits.gather(1, targets.clamp_min(0)[:, None]) - logits.gather(1, labels[:, None])
    return ahead[:, 0]


def _check(name: str, threat: Threat, pace: _Pace, restarts: int, classes: int) -> None:
    only(name, threat, "linf", "l2", "l1")
    if pace.steps < 1 or restarts < 1 or classes < 2 or pace.search < 0:
        raise InputError(
            "expected at least 1 step, 1 restart, 1 other class and search >= 0, "
            f"got steps={pace.steps}, restarts={restarts}, other classes={classes - 1}, search={pace.search}"
        )
    if not (0.0 <= pace.alpha_max <= 1.0 and pace.eta >= 1.0 and 0.0 < pace.beta <= 1.0):
        raise InputError(
            "expected alpha_max in [0, 1], eta >= 1 and beta in (0, 1], "
            f"got alpha_max={pace.alpha_max:g}, eta={pace.eta:g}, beta={pace.beta:g}"
        )


def _walk(
    name: str,
    threat: Threat,
    pace: _Pace,
    ask: Callable[[Rows, Images, Bool[Tensor, " b"]], Query],
    see: Callable[[Rows, Answer], View | None],
    *,
    lanes: int,
    starts: int,
    aim: Callable[[Logits, Labels], Int64[Tensor, "b lanes"]] | None = None,
) -> Attack:
    """Even queries look at a boundary, odd ones at the point that came of it; the last few are the final search."""
    norm, walked = threat.norm, 2 * pace.steps
    # As odd or even as the end of the search: gradients are taken of whole tiles, every second query if all rows agree.
    hopeless = walked + pace.search % 2

    def init(rows: Rows) -> State:
        radius = torch.where(rows.eps.isinf(), RADIUS[norm.name], rows.eps)
        drawn = norm.sample(rows.images, radius / 2.0, rows.keys, "start") if starts > 1 else rows.images
        begun = torch.where(per_row(rows.lane % starts > 0), drawn, rows.images)
        unknown = torch.full_like(rows.eps, torch.inf)
        ends = {"near": rows.images.clone(), "near_gap": unknown, "best": rows.images.clone(), "best_gap": -unknown}
        return {"points": begun, "best_size": unknown.clone(), **ends}

    def look(rows: Rows, state: State) -> Query:
        return ask(rows, state["points"], (rows.step < walked) & (rows.step % 2 == 0))

    def tell(rows: Rows, state: State, answer: Answer) -> State:
        assert answer.logits is not None
        gap = margin(answer.logits, rows.labels, rows.targets)
        clean = (rows.step == 0) & (rows.lane % starts == 0)
        ends = _ends(norm, rows.images, state, gap, clean | (rows.step >= walked))
        view, points, even = see(rows, answer), state["points"], rows.step % 2 == 0
        back = ~even & (gap < 0)
        walk = select(back, torch.lerp(rows.images, points, pace.beta), points) if any_row(back) else points
        if view is not None and any_row(even):
            walk = select(even, _onward(norm, pace, rows.images, points, *view), walk)
        last = rows.step >= walked - 1
        return {**ends, "points": select(last, _between(ends), walk) if any_row(last) else walk}

    def stop(rows: Rows, state: State) -> Bool[Tensor, " b"]:
        return (rows.step >= hopeless) & state["best_size"].isinf()

    queries = walked + pace.search
    return Attack(name, queries, init, look, tell, lanes=lanes, starts=starts, aim=aim, stop=stop, exact=True)


def _onward(norm: Norm, pace: _Pace, images: Images, points: Images, value: Tensor, normal: Images) -> Images:
    """Equation 7: past the projections of point and image onto the boundary, the nearer of the two weighing more."""
    ahead = norm.hyperplane(points, normal, value).sub_(points)
    at_image = value + total(normal * (images - points))
    aside = norm.hyperplane(images, normal, at_image).sub_(images)
    first, second = (norm.size(way).clamp_min(1e-8) for way in (ahead, aside))
    alpha = per_row((first / (first + second)).clamp_max(pace.alpha_max))
    ahead, aside = ahead.mul_(pace.eta).add_(points), aside.mul_(pace.eta).add_(images)
    return torch.lerp(ahead, aside, alpha).clamp_(0.0, 1.0)


def _ends(norm: Norm, images: Images, state: State, gap: Tensor, below: Tensor) -> State:
    """The smallest adversarial point so far and, for rows that are at one, the point on the near side."""
    points = state["points"]
    size = norm.size(points - images)
    better, nearer = (gap < 0) & (size < state["best_size"]), ~(gap < 0) & below
    return {
        "best": select(better, points, state["best"]) if any_row(better) else state["best"],
        "best_gap": torch.where(better, gap, state["best_gap"]),
        "best_size": torch.where(better, size, state["best_size"]),
        "near": select(nearer, points, state["near"]) if any_row(nearer) else state["near"],
        "near_gap": torch.where(nearer, gap, state["near_gap"]),
    }


def _between(ends: State) -> Images:
    """Where the margin would be zero between the two ends if it were linear; halfway where one is not known.

    A little farther, that is: a point right on the boundary is no success, and the next would be there again.
    """
    share = ends["near_gap"] / (ends["near_gap"] - ends["best_gap"])
    share = torch.where((share > 0.0) & (share < 1.0), share + 0.02 * (1.0 - share), 0.5)
    return (ends["near"] + per_row(share) * (ends["best"] - ends["near"])).clamp(0.0, 1.0)
