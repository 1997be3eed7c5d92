"""A check is a function of the evidence that says pass, fail or did not run, with a figure and one sentence.

Evidence is gathered once and shared: checks that look at the same gradient or the same attack pay for it once.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from bantamweight import rng, stats
from bantamweight.attacks._core import Attack, Until, run
from bantamweight.attacks._objectives import cross_entropy
from bantamweight.attacks._verdicts import Verdicts, correct
from bantamweight.attacks.checks._tape import Tape, recorder
from bantamweight.errors import AccessError, InputError
from bantamweight.oracle import Oracle, Query
from bantamweight.parts import configure, find, names
from bantamweight.predict import pad
from bantamweight.threats import Threat
from bantamweight.types import Float, Images, Labels, Logits, Tensor

__all__ = ["Check", "Evidence", "Level", "absent", "examine", "failed", "outdone", "passed", "telling"]

State = Literal["pass", "fail", "did not run"]
Level = Literal["probe", "full"]

PROBE = 32
"""Images that the checks look at."""

STEPS = 50
WHITE: dict[str, Any] = {"use": "apgd", "steps": STEPS}
"""The white-box attack that checks compare others with."""

SETTINGS: dict[str, dict[str, Any]] = {"l0": {"use": "pgd"}}
"""Where a norm needs others: Auto-PGD has no L0."""

SCORES: dict[str, Any] = {"use": "square", "queries": 1000}
"""The attack that sees no gradient."""

LUCK = 0.1
"""Of the exact two-sided test of pairs; half of it lies on the side that is looked at."""


@dataclass(frozen=True)
class Check:
    """What one check found: its figure, where it has one and it is finite, and what it means in one sentence."""

    name: str
    state: State
    figure: float | None
    detail: str


def passed(name: str, figure: float | None, detail: str) -> Check:
    """The evidence is as it should be."""
    return Check(name, "pass", _finite(figure), detail)


def failed(name: str, figure: float | None, detail: str) -> Check:
    """Something smells."""
    return Check(name, "fail", _finite(figure), detail)


def absent(name: str, detail: str) -> Check:
    """The check did not run, and why."""
    return Check(name, "did not run", None, detail)


def _finite(figure: float | None) -> float | None:
    """None for what JSON has no number for."""
    return None if figure is None or not math.isfinite(figure) else figure


def telling(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Bool (n): the images of a run that a check can learn from: those attacked, and those answered by NaN.

    The latter count as wrong and are not attacked, and yet are worth a look.
    """
    worth: np.ndarray = columns["attacked"] | np.isnan(columns["margin"])
    return worth


def outdone(strong: Verdicts, weak: Verdicts) -> bool:
    """Whether the attack that should be the weaker one breaks more of the same images than luck explains.

    No attack is exact: on an honest model either may miss an image that the other finds. Images that only one of them
    breaks are a fair coin at worst, so McNemar's exact test of them (Dietterich 1998) has to speak, at 5% on one side.
    """
    lost = int((weak["success"] & ~strong["success"]).sum())
    gained = int((strong["success"] & ~weak["success"]).sum())
    return lost > gained and stats.mcnemar(gained, lost) < LUCK


