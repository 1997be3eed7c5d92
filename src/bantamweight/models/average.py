"""The average of several nets: one that sees well and one that is hard to fool, say, asked together.

What it answers is the mean of the members' probabilities, as logarithms, so its argmax, its margins and its gradient
are the average's own: an attack on one member is an attack on something else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bantamweight.errors import InputError
from bantamweight.models._normalize import check_input
from bantamweight.parts import configure, find, settings

__all__ = ["average"]

MOST = 16


def average(
    *, members: tuple[str | dict[str, Any], ...] = ("mlp", "mlp"), channels: int = 3, classes: int = 10, size: int = 32
) -> nn.Module:
    """Mean probabilities of `members` (names, or {use: NAME, ...}); images `b c h w` in [0, 1] to log-probabilities.

    Raises InputError for fewer than two members, or a member that can't be.

    >>> net = average(members=("mlp", "small_cnn"))
    >>> bool(torch.isclose(net(torch.rand(2, 3, 32, 32)).exp().sum(), torch.tensor(2.0)))
    True
    """
    check_input(channels=channels, classes=classes, size=size)
    if not 2 <= len(members) <= MOST:
        raise InputError(f"expected 2 to {MOST} members to average, got {len(members)}")
    shape = {"channels": channels, "classes": classes, "size": size}
    return _Average([_member(one, shape) for one in members])


def _member(spec: str | Mapping[str, Any], shape: Mapping[str, int]) -> nn.Module:
    given = {"use": spec} if isinstance(spec, str) else dict(spec)
    if not isinstance(given.get("use"), str) or ":" in given["use"]:
        raise InputError(f"expected a model of this package as a member, got {given.get('use')!r}")
    known = settings(find("models", given["use"])).model_fields
    made: nn.Module = configure("models", {**{key: shape[key] for key in shape if key in known}, **given}).make()
    return made


class _Average(nn.Module):
    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Logarithms of the mean probabilities."""
        each = torch.stack([member(images).log_softmax(dim=1) for member in self.members])
        return each.logsumexp(dim=0) - math.log(len(self.members))
