"""What an attacker may do to an image: all geometry of norm and box, one norm per file. No other room asks which it is.

Imported whole: a file and the function in it share a name, and `from bantamweight.threats import linf` must find the
function whatever was imported before.
"""

from __future__ import annotations

from bantamweight.threats._core import TOLERANCE, Budget, Norm, Threat
from bantamweight.threats.l0 import L0, l0
from bantamweight.threats.l1 import L1, l1
from bantamweight.threats.l2 import L2, l2
from bantamweight.threats.linf import LINF, linf
from bantamweight.types import Images

__all__ = ["NORMS", "TOLERANCE", "Norm", "Threat", "l0", "l1", "l2", "linf", "sizes"]

NORMS: dict[str, Norm] = {norm.name: norm for norm in (LINF, L2, L1, L0)}


def sizes(delta: Images) -> dict[str, Budget]:
    """The size of each perturbation in every norm, L0 counted in pixels (any channel moved).

    >>> import torch
    >>> {name: float(size) for name, size in sizes(torch.full((1, 1, 1, 4), 0.5)).items()}
    {'linf': 0.5, 'l2': 1.0, 'l1': 2.0, 'l0': 4.0}
    """
    return {name: norm.size(delta) for name, norm in NORMS.items()}
