"""Off the CPU no step of an attack waits for the device: it looks at no number there and brings none from the host.

Played on torch's meta device, where there are shapes and no numbers: whoever looks at one raises there.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from bantamweight.attacks._problem import Rows
from bantamweight.oracle import Answer
from bantamweight.threats import Threat
from tests.attacks.test_invariants import EVERY, made

META = torch.device("meta")
COUNT, SHAPE, CLASSES = 6, (3, 8, 8), 4
WARM, WATCHED = 2, 4
"""Steps that may still copy tables to the device, and steps that may not."""
COPIES = (torch.tensor, torch.as_tensor, torch.asarray, torch.from_numpy, Tensor.new_tensor)


class NothingOfTheHost(TorchFunctionMode):
    """Refuses every operation on a tensor of the host, whatever makes one, and copies of Python's numbers."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        assert func not in COPIES, f"{func} copies numbers from the host"
        answer = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, answer)):
            assert not isinstance(leaf, Tensor) or leaf.device == META, f"{func} of a tensor on the host"
        return answer


def rows_there():
    """Rows of which only the shapes are known; half of them might have a target, for all that an attack can tell."""
    whole = torch.zeros(COUNT, dtype=torch.int64, device=META)
    images = torch.zeros(COUNT, *SHAPE, device=META)
    eps = torch.zeros(COUNT, device=META)
    return Rows(images, whole, whole, whole, images.clone(), whole, eps, whole, whole)


def answered(query):
    """What an oracle would return, without numbers."""
    whole = torch.zeros(COUNT, dtype=torch.int64, device=META)
    logits = torch.zeros(COUNT, CLASSES, device=META)
    jacobian = None
    if query.want == "jacobian":
        classes = query.classes(logits, whole, whole) if callable(query.classes) else query.classes
        jacobian = torch.zeros(COUNT, classes.shape[1], *SHAPE, device=META)
    gradient = torch.zeros(COUNT, *SHAPE, device=META) if query.want == "gradient" else None
    return Answer(whole, None if query.want == "label" else logits, gradient, whole, whole, jacobian)


def step(attack, rows, state):
    state = attack.tell(rows, state, answered(attack.ask(rows, state)))
    if attack.stop is not None:
        attack.stop(rows, state)
    return state


@EVERY
def test_no_step_waits_for_the_device(name, norm):
    attack, rows = made(name, Threat(norm, 1.0)), rows_there()
    state = attack.init(rows)
    for _ in range(WARM):
        state = step(attack, rows, state)
    with NothingOfTheHost():
        for _ in range(WATCHED):
            state = step(attack, rows, state)
    assert all(leaf.device == META and len(leaf) == COUNT for leaf in state.values())
