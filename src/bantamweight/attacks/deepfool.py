"""DeepFool (Moosavi-Dezfooli, Fawzi and Frossard 2016, "A simple and accurate method to fool deep neural networks")."""

from __future__ import annotations

import torch

from bantamweight.attacks._boundaries import contenders, nearest, only
from bantamweight.attacks._core import Attack, Rows, State
from bantamweight.errors import InputError
from bantamweight.oracle import Answer, Query, margin
from bantamweight.threats import Threat
from bantamweight.types import Bool, Tensor

__all__ = ["deepfool"]

BEYOND = 1e-4
"""How far past the boundary each step aims, as in the authors' code: a step to a boundary that is all but reached would
be next to none, and overshooting it by a share of itself no help."""


def deepfool(threat: Threat, *, steps: int = 50, overshoot: float = 0.02, classes: int = 10) -> Attack:
    """Walk to the nearest boundary of the linearised model until the class changes (algorithm 2).

    Choose it for a quick estimate of L2 or L-inf distances: a few steps suffice; run it until "converged". The box
    counts: where a pixel is black or white already, the others carry its share. `classes` are the likeliest ones
    looked at, the label included (10 in the authors' code). Every step aims 1e-4 past the boundary, and the point
    asked about lies `overshoot` further than that, as a share of the way from the image. Costs up to `steps` + 1
    forwards and `classes` times as many backwards. Raises InputError for other norms.
    """
    norm, choose = only("deepfool", threat, "l2", "linf"), contenders(classes)
    if steps < 1 or overshoot < 0.0 or classes < 2:
        raise InputError(
            "expected steps >= 1, overshoot >= 0 and at least 2 classes, "
            f"got steps={steps}, overshoot={overshoot:g}, classes={classes}"
        )

    def init(rows: Rows) -> State:
        still = torch.zeros_like(rows.images)
        return {
            "points": rows.images.clone(),
            "moved": still,
            "broken": torch.zeros_like(rows.labels, dtype=torch.bool),
        }

    def ask(rows: Rows, state: State) -> Query:
        return Query(state["points"], "jacobian", rows=rows.step < steps, classes=choose)

    def tell(rows: Rows, state: State, answer: Answer) -> State:
        if answer.jacobian is None:
            return state
        assert answer.logits is not None
        points = state["points"]
        value, normal = nearest(norm, rows, answer, choose)
        farther = value + torch.where(value > 0, BEYOND, -BEYOND) * norm.dual(normal)
        moved = state["moved"] + (norm.hyperplane(points, normal, farther) - points)
        # The overshoot counts from the image, as in the authors' code: each point lies past what has been seen so far.
        onward = (rows.images + (1.0 + overshoot) * moved).clamp(0.0, 1.0)
        broken = margin(answer.logits, rows.labels, rows.targets) < 0
        return {"points": onward, "moved": moved, "broken": broken}

    def stop(rows: Rows, state: State) -> Bool[Tensor, " b"]:  # noqa: ARG001
        return state["broken"]

    return Attack("deepfool", steps + 1, init, ask, tell, stop=stop, exact=True)
