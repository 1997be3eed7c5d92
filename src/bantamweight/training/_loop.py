"""The one training loop, on Lightning Fabric: forward, backward and devices are Fabric's; order and chance are ours.

Every random choice is keyed by (seed, epoch or step): the shuffle, the augmentation, what dropout drops. So the state
between two epochs is weights, optimizer tensors and the best weights, and continuing from them after a kill ends in
the same bits (same machine, threads and precision).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from time import perf_counter

import torch
from lightning_fabric import Fabric
from torch import Tensor

from bantamweight.data import Split
from bantamweight.errors import InputError
from bantamweight.training._average import Average
from bantamweight.training._checkpoint import (
    Checkpoint,
    Standing,
    below,
    clear,
    fill_optimizer,
    optimizer_tensors,
    prefixed,
    read,
    snapshot,
    write,
)
from bantamweight.training._curves import Curves
from bantamweight.training._device import isolated, leave, seed_step
from bantamweight.training._epochs import batches, count
from bantamweight.training._explosion import Exploded, check_loss, check_weights
from bantamweight.training._job import Job, made
from bantamweight.training._judge import Judge, watched
from bantamweight.training._values import Objective, Pruning, Row, Span, Step
from bantamweight.training._zeros import Zeros

__all__ = ["fit"]


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
        parameters = dict(self.module.named_parameters())
        self.zeros = Zeros(self.module, {name: ~alive.to(fabric.device) for name, alive in job.masks.items()})
        moving = [weight for weight in parameters.values() if weight.requires_grad]
        self.optimizer = settings.optimizer.make(moving, settings.rate, settings.weight_decay)
        self.wrapped, self.stepper = fabric.setup(self.module, self.optimizer)
        self.teacher = () if job.teacher is None else (copy.deepcopy(job.teacher).to(fabric.device),)
        self.objective = self._objective()
        self.replays: int = getattr(self.objective, "replays", 1)
        self.judge = Judge(
            self.module,
            fabric.device,
            self.memory_format,
            half=settings.precision == "bf16",
            seed=settings.seed,
            probe=getattr(self.objective, "probe", None) if settings.monitor == "robust_accuracy" else None,
        )
        self.guessing = math.log(max(2, int(job.training.labels.max()) + 1))
        self.span = Span(settings.epochs, self.replays * count(len(job.training), settings.batch))
        self.factor = settings.schedule.make(self.span)
        self.pruning: Pruning | None = settings.compress.make(self.span) if settings.compress else None
        self.budget: Callable[[Step], float] = getattr(self.objective, "budget", None) or (lambda _: 0.0)
        self.average = Average(self.module, settings.average) if settings.average is not None else None
        self.best: dict[str, Tensor] = {}
        self.kept: dict[int, dict[str, Tensor]] = {}

    def _objective(self) -> Objective:
        settings = self.job.settings
        return made(settings.objective, settings.label_smoothing, settings.monitor, *self.teacher)

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
        if (found := read(job.folder, job.about)) is None:
            return start
        self._restore(found)
        self.best = {key: tensor.clone() for key, tensor in found.best.items()}
        self.kept = {epoch: dict(weights) for epoch, weights in found.kept.items()}
        return found.standing

    def _restore(self, found: Checkpoint) -> None:
        """Weights, optimizer, and what pruning and averaging remember."""
        with torch.no_grad():
            for key, tensor in self.module.state_dict().items():
                tensor.copy_(found.weights[key])
        fill_optimizer(self.optimizer, found.optimizer)
        device = self.fabric.device
        if self.average is not None:
            self.average.fill(below("average", found.state))
        if self.pruning is not None:
            self.pruning.state = {
                key: tensor.clone().to(device) for key, tensor in below("pruning", found.state).items()
            }

    def epoch(self, standing: Standing) -> Standing:
        """One epoch of training, one look at the validation split, and whether to go on.

        An epoch that explodes is begun again from where it began, at half the rate, while there are setbacks left; its
        row says what all attempts took of time and passes.
        """
        epoch, allowed = standing.epoch + 1, self.job.settings.setbacks
        before, dead = self.checkpoint(standing) if standing.setbacks < allowed else None, dict(self.zeros.dead)
        earlier, self.began, self.aside, self.crafting = standing.setbacks, perf_counter(), 0.0, 0.0
        self.passes: list[Tensor] = []
        while True:
            try:
                rows = self._rows(epoch, standing.setbacks)
                break
            except Exploded as exploded:
                if standing.setbacks >= allowed or before is None:
                    raise InputError(str(exploded)) from None
                self._restore(before)
                self.objective = self._objective()  # what it remembers of the epoch is gone too
                self.zeros.dead = dict(dead)
                standing = replace(standing, setbacks=standing.setbacks + 1)
        rows[0] = replace(rows[0], setbacks=standing.setbacks - earlier)
        value = watched(rows[-1], self.job.settings.monitor)
        # A denser net is no rival of the one that was asked for, nor one that met a weaker adversary.
        early = self._weaker(epoch) or (
            self.pruning is not None and not self.pruning.settled(epoch * self.span.per_epoch - 1)
        )
        better = self.job.validation is None or early or value < standing.best_value
        if better:
            self.best = self._shown()
        if epoch in self.job.settings.keep:
            self.kept[epoch] = self._shown()
        best_epoch = epoch if better else standing.best_epoch
        patience = self.job.settings.patience
        return Standing(
            epoch=epoch,
            best_epoch=best_epoch,
            best_value=standing.best_value if early or not better else value,
            stopped=patience is not None and epoch - best_epoch >= patience and epoch < self.span.epochs,
            setbacks=standing.setbacks,
            history=(*standing.history, *rows),
        )

    def _eps(self, epoch: int) -> float:
        """The adversary's budget at the end of an epoch."""
        last, settings = epoch * self.span.per_epoch - 1, self.job.settings
        step = Step(epoch, last, self.span.steps, settings.seed, torch.zeros(0, dtype=torch.int64), self.span.epochs)
        return self.budget(step)

    def _weaker(self, epoch: int) -> bool:
        return self._eps(epoch) < self._eps(self.span.epochs)

    def _rows(self, epoch: int, setbacks: int) -> list[Row]:
        if self.pruning is not None and epoch > 1:
            self.zeros.read()
        self.peak = self.job.settings.rate * 0.5**setbacks
        rows = [self._train(epoch)]
        if self.job.validation is not None:
            rows.append(self._validate(self.job.validation, rows[0]))
        return rows

    def _shown(self) -> dict[str, Tensor]:
        """The weights that are given away: the average where there is one."""
        with nullcontext() if self.average is None else self.average.shown():
            return snapshot(self.module)

    def _train(self, epoch: int) -> Row:
        settings, fabric = self.job.settings, self.fabric
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
        losses, rights = [], []
        rate, recovering, scale = 0.0, 0, 1.0
        self.around: dict[str, float] = {}
        again = ((batch, replay) for batch in stream for replay in range(self.replays))
        for number, (batch, replay) in enumerate(again):
            now = (epoch - 1) * self.span.per_epoch + number
            rate = self._set_rate(now)
            seed_step(fabric.device, settings.seed, "step", now, fabric.global_rank)
            self.stepper.zero_grad(set_to_none=True)
            half = settings.precision == "bf16"
            step = Step(epoch, now, self.span.steps, settings.seed, batch.index, self.span.epochs, half)
            found = self.objective(self.wrapped, batch.images, batch.labels, step)
            loss, scale = found.value, max(scale, found.scale)
            recovering, self.crafting = recovering + found.recovering, self.crafting + found.crafting_seconds
            self.passes.append(torch.tensor([found.forwards, found.backwards]))
            drawn = None if self.pruning is None else self.pruning.penalty(self.module)
            # DDP averages over processes, whose shares of a batch may differ by one image.
            share = len(batch.labels) * fabric.world_size / batch.whole
            minimised = loss if drawn is None else loss + drawn
            fabric.backward(minimised * share if fabric.world_size > 1 else minimised)
            self.stepper.step()
            self.zeros.apply()
            if self.average is not None:
                self.average.update(now)
            self._prune(now)
            if replay == self.replays - 1:
                losses.append(loss.detach() * len(batch.labels))
                rights.append((found.logits.detach().argmax(dim=1) == batch.labels).sum())
        sums = self._summed(torch.stack(losses), torch.stack(rights), *torch.stack(self.passes).T)
        mean, n = sums[0] / len(self.job.training), len(self.job.training)
        right, forwards, backwards = map(round, sums[1:])
        check_loss(mean, "training", epoch, self.peak, settings, self.guessing * scale)
        check_weights(self.module, epoch, self.peak, settings)
        measures = {} if self.pruning is None else dict(self.pruning.measures((epoch - 1) * self.span.per_epoch))
        if (eps := self._eps(epoch)) != self._eps(self.span.epochs) or eps != self._eps(1):
            measures["eps"] = eps  # said where it is not the same throughout
        seconds, passed = perf_counter() - self.began - self.aside, (forwards, backwards)
        return Row(epoch, "train", mean, right, n, rate, seconds, recovering, self.crafting, 0, *passed, measures)

    def _summed(self, *columns: Tensor) -> list[float]:
        """The sum of each column over steps and processes."""
        totals = torch.stack([column.cpu().double().sum() for column in columns])
        if self.fabric.world_size > 1:
            totals = self.fabric.all_reduce(totals, reduce_op="sum")
        return totals.tolist()

    def _set_rate(self, step: int) -> float:
        rate = self.peak * self.factor(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _prune(self, step: int) -> None:
        if self.pruning is None:
            return
        try:
            kept = self.pruning.after(self.module, step)
        except Exception:  # NaN has no rank; the loss would tell only when the epoch is over
            check_weights(self.module, step // self.span.per_epoch + 1, self.peak, self.job.settings)
            raise
        if kept is None:
            return
        last = self.pruning.settled(step)
        if last:
            self._weigh("before")
        self.zeros.add(kept)
        if self.average is not None:
            self.average.bury(self.zeros.dead)
        if last:
            self._weigh("after")

    def _weigh(self, when: str) -> None:
        """Validation accuracy around the last cut, of the weights that would be given away: what it cost."""
        split, started = self.job.validation, perf_counter()
        if split is not None and self.fabric.is_global_zero:
            with nullcontext() if self.average is None else self.average.shown():
                self.around[f"accuracy_{when}_cut"] = self.judge(split, attacked=False).right / len(split)
        self.aside += perf_counter() - started

    def _validate(self, split: Split, trained: Row) -> Row:
        """Plain cross-entropy and accuracy, computed by one process and told to the others."""
        started = perf_counter()
        if self.fabric.world_size > 1:
            # DDP averages gradients only; every process has met other images in its batch norms.
            for buffer in self.module.buffers():
                torch.distributed.broadcast(buffer, 0)
        with nullcontext() if self.average is None else self.average.shown():
            found = self.judge(split) if self.fabric.is_global_zero else None
        loss, right, robust = self.fabric.broadcast(found)
        check_loss(loss, "validation", trained.epoch, self.peak, self.job.settings, self.guessing)
        measures = self.around if robust is None else {**self.around, "robust_accuracy": robust / len(split)}
        seconds = perf_counter() - started
        return Row(trained.epoch, "val", loss, right, len(split), trained.rate, seconds, measures=measures)

    def checkpoint(self, standing: Standing) -> Checkpoint:
        """What training would continue from."""
        state = prefixed("average", self.average.tensors if self.average is not None else {})
        state |= prefixed("pruning", self.pruning.state if self.pruning is not None else {})
        state = {key: tensor.detach().cpu().clone() for key, tensor in state.items()}
        optimizer = {key: tensor.detach().clone() for key, tensor in optimizer_tensors(self.optimizer).items()}
        return Checkpoint(standing, snapshot(self.module), optimizer, self.best, self.kept, state)

    def save(self, standing: Standing) -> None:
        """Write a checkpoint, if there is a folder for it; one process does."""
        if self.job.folder is not None and self.fabric.is_global_zero:
            write(self.job.folder, self.checkpoint(standing), self.job.about)
