"""Training against attack measured: a row per objective and per scheme, and throughput beside a plain loop.

The rows of `benchmarks/hardening.md` come from these command lines, run from the root of the checkout:

    export BANTAM_DATA=FOLDER OMP_NUM_THREADS=1
    python benchmarks/hardening.py objectives --model simple_cnn --train 2000 --n 300 --audit 9
    python benchmarks/hardening.py schemes --model simple_cnn --train 2000 --n 300 --audit 9
    python benchmarks/hardening.py overfitting
    python benchmarks/hardening.py rho
    OMP_NUM_THREADS=2 python benchmarks/hardening.py throughput   # alone; also with --mode eval, and --batch 128

`objectives` and `schemes` train a small net on CIFAR-10 (JPEG) at eps 4/255 and judge it on the first N of the test:
clean, and by the protocol `fast` with an audit. They are there to show that each of them trains and what each costs, in
one seed and few epochs; they rank nothing. `throughput` times an epoch of PGD-AT beside the textbook loop (float32,
row-major, at its own fastest batch size), in turns, and compares what both nets are worth.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from datetime import date
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import bantamweight as bw
from bantamweight.compression import measure
from bantamweight.data import Data, load
from bantamweight.machine import describe, versions
from bantamweight.parts import configure
from bantamweight.predict import logits_of
from bantamweight.recipes._cuts import cut_to
from bantamweight.stats import wilson
from bantamweight.training import fresh, train
from bantamweight.variants import Variant, build

EPS = 4 / 255
THREAT = {"use": "linf", "eps": EPS}
BASE: dict[str, Any] = {
    "epochs": 10,
    "batch": 128,
    "optimizer": "adamw",
    "rate": 3e-3,
    "weight_decay": 0.01,
    "schedule": "one_cycle",
    "augment": ("flip", {"use": "crop", "padding": 4}),
}
PGD_AT = {"use": "pgd_at", "threat": THREAT, "steps": 5}
FAST = {"use": "fgsm_rs", "threat": THREAT}
OBJECTIVES: dict[str, dict[str, Any]] = {
    "standard": {},
    "mixed, 90% adversarial": {"objective": {"use": "mixed", "weight": 0.9, "steps": 5, "threat": THREAT}},
    "pgd_at, 5 steps": {"objective": PGD_AT},
    "trades, beta 6": {"objective": {"use": "trades", "threat": THREAT, "steps": 5}},
    "mart": {"objective": {"use": "mart", "threat": THREAT, "steps": 5}},
    "fgsm_rs with its guard": {"objective": FAST},
    "free, 4 replays": {"objective": {"use": "free", "threat": THREAT, "replays": 4}, "epochs": 3},
    "awp over pgd_at": {"objective": {"use": "awp", "objective": PGD_AT}},
    "fgsm_rs, average .99": {"objective": FAST, "average": 0.99},
    "fgsm_rs, best by robust accuracy": {"objective": FAST, "monitor": "robust_accuracy"},
    "ard of pgd_at": {"objective": {"use": "ard", "threat": THREAT, "steps": 5}},
    "rslad of pgd_at": {"objective": {"use": "rslad", "threat": THREAT, "steps": 5}},
}
SCHEMES: dict[str, dict[str, Any]] = {
    "admm, magnitude": {"use": "admm", "sparsity": 0.9},
    "admm, funnel": {"use": "admm", "sparsity": 0.9, "scheme": "funnel"},
    "admm, redundant": {"use": "admm", "sparsity": 0.9, "scheme": "redundant", "allocate": "per_layer"},
    "admm, filters": {"use": "admm", "sparsity": 0.5, "scheme": "filters"},
    "admm, channel groups": {"use": "admm", "sparsity": 0.5, "scheme": "channel_groups"},
    "admm, 2:4": {"use": "admm", "sparsity": 0.5, "scheme": "two_four"},
    "gradual, magnitude": {"use": "gradual", "sparsity": 0.9},
}
CUTS: dict[str, Any] = {
    "magnitude, tuned": "magnitude",
    "adversarial_taylor, tuned": {"use": "adversarial_taylor", "threat": THREAT},
    "hydra, tuned": {"use": "hydra", "objective": FAST, "epochs": 5},
}


def head(title: str, note: str) -> None:
    """When, where and with what."""
    print(f"\n## {title}\n\n`python benchmarks/hardening.py {' '.join(sys.argv[1:])}`\n")
    said = f"{describe()}; {torch.get_num_threads()} threads; load at start {os.getloadavg()[0]:.1f}"
    print(f"{date.today().isoformat()}; {said}; {versions(['torch', 'bantamweight'])}; {note}\n")


def columns(*names: str) -> None:
    """The head of a table; a name that begins with a blank is a column of numbers."""
    print("| " + " | ".join(name.strip() for name in names) + " |")
    print("|" + "|".join("---:" if name.startswith(" ") else "---" for name in names) + "|", flush=True)


def share(right: int, n: int) -> str:
    """Percent, with its interval."""
    low, high = wilson(right, n)[:2]
    return f"{right / n:.1%} ({low:.1%} to {high:.1%})"


def photographs(options: argparse.Namespace) -> Data:
    """The images that everything here is trained on."""
    return load({"use": "cifar10_jpeg", "train": options.train, "val": 0.1})


def judged(variant: Variant, data: Data, options: argparse.Namespace) -> tuple[str, str, str]:
    """Clean and robust accuracy on the first test images, and what the audit says."""
    split = data.splits["test"].take(slice(0, options.n))
    net = build(variant)
    clean = int((logits_of(net, split.images).argmax(dim=1) == split.labels).sum())
    images, audited = split.floats(slice(0, options.n)), options.audit
    answer = bw.robustness(net, images, split.labels, "linf 4/255", audit=audited)
    said = answer.summary()
    audit = said.get("audit") or {}
    fell = f"{audit.get('broken', 0)} of {audit.get('n', 0)}"
    return share(clean, options.n), share(said["robust"]["correct"], options.n), fell


def objectives(options: argparse.Namespace) -> None:
    """A row per objective; students are taught by the net that `pgd_at` made."""
    data = photographs(options)
    head("Objectives", f"{options.model}, {options.train:,} training images, eps 4/255, n = {options.n}, seed 0")
    columns("objective", " epochs", " seconds", " of them attack", " clean", " under fast", "audit broke")
    teacher = None
    for name, more in OBJECTIVES.items():
        settings = {**BASE, **more}
        taught = {"teacher": teacher} if name.startswith(("ard", "rslad")) else {}
        started = time.perf_counter()
        trained = train(fresh(options.model, data, seed=0), data, **settings, **taught)
        seconds = time.perf_counter() - started
        assert trained.variant is not None
        teacher = trained.variant if name.startswith("pgd_at") else teacher
        crafting = sum(row.crafting_seconds for row in trained.history)
        clean, robust, audit = judged(trained.variant, data, options)
        crafted = f"{crafting / seconds:.0%}" if crafting else "-"
        print(
            f"| {name} | {settings['epochs']} | {seconds:.1f} | {crafted} | {clean} | {robust} | {audit} |", flush=True
        )


def schemes(options: argparse.Namespace) -> None:
    """A row per scheme inside a training against attack, and per cut of a net that was trained so before."""
    data = photographs(options)
    about = f"{options.model}, {options.train:,} training images, fgsm_rs at eps 4/255, n = {options.n}, seed 0"
    head("Schemes inside robust training", about)
    columns("scheme", " zeros", " seconds", " val before its cut", " and after", " clean", " under fast", "audit broke")
    settings = {**BASE, "objective": FAST}
    dense = None
    for name, pruning in {"dense": None, **SCHEMES}.items():
        started = time.perf_counter()
        trained = train(fresh(options.model, data, seed=0), data, **settings, compress=pruning)
        seconds = time.perf_counter() - started
        assert trained.variant is not None
        dense = trained.variant if pruning is None else dense
        measures = {key: value for row in trained.history for key, value in row.measures.items()}
        around = [measures.get(f"accuracy_{when}_cut") for when in ("before", "after")]
        _row(name, trained.variant, seconds, around, data, options)
    assert dense is not None
    for name, criterion in CUTS.items():
        rule = configure("compression", criterion).make()
        started = time.perf_counter()
        cut = cut_to(dense, rule, "sparsity", 0.9, data, name=name)
        tuned = train(cut.variant, data, **{**settings, "epochs": 5, "rate": 1e-3}).variant
        assert tuned is not None
        _row(name, tuned, time.perf_counter() - started, [None, None], data, options)


def _row(
    name: str, variant: Variant, seconds: float, around: list[float | None], data: Data, options: argparse.Namespace
) -> None:
    zeros = measure(build(variant)).sparsity
    cells = " | ".join("-" if value is None else f"{value:.1%}" for value in around)
    clean, robust, audit = judged(variant, data, options)
    print(f"| {name} | {zeros:.1%} | {seconds:.1f} | {cells} | {clean} | {robust} | {audit} |", flush=True)


def overfitting(options: argparse.Namespace) -> None:
    """FGSM without a random start at a large eps, with and without the guard."""
    data = photographs(options)
    head("Catastrophic overfitting", f"{options.model}, {options.train:,} images, eps 16/255, n = {options.n}, seed 0")
    columns("guard", " clean", " right under FGSM", " right under PGD-20", " steps of recovery by epoch")
    threat = {"use": "linf", "eps": 16 / 255}
    for every in (0, 10):
        objective = {"use": "fgsm_rs", "threat": threat, "start": "clean", "rate": 16 / 255, "every": every}
        trained = train(fresh(options.model, data, seed=0), data, **{**BASE, "epochs": 15}, objective=objective)
        assert trained.variant is not None
        split = data.splits["test"].take(slice(0, options.n))
        net = build(trained.variant)
        clean = int((logits_of(net, split.images).argmax(dim=1) == split.labels).sum())
        left = [
            int(bw.attack(net, split.floats(slice(0, options.n)), split.labels, attack, "linf 16/255").robust.sum())
            for attack in ("fgsm", {"use": "pgd", "steps": 20})
        ]
        steps = ", ".join(str(row.recovering) for row in trained.history if row.split == "train")
        cells = " | ".join(share(right, options.n) for right in (clean, *left))
        print(f"| {f'every {every} steps' if every else 'off'} | {cells} | {steps} |", flush=True)


def rho(options: argparse.Namespace) -> None:
    """How hard ADMM draws, under SGD: validation accuracy of a tenth of the weights, and of all of them."""
    data = load({"use": "cifar10_jpeg", "train": options.train})
    count = len(data.splits["val"])
    head(
        "How hard ADMM draws",
        f"{options.model}, {len(data.splits['train']):,} training images, n = {count} (val), seed 0",
    )
    columns("a tenth kept", " right (val)", " \\|W - Z\\| / \\|W\\| at the cut", " before the cut", " and after")
    sgd = {"use": "sgd", "momentum": 0.9}
    settings = {**BASE, "epochs": 8, "batch": 64, "optimizer": sgd, "rate": 0.1, "weight_decay": 5e-4}
    tenth = {"use": "admm", "sparsity": 0.9, "end": 0.6}
    ways: dict[str, Any] = {"everything kept": None}
    ways |= {f"rho = {value:g}": {**tenth, "rho": value} for value in (1e-2, 1e-3, 1e-4)}
    ways["rho = 0.001 from a quarter of the steps"] = {**tenth, "rho": 1e-3, "begin": 0.25}
    for name, compress in ways.items():
        trained = train(fresh(options.model, data, seed=0), data, **settings, compress=compress)
        rows = [row for row in trained.history if row.split == "val"]
        said = {key: value for row in trained.history for key, value in row.measures.items()}
        around = [f"{said[f'accuracy_{when}_cut']:.1%}" if said else "-" for when in ("before", "after")]
        residual = f"{said['primal_residual']:.3f}" if said else "-"
        print(f"| {name} | {share(rows[-1].right, count)} | {residual} | {' | '.join(around)} |", flush=True)


def plain(net: nn.Module, images: Tensor, labels: Tensor, batch: int, epochs: int, steps: int, mode: str) -> None:
    """The textbook loop: PGD-AT in float32 on row-major tensors, no weight meeting a gradient of the inner attack."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(epochs):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(epoch))
        for rows in order.split(batch):
            x, y = images[rows], labels[rows]
            moved = (x + torch.empty_like(x).uniform_(-EPS, EPS)).clamp(0, 1)
            net.train(mode == "train")
            for _ in range(steps):
                moved.requires_grad_(True)
                (slope,) = torch.autograd.grad(cross_entropy(net(moved), y), moved)
                moved = moved.detach() + EPS / 4 * slope.sign()
                moved = (x + (moved - x).clamp(-EPS, EPS)).clamp(0, 1)
            net.train()
            optimizer.zero_grad()
            cross_entropy(net(moved), y).backward()
            optimizer.step()


