"""Images for int8: its ranges come from some, its judgement from others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from bantamweight.loading import untrained
from bantamweight.recipes._images import for_calibration, for_judging


def folder(place: Path, each: int) -> Path:
    """Two classes and no splits."""
    draw = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (place / name).mkdir(parents=True)
        for number in range(each):
            image = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(image).save(place / name / f"{number}.png")
    return place


def test_nothing_is_judged_that_ranges_were_taken_from(tmp_path: Path) -> None:
    net, place = untrained("small_cnn", size=8, classes=("cat", "dog")), folder(tmp_path / "pictures", 30)
    seen = for_calibration(net, place, 40)
    judged = for_judging(net, place, 100, without=seen)
    assert len(seen) == 40
    assert len(judged) == 20
    assert not {row.numpy().tobytes() for row in seen} & {row.numpy().tobytes() for row in judged.floats()}
    assert len(for_judging(net, place, 100)) == 60
    everything = for_calibration(net, place, 60)
    assert len(for_judging(net, place, 100, without=everything)) == 60  # there is nothing else
