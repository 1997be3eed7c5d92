"""What the attack benchmarks share: nets and images, the oracle, clocks, and how rows are printed."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from bantamweight.loading import load_model
from bantamweight.machine import describe, versions
from bantamweight.oracle import Oracle, oracle
from bantamweight.predict import logits_of
from bantamweight.recipes.evaluate import judged_images
from bantamweight.types import Images, Labels
from bantamweight.variants import Variant, build

T = TypeVar("T")

BUDGETS = {
    "resnet20": ("linf 8/255", "l2 0.5", "l1 12"),
    "resnet2b": ("linf 2/255", "l2 0.25", "l1 6"),
}
"""The threats each net is judged under."""

WHOLE = 8000
"""Images in the test."""


@dataclass(frozen=True)
class Scene:
    """A net and the images it is attacked on; `right` are those that it gets right in float32."""

    name: str
    module: nn.Module
    images: Images
    labels: Labels
    right: np.ndarray
    device: torch.device

    def __len__(self) -> int:
        return len(self.labels)

    def stands(self, adversarial: Images) -> np.ndarray:
        """Which images are right before and still right on their adversarial ones, in float32."""
        return self.right & _right(self.module, adversarial, self.labels, self.device)


def shared() -> Path:
    """The folder with `data/` and `models/`: beside BANTAM_DATA, or `../shared` beside the checkout."""
    home = os.environ.get("BANTAM_DATA")
    folder = Path(home).parent if home else Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        raise SystemExit("real images are absent: set BANTAM_DATA to the folder that holds cifar10")
    return folder


def variant(name: str) -> Variant:
    """`resnet20` and `resnet2b` with the public weights; anything else as `load_model` takes it."""
    models = shared() / "models"
    if name == "resnet20":
        return load_model(name, weights=models / "resnet20.safetensors")
    return load_model(models / "resnet2b.pt2" if name == "resnet2b" else name)


def scene(name: str, options: argparse.Namespace) -> Scene:
    """A net and the first `--n` images of the CIFAR-10 (JPEG) test."""
    net, device = variant(name), torch.device(options.device)
    _, split, _ = judged_images(net, str(shared() / "data" / "cifar10" / "test.parquet"), n=options.n)
    module, images, labels = build(net).to(device), split.floats(), split.labels.long()
    return Scene(name, module, images, labels, _right(module, images, labels, device), device)


def _right(module: nn.Module, images: Images, labels: Labels, device: torch.device) -> np.ndarray:
    said: np.ndarray = (logits_of(module, images.to(device)).argmax(dim=1).cpu() == labels).numpy()
    return said


def threats(name: str, options: argparse.Namespace) -> Sequence[str]:
    """Those asked for, else the net's own."""
    return options.threat or BUDGETS.get(name, BUDGETS["resnet20"])


def asked(of: Scene, options: argparse.Namespace, **switches: Any) -> Oracle:
    """A new oracle; unless said otherwise its gradients are what `robustness` would take: bf16 where there is one."""
    return oracle(of.module, device=of.device, **{"precision": precision(options), **switches})


def precision(options: argparse.Namespace) -> str:
    """Of our gradients."""
    said: str | None = options.precision
    return said or ("bf16" if options.device != "cpu" or "BF16" in str(describe()) else "fp32")


def clock(call: Callable[[], T], device: torch.device) -> tuple[float, T]:
    """Seconds that a call takes, and what it returns."""
    wait = torch.cuda.synchronize if device.type == "cuda" else int
    wait()
    started = time.perf_counter()
    answer = call()
    wait()
    return time.perf_counter() - started, answer


def interleaved(calls: dict[str, Callable[[int], T]], repeats: int) -> dict[str, list[T]]:
    """Every call once, then every call again: whatever the machine does meanwhile, it does to all of them."""
    found: dict[str, list[T]] = {name: [] for name in calls}
    for repeat in range(repeats):
        for name, call in calls.items():
            started = time.perf_counter()
            found[name].append(call(repeat))
            note(f"run {repeat + 1} of {repeats}, {name}: {time.perf_counter() - started:.1f} s")
    return found


def head(options: argparse.Namespace, title: str, libraries: Iterable[str] = (), gradients: str = "") -> None:
    """When, where and with what: the lines above a table; what `gradients` ours are, where not as `options` say."""
    load = f"load at start {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    with_what = ", ".join([versions(["torch", "numpy", "bantamweight"]), *libraries])
    where = f"{describe()}; {torch.get_num_threads()} threads; {load}"
    if options.device != "cpu":
        where += f"; {torch.cuda.get_device_name()}"
    print(f"\n## {title}\n\n`{_command()}`\n")
    print(
        f"{date.today().isoformat()}; {where}; {with_what}; {gradients or f'our gradients in {precision(options)}'}",
        end="; ",
    )
    print(f"n = {options.n}\n", flush=True)


def _command() -> str:
    """The command line, without the folders of this machine."""
    words, skipping = ["python benchmarks/attacks.py"], False
    for word in sys.argv[1:]:
        skipping = (skipping or word == "--peers") and (word == "--peers" or not word.startswith("--"))
        words += [] if skipping else [f"'{word}'" if " " in word else word]
    return " ".join(words)


def columns(*names: str) -> None:
    """The head of a table; a name that begins with a blank is a column of numbers."""
    print("| " + " | ".join(name.strip() for name in names) + " |")
    print("|" + "|".join("---:" if name.startswith(" ") else "---" for name in names) + "|", flush=True)


def row(*cells: object) -> None:
    """One line of a table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def note(text: str) -> None:
    """Progress, beside the tables."""
    print(text, file=sys.stderr, flush=True)


def spread(values: Sequence[float]) -> str:
    """The median, and the least and most where there are several."""
    middle = f"{np.median(values):.2f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.2f} to {max(values):.2f})"


def share(one: Sequence[float], other: Sequence[float]) -> str:
    """The ratio of two medians, as a fraction where it is one."""
    ratio = float(np.median(one) / np.median(other))
    return f"{ratio:.3f} (1/{1 / ratio:.1f})" if ratio < 1 else f"{ratio:.3f}"
