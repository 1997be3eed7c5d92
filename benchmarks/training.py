"""Time and test accuracy of the trainings of a study, from scratch, outside the store.

    BANTAM_DATA=FOLDER OMP_NUM_THREADS=2 python benchmarks/training.py sports sports-001 [--only MODEL]

Each row of the table: epochs, seconds for the whole of `train` (validation included, imports and decoding not), the
best epoch, and how many of the n test images its weights get right in float32, with the Wilson interval. The load of
the machine at the start is printed, because a shared machine makes seconds (and nothing else) worse.
"""

from __future__ import annotations

import argparse
import os
import time
from datetime import date

import torch

from bantamweight.data import Data, evaluation_split, load
from bantamweight.machine import describe, versions
from bantamweight.predict import logits_of
from bantamweight.stats import wilson
from bantamweight.studies._blocks import recipe_of
from bantamweight.studies.spec import read
from bantamweight.training import fresh, train
from bantamweight.variants import build

HEAD = "| study | model | parameters | epochs | best | seed | seconds | n | right | test accuracy (95%) | load |"


def row(study: str, model: str | dict, data: Data, recipe: dict, seed: int) -> str:
    """One training, measured; a line of the table."""
    load_before = os.getloadavg()[0]
    start = fresh(model, data, seed=seed)
    started = time.perf_counter()
    trained = train(start, data, seed=seed, **recipe)
    seconds = time.perf_counter() - started
    name, split = evaluation_split(data)
    assert name == "test"
    module = build(trained.variant)
    right = int((logits_of(module, split.images).argmax(dim=1) == split.labels).sum())
    low, high = wilson(right, len(split))[:2]
    parameters = sum(weight.numel() for weight in module.parameters())
    return (
        f"| {study} | {start.name} | {parameters:,} | {trained.epochs} | {trained.best_epoch} | {seed} | {seconds:.1f} "
        f"| {len(split)} | {right} | {right / len(split):.1%} ({low:.1%} to {high:.1%}) | {load_before:.1f} |"
    )


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+")
    parser.add_argument("--only", action="append", help="a model's name; repeat for several")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    print(f"{date.today().isoformat()}; {describe()}; {torch.get_num_threads()} threads; {versions(['torch'])}\n")
    print(HEAD)
    print("|" + " --- |" * (HEAD.count("|") - 1), flush=True)
    for study in map(read, options.studies):
        data = load(study.data)
        for block in study.train:
            name = block.model if isinstance(block.model, str) else (block.model or {}).get("use")
            if block.load is None and name in (options.only or [name]):
                for seed in options.seeds:
                    print(row(study.study, block.model, data, recipe_of(block), seed), flush=True)


if __name__ == "__main__":
    main()
