"""Ten thousand random points of the ball break nothing that the attack missed (Athalye et al. 2018, section 3.1)."""

from __future__ import annotations

import numpy as np

from bantamweight import rng
from bantamweight.attacks._core import Attack, Rows, State
from bantamweight.attacks.checks._core import Check, Evidence, absent, failed, passed
from bantamweight.oracle import Answer, Query
from bantamweight.threats import Threat

__all__ = ["draws", "random_draws"]

LEVEL = "full"
DRAWS = 10_000
ROWS = 16


def random_draws(evidence: Evidence) -> Check:
    """Draws around up to 16 images that stand, 10,000 in all; the figure is how many of the images they break.

    Where the run had targets, to break an image is to be taken for its target.

    Costs 10,000 forwards in all.
    """
    if evidence.verdicts is None:
        return absent("random_draws", "there is no run that could have missed an image")
    standing = np.flatnonzero(~evidence.broken)[:ROWS]
    if not len(standing):
        return passed("random_draws", 0.0, "the run left no image standing")
    found = int(
        evidence.run(draws(evidence.threat, DRAWS // len(standing)), rows=standing, aimed=True)["success"].sum()
    )
    said = f"{DRAWS:,} random draws around {len(standing)} standing images break {found}"
    return (failed if found else passed)("random_draws", float(found), said)


def draws(threat: Threat, queries: int) -> Attack:
    """A fresh point of the ball in every query."""

    def ask(rows: Rows, state: State) -> Query:  # noqa: ARG001
        keys = rng.fold(rows.keys, rows.step)
        return Query(threat.norm.sample(rows.images, rows.eps, keys, "draw"), "scores")

    def tell(rows: Rows, state: State, answer: Answer) -> State:  # noqa: ARG001
        return state

    return Attack("random_draws", queries, lambda _: {}, ask, tell, access="score")
