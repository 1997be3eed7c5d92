"""Explanations beside captum and beside plain loops, and what each method costs.

The rows of `benchmarks/explainers.md` come from these command lines, run from the root of the checkout while nothing
else runs (the load at the start is printed with every table):

    python benchmarks/explainers.py cams
    python benchmarks/explainers.py ig --model resnet20 --weights resnet20.safetensors
    python benchmarks/explainers.py lime
    python benchmarks/explainers.py lime --model resnet20 --weights resnet20.safetensors
    python benchmarks/explainers.py perturbation
    python benchmarks/explainers.py perturbation --model resnet20 --weights resnet20.safetensors
    python benchmarks/explainers.py memory
    python benchmarks/explainers.py cost --model resnet20 --weights resnet20.safetensors --sizes 32 --threads 1
    python benchmarks/explainers.py scores --model small_cnn --seeds 10 11 12 --threads 1
    python benchmarks/explainers.py scores --model small_cnn --seeds 30 31 32 --threads 1 \\
        --metrics pointing_game iou pixel_auc localisation_error
    python benchmarks/explainers.py inversion --model resnet20 --weights resnet20.safetensors

Where BANTAM_DATA names a folder with CIFAR-10, images come from its test; elsewhere they are random. Nets have random
weights (seed 0) and random batch-norm statistics, unless `--model` and `--weights` name others. Captum runs at
the batch size of those tried that is fastest here. Contestants take turns. Progress goes to the standard error, tables
to the standard output.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import torch

from bantamweight.machine import describe

COMMANDS = {
    "cams": ("_explain_gradients", "cams", "five class-activation methods, ten classes, against captum class by class"),
    "ig": ("_explain_gradients", "ig", "integrated gradients at equal completeness error"),
    "lime": ("_explain_perturbing", "lime", "LIME with equal samples"),
    "perturbation": ("_explain_perturbing", "perturbation", "deletion and insertion against a loop over images"),
    "memory": ("_explain_cost", "memory", "peak memory of Score-CAM at 224x224 by batch"),
    "cost": ("_explain_cost", "cost", "forward, backward, rest and peak memory of every method"),
    "scores": ("_scores", "scores", "who passes and who finds the object, on nets trained here"),
    "inversion": ("_inversion", "inversion", "images made again from an early, a middle and a late layer"),
    "peak": ("_explain_cost", "peak", "one run of `memory` or `cost`, in a process of its own"),
}
IMAGES = {"cams": 256, "ig": 16, "lime": 4, "perturbation": 64, "memory": 4, "cost": 32, "scores": 100, "inversion": 32,
          "peak": 4}  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = whole.add_subparsers(dest="command", required=True)
    for name, (_, _, said) in COMMANDS.items():
        add = commands.add_parser(name, help=said).add_argument
        add("--n", type=int, default=IMAGES[name], help="images")
        add("--model", default="resnet18" if name == "memory" else "resnet_small", help="a net of this package")
        add("--weights", type=Path, help="a .safetensors file for it")
        add("--size", type=int, default=224 if name == "memory" else 32)
        add("--threads", type=int, default=describe().cores)
        add("--repeats", type=int, default=3, help="interleaved runs")
        add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of `scores`: a net is trained for each")
        add("--batches", nargs="+", type=int, default=[1, 8, 32] if name == "cost" else [32, 64, 128, 256])
        add("--sizes", nargs="+", type=int, default=[32, 64], help="of `cost`: sides of the images")
        add("--tolerance", nargs="+", type=float, default=[3e-2, 1e-2], help="of `ig`, in float32 and in bfloat16")
        add("--samples", type=int, default=1000, help="of `lime`")
        add("--steps", type=int, default=300, help="of `inversion`")
        add("--epochs", type=int, default=8, help="of `scores`")
        add("--use", nargs="+", help="of `cost`, `scores` and `peak`: these methods alone")
        add("--metrics", nargs="+", help="of `scores`: these alone")
        add("--batch", type=int, default=64, help="of `peak`")
    return whole


def main() -> None:
    """Parse and run one command."""
    options = _parser().parse_args()
    torch.set_num_threads(options.threads)
    module, function, _ = COMMANDS[options.command]
    getattr(importlib.import_module(module), function)(options)


if __name__ == "__main__":
    main()
