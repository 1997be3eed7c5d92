"""The one training loop, on Lightning Fabric: forward, backward and devices are Fabric's; order and chance are ours.

Every random choice is keyed by (seed, epoch or step): the shuffle, the augmentation, what dropout drops. So the state
between two epochs is weights, optimizer tensors and the best weights, and continuing from them after a kill ends in
the same bits (same machine, threads and precision).
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bantamweight.compression._core import prunable
from bantamweight.data import Split
from bantamweight.errors import InputError
from bantamweight.parts import Part, find
from bantamweight.predict import logits_of
from bantamweight.training._checkpoint import (
    Checkpoint,
    Standing,
    clear,
    fill_optimizer,
    optimizer_tensors,
    read,
    write,
)
from bantamweight.training._curves import Curves
from bantamweight.training._device import isolated, leave, seed_step
from bantamweight.training._epochs import batches, count
from bantamweight.training._settings import Settings
from bantamweight.training._values import Objective, Pruning, Row, Span, Step

__all__ = ["Job", "fit"]


@dataclass(frozen=True)
class Job:
    """All that a training process needs; picklable, so that it can be sent to one process per device.

    `module` carries the modes (train or eval) and the frozen parameters to respect. `about` identifies the training.
    """

    module: nn.Module
    training: Split
    validation: Split | None
    masks: Mapping[str, Tensor]
    settings: Settings
    about: Mapping[str, Any]
    folder: Path | None
    progress: Callable[[int, int], None] | None
    teacher: nn.Module | None = None


def learns_from_a_teacher(objective: Part) -> bool:
    """Whether an objective's function has a parameter `teacher`, after the one for label smoothing."""
    return "teacher" in inspect.signature(find("objectives", objective.name, trust=objective.trusted)).parameters


def fit(job: Job, fabric: Fabric) -> Checkpoint | None:
    """Train, or continue, to the end. With several processes the result is in the folder and None is returned."""
    settings = job.settings
    with isolated(fabric.device):
        loop = _Loop(job, fabric)
        standing = loop.resume()
        with Curves(job.folder if fabric.is_global_zero else None, standing.epoch + 1) as curves:
            while standing.epoch < settings.epochs and not standing.stopped:
                standing = loop.epoch(standing)
                curves.log(row for row in standing.history if row.epoch == standing.epoch)
                loop.save(standing)
                if job.progress is not None and fabric.is_global_zero:
                    job.progress(standing.epoch, settings.epochs)
        if fabric.world_size == 1:
            return loop.checkpoint(standing)
        leave(fabric)
        return None


