"""Several attacks, several starts: what came first counts in the date of a success, and the best of all is kept."""

from __future__ import annotations

import pytest
import torch

from bantamweight.attacks._cascade import cascade, fall
from bantamweight.attacks._core import run
from bantamweight.attacks.pgd import pgd
from bantamweight.oracle import oracle
from bantamweight.threats import linf
from tests.attacks.nets import Convolutional, images_in_box


def test_a_later_part_s_queries_follow_those_of_the_parts_before():
    model, images, threat = Convolutional().eval(), images_in_box(48), linf(eps=6 / 255)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    # The first goes a tenth of the way: what the second breaks has cost all of its steps.
    weak, strong = pgd(threat, steps=7, rate=threat.eps / 70, start="clean"), pgd(threat, steps=20)
    verdicts, parts = fall(cascade("two", weak, strong), oracle(model), images, labels, threat)
    first, second = (run(attack, oracle(model), images, labels, threat) for attack in (weak, strong))
    late = verdicts["part"] == 1
    assert late.sum() == parts[1].broken > 0
    assert (first["forwards"][late] == 8).all()
    assert (verdicts["query"][late] == 8 + second["query"][late]).all()
    assert (verdicts["forwards"][late] == 8 + second["forwards"][late]).all()
    early = verdicts["part"] == 0
    assert (verdicts["query"][early] == first["query"][early]).all()
    assert (verdicts["query"][~late & ~early] == -1).all()


@pytest.mark.parametrize(("until", "column"), [("budget", "margin"), ("converged", "size_linf")])
def test_further_starts_never_make_the_outcome_worse(until, column):
    model, images, threat = Convolutional().eval(), images_in_box(48), linf(eps=12 / 255)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    one, four = (
        run(pgd(threat, steps=4, restarts=restarts), oracle(model), images, labels, threat, until=until)
        for restarts in (1, 4)
    )
    both = one["success"] & four["success"]
    assert both.sum() == one["success"].sum() > 0
    assert (four[column][both] <= one[column][both] + 1e-5).all(), "the first lane is the same"
    assert (four[column][both] < one[column][both] - 1e-4).any()
