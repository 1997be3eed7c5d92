"""Where the data sets that are not embedded lie."""

from __future__ import annotations

import os
from pathlib import Path

from bantamweight.data._text import clean
from bantamweight.errors import InputError

__all__ = ["shared"]


def shared(name: str) -> Path:
    """A folder below `BANTAM_DATA`; raises InputError when it is not there."""
    home = os.environ.get("BANTAM_DATA")
    if not home:
        raise InputError(f"expected BANTAM_DATA to name the folder that holds {name}, it is not set; set it")
    path = Path(home).expanduser() / name
    if not path.is_dir():
        raise InputError(f"expected the folder {name!r} in BANTAM_DATA={clean(home)}, found none; check BANTAM_DATA")
    return path