def throughput(options: argparse.Namespace) -> None:
    """Images per second of both, in turns, and what the nets are worth after as many epochs."""
    data = load({"use": "cifar10_jpeg", "train": options.train, "val": 0.0})
    split = data.splits["train"]
    images, labels = split.floats(slice(0, len(split))), split.labels
    start = fresh(options.model, data, seed=0)
    steps = options.steps

    def theirs(batch: int, rows: int, epochs: int) -> nn.Module:
        net = build(start).requires_grad_(True)
        plain(net, images[:rows], labels[:rows], batch, epochs, steps, options.mode)
        return net.eval()

    def ours(epochs: int) -> nn.Module:
        sgd = {"use": "sgd", "momentum": 0.9}
        objective = {"use": "pgd_at", "threat": THREAT, "steps": steps, "mode": options.mode}
        done = train(
            start, data, epochs=epochs, batch=options.batch, optimizer=sgd, rate=0.05, schedule="constant",
            objective=objective,
        )  # fmt: skip
        assert done.variant is not None
        return build(done.variant)

    theirs(32, 64, 1)
    taken = {batch: min(_seconds(lambda b=batch: theirs(b, 512, 1)) for _ in range(2)) for batch in (32, 64, 128, 256)}
    fastest = min(taken, key=lambda batch: taken[batch])
    ours(1)
    head(
        "Throughput of PGD-AT",
        f"{options.model}, {options.train:,} images, {steps} steps in {options.mode} mode, batch {options.batch}",
    )
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    nets: dict[str, nn.Module] = {}
    for _ in range(options.repeats):
        for name, call in (("ours", ours), ("plain", lambda epochs: theirs(fastest, len(split), epochs))):
            began = time.perf_counter()
            nets[name] = call(options.epochs)
            times[name].append(time.perf_counter() - began)
    columns("loop", " seconds", " images/s", " times as fast", " clean", " under PGD-20")
    test = data.splits["test"].take(slice(0, options.n))
    for name, took in times.items():
        clean = int((logits_of(nets[name], test.images).argmax(dim=1) == test.labels).sum())
        pgd = {"use": "pgd", "steps": 20}
        left = bw.attack(nets[name], test.floats(slice(0, options.n)), test.labels, pgd, "linf 4/255")
        rate = options.epochs * len(split) / median(took)
        ratio = median(times["plain"]) / median(took)
        said = name if name == "ours" else f"plain PyTorch, float32, batch {fastest}"
        spread = f"{median(took):.1f} ({min(took):.1f} to {max(took):.1f})"
        judged_ = f"{share(clean, options.n)} | {share(int(left.robust.sum()), options.n)}"
        print(f"| {said} | {spread} | {rate:.0f} | {ratio:.2f} | {judged_} |", flush=True)


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


COMMANDS = {
    "objectives": objectives,
    "schemes": schemes,
    "overfitting": overfitting,
    "rho": rho,
    "throughput": throughput,
}


def main() -> None:
    """Parse and run one command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--model", default=None)
    parser.add_argument("--train", type=int, default=None, help="training images")
    parser.add_argument("--n", type=int, default=1000, help="test images")
    parser.add_argument("--audit", type=int, default=29)
    parser.add_argument("--steps", type=int, default=7, help="of `throughput`")
    parser.add_argument("--mode", choices=["train", "eval"], default="train", help="of the net in the inner attack")
    parser.add_argument("--batch", type=int, default=64, help="of `throughput`, ours")
    parser.add_argument("--epochs", type=int, default=2, help="of `throughput`")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    timed = options.command == "throughput"
    options.model = options.model or ("resnet20" if timed or options.command == "rho" else "small_cnn")
    options.train = options.train or {"throughput": 1000, "rho": 5000}.get(options.command, 4000)
    COMMANDS[options.command](options)


if __name__ == "__main__":
    main()
