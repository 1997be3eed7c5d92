"""Images that fooled another model, tried as they are (no-box access: Papernot et al. 2016, "Transferability")."""

from __future__ import annotations

from bantamweight.attacks._core import Attack, Rows, State
from bantamweight.oracle import Answer, Query
from bantamweight.threats import Threat

__all__ = ["transferred"]


def transferred(threat: Threat) -> Attack:
    """One look at the start image of each row, brought into the budget.

    Choose it first in a cascade when another variant (the dense parent, the float32 original) was attacked already:
    most of its adversarial images carry over. It asks the model nothing: the judge alone sees each of them. Without
    start images it tries the clean ones and breaks nothing.
    """

    def ask(rows: Rows, state: State) -> Query:  # noqa: ARG001 (no state is needed)
        return Query(threat.norm.project(rows.starts, rows.images, rows.eps), "nothing")

    def tell(rows: Rows, state: State, answer: Answer) -> State:  # noqa: ARG001
        return state

    return Attack("transferred", 1, lambda _: {}, ask, tell, access="transfer")
