"""What the benchmarks of explanations share: a net, images, and the lines above a table."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn

from bantamweight import rng
from bantamweight.data import load
from bantamweight.loading import load_model
from bantamweight.machine import describe, versions
from bantamweight.variants import build

__all__ = ["fastest", "head", "images_for", "net_for", "seconds"]


def net_for(options: argparse.Namespace, size: int | None = None) -> nn.Module:
    """The net; one without weights of its own gets batch norms that are not the identity."""
    net = build(load_model(options.model, weights=options.weights, size=size or options.size))
    if options.weights is None:
        draws = torch.Generator().manual_seed(0)
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.1, generator=draws)
                part.running_var.uniform_(0.5, 1.5, generator=draws)
    return net


def images_for(options: argparse.Namespace, size: int | None = None, n: int | None = None) -> Tensor:
    """The first images of the CIFAR-10 (JPEG) test, enlarged if need be, or random ones."""
    side, count, home = size or options.size, n or options.n, os.environ.get("BANTAM_DATA")
    test = Path(home or ".") / "cifar10" / "test.parquet"
    if home is None or not test.is_file():
        return rng.uniform(torch.arange(count), (3, side, side), "benchmark")
    found = load(str(test), whole=True)
    images = next(iter(found.splits.values())).floats(slice(0, count))
    return torch.nn.functional.interpolate(images, (side, side), mode="bilinear", antialias=True).clamp(0, 1)


def head(options: argparse.Namespace, title: str) -> None:
    """When, where and with what."""
    where = f"{describe()}; {torch.get_num_threads()} threads; load at start {os.getloadavg()[0]:.1f}"
    home = os.environ.get("BANTAM_DATA")
    seen = (
        "the CIFAR-10 (JPEG) test" if home and (Path(home) / "cifar10" / "test.parquet").is_file() else "random images"
    )
    weights = "given weights" if options.weights else "random weights"
    print(f"\n## {title}\n\n`python benchmarks/explainers.py {' '.join(sys.argv[1:])}`\n")
    libraries = f"{versions(['torch', 'numpy', 'bantamweight'])}, captum {version('captum')}"
    print(f"{date.today().isoformat()}; {where}; {libraries}")
    print(f"{options.model} ({weights}); {seen}; n = {options.n}\n", flush=True)


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    started = perf_counter()
    call()
    return perf_counter() - started


def fastest(call: Callable[[int], object], batches: Sequence[int], repeats: int = 2) -> int:
    """The batch size at which a call is fastest, after one call that does not count."""
    call(batches[0])
    return min(batches, key=lambda batch: min(seconds(lambda: call(batch)) for _ in range(repeats)))
