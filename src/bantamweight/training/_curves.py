"""TensorBoard logs of a training, one event per epoch, split and curve."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from bantamweight.errors import StoreError
from bantamweight.training._values import Row

__all__ = ["Curves"]


class Curves:
    """Owns a TensorBoard writer below `folder`; use it in a `with`. Writes nothing when the folder is None.

    Raises StoreError when the folder can't be written.
    """

    def __init__(self, folder: Path | None, first_epoch: int) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None
        if folder is not None:
            with self._written():
                # What a killed process logged after its last checkpoint is purged from the curves.
                self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first_epoch)

    def __enter__(self) -> Curves:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            with self._written():
                self._writer.close()

    def log(self, rows: Iterable[Row]) -> None:
        """Add an epoch's rows and flush, so that a kill loses no epoch that a checkpoint holds."""
        if self._writer is None:
            return
        with self._written():
            for row in rows:
                self._writer.add_scalar(f"loss/{row.split}", row.loss, row.epoch)
                self._writer.add_scalar(f"accuracy/{row.split}", row.accuracy, row.epoch)
                self._writer.add_scalar(f"seconds/{row.split}", row.seconds, row.epoch)
                if row.split == "train":
                    self._writer.add_scalar("rate", row.rate, row.epoch)
            self._writer.flush()

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"expected to be able to write to {self._folder}, got: {error.strerror}; "
                f"free some space or choose another place"
            ) from error
