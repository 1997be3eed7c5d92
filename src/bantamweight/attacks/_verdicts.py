"""Verdicts: one row per image, re-measured on the stored image, whatever the attack believed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bantamweight.attacks._problem import Attack
from bantamweight.errors import BantamError
from bantamweight.oracle import Oracle, fooled, margin
from bantamweight.threats import TOLERANCE, Threat, sizes
from bantamweight.types import Bool, Images, Int64, Labels, Logits

__all__ = ["NEVER", "Results", "Verdicts", "conclude", "correct", "load", "save"]

NEVER = 2**62
"""The query, and the lane, of what has not happened."""

NEAR = 1e-4
"""A margin this small may fall the other way on another machine or thread count."""


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Columns of one row per image, and the images they were measured on (float32, as stored).

    `label`, `target` (-1: none), `clean` and `adversarial` (predictions), `right` (before), `attacked`, `success`,
    `query` (forwards before the first adversarial point, -1: none), `margin`, `near`, `size_linf/l2/l1/l0`, `eps`,
    `forwards`, `backwards`, `survives_8bit` (where that was asked: still a success, and within the budget, after
    rounding), `confidence` (of the adversarial prediction) and `confidence_target`.
    """

    attack: str
    threat: str
    columns: dict[str, np.ndarray]
    images: Images

    def __getitem__(self, column: str) -> np.ndarray:
        return self.columns[column]

    def __len__(self) -> int:
        return len(self.columns["label"])

    @property
    def robust(self) -> np.ndarray:
        """Right before and not broken."""
        return self["right"] & ~self["success"]


@dataclass
class Results:
    """What the loop has found so far, one row per image.

    `spent` counts forwards and backwards by lane, `first` the forwards of a lane before its first success.
    """

    first: Tensor
    lane: Tensor
    score: Tensor
    held: Tensor
    image: Images
    fallback: Images
    judged: Logits
    spent: Tensor

    @classmethod
    def empty(cls, images: Images, clean: Logits, lanes: int) -> Results:
        """Results of images nobody has attacked yet; `lane` is the one that broke the image, `held` the one kept."""
        never, first = torch.full((len(images),), NEVER), torch.full((len(images), lanes), NEVER)
        worst = torch.full((len(images),), torch.inf, dtype=torch.float64)
        spent = torch.zeros(2, len(images), lanes, dtype=torch.int64)
        return cls(first, never, worst, never.clone(), images.clone(), images.clone(), clean.clone(), spent)

    @property
    def broken(self) -> Bool[Tensor, " n"]:
        """Which images the judge has seen an adversarial point of."""
        return (self.first < NEVER).any(dim=1)

    @property
    def query(self) -> Int64[Tensor, " n"]:
        """Forwards before the first adversarial point, had one lane run after another; anything where there is none."""
        lane = (self.first < NEVER).int().argmax(dim=1, keepdim=True)
        before = self.spent[0].cumsum(dim=1) - self.spent[0]
        return (before + self.first).gather(1, lane)[:, 0]

    def record(self, row: dict[str, Tensor], lane: int, until: str) -> None:
        """Merge the book of one settled row into its image's result; the order of settling must not matter."""
        sample, query, score = int(row["sample"]), int(row["query"]), float(row["score"])
        self.spent[0, sample, lane] += int(row["forwards"])
        self.spent[1, sample, lane] += int(row["backwards"])
        broken = query < NEVER
        if until == "first":
            better = lane < int(self.lane[sample]) if broken else int(self.lane[sample]) == NEVER
            better &= broken or (score, lane) < (float(self.score[sample]), int(self.held[sample]))
        else:
            held = (not bool(self.broken[sample]), float(self.score[sample]), int(self.held[sample]))
            better = (not broken, score, lane) < held
        if broken:
            self.first[sample, lane] = query
            if until == "first" and better:
                self.lane[sample] = lane
        if not better:
            return
        self.score[sample], self.held[sample] = score, lane
        home = self.image.device
        self.image[sample] = row["first" if until == "first" and broken else "best"].to(home)
        self.fallback[sample] = row["first"].to(home)
        self.judged[sample] = row["judged"].to(home)

    def costs(self) -> tuple[Tensor, Tensor]:
        """Forwards and backwards of each image, up to the lane that broke it: what one lane after another costs."""
        lanes = torch.arange(self.spent.shape[2])
        forwards, backwards = (self.spent * (lanes <= self.lane[:, None])).sum(dim=2)
        return forwards, backwards


def correct(clean: Logits, labels: Labels) -> Bool[Tensor, " n"]:
    """Which images the model gets right; an answer with NaN in it is none."""
    return fooled(clean, labels, labels)


