"""Compression measured: what a cut costs, what it saves, and how that compares with other libraries.

The rows of `benchmarks/compression.md` come from these command lines, run from the root of the checkout: those with
`--threads 1` beside other work, the others while nothing else runs (the load at the start is printed with every table).
What has no rows there has not been run yet:

    export BANTAM_DATA=FOLDER
    python benchmarks/compression.py monotone
    python benchmarks/compression.py curves --images 3000 --n 4000 --validation 1000
    python benchmarks/compression.py bytes
    python benchmarks/compression.py int8 --qat
    python benchmarks/compression.py int8 --nets resnet20 --eps 0.5/255
    python benchmarks/compression.py int8 --nets resnet2b --eps 2/255
    python benchmarks/compression.py light
    python benchmarks/compression.py clean

Progress goes to the standard error, tables to the standard output. A command is a file `_NAME.py` beside this one with
`options(parser)` and `main(options)`.
"""

from __future__ import annotations

import argparse
import importlib

import torch

from bantamweight.machine import describe

COMMANDS = {
    "monotone": ("_monotone", "achieved MACs over 20 asked ratios: six nets, two criteria, two allocations"),
    "bytes": ("_ships_bytes", "every format's real size, dense, pruned, in int8, and both"),
    "int8": ("_ships_int8", "accuracy and agreement of static int8, what stayed float, attacks on it"),
    "light": ("_ships_light", "a cut, distilled net in int8 beside its parent: accuracy, bytes, milliseconds"),
    "clean": ("_clean", "what was compressed here, loaded where only onnxruntime is, and without torch-pruning"),
    "curves": ("_curves", "accuracy against MACs of seven criteria of channels and of torch-pruning's own pruner"),
}


def main() -> None:
    """Parse and run one command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, said) in COMMANDS.items():
        made = commands.add_parser(name, help=said)
        made.add_argument("--threads", type=int, default=describe().cores)
        importlib.import_module(module).options(made)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    importlib.import_module(COMMANDS[chosen.command][0]).main(chosen)


if __name__ == "__main__":
    main()
