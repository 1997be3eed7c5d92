"""Ten sports: 3,100 web photographs with a shorter side of 96 pixels, 160 + 50 + 100 per class."""

from __future__ import annotations

from dataclasses import replace

from bantamweight.data._core import Data, Resize
from bantamweight.data._shared import shared
from bantamweight.data.folder import folder

__all__ = ["sports10"]


def sports10(*, size: int | tuple[int, int] = 32, channels: int = 3, resize: Resize = "crop") -> Data:
    """The sports of the studies `sports` and `sports-001`, from the folder `sports10` in `BANTAM_DATA`.

    Labels are as collected, with some noise. Raises InputError when the folder is not there.
    """
    path = shared("sports10")
    return replace(folder(path=str(path), size=size, channels=channels, resize=resize), name="sports10")
