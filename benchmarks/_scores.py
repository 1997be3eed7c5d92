"""Where the truth is known: nets trained here on planted objects, the check of the parameters, who finds the object."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import date
from time import perf_counter

import torch
from _scene import columns, note, row
from torch import Tensor, nn

from bantamweight.data import load
from bantamweight.explainers._core import Explainer, Heat
from bantamweight.facts import Fact
from bantamweight.machine import describe, versions
from bantamweight.parts import configure
from bantamweight.recipes.evaluate import evaluate
from bantamweight.recipes.scores import GIVEN, score_maps
from bantamweight.training import fresh, train
from bantamweight.variants import build

METHODS = ("gradient", "smooth_grad", "integrated_gradients", "input_x_gradient", "grad_cam", "layer_cam",
           "guided_backprop")  # fmt: skip
METRICS = ("mprt", *GIVEN, "deletion", "insertion", "road")
LOWER = ("localisation_error",)
DATA = {"use": "planted", "train": 2500, "val": 200, "test": 300}


def scores(options: argparse.Namespace) -> None:
    """One net per seed: how long it trains, which methods pass, and how every map localises beside the mask itself."""
    _head(options)
    for seed in options.seeds:
        note(f"seed {seed}")
        _one(options, seed)


def _one(options: argparse.Namespace, seed: int) -> None:
    data = load({**DATA, "size": options.size})
    began = perf_counter()
    variant = train(
        fresh(options.model, data, seed=seed), data, epochs=options.epochs, rate=5e-3, seed=seed
    ).variant  # fmt: skip
    took = perf_counter() - began
    accuracy = evaluate(variant, {**DATA, "size": options.size}).accuracy
    print(f"\n### {options.model}, seed {seed}: trained in {took:.0f} s, {accuracy:.1%} of the test right\n")
    split = data.splits["test"].take(slice(0, options.n))
    assert split.masks is not None
    images = split.floats()
    methods = [configure("explainers", name).make() for name in options.use or METHODS]
    metrics = [configure("metrics", name).make() for name in options.metrics or METRICS]
    net = build(variant)
    found = score_maps(
        net, images, split.labels, [_truth(split.masks, images), *methods], metrics,
        objects=split.masks, seed=seed, heard=lambda _, text: note(text),
    )  # fmt: skip
    _table(list(found.facts), [metric.name for metric in metrics])
    _verdicts(list(found.facts))


def _truth(masks: Tensor, images: Tensor) -> Explainer:
    """The planted mask as a method: what every method should come to and none can beat."""
    keys = {image.numpy().tobytes(): mask.float() for image, mask in zip(images, masks, strict=True)}
    nothing = torch.zeros(masks.shape[1:])

    def planted_mask(_module: nn.Module, rows: Tensor, classes: Tensor, _layer: str | None) -> Heat:
        maps = torch.stack([keys.get(one.numpy().tobytes(), nothing) for one in rows])
        return Heat(maps[:, None].expand(-1, classes.shape[1], -1, -1).clone())

    return Explainer("planted_mask", planted_mask)


def _table(facts: Sequence[Fact], metrics: Sequence[str]) -> None:
    columns("maps", *(f" {name}" for name in metrics), " check of the parameters")
    cells = {(fact.item, fact.metric): fact for fact in facts if not fact.against and fact.step is None}
    for item in dict.fromkeys(fact.item for fact in facts):
        gate = cells.get((item, "mprt_failed"))
        told = [_said(cells.get((item, f"map_{name}"))) for name in metrics]
        row(
            item,
            *told,
            "" if gate is None else "not shown" if gate.value is None else "fails" if gate.value else "passes",
        )


def _said(fact: Fact | None) -> str:
    if fact is None or fact.value is None:
        return "-"
    ends = "" if fact.low is None else f" [{fact.low:.2f}, {fact.high:.2f}]"
    return f"{fact.value:.3f}{ends}"


def _verdicts(facts: Sequence[Fact]) -> None:
    """Whether the mask is above every method, and the random map below, by each localisation metric."""
    print()
    for name in GIVEN:
        sign = -1.0 if name in LOWER else 1.0
        values = {
            fact.item: sign * (fact.value or 0.0)
            for fact in facts
            if fact.metric == f"map_{name}" and fact.value is not None
        }
        others = {item: value for item, value in values.items() if item not in ("planted_mask", "random_map")}
        above = all(values["planted_mask"] >= value for value in others.values())
        below = [item for item, value in others.items() if value <= values["random_map"]]
        said = f"below all: {'yes' if not below else 'no, not below ' + ', '.join(below)}"
        print(f"- {name}: nothing above the planted mask: {'yes' if above else 'no'}; the random map {said}")
    print(flush=True)


def _head(options: argparse.Namespace) -> None:
    print(f"\n## Scores where the truth is known\n\n`python benchmarks/explainers.py {' '.join(sys.argv[1:])}`\n")
    where = f"{describe()}; {torch.get_num_threads()} threads; load at start {os.getloadavg()[0]:.1f}"
    print(f"{date.today().isoformat()}; {where}; {versions(['torch', 'numpy', 'bantamweight'])}")
    print(f"{options.model} trained for {options.epochs} epochs on planted objects ({DATA['train']} images); "
          f"n = {options.n} of the test", flush=True)  # fmt: skip
