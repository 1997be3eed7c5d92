"""Where training runs and at what precision, and how the caller's random state stays out of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
from lightning_fabric import Fabric

from bantamweight.errors import InputError
from bantamweight.machine import describe
from bantamweight.rng import stream

__all__ = [
    "Accelerator",
    "Precision",
    "fabric_for",
    "isolated",
    "leave",
    "own_port",
    "precision_for",
    "seed_step",
    "seeded",
]

Accelerator = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16"]


def fabric_for(accelerator: Accelerator, devices: int, precision: Precision) -> Fabric:
    """A Fabric on the asked accelerator; several devices train as processes of their own (DDP).

    Raises InputError when the machine does not have what was asked for.
    """
    kind = "bf16-mixed" if precision_for(accelerator, precision) == "bf16" else "32-true"
    strategy = "ddp_spawn" if devices > 1 else "auto"
    try:
        with _quiet():
            return Fabric(accelerator=accelerator, devices=devices, strategy=strategy, precision=kind)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"this machine can't train on {devices} x {accelerator!r} ({_sentence(error)}); use accelerator='auto'"
        ) from error


@contextmanager
def own_port() -> Iterator[None]:
    """Inside, processes may be launched; afterwards MASTER_PORT is as it was.

    Fabric leaves there the port at which its processes met. The next training of this process, and any in processes
    that it starts, would meet at the same one, and two meetings at one port wait for each other's guests.
    """
    before = os.environ.get("MASTER_PORT")
    try:
        yield
    finally:
        os.environ.pop("MASTER_PORT", None)
        if before is not None:
            os.environ["MASTER_PORT"] = before


@contextmanager
def _quiet() -> Iterator[None]:
    """Fabric announces its precision on stderr."""
    logger = logging.getLogger("lightning_fabric")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _sentence(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__


def leave(fabric: Fabric) -> None:
    """Part from the other processes of a training once all have got here.

    A process that ends with its group still open aborts when a thread of the group outlives the interpreter; torch asks
    for this call (torch.distributed, "Shutdown").
    """
    fabric.barrier()
    torch.distributed.destroy_process_group()


def precision_for(accelerator: Accelerator, precision: Precision) -> Literal["fp32", "bf16"]:
    """What `auto` comes to: bf16 (autocast, float32 weights) where the hardware multiplies it itself."""
    if precision != "auto":
        return precision
    if accelerator in ("auto", "cuda") and torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    on_mps = accelerator in ("auto", "mps") and torch.backends.mps.is_available()
    return "bf16" if not on_mps and _processor_has_bf16() else "fp32"


def _processor_has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 itself; emulated, it is slower than float32."""
    return torch.backends.mkldnn.is_available() and bool({"AMX", "AVX-512 BF16"} & set(describe().features))


@contextmanager
def isolated(device: torch.device) -> Iterator[None]:
    """Leaves torch's global generators (of the CPU and the device) and cuDNN's switches as they were."""
    before = torch.get_rng_state()
    accelerator = None if device.type == "cpu" else torch.get_device_module(device)
    before_there = accelerator.get_rng_state() if accelerator else None
    # Without fixed kernels, a resumed process may take others than the one that was killed.
    fixed = torch.backends.cudnn.flags(enabled=True, deterministic=True) if device.type == "cuda" else nullcontext()
    try:
        with fixed:
            yield
    finally:
        torch.set_rng_state(before)
        if accelerator:
            accelerator.set_rng_state(before_there)


def seed_step(device: torch.device, seed: int, *words: int | str) -> None:
    """Seed what dropout draws from; only within `isolated`.

    Not `torch.manual_seed`, which would also seed every accelerator that is not ours.
    """
    value = stream(seed, *words)
    torch.default_generator.manual_seed(value)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(value)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, torch's global generator of the CPU starts from `seed`; afterwards it is as it was.

    To build a module whose initial weights depend on a seed alone.

    >>> before = torch.get_rng_state()
    >>> with seeded(0): first = torch.nn.Linear(2, 2)
    >>> with seeded(0): second = torch.nn.Linear(2, 2)
    >>> bool((first.weight == second.weight).all()), bool((torch.get_rng_state() == before).all())
    (True, True)
    """
    device = torch.device("cpu")
    with isolated(device):
        seed_step(device, seed, "initial weights")
        yield
