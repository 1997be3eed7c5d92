"""Achieved MACs at 20 asked ratios from 0.05 to 0.99: never rising, and no group left out without a word.

Every point is a variant that is cut, built again from its edit and counted with `models.profile`; nothing is taken from
the closed form that chose it.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np
from _table import columns, head, note, row

from bantamweight.compression import coupled, cut_channels, score_channels
from bantamweight.compression._path import path
from bantamweight.compression.l1_channels import l1_channels
from bantamweight.compression.random_channels import random_channels
from bantamweight.loading import untrained
from bantamweight.models import profile
from bantamweight.variants import Variant, build

NETS = ("vgg19", "resnet56", "wrn_28_10", "mobilenet_v2", "densenet121", "googlenet")
RATIOS = np.linspace(0.05, 0.99, 20)
CRITERIA = {"L1": l1_channels(), "random": random_channels()}


def options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("--nets", nargs="+", default=list(NETS), help="any model of the package")
    parser.add_argument("--round-to", nargs="+", type=int, default=[1, 8, 16])
    parser.add_argument("--size", type=int, default=32, help="pixels a side")


def main(chosen: argparse.Namespace) -> None:
    """One row per net, criterion, allocation and multiple."""
    head("Achieved MACs never rise with the asked ratio", "ratios 0.05 to 0.99, 20 points, untrained weights of seed 0")
    shown = (0, 4, 9, 14, 17, 19)
    columns(
        *("net", " groups", " channels", "uncut", "criterion", "allocation", " multiple", " rises"),
        *(f" MACs at {RATIOS[index]:.2f}" for index in shown),
    )
    rises = 0
    for name in chosen.nets:
        dense = untrained(name, size=chosen.size)
        rises += net(dense, chosen.round_to, shown)
    print(f"\nRises in all: {rises}.", flush=True)


def net(dense: Variant, multiples: list[int], shown: tuple[int, ...]) -> int:
    """The rows of one net; how often MACs rose."""
    found = coupled(dense)
    able = tuple(group for group in found if not group.reason)
    uncut = ", ".join(f"{group.name} ({group.reason})" for group in found if group.reason) or "none"
    module = build(dense)
    whole = profile(module, dense.input_shape).macs
    total = 0
    for (label, criterion), allocate, multiple in product(CRITERIA.items(), ("global", "local"), multiples):
        scores = score_channels(module, criterion, able)
        along = path(able, scores, allocate=allocate, round_to=multiple, comparable=criterion.comparable)
        macs = []
        for ratio in RATIOS:
            cut = cut_channels(dense, along.removed(along.widths[along.point(float(ratio))]), name="cut")
            macs.append(profile(build(cut), dense.input_shape).macs)
        rises = int((np.diff(macs) > 0).sum())
        total += rises
        cells = [f"{macs[index] / whole:.4f}" for index in shown]
        row(dense.name, len(found), sum(g.size for g in able), uncut, label, allocate, multiple, rises, *cells)
        note(f"{dense.name} {label} {allocate} {multiple}: done")
    return total
