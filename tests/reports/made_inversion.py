"""A made-up inversion: two layers, two images, one of them with a picture outside the job's folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from bantamweight.facts import Fact

__all__ = ["facts", "job"]


def facts(layers: Sequence[str]) -> list[Fact]:
    """An error per layer, larger the later."""
    return [
        Fact(metric="inversion_error", kind="mean", value=0.2 * at, low=0.2 * at - 0.05, high=0.2 * at + 0.05, n=2,
             variant="net", item=layer, step=float(at))
        for at, layer in enumerate(layers, start=1)
    ]  # fmt: skip


def job(folder: Path, layers: Sequence[str], script: str, picture: Callable[[Path, int], None]) -> None:
    """What the job leaves in its folder."""
    (folder / "pictures").mkdir()
    items = []
    for row in range(2):
        files = [f"pictures/{row}-{name}.png" for name in ("image", *range(len(layers)))]
        for seed, file in enumerate(files):
            picture(folder / file, 10 * row + seed)
        made = [{"picture": file, "error": 0.25} for file in files[1:]]
        items.append(
            {"name": f"{script}/{row}.png", "label": script, "right": row == 0, "picture": files[0], "made": made}
        )
    items[1]["picture"] = "../../../outside.png"
    losses = {layer: {"total": [1.0, 0.5, 0.25], "fit": [0.9, 0.4, 0.2]} for layer in layers}
    (folder / "inversion.json").write_text(json.dumps({"layers": layers, "items": items, "losses": losses}))