@dataclass
class Evidence:
    """What the checks look at: the probe images that the model gets right, and what attacks did to them.

    `clean` are its logits on these images, `answers` those on the whole probe, right, wrong or no numbers at all.
    `verdicts` are those of the run that is being checked, on these images, and `starts` the images of another variant
    that it began from; None where there are none. Checks of the model attack without a target, whatever the run did;
    checks of the run attack as it did (`aimed`).
    """

    oracle: Oracle
    images: Images
    labels: Labels
    threat: Threat
    verdicts: Verdicts | None
    clean: Logits
    answers: Logits
    seed: int = 0
    starts: Images | None = None
    _kept: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def broken(self) -> np.ndarray:
        """The images that the checked run broke; none without one."""
        return np.zeros(len(self), dtype=bool) if self.verdicts is None else self.verdicts["success"]

    @property
    def targets(self) -> Labels | None:
        """The class that each image of the run was to be taken for; None where any other was good enough."""
        if self.verdicts is None or not (self.verdicts["target"] >= 0).any():
            return None
        targets = torch.from_numpy(self.verdicts["target"])
        # An image that stood against one class after another may be down with its own, which nobody led it to.
        return torch.where(targets == self.labels, -1, targets)

    def white(self, *, steps: int = STEPS, aimed: bool = False) -> Verdicts:
        """The white-box attack that checks compare others with, whatever the checked run was."""
        return self.attack({**self.walk, "steps": steps}, aimed=aimed)

    def square(self, *, aimed: bool = False) -> Verdicts:
        """The score-only attack."""
        return self.attack(SCORES, aimed=aimed)

    @property
    def walk(self) -> dict[str, Any]:
        """The white-box attack's settings in this norm."""
        return {**WHITE, **SETTINGS.get(self.threat.norm.name, {})}

    def attack(
        self,
        use: str | Mapping[str, Any],
        *,
        threat: Threat | None = None,
        until: Until = "first",
        aimed: bool = False,
    ) -> Verdicts:
        """A further attack on the probe, under another threat where one is given; run once, however often asked for."""
        against, aimed = threat or self.threat, aimed and self.targets is not None
        key = f"{use} {against.norm.name} {against.eps} {until} {aimed}"
        if key not in self._kept:
            attack = configure("attacks", use).make(against)
            self._kept[key] = self.run(attack, threat=against, until=until, aimed=aimed)
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
        aimed: bool = False,
        starts: Images | None = None,
    ) -> Verdicts:
        """Run an attack on the probe or on some of its rows; not kept."""
        index = torch.arange(len(self)) if rows is None else torch.from_numpy(rows)
        targets = self.targets if aimed else None
        return run(
            attack,
            oracle or self.oracle,
            self.images[index],
            self.labels[index],
            threat or self.threat,
            targets=None if targets is None else targets[index],
            until=until,
            seed=self.seed,
            clean=self.clean[index],
            starts=None if starts is None else starts[index],
        )

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
            listening = recorder(self.oracle, self.images, self.threat)
            ending = self.run(configure("attacks", self.walk).make(self.threat), until="budget", oracle=listening)
            self._kept["tape"], self._kept["ending"] = listening.tape(), ending
        kept: Tape = self._kept["tape"]
        return kept

    def ending(self) -> Verdicts:
        """What came of the attack whose way `tape` shows."""
        self.tape()
        kept: Verdicts = self._kept["ending"]
        return kept


def examine(
    oracle: Oracle,
    images: Images,
    labels: Labels,
    threat: Threat,
    verdicts: Verdicts | None = None,
    level: Level = "probe",
    seed: int = 0,
    *,
    starts: Images | None = None,
) -> list[Check]:
    """Every check on a probe of 32 images that the model gets right, chosen by their content.

    `verdicts` are those of the run to be checked, on all of `images`; without them the checks attack for themselves,
    and those of the run itself don't run. `starts` are the images of another variant that the run began from.
    At level `probe` only those checks run that cost next to nothing (5 forwards and 1 backward per image of the
    probe); `full` runs them all, at some thousand forwards per image. Global randomness is left as it was.
    """
    rows = _probe(images, verdicts, seed)
    # A model that draws random numbers may draw them from the caller's generator.
    with torch.random.fork_rng(devices=[]):
        answers = clean = oracle.judge(images[rows])
        if len(rows):
            right = correct(answers, labels[rows])
            rows, clean = rows[right], answers[right]
        began, shown = None if starts is None else starts[rows], _sliced(verdicts, rows)
        evidence = Evidence(oracle, images[rows], labels[rows], threat, shown, clean, answers, seed, began)
        found = [_asked(name, evidence, level) for name in names("checks")]
    return sorted(found, key=lambda check: check.state == "did not run")


def _probe(images: Images, verdicts: Verdicts | None, seed: int) -> Tensor:
    """Row numbers of the probe, in an order that follows from the images alone."""
    rows = torch.arange(len(images))
    if verdicts is not None:
        rows = torch.from_numpy(np.flatnonzero(telling(verdicts.columns)))
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
    if not len(evidence) and not (name == "logits" and bool(evidence.answers.isnan().any())):
        return absent(name, "the model gets none of the probe right")
    try:
        found: Check = check(evidence)
    except AccessError:
        return absent(name, f"it needs more than {evidence.oracle.access} access")
    except InputError as error:  # an attack that this norm does not have
        return absent(name, str(error))
    return found
