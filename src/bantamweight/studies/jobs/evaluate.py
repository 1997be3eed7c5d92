"""What a variant answers on one split, image by image."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file

from bantamweight.facts import Fact
from bantamweight.judging.accuracy import accuracy_facts
from bantamweight.predict import logits_of
from bantamweight.studies._place import Place, split_of
from bantamweight.variants import build

__all__ = ["evaluate"]


def evaluate(place: Place, *, split: str) -> list[Fact]:
    """Facts accuracy, recall, precision, f1, confusion; `predictions.parquet` and `logits.safetensors`, row by row."""
    chosen = split_of(place, split)
    logits = logits_of(build(place.variant(), trust=place.trust), chosen.images)
    shares = torch.softmax(logits, dim=1)
    confidence, predicted = shares.max(dim=1)
    table = pa.table(
        {
            "index": pa.array(range(len(chosen)), pa.int64()),
            "label": chosen.labels.numpy(),
            "predicted": predicted.numpy(),
            "confidence": confidence.numpy(),
            "right": (predicted == chosen.labels).numpy(),
        }
    )
    pq.write_table(table, place.out / "predictions.parquet", compression="zstd")
    save_file({"logits": logits}, place.out / "logits.safetensors")
    return accuracy_facts(chosen.labels.numpy(), logits.numpy(), place.data.classes, split=split)
