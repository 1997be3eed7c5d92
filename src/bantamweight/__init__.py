"""Bantamweight: make image classifiers light, hard to fool and legible, and prove each claim.

Everything the command `bantam` does is a function here; nothing heavy is imported before it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bantamweight.lazy import lazy

__version__ = "0.1.0"

_HOMES = {
    "InputError": "errors",
    "Fact": "facts",
    "load_data": "data:load",
    "load_model": "loading",
    "load_facts": "facts:load",
    "build": "variants",
    "save": "variants",
    "load_variant": "variants:load",
    "profile": "models._profile",
    "bench": "recipes.bench",
    "evaluate": "recipes.evaluate",
    "export": "recipes.export",
    "fresh": "training",
    "objectives": "parts",
    "pruning": "parts",
    "train": "training",
    "compress": "recipes.compress",
    "prune": "recipes.prune",
    "lottery": "recipes.lottery",
    "attack": "recipes.attack",
    "robustness": "recipes.robustness",
    "attack_shipped": "recipes.shipped",
    "cascade": "attacks._cascade",
    "eot": "attacks._wrappers",
    "bpda": "attacks._wrappers",
    "shipped_oracle": "recipes.shipped",
    "load_coded": "compression",
    "rounded": "compression",
    "save_coded": "compression",
    "linf": "threats",
    "l2": "threats",
    "l1": "threats",
    "l0": "threats",
    "explain": "explainers",
    "run": "studies",
    "Store": "studies",
    "clean": "studies",
    "report": "reports",
    "list_parts": "listing:described",
}

if TYPE_CHECKING:
    from bantamweight.attacks._cascade import cascade
    from bantamweight.attacks._wrappers import bpda, eot
    from bantamweight.compression import load_coded, rounded, save_coded
    from bantamweight.data import load as load_data
    from bantamweight.errors import InputError
    from bantamweight.explainers import explain
    from bantamweight.facts import Fact
    from bantamweight.facts import load as load_facts
    from bantamweight.listing import described as list_parts
    from bantamweight.loading import load_model
    from bantamweight.models._profile import profile
    from bantamweight.parts import objectives, pruning
    from bantamweight.recipes.attack import attack
    from bantamweight.recipes.bench import bench
    from bantamweight.recipes.compress import compress
    from bantamweight.recipes.evaluate import evaluate
    from bantamweight.recipes.export import export
    from bantamweight.recipes.lottery import lottery
    from bantamweight.recipes.prune import prune
    from bantamweight.recipes.robustness import robustness
    from bantamweight.recipes.shipped import attack_shipped, shipped_oracle
    from bantamweight.reports import report
    from bantamweight.studies import Store, clean, run
    from bantamweight.threats.l0 import l0
    from bantamweight.threats.l1 import l1
    from bantamweight.threats.l2 import l2
    from bantamweight.threats.linf import linf
    from bantamweight.training import fresh, train
    from bantamweight.variants import build, save
    from bantamweight.variants import load as load_variant

__all__ = [
    "Fact",
    "InputError",
    "Store",
    "__version__",
    "attack",
    "attack_shipped",
    "bench",
    "bpda",
    "build",
    "cascade",
    "clean",
    "compress",
    "eot",
    "evaluate",
    "explain",
    "export",
    "fresh",
    "l0",
    "l1",
    "l2",
    "linf",
    "list_parts",
    "load_coded",
    "load_data",
    "load_facts",
    "load_model",
    "load_variant",
    "lottery",
    "objectives",
    "profile",
    "prune",
    "pruning",
    "report",
    "robustness",
    "run",
    "rounded",
    "save",
    "save_coded",
    "shipped_oracle",
    "train",
]

__getattr__, __dir__ = lazy(__name__, _HOMES)
