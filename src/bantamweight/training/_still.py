"""A net that stands still while its images are attacked: batch norm folded away, small nets on several single threads.

In eval mode a row's gradient is its own, so a batch can be divided, and what batch norm does is two numbers per channel
that the layer before it can carry. Neither changes where the steps lead, save by rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn

from bantamweight.attacks._crew import together
from bantamweight.models._fold import Pair, fold, foldable
from bantamweight.models._stirred import stirred
from bantamweight.types import Images

__all__ = ["divided", "folded", "look"]

LEAST = 16
"""Rows that make a thread of their own worth it."""


class Look(NamedTuple):
    """What can be folded in a net, and whether it has to be left whole: it draws random numbers, or can't be copied."""

    pairs: list[Pair]
    whole: bool


_LOOKS: WeakKeyDictionary[nn.Module, Look] = WeakKeyDictionary()


def folded(module: nn.Module, images: Images, *, half: bool) -> nn.Module:
    """A copy in eval mode without its batch norms, weights without gradients and, for `half`, in bfloat16."""
    still = fold(module, look(module, images).pairs).requires_grad_(False)
    for layer in still.modules() if half else ():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.to(torch.bfloat16)  # as autocast would, at every step
    return still


def look(module: nn.Module, images: Images) -> Look:
    """Looked up the first time that a net is seen, with weights of its own: a training resumed later sees the same."""
    if module not in _LOOKS:
        _LOOKS[module] = _looked(module, images)
    return _LOOKS[module]


def _looked(module: nn.Module, images: Images) -> Look:
    before = torch.get_rng_state()
    try:
        probe = stirred(module).eval()
        example = torch.rand((8, *images.shape[1:]), generator=torch.Generator().manual_seed(0)).to(images)
        with torch.no_grad():
            probe(example)
        drew = not torch.equal(torch.get_rng_state(), before)
        return Look([] if drew else foldable(probe, example=example), drew)
    except Exception:  # a model may hold what can't be copied: an open session, a lock
        return Look([], True)
    finally:
        torch.set_rng_state(before)


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
