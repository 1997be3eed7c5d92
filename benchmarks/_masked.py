"""Models that hide their gradient, and honest ones: what the full checks say, and whether EOT and BPDA get through."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from _scene import columns, head, row, scene, threats
from torch import nn

from bantamweight.attacks._cascade import fall
from bantamweight.attacks._core import run
from bantamweight.attacks._problem import Attack
from bantamweight.attacks._wrappers import bpda, eot
from bantamweight.attacks.checks import Check, examine
from bantamweight.data.digits import digits
from bantamweight.oracle import Oracle, oracle
from bantamweight.parts import configure
from bantamweight.recipes.attack import threat as threat_of
from bantamweight.types import Images, Labels

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.attacks import masked

DIGITS = "linf 0.1"
STEPS, LOOKS = 40, 10
RANDOM = ("random layer", "random resize")
DEAD: dict[str, type[nn.Module]] = {"quantizer": masked.Quantizer, "preprocessing": masked.Outside}
"""Layers whose gradient is zero or missing, and which hardly change their input."""
NAMES: dict[str, frozenset[str]] = {
    "quantizer": frozenset({"gradient"}),
    "preprocessing": frozenset({"gradient"}),
    "scaled": frozenset({"scale"}),
    "softmax": frozenset({"logits"}),
    "random layer": frozenset({"deterministic"}),
    "random resize": frozenset({"deterministic"}),
    "stopped": frozenset({"slope"}),
    "saturated": frozenset({"slope", "gradient"}),
}
"""The checks that call a mask by its name: at least one of them must fail, whatever else does."""


@dataclass(frozen=True)
class Case:
    """A model, what it is attacked with, and the model it hides (None: it is honest)."""

    name: str
    module: nn.Module
    images: Images
    labels: Labels
    threat: str
    bare: nn.Module | None

    @property
    def kind(self) -> str:
        """Which mask it wears."""
        return self.name.rpartition(", ")[2]

    def judged(self, failed: set[str]) -> str:
        """What the failed checks come to: a mask by its right name, or an honest model that none accuses."""
        if self.bare is None:
            return "right: not accused" if not failed else "WRONG: accused"
        named = sorted(failed & NAMES[self.kind])
        wanted = " or ".join(sorted(NAMES[self.kind]))
        return f"right: {', '.join(named)}" if named else f"WRONG: wants {wanted}"


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """Five honest models, two of them adversarially trained; eight masks of a digits net, seven of each CIFAR net."""
    splits = digits().splits
    every = torch.arange(len(splits["train"].labels))
    train = splits["train"].floats(every), splits["train"].labels
    n = min(options.n, len(splits["test"].labels))
    images, labels = splits["test"].floats(torch.arange(n)), splits["test"].labels[:n]
    plain, tame = masked.trained(*train), masked.trained(*train, gain=1.0)
    tough = masked.trained(*train, eps=0.1)
    nets = {"digits net": plain, "digits net, tanh": tame, "digits net, trained on attacks": tough}
    for name, net in nets.items():
        yield Case(name, net, images, labels, DIGITS, None)
    steep = masked.trained(*train, gain=40.0)
    for name, net in {**masked.masks(plain, 64), "saturated": steep}.items():
        yield Case(name, net, images, labels, DIGITS, plain)
    for net_name in options.nets:
        of = scene(net_name, options)
        text = threats(net_name, options)[0]
        yield Case(net_name, of.module, of.images, of.labels, text, None)
        if net_name in options.mask:
            for name, net in masked.masks(of.module, of.images[0].numel()).items():
                yield Case(f"{net_name}, {name}", net, of.images, of.labels, text, of.module)


def examined(case: Case) -> list[Check]:
    """The full checks on what `fast` says of the model; without the escalation that a failed one brings about."""
    budget, asked = threat_of(case.threat), oracle(case.module)
    verdicts, _ = fall(configure("protocols", "fast").make(budget), asked, case.images, case.labels, budget)
    return examine(asked, case.images, case.labels, budget, verdicts, level="full")


def robust(asked: Oracle, case: Case, attack: Attack) -> int:
    """How many images the model still gets right."""
    return int(run(attack, asked, case.images, case.labels, threat_of(case.threat)).robust.sum())


def through(case: Case) -> str:
    """Robust images under plain Auto-PGD, under the wrapper that is made for this mask, and of the bare net."""
    kind = case.kind
    if case.bare is None or kind not in (*RANDOM, *DEAD):
        return "-"
    plain = configure("attacks", {"use": "apgd", "steps": STEPS}).make(threat_of(case.threat))
    asked = oracle(case.module)
    before, bare = robust(asked, case, plain), robust(oracle(case.bare), case, plain)
    if kind in RANDOM:
        after, how = robust(asked, case, eot(plain, LOOKS)), f"EOT x{LOOKS}"
    else:
        surrogate = bpda(case.module, DEAD[kind])
        after, how = robust(oracle(case.module, surrogate=surrogate), case, plain), "BPDA"
    return f"{before} plain, {after} {how}, {bare} bare, of {len(case.labels)}"


def main(options: argparse.Namespace) -> None:
    """One row per model; ends with exit code 1 when a mask is not called by its name or an honest model is accused."""
    head(options, "Models that hide their gradient, and honest ones: the full checks on a run of `fast`")
    columns(
        "model",
        "threat",
        "is",
        "judged",
        "failed checks",
        " passed",
        " did not run",
        "robust under Auto-PGD",
        " seconds",
    )
    wrong = 0
    for case in cases(options):
        began = time.perf_counter()
        torch.manual_seed(options.seed)  # masks draw from the global generator
        found = examined(case)
        state = [check.state for check in found]
        # The first clause of each: what was seen, without the advice.
        failed = "; ".join(f"{one.name}: {one.detail.partition(';')[0]}" for one in found if one.state == "fail")
        judged = case.judged({one.name for one in found if one.state == "fail"})
        wrong += judged.startswith("WRONG")
        row(
            *(case.name, case.threat, "honest" if case.bare is None else "masked", judged, failed or "none"),
            *(state.count("pass"), state.count("did not run"), through(case)),
            f"{time.perf_counter() - began:.1f}",
        )
    if wrong:
        raise SystemExit(f"{wrong} models are judged wrongly")
