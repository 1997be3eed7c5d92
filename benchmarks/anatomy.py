"""Training memory as replayed and as measured, and where each layer lies under this machine's roof.

    OMP_NUM_THREADS=2 python benchmarks/anatomy.py [--only alexnet vgg16 resnet50] [--batch 4]

At 224 pixels and 1,000 classes. Memory: the peak that `training_memory` replays without computing, and the most that
was resident in a process that trained two steps, beyond what it took before; a shared machine does not change them.
Roofline: the machine's best matrix rate and copying bandwidth, and for each net the share of its time in layers that
reach at least half of what their FLOPs per byte allow; nothing else may use the machine meanwhile.
"""

from __future__ import annotations

import argparse
import os
from datetime import date

import torch

from bantamweight.loading import untrained
from bantamweight.machine import describe, versions
from bantamweight.models._anatomy import anatomy
from bantamweight.models._memory import training_memory
from bantamweight.recipes.peak import measured_peak
from bantamweight.runtimes._roofline import layer_times, measure_roof
from bantamweight.variants import build

SHAPE = (3, 224, 224)


def memory(names: list[str], batch: int, threads: int) -> None:
    """A row per net and optimizer."""
    print("| net | batch | optimizer | weights | gradients | optimizer's | activations | replayed | measured | ratio |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in names:
        variant = untrained(name, size=224, classes=1000)
        module = build(variant)
        for optimizer in ("sgd", "momentum", "adamw"):
            said = training_memory(module, SHAPE, batch=batch, optimizer=optimizer)
            peak = measured_peak(variant, batch=batch, optimizer=optimizer, threads=threads)
            parts = (said.weights, said.gradients, said.optimizer, said.activations, said.peak, peak)
            cells = " | ".join(f"{part / 1e6:.0f} MB" for part in parts)
            print(f"| {name} | {batch} | {optimizer} | {cells} | {said.peak / peak:.3f} |", flush=True)


def roofline(names: list[str], threads: int) -> None:
    """A row per net."""
    roof = measure_roof(threads=threads, seconds=4.0)
    print(
        f"\n{roof.flops / 1e9:.0f} GFLOP/s, {roof.bandwidth / 1e9:.1f} GB/s, ridge at {roof.ridge:.1f} FLOPs per byte\n"
    )
    print("| net | sum of layers | least possible | layers at half of what they can | their share of time |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in names:
        module = build(untrained(name, size=224, classes=1000))
        rows = anatomy(module, SHAPE).layers
        times = layer_times(module, SHAPE, threads=threads)
        pairs = [(row, one.seconds) for row, one in zip(rows, times, strict=True)]
        least = [roof.seconds(row.flops, row.moved_bytes) for row, _ in pairs]
        near = [took for (_, took), floor in zip(pairs, least, strict=True) if floor >= took / 2]
        whole = sum(took for _, took in pairs)
        print(
            f"| {name} | {1e3 * whole:.1f} ms | {1e3 * sum(least):.1f} ms | {len(near)} of {len(pairs)} "
            f"| {sum(near) / whole:.0%} |",
            flush=True,
        )


def main() -> None:
    """Print two Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["alexnet", "vgg16", "resnet50"])
    parser.add_argument("--batch", type=int, default=4)
    options = parser.parse_args()
    threads = torch.get_num_threads()
    said = f"{date.today().isoformat()}; {describe()}; {threads} threads; load {os.getloadavg()[0]:.1f}"
    print(f"{said}; {versions(['torch'])}\n")
    memory(options.only, options.batch, threads)
    roofline(options.only, threads)


if __name__ == "__main__":
    main()
