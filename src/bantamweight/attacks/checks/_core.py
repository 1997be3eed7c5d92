"""A check is a function of the evidence that says pass, fail or did not run, with a figure and one sentence.

Evidence is gathered once and shared: checks that look at the same gradient or the same attack pay for it once.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import torch

from bantamweight import rng
from bantamweight.attacks._core import Attack, Until, run
from bantamweight.attacks._objectives import cross_entropy
from bantamweight.attacks._verdicts import Verdicts
from bantamweight.errors import AccessError, InputError
from bantamweight.oracle import Answer, Oracle, Query, margin
from bantamweight.parts import configure, find, names
from bantamweight.predict import pad
from bantamweight.threats import Threat
from bantamweight.types import Bool, Float, Images, Labels, Logits, Tensor

__all__ = ["Check", "Evidence", "Level", "Tape", "absent", "examine", "failed", "passed"]

State = Literal["pass", "fail", "did not run"]
Level = Literal["probe", "full"]

PROBE = 32
"""Images that the checks look at."""

STEPS = 50
WHITE: dict[str, Any] = {"use": "apgd", "steps": STEPS}
"""The white-box attack that checks compare others with."""

SCORES: dict[str, Any] = {"use": "square", "queries": 1000}
"""The attack that sees no gradient."""


@dataclass(frozen=True)
class Check:
    """What one check found: its figure, where it has one, and what it means in one sentence."""

    name: str
    state: State
    figure: float | None
    detail: str


def passed(name: str, figure: float | None, detail: str) -> Check:
    """The evidence is as it should be."""
    return Check(name, "pass", figure, detail)


def failed(name: str, figure: float | None, detail: str) -> Check:
    """Something smells."""
    return Check(name, "fail", figure, detail)


def absent(name: str, detail: str) -> Check:
    """The check did not run, and why."""
    return Check(name, "did not run", None, detail)


@dataclass(frozen=True)
class Tape:
    """What an attack saw on its way: its objective by step and row, and the point of each row that came closest.

    A margin below -slack is a success in the proposer's eyes beyond what its precision explains.
    """

    losses: Float[Tensor, "steps b"]
    closest: Images
    margins: Float[Tensor, " b"]
    slack: Float[Tensor, " b"]


@dataclass
class Evidence:
    """What the checks look at: the probe images that the model gets right, and what attacks did to them.

    `verdicts` are those of the run that is being checked, on these images; None where there is no run yet.
    """

    oracle: Oracle
    images: Images
    labels: Labels
    threat: Threat
    verdicts: Verdicts | None
    clean: Logits
    seed: int = 0
    _kept: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def broken(self) -> np.ndarray:
        """The images that the checked run broke; without one, those that the checks' own white-box attack breaks."""
        return self.white()["success"] if self.verdicts is None else self.verdicts["success"]

    def white(self, *, steps: int = STEPS) -> Verdicts:
        """The white-box attack that checks compare others with, whatever the checked run was."""
        return self.attack({**WHITE, "steps": steps})

    def square(self) -> Verdicts:
        """The score-only attack."""
        return self.attack(SCORES)

    def attack(self, use: str | Mapping[str, Any], *, eps: float | None = None, until: Until = "first") -> Verdicts:
        """A further attack on the probe, at another budget where one is given; run once, however often asked for."""
        key = f"{use} {eps} {until}"
        if key not in self._kept:
            threat = self.threat if eps is None else Threat(self.threat.norm, eps)
            self._kept[key] = self.run(configure("attacks", use).make(threat), threat=threat, until=until)
        kept: Verdicts = self._kept[key]
        return kept

    def run(
        self,
        attack: Attack,
        *,
        threat: Threat | None = None,
        until: Until = "first",
        oracle: Oracle | None = None,
        rows: np.ndarray | None = None,
    ) -> Verdicts:
        """Run an attack on the probe or on some of its rows; not kept."""
        index = torch.arange(len(self)) if rows is None else torch.from_numpy(rows)
        images, labels, clean = self.images[index], self.labels[index], self.clean[index]
        asked, against = oracle or self.oracle, threat or self.threat
        return run(attack, asked, images, labels, against, until=until, seed=self.seed, clean=clean)

    def loss(self, logits: Logits) -> Float[Tensor, " b"]:
        """Cross-entropy of rows of the probe."""
        return cross_entropy(logits, self.labels, torch.full_like(self.labels, -1))

    def slope(self) -> Images:
        """The proposer's gradient of the cross-entropy at the clean images."""
        if "slope" not in self._kept:
            here = self.oracle.device
            index = pad(torch.arange(len(self)), (self.oracle.fit(self.images, len(self)),))
            query = Query(self.images[index].to(here), "gradient", cross_entropy)
            alive = (torch.arange(len(index)) < len(self)).to(here)
            labels = self.labels[index].to(here)
            answer = self.oracle.ask(query, labels, torch.full_like(labels, -1), alive)
            self.oracle.ledger.close()
            assert answer.gradient is not None
            self._kept["slope"] = answer.gradient[: len(self)].cpu()
        kept: Images = self._kept["slope"]
        return kept

    def tape(self) -> Tape:
        """The whole way of the white-box attack, to its last step."""
        if "tape" not in self._kept:
            recorder = _Recorder(**{f.name: getattr(self.oracle, f.name) for f in fields(Oracle)})
            ending = self.run(configure("attacks", WHITE).make(self.threat), until="budget", oracle=recorder)
            self._kept["tape"], self._kept["ending"] = recorder.tape(len(self)), ending
        kept: Tape = self._kept["tape"]
        return kept

    def ending(self) -> Verdicts:
        """What came of the attack whose way `tape` shows."""
        self.tape()
        kept: Verdicts = self._kept["ending"]
        return kept


