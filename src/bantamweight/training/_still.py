"""A net that stands still while its images are attacked: batch norm folded away, the batch divided among threads.

In eval mode a row's gradient is its own, so a batch can be divided, and what batch norm does is two numbers per channel
that the layer before it can carry. Neither changes where the steps lead, save by rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn

from bantamweight.attacks._crew import Halt, together
from bantamweight.models._fold import Pair, fold, traced
from bantamweight.models._stirred import stirred
from bantamweight.types import Images

__all__ = ["Look", "copies", "divided", "look", "shares"]

LEAST = 16
"""Rows that make a thread of their own worth it."""


class Look(NamedTuple):
    """What can be folded in a net; whether its layers can be kept in bfloat16; whether it must be left whole.

    A net is left whole that draws random numbers, or that can't be copied between two steps of its training.
    """

    pairs: list[Pair]
    half: bool
    whole: bool


WHOLE = Look([], False, True)
_LOOKS: WeakKeyDictionary[nn.Module, Look] = WeakKeyDictionary()


def look(module: nn.Module, images: Images) -> Look:
    """Looked up the first time that a net is seen, with weights of its own: a training resumed later sees the same."""
    # Whoever rewrites calls, as training for integers does, does so in the thread that asks and over whole batches.
    if images.device.type != "cpu" or torch._C._len_torch_function_stack():
        return WHOLE
    if module not in _LOOKS:
        before = torch.get_rng_state()
        try:
            _LOOKS[module] = _looked(module, images)
        except Exception:  # a model may hold what can't be copied, and do anything in its forward
            _LOOKS[module] = WHOLE
        finally:
            torch.set_rng_state(before)
    return _LOOKS[module]


def _looked(module: nn.Module, images: Images) -> Look:
    probe, before = stirred(module).eval(), torch.get_rng_state()
    example = torch.rand((4, *images.shape[1:]), generator=torch.Generator().manual_seed(0)).to(images)
    with torch.enable_grad():
        probe(example)
    if not torch.equal(torch.get_rng_state(), before):
        return WHOLE
    copy.deepcopy(probe)  # fails where a forward leaves something of its graph behind
    pairs = traced(probe)
    return Look(pairs, _takes_half(fold(probe, pairs), example), False)


def _takes_half(still: nn.Module, example: Images) -> bool:
    """Whether it answers with its layers in bfloat16: one that leaves autocast on its way would meet two precisions."""
    try:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            _halved(still)(example)
    except RuntimeError:
        return False
    return True


def _halved(still: nn.Module) -> nn.Module:
    for layer in still.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.to(torch.bfloat16)  # as autocast would, at every step
    return still


def shares(rows: int) -> int:
    """Into how many a batch is divided: as many as there are threads, if all of them get enough."""
    threads = torch.get_num_threads()
    return threads if rows // LEAST >= threads else 1


def copies(module: nn.Module, found: Look, count: int, *, half: bool) -> list[nn.Module]:
    """As many copies in eval mode, without batch norms that can be folded and without gradients for their weights.

    One for each thread: a forward may keep something in its module. For `half` their layers are in bfloat16.
    """
    made = [fold(module, found.pairs).requires_grad_(False) for _ in range(count)]
    return [_halved(one) for one in made] if half and found.half else made


def divided(rows: int, count: int, walk: Callable[[int, slice, Halt], Images]) -> Images:
    """`walk(number, its rows, whether to stop)` over all rows, in `count` shares, each computed by a thread of its own.

    A single share is computed where one is, by all threads.
    """
    if count == 1:
        return walk(0, slice(0, rows), lambda: False)
    ends = [rows * number // count for number in range(count + 1)]
    found: dict[int, Images] = {}

    def task(number: int) -> Callable[[Halt], None]:
        def work(halt: Halt) -> None:
            found[number] = walk(number, slice(ends[number], ends[number + 1]), halt)

        return work

    together([task(number) for number in range(count)])
    return torch.cat([found[number] for number in range(count)])