class _Loop:
    """Owns the module in training, its optimizer and the best weights so far."""

    def __init__(self, job: Job, fabric: Fabric) -> None:
        self.job, self.fabric = job, fabric
        settings = job.settings
        # Processes of one training receive the same shared memory; each needs weights of its own.
        self.module = copy.deepcopy(job.module).to(fabric.device)
        self.memory_format = torch.channels_last if fabric.device.type != "mps" else torch.contiguous_format
        self.module.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self.modes = [(part, part.training) for part in self.module.modules()]
        parameters = dict(self.module.named_parameters())
        self.dead = {name: ~alive.to(fabric.device) for name, alive in job.masks.items()}
        self._apply_masks()
        moving = [weight for weight in parameters.values() if weight.requires_grad]
        self.optimizer = settings.optimizer.make(moving, settings.rate, settings.weight_decay)
        self.wrapped, self.stepper = fabric.setup(self.module, self.optimizer)
        teacher = () if job.teacher is None else (copy.deepcopy(job.teacher).to(fabric.device),)
        self.objective: Objective = settings.objective.make(settings.label_smoothing, *teacher)
        self.span = Span(settings.epochs, count(len(job.training), settings.batch))
        self.factor = settings.schedule.make(self.span)
        self.pruning: Pruning | None = settings.pruning.make(self.span) if settings.pruning else None
        self.best: dict[str, Tensor] = {}
        self.kept: dict[int, dict[str, Tensor]] = {}

    def resume(self) -> Standing:
        """Continue from the folder's checkpoint where there is one."""
        job = self.job
        start = Standing(epoch=job.settings.begin, best_epoch=job.settings.begin)
        if job.folder is None:
            return start
        if not job.settings.resume:
            if self.fabric.is_global_zero:
                clear(job.folder)
            self.fabric.barrier()
            return start
        found = read(job.folder, job.about)
        if found is None:
            return start
        with torch.no_grad():
            for key, tensor in self.module.state_dict().items():
                tensor.copy_(found.weights[key])
        fill_optimizer(self.optimizer, found.optimizer)
        self.best = {key: tensor.clone() for key, tensor in found.best.items()}
        self.kept = {epoch: dict(weights) for epoch, weights in found.kept.items()}
        return found.standing

    def epoch(self, standing: Standing) -> Standing:
        """One epoch of training, one look at the validation split, and whether to go on."""
        epoch = standing.epoch + 1
        if self.pruning is not None and epoch > 1:
            self._bury()
        rows = [self._train(epoch)]
        if self.job.validation is not None:
            rows.append(self._validate(self.job.validation, rows[0]))
        value = rows[-1].loss if self.job.settings.monitor == "loss" else -rows[-1].accuracy
        # A denser net is no rival of the one that was asked for.
        denser = self.pruning is not None and epoch * self.span.per_epoch <= self.pruning.settled
        better = self.job.validation is None or denser or value < standing.best_value
        if better:
            self.best = _snapshot(self.module)
        if epoch in self.job.settings.keep:
            self.kept[epoch] = _snapshot(self.module)
        best_epoch = epoch if better else standing.best_epoch
        patience = self.job.settings.patience
        return Standing(
            epoch=epoch,
            best_epoch=best_epoch,
            best_value=standing.best_value if denser or not better else value,
            stopped=patience is not None and epoch - best_epoch >= patience and epoch < self.span.epochs,
            history=(*standing.history, *rows),
        )

    def _train(self, epoch: int) -> Row:
        settings, fabric = self.job.settings, self.fabric
        started = perf_counter()
        stream = batches(
            self.job.training,
            settings.batch,
            settings.augment,
            seed=settings.seed,
            epoch=epoch,
            device=fabric.device,
            memory_format=self.memory_format,
            rank=fabric.global_rank,
            world=fabric.world_size,
        )
        losses, rights, rate, recovering = [], [], 0.0, 0
        for number, batch in enumerate(stream):
            now = (epoch - 1) * self.span.per_epoch + number
            rate = self._set_rate(now)
            seed_step(fabric.device, settings.seed, "step", now, fabric.global_rank)
            self.stepper.zero_grad(set_to_none=True)
            half = settings.precision == "bf16"
            step = Step(epoch, now, self.span.steps, settings.seed, batch.index, self.span.epochs, half)
            loss, logits, won_back = self.objective(self.wrapped, batch.images, batch.labels, step)
            recovering += won_back
            # DDP averages over processes, whose shares of a batch may differ by one image.
            share = len(batch.labels) * fabric.world_size / batch.whole
            fabric.backward(loss * share if fabric.world_size > 1 else loss)
            self.stepper.step()
            self._apply_masks()
            self._prune(now)
            losses.append(loss.detach() * len(batch.labels))
            rights.append((logits.detach().argmax(dim=1) == batch.labels).sum())
        total, right = self._summed(torch.stack(losses), torch.stack(rights))
        n = len(self.job.training)
        self._check(total, f"the training loss became {total} in epoch {epoch}")
        return Row(epoch, "train", total / n, round(right), n, rate, perf_counter() - started, recovering)

    def _summed(self, *columns: Tensor) -> list[float]:
        """The sum of each column over steps and processes."""
        totals = torch.stack([column.cpu().double().sum() for column in columns])
        if self.fabric.world_size > 1:
            totals = self.fabric.all_reduce(totals, reduce_op="sum")
        return totals.tolist()

    def _set_rate(self, step: int) -> float:
        rate = self.job.settings.rate * self.factor(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    @torch.no_grad()
    def _apply_masks(self) -> None:
        for name, dead in self.dead.items():
            self.module.get_parameter(name).masked_fill_(dead, 0.0)

    def _prune(self, step: int) -> None:
        share = None if self.pruning is None else self.pruning.due(step)
        if self.pruning is not None and share is not None:
            for name, alive in self.pruning.masks(self.module, share).items():
                self.dead[name] = ~alive | self.dead.get(name, torch.zeros_like(alive))
            self._apply_masks()

    def _bury(self) -> None:
        """What was cut in earlier epochs, read off the weights: the same whether training was interrupted or not."""
        for name, weight in prunable(self.module).items():
            self.dead[name] = weight == 0

    def _check(self, loss: float, said: str) -> None:
        if not math.isfinite(loss):
            settings = self.job.settings
            more = ", or use precision='fp32'" if settings.precision == "bf16" else ""
            raise InputError(f"{said} at rate {settings.rate:g}; lower the rate (try {settings.rate / 10:g}){more}")

    def _validate(self, split: Split, trained: Row) -> Row:
        """Plain cross-entropy and accuracy, computed by one process and told to the others."""
        started = perf_counter()
        if self.fabric.world_size > 1:
            # DDP averages gradients only; every process has met other images in its batch norms.
            for buffer in self.module.buffers():
                torch.distributed.broadcast(buffer, 0)
        found = self._evaluate(split) if self.fabric.is_global_zero else None
        loss, right = self.fabric.broadcast(found)
        self._check(loss, f"the validation loss became {loss} in epoch {trained.epoch}")
        seconds = perf_counter() - started
        return Row(trained.epoch, "val", loss, right, len(split), trained.rate, seconds)

    def _evaluate(self, split: Split) -> tuple[float, int]:
        device = self.fabric.device
        half = self.job.settings.precision == "bf16"
        with _evaluating(self.modes), torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = logits_of(self.module, split.images.to(device))
        labels = split.labels.to(device)
        return float(cross_entropy(logits, labels)), int((logits.argmax(dim=1) == labels).sum())

    def checkpoint(self, standing: Standing) -> Checkpoint:
        """What training would continue from."""
        return Checkpoint(standing, _snapshot(self.module), optimizer_tensors(self.optimizer), self.best, self.kept)

    def save(self, standing: Standing) -> None:
        """Write a checkpoint, if there is a folder for it; one process does."""
        if self.job.folder is not None and self.fabric.is_global_zero:
            write(self.job.folder, self.checkpoint(standing), self.job.about)


def _snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {
        key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, tensor in module.state_dict().items()
    }


@contextmanager
def _evaluating(modes: list[tuple[nn.Module, bool]]) -> Iterator[None]:
    """Eval mode, then each part's own mode again; flags and not `.eval()`, which exported programs refuse."""
    for part, _ in modes:
        part.training = False
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
