"""Memory and time of every method: forward, backward, the rest, and the peak beyond plain inference."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest import mock

import torch
from _costs import peak_bytes
from _explain_scene import head, images_for, net_for
from _scene import columns, note, row

from bantamweight import parts
from bantamweight.explainers import explain

PLAIN = "plain inference"


def memory(options: argparse.Namespace) -> None:
    """Score-CAM of a few large images with growing batches, and with more images at one batch."""
    head(options, f"Peak memory of Score-CAM at {options.size}x{options.size}")
    columns("images", " batch", " peak MB", " MB beyond the net and its images", " seconds")
    for n, batch in [*((options.n, batch) for batch in (8, 16, 32, 64)), (2 * options.n, 8)]:
        start, most, took = _in_a_process(options, "score_cam", options.size, n, batch)
        row(n, batch, f"{most:.0f}", f"{most - start:.0f}", f"{took:.1f}")


def cost(options: argparse.Namespace) -> None:
    """Every method with its defaults, one class per image."""
    head(options, "What a method costs")
    columns("method", " size", " batch", " rows forward per image", " rows backward per image", " forward ms per image",
            " backward ms", " rest ms", " peak MB beyond plain inference")  # fmt: skip
    for size in options.sizes:
        for batch in options.batches:
            least = _in_a_process(options, PLAIN, size, batch, batch)[1]
            for name in options.use or parts.names("explainers"):
                note(f"{name}, {size}, {batch}")
                told = _measured(options, name, size, batch)
                most = _in_a_process(options, name, size, batch, batch)[1]
                row(name, size, batch, *told, round(most - least))


def _measured(options: argparse.Namespace, name: str, size: int, n: int) -> list[str]:
    """Rows and milliseconds per image in the net, forward and backward, and outside of it."""
    net, x = net_for(options, size), images_for(options, size, n)
    method = parts.configure("explainers", name).make()
    if (reason := method.undefined(net, x)) is not None:
        return [f"undefined: {reason}"[:60], "", "", "", ""]
    clock: dict[str, Any] = {"forward": 0.0, "backward": 0.0, "in": 0, "out": 0, "since": 0.0}

    def before(_module: Any, given: Any) -> None:
        clock["in"] += len(given[0])
        clock["since"] = perf_counter()

    def after(_module: Any, _given: Any, _out: Any) -> None:
        clock["forward"] += perf_counter() - clock["since"]

    net.register_forward_pre_hook(before)
    net.register_forward_hook(after)
    with mock.patch.object(torch.autograd, "grad", _timed(torch.autograd.grad, clock)):
        started = perf_counter()
        explain(method, net, x, batch=n)
        whole = perf_counter() - started
    rest = whole - clock["forward"] - clock["backward"]
    rows = [f"{clock['in'] / n:.1f}", f"{clock['out'] / n:.1f}"]
    return rows + [f"{1000 * value / n:.1f}" for value in (clock["forward"], clock["backward"], rest)]


def _timed(grad: Callable[..., Any], clock: dict[str, Any]) -> Callable[..., Any]:
    inside = False

    def call(output: Any, leaf: Any, *more: Any, **named: Any) -> Any:
        nonlocal inside
        if inside:  # under a mode that rewrites calls it is called by itself
            return grad(output, leaf, *more, **named)
        inside, started = True, perf_counter()
        try:
            return grad(output, leaf, *more, **named)
        finally:
            inside = False
            clock["backward"] += perf_counter() - started
            clock["out"] += len(leaf)

    return call


def peak(options: argparse.Namespace) -> None:
    """In a process of its own: megabytes with net and images, megabytes at most, seconds."""
    net, x = net_for(options), images_for(options)
    start, began = peak_bytes(), perf_counter()
    name = (options.use or [PLAIN])[0]
    if name == PLAIN:
        with torch.no_grad():
            net(x)
    else:
        explain(name, net, x, batch=options.batch)
    print(f"{start / 1e6:.1f} {peak_bytes() / 1e6:.1f} {perf_counter() - began:.2f}")


def _in_a_process(options: argparse.Namespace, name: str, size: int, n: int, batch: int) -> list[float]:
    program = [sys.executable, str(Path(__file__).with_name("explainers.py")), "peak", "--model", options.model]
    program += ["--use", name, "--size", str(size), "--n", str(n), "--batch", str(batch)]
    program += ["--threads", str(torch.get_num_threads())]
    program += ["--weights", str(options.weights)] if options.weights else []
    said = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [float(word) for word in said.split()[-3:]]
