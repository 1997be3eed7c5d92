"""Auto-PGD and its targeted form (Croce and Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble
of diverse parameter-free attacks", algorithm 1); for L1, Croce and Hein 2021, "Mind the box", algorithm 1."""

from __future__ import annotations

from typing import Literal

from bantamweight.attacks._auto import auto
from bantamweight.attacks._auto_rules import rule_of
from bantamweight.attacks._core import Attack, Rows
from bantamweight.attacks._objectives import OBJECTIVES, Name, chosen, dlr, to_aim
from bantamweight.attacks._parts import any_row, likeliest
from bantamweight.errors import InputError
from bantamweight.oracle import Objective
from bantamweight.threats import Threat

__all__ = ["apgd", "apgd_t"]


def apgd(
    threat: Threat,
    *,
    objective: Name = "ce",
    steps: int = 100,
    restarts: int = 1,
    start: Literal["clean", "random"] = "random",
    rho: float = 0.75,
    shrink: bool | None = None,
) -> Attack:
    """PGD that sets its own step: it halves it, and returns to the best point, where progress stalls.

    Choose it as the strong first-order attack without a step size to tune; `objective` is cross-entropy (`ce`), the
    difference of logits ratio (`dlr`), or a margin of logits or probabilities. L-inf, L2 and L1; L1 walks through
    balls of 3, 2 and 1 budgets unless `shrink` is false. Costs steps + 1 forwards and steps backwards per image and
    restart, 2 of each more where the ball shrinks. Raises InputError for L0 and for settings out of range.
    """
    return auto(
        "apgd",
        threat,
        rule_of(threat.norm, rho=rho, shrink=shrink),
        objective=lambda _: OBJECTIVES[objective],
        steps=steps,
        restarts=restarts,
        start=start,
        shrink=shrink,
    )


def apgd_t(
    threat: Threat,
    *,
    classes: int = 9,
    steps: int = 100,
    start: Literal["clean", "random"] = "random",
    rho: float = 0.75,
    shrink: bool | None = None,
) -> Attack:
    """Auto-PGD on the targeted DLR, once for each of the `classes` likeliest other classes; any class is a success.

    Choose it where an untargeted attack has failed: models that resist the nearest class often yield to another. With
    a target of yours it goes there only. Works from 2 classes on; below 4 the objective is the plain margin. Costs
    as much as `apgd` for each class that is tried. Raises InputError for L0 and for settings out of range.
    """
    if classes < 1:
        raise InputError(f"expected at least 1 class to go to, got {classes}")

    def objective(rows: Rows) -> Objective:
        # Where the user wants the target itself, leading the label is not enough: it must lead everyone.
        wanted = rows.targets >= 0
        return chosen(wanted.long(), to_aim, dlr) if any_row(wanted) else to_aim

    return auto(
        "apgd_t",
        threat,
        rule_of(threat.norm, rho=rho, shrink=shrink),
        objective=objective,
        steps=steps,
        restarts=1,
        start=start,
        shrink=shrink,
        lanes=classes,
        aim=likeliest(classes),
    )
