"""What tests share: where the real images are, when they are there at all."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with `data/` and `models/`, from BANTAM_DATA (its `data`) or `../shared` beside the checkout."""
    home = os.environ.get("BANTAM_DATA")
    folder = Path(home).parent if home else Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("real images are absent: set BANTAM_DATA to the folder that holds cifar10 and sports10")
    return folder


@pytest.fixture(autouse=True, scope="session")
def _one_thread_per_worker() -> None:
    """Two workers with one thread each beat two that fight for the same two cores."""
    import torch

    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _interrupts_are_heard() -> None:
    """A shell's background job ignores SIGINT, and children would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
