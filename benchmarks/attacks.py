"""The attack engine side by side with other libraries, on the same images and the same machine.

The rows of `benchmarks/attacks.md` come from these command lines or pieces of them, run from the root of the checkout;
those with `--threads 1` beside other work, the others while nothing else runs (the load at the start is printed with
every table). What has no rows there has not been run yet:

    export BANTAM_DATA=FOLDER PEERS="FOLDER ..."
    python benchmarks/attacks.py verdicts --peers $PEERS
    python benchmarks/attacks.py minimum  --peers $PEERS --family fixed --steps 100
    python benchmarks/attacks.py minimum  --peers $PEERS --family fixed --steps 1000
    python benchmarks/attacks.py minimum  --peers $PEERS --family classic decision --n 256 --repeats 1
    python benchmarks/attacks.py floor --repeats 9
    python benchmarks/attacks.py parts
    python benchmarks/attacks.py memory
    python benchmarks/attacks.py batch
    python benchmarks/attacks.py batch --n 512
    python benchmarks/attacks.py masked

Pieces of a table, should the machine not be free for long: `--nets resnet2b --threat "linf 2/255"`, `--attacks fmn
--norms l1`.
On a GPU: `--device cuda`, there with `--nets NAME` of any net that `load_model` takes and its `--threat`.

Peers are whatever of autoattack, adv_lib, foolbox and torchattacks can be imported; `--peers` names folders that hold
them (checkouts, or the target of `pip install --target`). One that is missing says so, and its rows are left out.
Each peer runs at the batch size of 32, 64, 128 and 250 at which a gradient costs least here; contestants take turns.
Progress goes to the standard error, tables to the standard output.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import _peers
import torch

from bantamweight.machine import describe

COMMANDS = {
    "verdicts": ("_verdicts", "main", "our protocols against the reference AutoAttack"),
    "minimum": ("_minimum", "main", "smallest perturbations against adv-lib, foolbox and torchattacks"),
    "floor": ("_floor", "main", "what a step judged in float32 costs at least"),
    "parts": ("_costs", "parts", "what each speed-up buys"),
    "memory": ("_costs", "memory", "peak memory at growing numbers of images and steps"),
    "peak": ("_costs", "peak", "one run of `memory`, in a process of its own"),
    "batch": ("_same", "main", "bitwise the same for every batch, order and division"),
    "masked": ("_masked", "main", "what the full checks say of masked and honest models"),
}
IMAGES = {"batch": 64, "masked": 64}
"""Where it is not the first 512."""


def _shared_options(name: str) -> argparse.ArgumentParser:
    """What every command takes."""
    parser = argparse.ArgumentParser(add_help=False)
    add = parser.add_argument
    add("--n", type=int, default=IMAGES.get(name, 512), help="the first N test images")
    add("--nets", nargs="+", default=["resnet20", "resnet2b"], help="or any model that load_model takes")
    add("--threat", action="append", help="such as 'linf 8/255'; default: each net's own")
    add("--threads", type=int, default=describe().cores)
    add("--device", default="cpu")
    add("--precision", choices=["fp32", "bf16"], help="of our gradients; default: as robustness() chooses")
    add("--repeats", type=int, default=3, help="interleaved runs")
    add("--seed", type=int, default=0)
    add("--peers", nargs="*", type=Path, default=[], help="folders that hold other libraries")
    return parser


def _parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = whole.add_subparsers(dest="command", required=True)
    made = {
        name: commands.add_parser(name, help=said, parents=[_shared_options(name)])
        for name, (_, _, said) in COMMANDS.items()
    }
    add = made["verdicts"].add_argument
    add("--audit", type=int, default=59, help="survivors that the row with an audit gives away")
    add("--only", nargs="+", default=["fast", "autoattack", "reference"], help="beginnings of rows' names")
    add = made["minimum"].add_argument
    add("--family", nargs="+", choices=["fixed", "classic", "decision"], default=["fixed", "classic", "decision"])
    add("--attacks", nargs="+", help="of the families, only these: ddn, fmn, cw, deepfool, fab, fab_t, boundary, ...")
    add("--norms", nargs="+", choices=["linf", "l2", "l1", "l0"], help="only these")
    add("--steps", nargs="+", type=int, default=[100, 1000], help="of DDN and FMN")
    add("--walks", type=int, default=5000, help="steps of the boundary attack")
    add("--hops", type=int, default=20, help="steps of HopSkipJump")
    made["parts"].add_argument("--batch", type=int, default=64)
    made["parts"].add_argument("--protocol", default="fast")
    made["parts"].add_argument("--off", nargs="+", help="beginnings of rows' names; without it all")
    for name in ("memory", "peak"):
        made[name].add_argument("--folder", type=Path, help="where runs write; default: here")
        made[name].add_argument("--steps", nargs="+", type=int, default=[20, 500], help="of PGD")
    made["memory"].add_argument("--sizes", nargs="+", type=int, default=[1000, 8000, 10_000], help="numbers of images")
    made["peak"].add_argument("--protocol", default="")
    made["batch"].add_argument("--few", type=int, default=8, help="images of autoattack at batch 1 and 7, which crawl")
    made["masked"].add_argument("--mask", nargs="*", default=["resnet20"], help="nets of --nets that are masked too")
    return whole


def main() -> None:
    """Parse, look for peers, run one command."""
    options = _parser().parse_args()
    torch.set_num_threads(options.threads)
    _peers.look_in(options.peers)
    module, function, _ = COMMANDS[options.command]
    getattr(importlib.import_module(module), function)(options)


if __name__ == "__main__":
    main()