def conclude(
    oracle: Oracle,
    threat: Threat,
    attack: Attack,
    images: Images,
    labels: Labels,
    targets: Labels,
    budgets: Tensor,
    clean: Logits,
    attacked: Tensor,
    best: Results,
    rounding: bool = True,
) -> Verdicts:
    """Judge the stored images once more and measure them."""
    stored, logits = _stored(oracle, labels, targets, clean, attacked, best, attack.confidence)
    gaps = margin(logits, labels, targets)
    success = attacked & fooled(logits, labels, targets, attack.confidence)
    broken = best.broken
    forwards, backwards = best.costs()
    if bool((broken & (gaps + attack.confidence > NEAR)).any()):
        raise BantamError("a success that the judge had confirmed was not one on the stored image")
    measured = sizes(stored - images)
    over = threat.norm.size(stored - images) - budgets
    if attacked.any() and float(over[attacked].max()) > TOLERANCE * max(1.0, float(budgets.max())):
        raise BantamError(f"{attack.name} left its budget: {float(over[attacked].max()):.3g} beyond {threat}")
    shares = torch.softmax(logits, dim=1)
    prediction = logits.argmax(dim=1)
    columns = {
        "label": labels,
        "target": targets,
        "clean": clean.argmax(dim=1),
        "adversarial": prediction,
        "right": correct(clean, labels),
        "attacked": attacked,
        "success": success,
        # A success that only the judge saw, on the final image, is dated by the row's last query.
        "query": torch.where(success, torch.where(broken, best.query, (forwards - 1).clamp_min(0)), -1),
        "margin": gaps,
        "near": gaps.abs() < NEAR,
        "eps": budgets,
        "forwards": forwards,
        "backwards": backwards,
        "confidence": shares.gather(1, prediction[:, None])[:, 0],
        "confidence_target": shares.gather(1, targets.clamp_min(0)[:, None])[:, 0] * (targets >= 0),
    }
    if rounding:
        rounded = torch.round(stored * 255.0) / 255.0
        within = threat.norm.size(rounded - images) <= budgets + TOLERANCE * budgets.clamp_min(1.0)
        columns["survives_8bit"] = _still(oracle, rounded, labels, targets, success & within, attack.confidence)
    columns |= {f"size_{name}": size for name, size in measured.items()}
    return Verdicts(attack.name, str(threat), {key: value.cpu().numpy() for key, value in columns.items()}, stored)


def _stored(
    oracle: Oracle,
    labels: Labels,
    targets: Labels,
    clean: Logits,
    attacked: Tensor,
    best: Results,
    confidence: float,
) -> tuple[Images, Logits]:
    """The image to keep of each row: the most confident one, unless the judge prefers the first success."""
    stored, logits = best.image, clean.clone()
    # Where the first success is what is kept, the judge has said already what it is.
    known = best.broken & (stored == best.fallback).flatten(1).all(dim=1)
    logits[known] = best.judged[known]
    rows = torch.nonzero(attacked & ~known)[:, 0]
    if len(rows):
        logits[rows] = oracle.judge(stored[rows])
    lost = torch.nonzero(best.broken & ~fooled(logits, labels, targets, confidence))[:, 0]
    if len(lost):
        # The proposer ranked it best, in its own precision; the judge disagrees, and the confirmed image stands.
        stored = stored.clone()
        stored[lost] = best.fallback[lost]
        # Not asked again: a randomised model would say something else each time.
        logits[lost] = best.judged[lost]
    return stored, logits


def _still(
    oracle: Oracle, images: Images, labels: Labels, targets: Labels, among: Tensor, confidence: float
) -> Bool[Tensor, " n"]:
    """Which of some images are a success."""
    found, rows = among.clone(), torch.nonzero(among)[:, 0]
    if len(rows):
        found[rows] = fooled(oracle.judge(images[rows]), labels[rows], targets[rows], confidence)
    return found


def save(verdicts: Verdicts, folder: Path) -> None:
    """`verdicts.parquet` and `images.safetensors` into an existing folder."""
    table = pa.table({key: pa.array(value) for key, value in verdicts.columns.items()})
    about = {"attack": verdicts.attack, "threat": verdicts.threat}
    pq.write_table(table.replace_schema_metadata({"about": json.dumps(about)}), folder / "verdicts.parquet")
    save_file({"images": verdicts.images.contiguous()}, folder / "images.safetensors")


def load(folder: Path) -> Verdicts:
    """What `save` wrote."""
    table = pq.read_table(folder / "verdicts.parquet")
    about = json.loads(table.schema.metadata[b"about"])
    columns = {key: table[key].to_numpy() for key in table.column_names}
    return Verdicts(about["attack"], about["threat"], columns, load_file(folder / "images.safetensors")["images"])
