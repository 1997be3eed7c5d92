"""What ships, measured: static int8 beside float32, bytes of every format, and time per runtime.

Three commands of `compression.py` live here; each has its own `options` and `main` in `_ships_NAME.py`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from _nets import NETS

from bantamweight import stats

__all__ = ["claim", "common", "percent"]


def common(parser: argparse.ArgumentParser, nets: tuple[str, ...]) -> None:
    """What every command here can be asked for."""
    add = parser.add_argument
    add("--nets", nargs="+", choices=NETS, default=list(nets))
    add("--home", type=Path, default=Path(".bantam/benchmarks"), help="where trained nets are kept")
    add("--n", type=int, default=1000, help="test images")
    add("--calibration", type=int, default=256, help="training images that int8 takes its ranges from")


def claim(before: np.ndarray, after: np.ndarray, margin: float) -> str:
    """A paired difference in points with its interval, the test against none, and the one for equivalence."""
    gained, lost, n = int((after & ~before).sum()), int((before & ~after).sum()), len(before)
    low, high = stats.paired_interval(gained, lost, n)
    equal = stats.equivalence(gained, lost, n, margin)
    shown = "shown" if equal.p < 0.05 else "not shown"
    return (
        f"{100 * (gained - lost) / n:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}; p = "
        f"{stats.mcnemar(gained, lost):.2g}; within {100 * margin:g} points {shown})"
    )


def percent(found: np.ndarray) -> str:
    """A share with its interval."""
    low, high = stats.wilson(int(found.sum()), len(found))
    return f"{found.mean():.1%} ({low:.1%} to {high:.1%})"
