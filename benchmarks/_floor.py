"""What a step cannot cost less than whose point is judged in float32, beside a peer's gradient."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from _peers import LONG, fastest, gradients
from _scene import Scene, asked, clock, columns, head, interleaved, row, scene, spread

from bantamweight.attacks._objectives import cross_entropy
from bantamweight.oracle import Oracle, Query


def swept(of: Scene, oracle: Oracle, want: str) -> None:
    """One query for every image, in the tiles that the attack loop would take."""
    images, labels = of.images.to(of.device), of.labels.to(of.device)
    size = oracle.fit(images, len(images))
    for start in range(0, len(images) - size + 1, size):
        rows = slice(start, start + size)
        aims, alive = torch.full((size,), -1, device=of.device), torch.ones(size, dtype=torch.bool, device=of.device)
        oracle.ask(Query(images[rows], want, cross_entropy), labels[rows], aims, alive)  # type: ignore[arg-type]


def main(options: argparse.Namespace) -> None:
    """A row per net: milliseconds an image, and the least that is left of the peer's."""
    scenes = [scene(name, options) for name in options.nets]
    head(options, "What a step judged in float32 costs at least")
    print(
        f"Milliseconds an image, medians (least to most) of {options.repeats} interleaved sweeps over the images. The "
        "judge must see every point in float32, at best in a forward without a graph and with all that follows a "
        "convolution fused into it; a gradient from there back to the image costs at least what is left of one in "
        "bfloat16 without its forward. The last column sets the sum beside a peer's float32 gradient at its fastest "
        "batch: before any arithmetic of the attack itself.\n"
    )
    columns(
        *("net", " a peer's gradient", " ours in float32", " float32 scores", " bfloat16 gradient"),
        *(" bfloat16 scores, not fused", " at least, of the peer's"),
    )
    for of in scenes:
        size, _ = fastest(of)
        steps, n = max(1, LONG // size), len(of)
        exact, half = asked(of, options, precision="fp32"), asked(of, options, precision="bf16")
        plain = asked(of, options, precision="bf16", fuse=False)

        def ours(oracle: Oracle, want: str, of: Scene = of, n: int = n) -> Callable[[int], float]:
            swept(of, oracle, want)  # finds its tiles, and fuses
            return lambda _: 1e3 * clock(lambda: swept(of, oracle, want), of.device)[0] / n

        calls = {
            "peer": lambda _, of=of, size=size, steps=steps: 1e3 * gradients(of, size, steps) / (size * steps),
            "gradient": ours(exact, "gradient"),
            "scores": ours(exact, "scores"),
            "half": ours(half, "gradient"),
            "half scores": ours(plain, "scores"),
        }
        found = interleaved(calls, options.repeats)  # type: ignore[arg-type]
        middle = {name: float(np.median(values)) for name, values in found.items()}
        least = middle["scores"] + max(0.0, middle["half"] - middle["half scores"])
        row(of.name, *(spread(values) for values in found.values()), f"{least / middle['peer']:.2f}")
