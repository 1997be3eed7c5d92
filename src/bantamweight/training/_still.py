"""A net that stands still while its images are attacked: batch norm folded away, small nets on several single threads.

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

from bantamweight.attacks._crew import together
from bantamweight.models._fold import Pair, fold, foldable
from bantamweight.types import Images

__all__ = ["divided", "folded", "look"]

LEAST = 16
"""Rows that make a thread of their own worth it."""


class Look(NamedTuple):
    """What can be folded in a net, and whether it draws random numbers: neither changes while it is trained."""

    pairs: list[Pair]
    draws: bool


_LOOKS: WeakKeyDictionary[nn.Module, Look] = WeakKeyDictionary()


def folded(module: nn.Module, images: Images, *, half: bool) -> nn.Module:
    """A copy in eval mode without its batch norms, weights without gradients and, for `half`, in bfloat16."""
    still = fold(module, look(module, images).pairs).requires_grad_(False)
    for layer in still.modules() if half else ():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.to(torch.bfloat16)  # as autocast would, at every step
    return still


def look(module: nn.Module, images: Images) -> Look:
    """Looked up with a few images the first time that a net is seen, in eval mode."""
    if module not in _LOOKS:
        before = torch.get_rng_state()
        with torch.no_grad():
            copy.deepcopy(module).eval()(images[:8])
        draws = not torch.equal(torch.get_rng_state(), before)
        torch.set_rng_state(before)
        _LOOKS[module] = Look([] if draws else foldable(module, example=images[:8]), draws)
    return _LOOKS[module]


def divided(rows: int, device: torch.device, walk: Callable[[slice], Images]) -> Images:
    """`walk` over all rows: on a processor in as many shares as there are threads, each computed by one of them."""
    shares = min(torch.get_num_threads(), rows // LEAST) if device.type == "cpu" else 1
    if shares < 2:
        return walk(slice(0, rows))
    ends = [rows * number // shares for number in range(shares + 1)]
    found: list[Images | None] = [None] * shares

    def task(number: int) -> Callable[[Callable[[], bool]], None]:
        def work(_: Callable[[], bool]) -> None:
            found[number] = walk(slice(ends[number], ends[number + 1]))

        return work

    together([task(number) for number in range(shares)])
    return torch.cat([share for share in found if share is not None])
