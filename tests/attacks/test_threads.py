"""Loops in several threads: nothing that changes the whole process happens while others compute."""

from __future__ import annotations

import threading

import torch

from bantamweight.attacks._core import run
from bantamweight.attacks.square import square
from bantamweight.models import _fuse
from bantamweight.oracle import oracle
from bantamweight.threats import linf
from tests.attacks.nets import Convolutional, images_in_box


def test_graphs_are_traced_before_the_threads_begin(monkeypatch):
    """torch.fx replaces the call of every module while it traces; another thread's forward would end up in it."""
    where, traced = [], _fuse.fused

    def spied(*arguments):
        where.append(threading.current_thread() is threading.main_thread())
        return traced(*arguments)

    monkeypatch.setattr(_fuse, "fused", spied)
    model, images = Convolutional().eval(), images_in_box(300, (3, 9, 9))
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    threat = linf(eps=2 / 255)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run(square(threat, queries=5), oracle(model), images, labels, threat, batch=256)
    finally:
        torch.set_num_threads(before)
    assert where == [True]
