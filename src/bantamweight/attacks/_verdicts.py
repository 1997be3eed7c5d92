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

from bantamweight.errors import BantamError
from bantamweight.oracle import Oracle, margin
from bantamweight.threats import TOLERANCE, Threat, sizes
from bantamweight.types import Images, Labels, Logits

__all__ = ["Verdicts", "conclude", "load", "save"]

NEAR = 1e-4
"""A margin this small may fall the other way on another machine or thread count."""


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Columns of one row per image, and the images they were measured on (float32, as stored).

    `label`, `target` (-1: none), `clean` and `adversarial` (predictions), `right` (before), `attacked`, `success`,
    `query` (index of the first adversarial point, -1: none), `margin`, `near`, `size_linf/l2/l1/l0`, `eps`, `forwards`,
    `backwards`, `survives_8bit`, `confidence` (of the adversarial prediction), `confidence_target`.
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


def conclude(
    oracle: Oracle,
    threat: Threat,
    attack: str,
    images: Images,
    labels: Labels,
    targets: Labels,
    budgets: Tensor,
    clean: Logits,
    attacked: Tensor,
    best: dict[str, Tensor],
) -> Verdicts:
    """Judge the stored images once more and measure them."""
    stored, logits = _stored(oracle, labels, targets, clean, attacked, best)
    gaps = margin(logits, labels, targets)
    success = attacked & (gaps < 0)
    broken = best["query"] < 2**62
    if bool((broken & (gaps > NEAR)).any()):
        raise BantamError("a success that the judge had confirmed was not one on the stored image")
    measured = sizes(stored - images)
    over = threat.norm.size(stored - images) - budgets
    if attacked.any() and float(over[attacked].max()) > TOLERANCE * max(1.0, float(budgets.max())):
        raise BantamError(f"{attack} left its budget: {float(over[attacked].max()):.3g} beyond {threat}")
    survives = _survives_rounding(oracle, stored, labels, targets, success)
    shares = torch.softmax(logits, dim=1)
    prediction = logits.argmax(dim=1)
    columns = {
        "label": labels,
        "target": targets,
        "clean": clean.argmax(dim=1),
        "adversarial": prediction,
        "right": clean.argmax(dim=1) == labels,
        "attacked": attacked,
        "success": success,
        # A success that only the judge saw, on the final image, is dated by the row's last query.
        "query": torch.where(success, torch.where(broken, best["query"], best["forwards"] - 1), -1),
        "margin": gaps,
        "near": gaps.abs() < NEAR,
        "eps": budgets,
        "forwards": best["forwards"],
        "backwards": best["backwards"],
        "survives_8bit": survives,
        "confidence": shares.gather(1, prediction[:, None])[:, 0],
        "confidence_target": shares.gather(1, targets.clamp_min(0)[:, None])[:, 0] * (targets >= 0),
    }
    columns |= {f"size_{name}": size for name, size in measured.items()}
    return Verdicts(attack, str(threat), {key: value.cpu().numpy() for key, value in columns.items()}, stored)


def _stored(
    oracle: Oracle, labels: Labels, targets: Labels, clean: Logits, attacked: Tensor, best: dict[str, Tensor]
) -> tuple[Images, Logits]:
    """The image to keep of each row: the most confident one, unless the judge prefers the first success."""
    stored, logits = best["image"], clean.clone()
    # Where the first success is what is kept, the judge has said already what it is.
    known = (best["query"] < 2**62) & (stored == best["fallback"]).flatten(1).all(dim=1)
    logits[known] = best["judged"][known]
    rows = torch.nonzero(attacked & ~known)[:, 0]
    if len(rows):
        logits[rows] = oracle.judge(stored[rows])
    lost = torch.nonzero((best["query"] < 2**62) & ~(margin(logits, labels, targets) < 0))[:, 0]
    if len(lost):
        # The proposer ranked it best, in its own precision; the judge disagrees, and the confirmed image stands.
        stored = stored.clone()
        stored[lost] = best["fallback"][lost]
        logits[lost] = oracle.judge(stored[lost])
    return stored, logits


def _survives_rounding(oracle: Oracle, stored: Images, labels: Labels, targets: Labels, success: Tensor) -> Tensor:
    """Which successes are still one after the image went through 8 bits."""
    survives, rows = success.clone(), torch.nonzero(success)[:, 0]
    if len(rows):
        rounded = torch.round(stored[rows] * 255.0) / 255.0
        survives[rows] = margin(oracle.judge(rounded), labels[rows], targets[rows]) < 0
    return survives


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
