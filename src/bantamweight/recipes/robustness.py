"""How many images a model still gets right under attack, and why that number may be believed.

A cascade gives the verdicts; checks look for what makes a verdict worthless; an audit hands a sample of the survivors
to the full reference ensemble. When a check smells masking, or the audit breaks one image, the reference ensemble is
run on everything that still stands.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bantamweight import stats
from bantamweight.attacks._cascade import Cascade, cascade
from bantamweight.attacks._core import Attack
from bantamweight.attacks._transferred import transferred
from bantamweight.attacks.checks import PROBE, Check, examine, telling
from bantamweight.errors import InputError
from bantamweight.machine import device_of
from bantamweight.oracle import Access, Oracle, oracle
from bantamweight.parts import configure
from bantamweight.recipes._answer import Audit, Robustness
from bantamweight.recipes._asked import REFERENCE, check_classes, has_reference, refuse_access, refuse_audit, sound
from bantamweight.recipes._campaign import SHARD, Campaign, Heard, Question, claim
from bantamweight.recipes._precision import gradient_precision
from bantamweight.recipes.attack import threat
from bantamweight.threats import Threat
from bantamweight.types import Images, Labels
from bantamweight.variants import Variant, build

__all__ = ["Audit", "Robustness", "robustness"]

Level = Literal["probe", "full", "none"]
Targets = Labels | int | Literal["least-likely", "all"] | None


def robustness(
    model: Variant | nn.Module | Oracle,
    images: Images | Tensor,
    labels: Labels,
    against: str | Threat,
    *,
    protocol: str | Mapping[str, Any] | Cascade = "fast",
    attack: str | Mapping[str, Any] | None = None,
    targets: Targets = None,
    audit: int = 0,
    checks: Level = "probe",
    escalate: bool = True,
    starts: Tensor | None = None,
    precision: Literal["fp32", "bf16"] | None = None,
    seed: int = 0,
    batch: int = 256,
    device: str = "auto",
    out: Path | str | None = None,
    classes: int | None = None,
    trust: bool = False,
    heard: Heard | None = None,
) -> Robustness:
    """Attack `model` on `images` (floats in [0, 1], or bytes) under a threat such as `linf 8/255`.

    `protocol` names a cascade (`fast`, `autoattack`), `attack` a single attack instead. `targets` makes it targeted:
    a class, one per image, each image's least likely one, or all classes in turn (an image stands that reached none).
    `audit` survivors are given to the reference ensemble; all of them are where a check fails or the audit breaks one,
    unless `escalate` says no. `starts` are adversarial images of another variant, tried first and counted apart; an
    oracle of transfer access is shown nothing but them. `precision` is that of the gradients (bf16 where the processor
    has it, when None); verdicts are float32. `device` is where a model is attacked that is no oracle (`auto`: CUDA
    where there is some, else the processor). With `out` everything goes to that folder as it comes, and a run that was
    killed goes on from there. `classes` is how many the data has, where that is known; `trust` lets a Variant's own
    code run. Raises InputError when any of this does not fit.
    """
    began = time.perf_counter()
    out, budget = None if out is None else Path(out), threat(against)
    sound(images, labels, targets, starts, checks, precision, audit, batch)
    refuse_audit(audit, budget)
    images, labels = images.detach(), labels.long()
    asked = _oracle(model, precision, device, trust)
    plan, spec = _plan(protocol, attack, budget, starts is not None, asked.access, trust)
    refuse_access(asked, plan, audit)
    with _answerable(model):
        question = _question(asked, images, labels, budget, targets, starts, seed, batch)
        if asked.access == "white" and _foreign(model):
            asked.steepness(question.floats(torch.arange(min(8, len(images)))))  # before anything is paid for
    check_classes(question, classes)
    if out is not None:
        every = {"every target": True} if targets == "all" else {}
        claim(out, question, {**spec, "audit": audit, "checks": checks, "escalate": escalate, **every}, plan)
    campaign, every_row = Campaign(question, None if out is None else out / "stages", heard), torch.arange(len(images))
    if targets == "all":
        for target in range(question.clean.shape[1]):
            campaign.question = replace(question, targets=torch.full_like(labels, target))
            campaign.stage(f"to {target}", plan, campaign.unbroken() if plan.until != "converged" else every_row)
        campaign.question = question
        campaign.columns["target"][~campaign.columns["right"]] = -1  # wrong before: nobody aimed it at anything
    else:
        campaign.stage("main", plan, every_row)
    if plan.until == "converged":
        campaign.recount()
    found = () if checks == "none" else _checks(campaign, checks)
    smells = [check.name for check in found if check.state == "fail"]
    # The reference ensemble asks whether a budget is enough: without a budget it has nothing to say.
    higher = escalate and has_reference(budget) and spec != REFERENCE.spec and asked.access == "white"
    higher = higher and len(campaign.standing()) > 0
    escalated = f"checks failed: {', '.join(smells)}" if smells and higher else ""
    audited = None
    if audit and not escalated:
        audited = _audit(campaign, audit)
        escalated = f"the audit broke {audited.broken} of {audited.n}" if audited.broken and escalate else ""
    if escalated:
        campaign.again("escalated", _reference(budget), campaign.standing())
    kept = campaign.images() if out is None else None
    answer = Robustness(
        protocol=plan.name,
        threat=str(budget),
        columns=campaign.columns,
        attacks=tuple(campaign.parts),
        checks=found,
        audit=audited,
        escalated=escalated,
        seconds=time.perf_counter() - began + campaign.earlier,
        images=kept,
        folder=out,
    )
    if out is not None:
        campaign.write(out, answer.summary())
    return answer


@contextmanager
def _answerable(model: Variant | nn.Module | Oracle) -> Iterator[None]:
    """A module that is the user's own may raise anything when it is asked."""
    try:
        yield
    except Exception as error:
        if not _foreign(model) or isinstance(error, InputError):
            raise
        assert isinstance(model, Variant)
        said = f"{type(error).__name__}: {error}".rstrip(".")
        raise InputError(f"{model.factory!r} raised {said} on images of {model.input_shape}; mend it") from error


