"""What folders and parquet files share: decode, complain about bad files or leave them out, divide by seed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch

from bantamweight.data._cache import decoded
from bantamweight.data._core import Preprocessing, Split
from bantamweight.data._text import clean, listed
from bantamweight.errors import InputError
from bantamweight.rng import generator

__all__ = ["WHOLE", "Bad", "Item", "OnBad", "carve", "check_fractions", "complain", "gather", "split_name"]

OnBad = Literal["error", "skip"]
WHOLE = "all"
"""The one split of data that has none of its own and was not to be divided."""

_LOG = logging.getLogger(__name__)
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


class Item(NamedTuple):
    """An image not yet decoded."""

    name: str
    label: int
    source: bytes | Path


class Bad(NamedTuple):
    """Something that can't be used, and why."""

    name: str
    reason: str


def split_name(name: str) -> str | None:
    """The split that a folder or file name means, or None.

    >>> split_name("Validation"), split_name("cat")
    ('val', None)
    """
    return _SPLITS.get(name.lower())


def complain(bad: Sequence[Bad], on_bad: OnBad) -> tuple[str, ...]:
    """The names to leave out; raises InputError about the first when nothing may be left out."""
    if not bad:
        return ()
    first = bad[0]
    if on_bad == "error":
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise InputError(f"{first.name}: {first.reason}{more}; repair or remove it, or choose on_bad: skip")
    _LOG.warning("skipped %d of the files, the first is %s: %s", len(bad), first.name, first.reason)
    return tuple(item.name for item in bad)


def gather(
    items: Mapping[str, Sequence[Item]], preprocessing: Preprocessing, refused: Sequence[Bad], on_bad: OnBad
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Decode the items of every split; also the names of what was left out."""
    splits: dict[str, Split] = {}
    bad = list(refused)
    for key, wanted in items.items():
        images, reasons = decoded([item.source for item in wanted], preprocessing)
        bad += [Bad(wanted[row].name, reason) for row, reason in sorted(reasons.items())]
        good = [item for row, item in enumerate(wanted) if row not in reasons]
        labels = torch.tensor([item.label for item in good], dtype=torch.int64)
        splits[key] = Split(torch.from_numpy(images), labels, tuple(item.name for item in good))
    return splits, complain(bad, on_bad)


def check_fractions(val: float, test: float = 0.0) -> None:
    """Raises InputError unless something is left to train on."""
    if not (0.0 <= val < 1.0 and 0.0 <= test < 1.0 and val + test < 1.0):
        raise InputError(f"expected val and test to be fractions with a sum below 1, got {val} and {test}")


def carve(
    splits: Mapping[str, Split], classes: Sequence[str], *, seed: int, val: float, test: float
) -> dict[str, Split]:
    """Divide what has no splits of its own in three, or take a val split out of train where there is none.

    Stratified and decided by the seed, the class name and the order of the files; a class keeps at least one image in
    each part. `val: 0` takes nothing out of train.
    """
    check_fractions(val, test)
    if WHOLE in splits:
        whole, shares = splits[WHOLE], {"val": val, "test": test}
    elif "train" in splits and "val" not in splits:
        whole, shares = splits["train"], {"val": val}
    else:
        return dict(splits)
    rows = _rows(whole.labels.numpy(), classes, {key: share for key, share in shares.items() if share}, seed)
    parts = {key: whole.take(torch.from_numpy(chosen)) for key, chosen in rows.items()}
    divided = {**{key: split for key, split in splits.items() if key != WHOLE}, **parts}
    return {key: divided[key] for key in ("train", "val", "test") if key in divided}


def _rows(labels: np.ndarray, classes: Sequence[str], shares: dict[str, float], seed: int) -> dict[str, np.ndarray]:
    chosen: dict[str, list[np.ndarray]] = {key: [] for key in ("train", *shares)}
    for label, name in enumerate(classes):
        mine = np.flatnonzero(labels == label)
        if len(mine) == 0:
            continue
        counts = {key: max(1, round(share * len(mine))) for key, share in shares.items()}
        if sum(counts.values()) >= len(mine):
            raise InputError(
                f"class '{clean(name)}' has {len(mine)} images, too few to divide into {listed(['train', *shares])}; "
                f"add images, or arrange them as train/CLASS, val/CLASS, test/CLASS"
            )
        order = mine[generator(seed, "divide", name).permutation(len(mine))]
        start = 0
        for key, count in counts.items():
            chosen[key].append(order[start : start + count])
            start += count
        chosen["train"].append(order[start:])
    return {key: np.sort(np.concatenate(parts)) if parts else np.empty(0, int) for key, parts in chosen.items()}
