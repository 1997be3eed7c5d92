"""The same bits, whatever the batch, the order and the shards."""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from _scene import Scene, asked, columns, head, note, row, scene, threats

from bantamweight.recipes.robustness import robustness
from bantamweight.types import Images, Int64, Tensor

BATCHES = (1, 7, 512)
Answer = tuple[dict[str, np.ndarray], Images]


def answered(
    of: Scene, text: str, protocol: str, rows: Int64[Tensor, " m"], batch: int, options: argparse.Namespace
) -> Answer:
    """Columns and images for some rows; checks and what follows from them look at the whole set, and stay out."""
    began = time.perf_counter()
    found = robustness(
        asked(of, options),
        of.images[rows],
        of.labels[rows],
        text,
        protocol=protocol,
        checks="none",
        seed=options.seed,
        batch=batch,
    )
    note(f"{of.name} {text} {protocol}, {len(rows)} images, batch {batch}: {time.perf_counter() - began:.1f} s")
    assert found.images is not None
    return found.columns, found.images


def differing(whole: Answer, rows: Int64[Tensor, " m"], other: Answer) -> str:
    """Names of columns, and images, in which rows of the whole run differ; the index where there are few."""
    bits = {name: values[rows.numpy()] != other[0][name] for name, values in whole[0].items()}
    bits["images"] = (whole[1][rows] != other[1]).flatten(1).any(dim=1).numpy()
    found = {name: rows.numpy()[mask] for name, mask in bits.items() if mask.any()}
    return "; ".join(f"{name}: {len(at)} rows ({', '.join(map(str, at[:5]))})" for name, at in found.items())


def main(options: argparse.Namespace) -> None:
    """One row per net, protocol and way of splitting; ends with exit code 1 when anything differs."""
    scenes = [scene(name, options) for name in options.nets]
    head(options, "Bitwise the same")
    print("All verdict columns and the stored images, against one run over all images with batch 64.\n")
    columns("net", "threat", "protocol", "run", " images", "differs in")
    bad = 0
    for of in scenes:
        text, every = threats(of.name, options)[0], torch.arange(len(of))
        order = torch.randperm(len(of), generator=torch.Generator().manual_seed(1))
        for protocol in ("fast", "autoattack"):
            whole = answered(of, text, protocol, every, 64, options)
            few = every[: options.few] if protocol == "autoattack" else every
            runs = [(f"batch {batch}", few if batch < 64 else every, batch) for batch in BATCHES]
            runs.append(("shuffled", order, 64))
            runs += [(f"shard {start + 1} of 2", every[start::2], 64) for start in (0, 1)]
            for said, rows, batch in runs:
                found = differing(whole, rows, answered(of, text, protocol, rows, batch, options))
                bad += bool(found)
                row(of.name, text, protocol, said, len(rows), found or "nothing")
    if bad:
        raise SystemExit(f"{bad} runs differ")