def _foreign(model: Variant | nn.Module | Oracle) -> bool:
    return isinstance(model, Variant) and ":" in model.factory


def _oracle(
    model: Variant | nn.Module | Oracle, precision: Literal["fp32", "bf16"] | None, device: str, trust: bool
) -> Oracle:
    if isinstance(model, Oracle):
        return model
    if not isinstance(model, Variant | nn.Module):
        raise InputError(f"expected a model, as load_model gives one, got {model!r}")
    home = device_of(device)
    precision = gradient_precision(precision, home)
    return oracle(build(model, trust=trust) if isinstance(model, Variant) else model, precision=precision, device=home)


def _plan(
    protocol: str | Mapping[str, Any] | Cascade,
    attack: str | Mapping[str, Any] | None,
    budget: Threat,
    warm: bool,
    access: Access,
    trust: bool,
) -> tuple[Cascade, dict[str, Any]]:
    """The cascade, and its settings as plain JSON; with transfer access a protocol comes down to the start images."""
    if warm and access == "transfer" and attack is None:
        return cascade("transferred", transferred(budget)), {"use": "transferred"}
    if attack is not None:
        method = configure("attacks", attack, trust=trust)
        made = method.make(budget)
        if math.isinf(budget.eps):
            plan, spec = cascade(made.name, made, until="converged"), method.spec
        else:
            plan, spec = cascade(made.name, made), method.spec
    elif isinstance(protocol, Cascade):
        plan, spec = protocol, {"use": protocol.name, "parts": [_said(part) for part in protocol.parts]}
    else:
        if math.isinf(budget.eps):
            name = protocol if isinstance(protocol, str) else protocol.get("use", "")
            raise InputError(f"protocol {name!r} needs an eps; only a minimum-norm attack (ddn, fmn) goes without")
        chosen = configure("protocols", protocol, trust=trust)
        plan, spec = chosen.make(budget), chosen.spec
    if warm:
        plan = replace(plan, parts=(transferred(budget), *plan.parts))
    return plan, spec


def _said(part: Attack) -> list[Any]:
    """What can be said of an attack that somebody made: a run of others does not go on where this one stopped."""
    return [part.name, part.queries, part.lanes, part.access, part.exact]


def _question(
    asked: Oracle,
    images: Tensor,
    labels: Labels,
    budget: Threat,
    targets: Targets,
    starts: Tensor | None,
    seed: int,
    batch: int,
) -> Question:
    blank = Question(asked, images, labels, budget, torch.empty(0), starts=starts, seed=seed, batch=batch)
    clean = torch.cat([asked.judge(blank.floats(rows)) for rows in torch.arange(len(images)).split(SHARD)])
    if targets == "all":
        targets = None
    elif targets == "least-likely":
        # Of the other classes: that the label's own is the least likely happens where the model is wrong.
        own = labels.clamp(0, clean.shape[1] - 1)[:, None]
        targets = clean.scatter(1, own, torch.inf).argmin(dim=1)
    elif isinstance(targets, int):
        targets = torch.full_like(labels, targets)
    return replace(blank, clean=clean, targets=targets)


def _checks(campaign: Campaign, level: Literal["probe", "full"]) -> tuple[Check, ...]:
    """The checks on a probe of the images."""
    question = campaign.question
    rows = campaign.sample(PROBE, "probe", telling(campaign.columns))
    return tuple(
        examine(
            question.oracle,
            question.floats(rows),
            question.labels[rows],
            question.threat,
            campaign.verdicts(rows),
            level=level,
            seed=question.seed,
            starts=None if question.starts is None else replace(question, images=question.starts).floats(rows),
        )
    )


def _reference(budget: Threat) -> Cascade:
    plan: Cascade = REFERENCE.make(budget)
    return plan


def _audit(campaign: Campaign, size: int) -> Audit:
    """Give a random sample of survivors to the reference ensemble.

    The bound counts how many of the survivors could have fallen, had all of them been asked.
    """
    standing = campaign.columns["attacked"] & ~campaign.columns["success"]
    rows = campaign.sample(size, "audit", standing)
    campaign.again("audit", _reference(campaign.question.threat), rows)
    broken, survivors = int(campaign.columns["success"][rows.numpy()].sum()), int(standing.sum())
    bound = stats.most_of(broken, len(rows), survivors) / survivors if survivors else 0.0
    return Audit(len(rows), broken, bound, survivors)
