"""Whether the maps that a user is about to read come from what this model learned: the gate, method by method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from bantamweight.explainers._core import check, explain
from bantamweight.explainers._told import logits_within
from bantamweight.explainers.metrics._core import scene
from bantamweight.explainers.metrics.mprt import mprt
from bantamweight.facts import Fact
from bantamweight.judging.scores import gate_fact
from bantamweight.recipes.explain import chosen_methods
from bantamweight.types import Images
from bantamweight.variants import Variant, build

__all__ = ["CHECKED", "gates"]

CHECKED = 32
"""Images that the check is made on unless said otherwise: enough for an interval, few enough to wait for."""


def gates(
    variant: Variant,
    images: Images,
    use: Sequence[str | Mapping[str, Any]],
    *,
    layer: str | None = None,
    seed: int = 0,
    batch: int = 64,
    trust: bool = False,
    heard: Callable[[float, str], None] | None = None,
) -> dict[str, Fact]:
    """The fact `mprt_failed` of every method, on maps of the class that the model predicts for each image.

    Methods and `layer` as for the maps that are checked. Raises InputError where a method is not defined.
    """
    check(images, None, batch)
    methods, module = chosen_methods(use, layer, trust), build(variant, trust=trust)
    predicted = logits_within(module, images, batch).argmax(dim=1)
    answer, metric, found = partial(logits_within, module, batch=batch), mprt(), {}
    for done, method in enumerate(methods):
        if heard is not None:
            heard(done / len(methods), f"checking {method.name}")
        maps = explain(method, module, images, predicted, batch=batch, strict=True)
        seen = scene(method, module, images, predicted, answer=answer, maps=maps, seed=seed, batch=batch)
        found[method.name] = gate_fact(method.name, metric.score(seen), variant=variant.name)
    return found
