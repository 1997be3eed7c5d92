"""What training holds in memory at once: one step is replayed on the meta device and every tensor's life is followed.

Nothing is computed and nothing allocated, so a net that would not fit can be asked about. What a kernel holds inside
itself (a library's scratch space, a copy in another layout) is not a tensor and not counted.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from bantamweight.errors import InputError
from bantamweight.models._anatomy import ghost

__all__ = ["Optimizer", "TrainingMemory", "made", "train_step", "training_memory"]

Optimizer = Literal["sgd", "momentum", "adamw"]


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of one training step on `batch` images.

    `weights` (buffers among them), `gradients` and `optimizer` are there between steps; `activations` are kept from
    forward to backward. They need not all be there at once: `peak` is the most that is, `at_peak` what it is made of.
    """

    batch: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    peak: int
    at_peak: Mapping[str, int]

    @property
    def sum(self) -> int:
        """The four parts, as if all were there at once."""
        return self.weights + self.gradients + self.optimizer + self.activations


def training_memory(
    module: nn.Module, input_shape: tuple[int, int, int], *, batch: int = 1, optimizer: Optimizer = "sgd"
) -> TrainingMemory:
    """Memory of training on `batch` images at a time, with gradients set to None between steps.

    Raises InputError when the module can't be run without numbers, or `batch` or `optimizer` can't be.

    >>> from bantamweight.models.mlp import mlp
    >>> training_memory(mlp(), (3, 32, 32), batch=2, optimizer="adamw").gradients == 4 * 1_723_466
    True
    """
    if batch < 1 or optimizer not in get_args(Optimizer):
        raise InputError(f"expected a batch of 1 or more and one of {get_args(Optimizer)}, got {batch}, {optimizer!r}")
    double = ghost(module).train().requires_grad_(True)
    own = [*double.parameters(), *double.buffers()]
    images = torch.empty((batch, *input_shape), device="meta", dtype=next(iter(own)).dtype)
    labels = torch.zeros(batch, dtype=torch.int64, device="meta")
    lives = _Lives([*own, images, labels])
    updates = made(optimizer, double)
    try:
        with lives:
            train_step(double, updates, images, labels)
            state = [one for each in updates.state.values() for one in each.values() if isinstance(one, Tensor)]
            lives.begin()
            with lives.saving():
                loss = cross_entropy(double(images), labels)
            loss.backward()
            del loss
            gradients = [one.grad for one in own if one.grad is not None]
            kinds = {"weights": own, "gradients": gradients, "optimizer": state, "images": [images, labels]}
            named = {name: lives.of(tensors) for name, tensors in kinds.items()}
            del gradients
            updates.step()
    except (NotImplementedError, RuntimeError, ValueError) as error:
        why = str(error).strip().partition("\n")[0][:160]
        raise InputError(
            f"expected a model that trains on batches of {batch} of {input_shape}, and it raised: {why}"
        ) from error
    peak, alive = lives.peak()
    named["activations"] = lives.saved - set().union(*named.values())
    at_peak = {name: sum(lives.sizes[one] for one in alive & ones) for name, ones in named.items()}
    at_peak["working"] = peak - sum(at_peak.values())
    totals = {name: sum(lives.sizes[one] for one in ones) for name, ones in named.items()}
    return TrainingMemory(
        batch,
        weights=totals["weights"],
        gradients=totals["gradients"],
        optimizer=totals["optimizer"],
        activations=totals["activations"],
        peak=peak,
        at_peak=at_peak,
    )


def made(optimizer: Optimizer, module: nn.Module) -> torch.optim.Optimizer:
    """The optimizer by name, at rates that don't matter here."""
    if optimizer == "adamw":
        return torch.optim.AdamW(module.parameters(), lr=1e-4, foreach=False)
    return torch.optim.SGD(module.parameters(), lr=1e-4, momentum=0.9 if optimizer == "momentum" else 0, foreach=False)


def train_step(module: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    """Forward, backward and update; no gradients are left."""
    cross_entropy(module(images), labels).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


class _Lives(TorchDispatchMode):
    """When each storage came and went, while it is entered; `existing` were there before."""

    def __init__(self, existing: Sequence[Tensor]) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.saved: set[int] = set()
        self._numbers: dict[int, int] = {}
        self._events: list[tuple[int, int]] = []
        self._start = 0
        for tensor in existing:
            self._born(tensor)

    def begin(self) -> None:
        """Only what happens from here on counts as peak."""
        self._start = len(self._events)

    @contextmanager
    def saving(self) -> Any:
        """What is saved for backward inside counts as activations."""

        def pack(tensor: Tensor) -> Tensor:
            self.saved |= self.of([tensor])
            return tensor

        with saved_tensors_hooks(pack, lambda tensor: tensor):
            yield

    def of(self, tensors: Iterable[Tensor]) -> set[int]:
        """The numbers of their storages."""
        addresses = {tensor.untyped_storage()._cdata for tensor in tensors}
        return {self._numbers[one] for one in addresses if one in self._numbers}

    def peak(self) -> tuple[int, set[int]]:
        """The most bytes at once, and the storages that were there then."""
        alive: set[int] = set()
        now = most = 0
        then: int = 0
        for place, (number, sign) in enumerate(self._events):
            now += sign * self.sizes[number]
            if place >= self._start and now > most:
                most, then = now, place
        for number, sign in self._events[: then + 1]:
            (alive.add if sign > 0 else alive.discard)(number)
        return most, alive

    def _born(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address in self._numbers:
            return
        number = len(self.sizes)
        self._numbers[address] = number
        self.sizes.append(storage.nbytes())
        self._events.append((number, 1))

        def gone() -> None:
            self._numbers.pop(address, None)
            self._events.append((number, -1))

        weakref.finalize(storage, gone).atexit = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Compute, and note what is new."""
        answer = func(*args, **(kwargs or {}))
        for one in answer if isinstance(answer, tuple | list) else [answer]:
            if isinstance(one, Tensor) and one.device.type == "meta":
                self._born(one)
        return answer
