"""Does depth alone hurt, and do shortcuts mend it? Plain and residual nets of 20 and 56 layers; ReLU, sigmoid, tanh.

    BANTAM_DATA=FOLDER OMP_NUM_THREADS=2 python benchmarks/degradation.py OUT [--only plain56 resnet56] \
        --record benchmarks/degradation.jsonl

CIFAR-10 (JPEG) at 16x16 pixels: 4,000 training and 2,000 test images, 18 epochs, three seeds; the same images, order
and recipe for every net, convolutions drawn as He et al. draw them. Each finished run is a file OUT/NAME-SEED.json, so
a killed study goes on where it was. A run holds, for every epoch, loss and accuracy on the training images (as the
weights moved) and on the test images, and for every layer the mean norm of its weights' gradient over the epoch's
steps. When all runs are there, a Markdown table is printed: median and range over seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from bantamweight.data import Data, Split, load
from bantamweight.machine import describe, versions
from bantamweight.models._forms import he_initialised
from bantamweight.parts import configure
from bantamweight.predict import logits_of
from bantamweight.training import train

PLAIN, BARE = 0.1, 0.02
"""Rates with batch norm and without, where a larger one diverges."""
NETS: dict[str, tuple[dict[str, Any], float]] = {
    "plain20": ({"use": "plain20"}, PLAIN),
    "resnet20": ({"use": "resnet20"}, PLAIN),
    "plain56": ({"use": "plain56"}, PLAIN),
    "resnet56": ({"use": "resnet56"}, PLAIN),
    "plain20-sigmoid": ({"use": "plain20", "activation": "sigmoid"}, PLAIN),
    "plain20-tanh": ({"use": "plain20", "activation": "tanh"}, PLAIN),
    "plain20-bare": ({"use": "plain20", "batch_norm": False}, BARE),
    "plain20-bare-sigmoid": ({"use": "plain20", "activation": "sigmoid", "batch_norm": False}, BARE),
    "plain20-bare-tanh": ({"use": "plain20", "activation": "tanh", "batch_norm": False}, BARE),
}
"""`bare` is without batch norm, as nets were when the activations were first compared."""


class Gradients:
    """Norms of the gradients of convolutions and linear layers, step by step, of whatever copy of a net is trained."""

    def __init__(self) -> None:
        self.norms: dict[str, list[float]] = defaultdict(list)
        self._watched: set[int] = set()

    def watch(self, module: nn.Module) -> None:
        """Called before every forward pass; what is in training is hooked when it first runs."""
        if not module.training or id(module) in self._watched:
            return
        self._watched.add(id(module))
        for name, layer in module.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.weight.register_post_accumulate_grad_hook(self._noting(name))

    def _noting(self, name: str) -> Any:
        def note(weight: Tensor) -> None:
            assert weight.grad is not None
            self.norms[name].append(float(weight.grad.norm()))

        return note

    def per_epoch(self, epochs: int) -> dict[str, list[float]]:
        """The mean over the steps of each epoch; layers as backward reaches them, the last first."""
        return {name: torch.tensor(steps).view(epochs, -1).mean(1).tolist() for name, steps in self.norms.items()}


def subset(images: int, tests: int) -> Data:
    """The first images of the shuffled training split, and of the test split; both without a validation split."""
    data = load({"use": "cifar10_jpeg", "size": 16, "val": 0.0})
    training, test = data.splits["train"], data.splits["test"]
    order = torch.randperm(len(training), generator=torch.Generator().manual_seed(0))[:images]
    return replace(data, splits={"train": taken(training, order), "val": taken(test, torch.arange(tests))})


def taken(split: Split, rows: Tensor) -> Split:
    """Some rows of a split."""
    return Split(split.images[rows], split.labels[rows], tuple(split.names[row] for row in rows.tolist()))


def made(spec: dict[str, Any], data: Data, seed: int) -> nn.Module:
    """The net with its first weights, which follow from the seed."""
    pixels = data.splits["train"].images.float() / 255
    mean, std = pixels.mean((0, 2, 3)).tolist(), pixels.std((0, 2, 3)).tolist()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = configure("models", {**spec, "size": 16, "mean": mean, "std": std}).make()
        return he_initialised(net)


def run(name: str, data: Data, seed: int, epochs: int) -> dict[str, Any]:
    """One training and all that was seen of it."""
    spec, rate = NETS[name]
    net, gradients = made(spec, data, seed), Gradients()
    # A function, because training copies the net, its hooks and their objects with it, but no functions.
    hook = net.register_forward_pre_hook(lambda module, _: gradients.watch(module))
    started, load_before = time.perf_counter(), os.getloadavg()[0]
    recipe = {"optimizer": "sgd", "rate": rate, "weight_decay": 1e-4, "schedule": "one_cycle"}
    recipe |= {"batch": 128, "precision": "fp32"}
    trained = train(net, data, epochs=epochs, seed=seed, **recipe)
    seconds = time.perf_counter() - started
    hook.remove()
    net.load_state_dict(dict(trained.last))
    training = data.splits["train"]
    right = int((logits_of(net.eval(), training.images).argmax(1) == training.labels).sum())
    rows = [
        {"epoch": row.epoch, "split": row.split, "loss": row.loss, "right": row.right, "n": row.n}
        for row in trained.history
    ]
    return {
        "net": name,
        "seed": seed,
        "epochs": epochs,
        "recipe": {**recipe, **spec},
        "seconds": seconds,
        "load": load_before,
        "machine": str(describe()),
        "versions": versions(["torch"]),
        "train_right": right,
        "train_n": len(training),
        "history": rows,
        "gradients": gradients.per_epoch(epochs),
    }


def table(found: Sequence[dict[str, Any]]) -> str:
    """A line per net: final accuracies, and how the gradient of the first layer compares with that of the last."""
    lines = [
        "| net | seeds | train accuracy | test accuracy | loss | first / last gradient, at first | at last | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in NETS:
        ours = [one for one in found if one["net"] == name]
        if not ours:
            continue
        last = {
            split: [[row for row in one["history"] if row["split"] == split][-1] for one in ours]
            for split in ("train", "val")
        }
        ratios = [[ratio(one["gradients"], epoch) for one in ours] for epoch in (0, -1)]
        cells = [
            spread([one["train_right"] / one["train_n"] for one in ours], "{:.1%}"),
            spread([row["right"] / row["n"] for row in last["val"]], "{:.1%}"),
            spread([row["loss"] for row in last["train"]], "{:.3f}"),
            *(spread(each, "{:.3g}") for each in ratios),
            spread([one["seconds"] for one in ours], "{:.0f}"),
        ]
        lines.append(f"| {name} | {len(ours)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def curves(found: Sequence[dict[str, Any]], shown: int = 6) -> str:
    """Accuracy through training: median over seeds on the images trained on, and on those of the test."""
    epochs = max(one["epochs"] for one in found)
    at = [max(1, round(epochs * part / shown)) for part in range(shown + 1)]
    lines = ["| net, on | " + " | ".join(f"epoch {epoch}" for epoch in at) + " |", "| --- |" + " ---: |" * len(at)]
    for name in dict.fromkeys(one["net"] for one in found):
        for split, said in (("train", "training"), ("val", "test")):
            runs = [[row for row in one["history"] if row["split"] == split] for one in found if one["net"] == name]
            medians = [median(rows[epoch - 1]["right"] / rows[epoch - 1]["n"] for rows in runs) for epoch in at]
            lines.append(f"| {name}, {said} | " + " | ".join(f"{value:.1%}" for value in medians) + " |")
    return "\n".join(lines)


def recorded(found: Sequence[dict[str, Any]]) -> str:
    """A line of JSON per run: right by epoch, and of each layer the mean norm of its gradient by epoch."""
    lines = []
    for one in found:
        right = {split: [row["right"] for row in one["history"] if row["split"] == split] for split in ("train", "val")}
        norms = {name: [float(f"{value:.3g}") for value in values] for name, values in one["gradients"].items()}
        about = {key: one[key] for key in ("net", "seed", "epochs", "recipe", "seconds", "machine")}
        lines.append(json.dumps({**about, "right": right, "gradients": norms}, separators=(",", ":")))
    return "\n".join(lines) + "\n"


def ratio(gradients: dict[str, list[float]], epoch: int) -> float:
    """Norm at the first convolution over that at the linear layer."""
    first = next(name for name in gradients if name in ("conv1", "stem.0"))
    return gradients[first][epoch] / max(gradients["linear"][epoch], 1e-30)


def spread(values: Sequence[float], form: str) -> str:
    """Median (least to most)."""
    low, middle, high = (form.format(value) for value in (min(values), median(values), max(values)))
    return f"{middle} ({low} to {high})"


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--tests", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("--record", type=Path, help="a file for every curve of every run")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    data = None
    found = []
    # Seed by seed, so that a study cut short has seen every net.
    for seed in options.seeds:
        for name in options.only:
            path = options.out / f"{name}-{seed}.json"
            if not path.is_file():
                data = data or subset(options.images, options.tests)
                aside = path.with_suffix(".unfinished")
                aside.write_text(json.dumps(run(name, data, seed, options.epochs)))
                aside.replace(path)
            found.append(json.loads(path.read_text()))
            print(f"{name} {seed}: {found[-1]['seconds']:.0f} s", flush=True)
    print(f"\n{date.today().isoformat()}; {describe()}; {torch.get_num_threads()} threads; {versions(['torch'])}\n")
    print(table(found))
    print(f"\n{curves(found)}")
    if options.record:
        options.record.write_text(recorded(found))


if __name__ == "__main__":
    main()
