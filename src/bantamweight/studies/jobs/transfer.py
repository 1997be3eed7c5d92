"""Adversarial images made on one variant, judged by another."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file

from bantamweight.facts import Fact
from bantamweight.judging.transfer import transfer_facts
from bantamweight.predict import logits_of
from bantamweight.studies._place import Place, draw, split_of
from bantamweight.variants import build

__all__ = ["transfer"]


def transfer(place: Place, *, n: int, split: str) -> list[Fact]:
    """Facts transfer_success and transfer_given_source over `n` of the images that the input `attack` stored."""
    table = pq.read_table(place.inputs["attack"] / "verdicts.parquet")
    stored = load_file(place.inputs["attack"] / "images.safetensors")
    wanted = draw(len(split_of(place, split)), n)
    rows = torch.isin(stored["index"], wanted)
    table = table.filter(np.isin(table["index"].to_numpy(), wanted.numpy()) & table["stored"].to_numpy())
    module = build(place.variant(), trust=place.trust)
    clean = load_file(place.inputs["clean"] / "logits.safetensors")["logits"][stored["index"][rows]].numpy()
    moved = logits_of(module, stored["adversarial"][rows]).numpy()
    labels, success, aims = (table[name].to_numpy() for name in ("label", "success", "target"))
    return transfer_facts(labels, clean, moved, success, aims=aims)
