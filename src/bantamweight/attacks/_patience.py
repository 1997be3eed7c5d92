"""Spending on a row only as long as its own curve says that it pays."""

from __future__ import annotations

from dataclasses import replace

import torch

from bantamweight.attacks._problem import Attack, Rows, State
from bantamweight.errors import InputError
from bantamweight.oracle import Answer, margin

__all__ = ["while_it_pays"]


def while_it_pays(attack: Attack, *, every: int = 5, hope: float = 2.0) -> Attack:
    """The same attack, but a row retires when its margin no longer falls fast enough to reach zero in time.

    Every `every` queries a row compares its closest call with that of the last look; at `hope` times that pace it
    must get through within the queries it has left. Each row looks at itself alone, so verdicts stay independent of
    the other images. Raises InputError for a window below 1 query.
    """
    if every < 1 or hope <= 0.0:
        raise InputError(f"expected a window of at least 1 query and a hope above 0, got {every} and {hope:g}")

    def init(rows: Rows) -> State:
        far = torch.full_like(rows.eps, torch.inf)
        return {**attack.init(rows), "pays_best": far, "pays_then": far.clone(), "pays": torch.ones_like(far).bool()}

    def tell(rows: Rows, state: State, answer: Answer) -> State:
        told = attack.tell(rows, _own(state), answer)
        best, then, pays = state["pays_best"], state["pays_then"], state["pays"]
        if answer.logits is not None:
            best = torch.fmin(best, margin(answer.logits, rows.labels, rows.targets))
        due = (rows.step + 1) % every == 0
        left = (attack.queries - 1 - rows.step).to(best.dtype)
        pays = torch.where(due, best * every < hope * (then - best) * left, pays)
        return {**told, "pays_best": best, "pays_then": torch.where(due, best, then), "pays": pays}

    def stop(rows: Rows, state: State) -> torch.Tensor:
        done = ~state["pays"]
        return done if attack.stop is None else done | attack.stop(rows, _own(state))

    return replace(attack, init=init, ask=lambda rows, state: attack.ask(rows, _own(state)), tell=tell, stop=stop)


def _own(state: State) -> State:
    """What the attack itself remembers."""
    return {key: leaf for key, leaf in state.items() if not key.startswith("pays")}
