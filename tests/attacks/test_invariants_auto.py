"""What Auto-PGD remembers of answers that are known: how often the loss rose, and the point where it was highest."""

from __future__ import annotations

import torch

from bantamweight.attacks.apgd import apgd
from bantamweight.oracle import Answer
from bantamweight.threats import linf
from tests.attacks.nets import grey_images, rows_of


def test_rises_are_counted_from_one_point_to_the_next_and_the_highest_point_is_kept():
    images = grey_images(2)
    attack = apgd(linf(eps=0.1), steps=100, start="clean")
    state, count = attack.init(rows_of(images)), torch.ones(2, dtype=torch.int64)
    # The label's lead: the loss rises where it falls. The second row only ever gets worse.
    leads = [(3.0, 1.0), (2.0, 1.5), (2.5, 2.0), (1.0, 2.5), (1.5, 3.0), (1.2, 3.5)]
    rises, points, slope = [], [], images - 0.5
    for step, lead in enumerate(leads):
        rows = rows_of(images, step=step)
        points.append(attack.ask(rows, state).points.clone())
        logits = torch.stack([torch.tensor(lead), torch.zeros(2)], dim=1)
        answer = Answer(logits.argmax(dim=1), logits, slope, count, count)
        state = attack.tell(rows, state, answer)
        rises.append(state["rises"].tolist())
    assert rises == [[0, 0], [1, 0], [1, 0], [2, 0], [2, 0], [3, 0]]
    assert torch.equal(state["best"][0], points[3][0])
    assert torch.equal(state["best"][1], points[0][1])