@dataclass(frozen=True)
class _Recorder(Oracle):
    """An oracle that writes down what it answers. The probe is one tile, and with `until="budget"` no row leaves it.

    Of the points only each row's closest call is kept: whole paths of large images would not fit.
    """

    losses: list[Tensor] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    def ask(self, query: Query, labels: Labels, aims: Labels, alive: Bool[Tensor, " b"]) -> Answer:
        answer = super().ask(query, labels, aims, alive)
        if answer.logits is None or query.objective is None or not bool(alive.any()):
            return answer
        gap = margin(answer.logits, labels, torch.full_like(labels, -1))
        seen = {"points": query.points, "gap": gap, "slack": self.slack * answer.logits.abs().amax(dim=1)}
        self.losses.append(query.objective(answer.logits, labels, aims).cpu())
        if not self.best:
            self.best.update({key: value.clone() for key, value in seen.items()})
        near = gap < self.best["gap"]
        for key, value in seen.items():
            self.best[key][near] = value[near]
        return answer

    def tape(self, rows: int) -> Tape:
        """What was written down of the first rows of the tile, which are the probe's."""
        held = (self.best[key][:rows].cpu() for key in ("points", "gap", "slack"))
        return Tape(torch.stack([loss[:rows] for loss in self.losses]), *held)


def examine(
    oracle: Oracle,
    images: Images,
    labels: Labels,
    threat: Threat,
    verdicts: Verdicts | None = None,
    level: Level = "probe",
    seed: int = 0,
) -> list[Check]:
    """Every check on a probe of 32 images that the model gets right, chosen by their content.

    `verdicts` are those of the run to be checked, on all of `images`; without them the checks attack for themselves.
    At level `probe` only those checks run that cost next to nothing (5 forwards and 1 backward per image of the
    probe); `full` runs them all, at some thousand forwards per image. Global randomness is left as it was.
    """
    rows = _probe(images, verdicts, seed)
    # A model that draws random numbers may draw them from the caller's generator.
    with torch.random.fork_rng(devices=[]):
        clean = oracle.judge(images[rows])
        if len(rows):
            right = clean.argmax(dim=1) == labels[rows]
            rows, clean = rows[right], clean[right]
        evidence = Evidence(oracle, images[rows], labels[rows], threat, _sliced(verdicts, rows), clean, seed)
        found = [_asked(name, evidence, level) for name in names("checks")]
    return sorted(found, key=lambda check: check.state == "did not run")


def _probe(images: Images, verdicts: Verdicts | None, seed: int) -> Tensor:
    """Row numbers of the probe, in an order that follows from the images alone."""
    rows = torch.arange(len(images)) if verdicts is None else torch.from_numpy(np.flatnonzero(verdicts["attacked"]))
    keys = rng.image_keys(images[rows])
    ranks = rng.fold(keys, torch.full_like(keys, rng.stream(seed, "probe")))
    return rows[ranks.argsort(stable=True)[:PROBE]]


def _sliced(verdicts: Verdicts | None, rows: Tensor) -> Verdicts | None:
    if verdicts is None:
        return None
    columns = {name: values[rows.numpy()] for name, values in verdicts.columns.items()}
    return Verdicts(verdicts.attack, verdicts.threat, columns, verdicts.images[rows])


def _asked(name: str, evidence: Evidence, level: Level) -> Check:
    """One check, or why it did not run."""
    check = find("checks", name)
    if level == "probe" and sys.modules[check.__module__].LEVEL == "full":
        return absent(name, "it runs at level full only")
    if not len(evidence):
        return absent(name, "the model gets none of the probe right")
    try:
        found: Check = check(evidence)
    except AccessError:
        return absent(name, f"it needs more than {evidence.oracle.access} access")
    except InputError as error:  # an attack that this norm does not have
        return absent(name, str(error))
    return found
