"""HYDRA: Sehwag, Wang, Mittal, Jana 2020, "HYDRA: Pruning adversarially robust neural networks", equation 2.

The weights stand still and importance scores are learned, by the robust objective that the net was trained with; the
gradient passes the choice of the largest as if it were not there. Scores begin at the weights, scaled (section 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor, nn

from bantamweight.compression._allocations import per_layer_masks
from bantamweight.compression._core import Criterion, prunable
from bantamweight.errors import InputError
from bantamweight.parts import Part, Room

__all__ = ["hydra"]

OBJECTIVE = {"use": "fgsm_rs", "threat": "linf 8/255"}


def hydra(
    *,
    objective: Annotated[str | dict[str, Any] | Part, Room("objectives")] = OBJECTIVE,
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 20,
    batch: Annotated[int, Field(ge=1, le=65_536)] = 128,
    rate: Annotated[float, Field(gt=0, le=1000)] = 0.1,
    seed: int = 0,
) -> Criterion:
    """Scores learned for one sparsity, the same in every layer; choose it for high sparsity of a robust net.

    SGD with momentum 0.9 and a cosine from `rate`, as in the paper, on the whole training split, without augmentation.
    Scores of two sparsities are learned apart, so what goes at one need not be gone at a higher one.

    >>> hydra(objective="standard").needs
    'learned scores'
    """
    asks = {"objective": objective, "epochs": epochs, "batch": batch, "rate": rate, "seed": seed}
    return Criterion("hydra", "learned scores", _score, allocation=per_layer_masks, asks=asks)


def _score(module: nn.Module, evidence: Mapping[str, Tensor]) -> dict[str, Tensor]:
    weights = prunable(module)
    for name, learned in evidence.items():
        if name not in weights or learned.shape != weights[name].shape:
            raise InputError(f"expected scores learned for this net, got others for {name!r}; learn them again")
    return {name: learned.to(weights[name]).abs() for name, learned in evidence.items()}
