"""Measured peak memory of training: two steps in a process of their own, and the most that was resident.

Linux only (VmHWM of /proc/self/status, reset before the steps). The child's allocator gives freed blocks back at once,
so that what is resident is what is in use; what torch and its libraries take before the model is there is taken off.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bantamweight.errors import BantamError, InputError
from bantamweight.models._memory import Optimizer
from bantamweight.variants import Variant, build, load, save

__all__ = ["measured_peak"]

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
GIVEN_BACK = "131072"
"""Bytes from which the C library maps and unmaps a block by itself instead of keeping it."""


def measured_peak(
    variant: Variant, *, batch: int = 1, optimizer: Optimizer = "sgd", threads: int = 1, trust: bool = False
) -> int:
    """Bytes resident at most while `variant` trains on `batch` images at a time, beyond what an idle process takes.

    Raises InputError where the system does not say how much is resident, or memory runs out.
    """
    if not STATUS.is_file():
        raise InputError(
            "expected a Linux system, whose /proc says how much memory is resident; leave out the measuring"
        )
    with tempfile.TemporaryDirectory() as scratch:
        save(variant, Path(scratch) / "variant")
        asked = {"folder": f"{scratch}/variant", "batch": batch, "optimizer": optimizer, "threads": threads}
        environment = {"MALLOC_MMAP_THRESHOLD_": GIVEN_BACK, "MALLOC_TRIM_THRESHOLD_": GIVEN_BACK}
        child = subprocess.run(
            [sys.executable, "-m", __name__, json.dumps({**asked, "trust": trust})],
            env={**os.environ, **environment, "OMP_NUM_THREADS": str(threads)},
            capture_output=True,
            text=True,
            check=False,
        )
    if child.returncode < 0:
        raise InputError(
            f"training on {batch} images was ended by the system, probably out of memory; take a smaller batch"
        )
    if child.returncode:
        raise BantamError(f"measuring the memory of training failed: {child.stderr.strip().splitlines()[-1][:300]}")
    return int(child.stdout)


def _measure(folder: str, batch: int, optimizer: Optimizer, threads: int, trust: bool) -> int:
    import torch

    from bantamweight.models._memory import made, train_step
    from bantamweight.models.resnet20 import resnet20

    torch.set_num_threads(threads)
    warm = resnet20(size=16).train()
    # A first step brings in what any training needs of the libraries, some of it on the first use of an optimizer.
    train_step(warm, made(optimizer, warm), torch.rand(2, 3, 16, 16), torch.zeros(2, dtype=torch.int64))
    variant = load(Path(folder))
    shape, classes = variant.input_shape, 2
    module = build(variant, trust=trust).train().requires_grad_(True)
    del variant
    gc.collect()
    weights = sum(one.nbytes for one in (*module.parameters(), *module.buffers()))
    before = _resident("VmRSS") - weights
    RESET.write_text("5")
    updates = made(optimizer, module)
    images, labels = torch.rand(batch, *shape), torch.randint(classes, (batch,))
    for _ in range(2):
        train_step(module, updates, images, labels)
    return _resident("VmHWM") - before


def _resident(what: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    print(_measure(**json.loads(sys.argv[1])))
