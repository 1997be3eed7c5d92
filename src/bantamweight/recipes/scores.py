"""How far the maps of some methods may be trusted on one model: every metric, beside baselines, with the gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from bantamweight.errors import InputError
from bantamweight.explainers._core import Attributions, Explainer, check, explain
from bantamweight.explainers._told import logits_within
from bantamweight.explainers.metrics._baselines import baselines
from bantamweight.explainers.metrics._core import Metric, Precision, Scene, Scores, answers, scene
from bantamweight.facts import Fact
from bantamweight.judging.attribution import map_facts
from bantamweight.judging.scores import gain_facts, gate_fact, score_facts, sentences
from bantamweight.parts import configure
from bantamweight.types import Bool, Images, Int64, Labels
from bantamweight.variants import Variant, build

__all__ = ["GIVEN", "METRICS", "Scored", "score", "score_maps"]

METRICS = ("mprt", "deletion", "insertion", "road", "sparseness", "complexity")
"""What is scored unless said otherwise, on data that does not know where objects are."""
GIVEN = ("pointing_game", "iou", "pixel_auc", "localisation_error")
"""What is added where the data knows."""

Heard = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores by (method, metric), one per image, the facts that follow and one sentence per method.

    `undefined` says of methods without meaning for this model why.
    """

    scores: Mapping[tuple[str, str], Scores]
    undefined: Mapping[str, str]
    facts: tuple[Fact, ...]
    sentences: tuple[str, ...]
    n: int


def score(
    model: Variant | nn.Module,
    images: Images,
    labels: Labels,
    use: Sequence[str | Mapping[str, Any]],
    metrics: Sequence[str | Mapping[str, Any]] | None = None,
    *,
    objects: Bool[Tensor, "n h w"] | None = None,
    seed: int = 0,
    batch: int = 64,
    precision: Precision = "fp32",
    trust: bool = False,
    heard: Heard | None = None,
) -> Scored:
    """Score the maps that the methods of `use` make of `images`; metrics and methods by name or `{"use": NAME, ...}`.

    Without `metrics` those that the data allows are taken: localisation where `objects` (masks) are given. Maps of the
    predicted class are scored, and of the labelled class where the metric asks for the object. Raises InputError for a
    name that is not there, or a metric that needs masks where there are none.

    >>> import torch
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    >>> found = score(net, torch.rand(6, 3, 4, 4), torch.zeros(6).long(), ["gradient"], ["sparseness"])
    >>> [fact.item for fact in found.facts if fact.metric == "map_sparseness"]
    ['gradient', 'random_map', 'centre_gaussian', 'edge_map']
    """
    named = metrics if metrics is not None else [*METRICS, *(GIVEN if objects is not None else ())]
    asked = [configure("metrics", one, trust=trust).make() for one in named]
    methods = [configure("explainers", one, trust=trust).make() for one in use]
    module = build(model, trust=trust) if isinstance(model, Variant) else model
    return score_maps(
        module, images, labels, methods, asked,
        objects=objects, seed=seed, batch=batch, precision=precision, heard=heard,
    )  # fmt: skip


def score_maps(
    module: nn.Module,
    images: Images,
    labels: Labels,
    methods: Sequence[Explainer],
    metrics: Sequence[Metric],
    *,
    objects: Bool[Tensor, "n h w"] | None = None,
    seed: int = 0,
    batch: int = 64,
    precision: Precision = "fp32",
    heard: Heard | None = None,
    **columns: Any,
) -> Scored:
    """As `score`, for methods and metrics that are made already; `columns` go into every fact."""
    _check(methods, metrics, objects)
    check(images, labels, batch)
    answer = answers(module, images, precision=precision)
    predicted = logits_within(module, images, batch).argmax(dim=1)
    known: tuple[Explainer, ...] = baselines(seed)
    table: dict[tuple[str, str], Scores] = {}
    facts: list[Fact] = []
    undefined: dict[str, str] = {}
    everyone = [*methods, *known]
    for place, method in enumerate(everyone):
        maps = explain(method, module, images, predicted, batch=batch)
        if maps.undefined is not None:
            undefined[method.name] = maps.undefined
            facts += map_facts(maps, **columns)
            continue
        seen = scene(method, module, images, predicted, maps=maps, answer=answer, seed=seed, batch=batch)
        told = seen if objects is None else _of_labels(seen, maps, labels, objects)
        for at, metric in enumerate(metrics):
            if heard is not None:
                done = (place + at / len(metrics)) / len(everyone)
                heard(done, f"{method.name}, {metric.name}")
            table[method.name, metric.name] = metric.score(told if metric.objects else seen)
    facts += _facts([one.name for one in everyone], metrics, table, predicted, labels, columns)
    facts += gain_facts([one.name for one in methods], metrics, table, **columns)
    return Scored(table, undefined, tuple(facts), tuple(sentences(facts)), len(images))


def _check(methods: Sequence[Explainer], metrics: Sequence[Metric], objects: Tensor | None) -> None:
    for kind, chosen in (("method", methods), ("metric", metrics)):
        called = [one.name for one in chosen]  # type: ignore[attr-defined]
        twice = [name for name in called if called.count(name) > 1]
        if not called or twice:
            got = f"{twice[0]!r} twice" if twice else "none"
            raise InputError(f"expected at least one {kind}, each once, got {got}")
    needy = [metric.name for metric in metrics if metric.objects]
    if needy and objects is None:
        raise InputError(
            f"{needy[0]} needs to know where the object is, and this data does not say; "
            "use data with masks or boxes, such as planted, or leave the metric out"
        )


def _of_labels(seen: Scene, maps: Attributions, labels: Labels, objects: Tensor) -> Scene:
    """The same scene for the labelled class; only what was predicted otherwise is explained again."""
    other = labels != seen.classes
    values, flat = maps.maps.clone(), maps.flat.clone()
    if other.any():
        again = explain(seen.explainer, seen.module, seen.images[other], labels[other], batch=seen.batch, strict=True)
        values[other], flat[other] = again.maps, again.flat
    found = replace(maps, maps=values, flat=flat, classes=labels)
    return scene(
        seen.explainer, seen.module, seen.images, labels,
        objects=objects, answer=seen.answer, maps=found, seed=seen.seed, batch=seen.batch,
    )  # fmt: skip


def _facts(
    names: Sequence[str],
    metrics: Sequence[Metric],
    table: Mapping[tuple[str, str], Scores],
    predicted: Int64[Tensor, " n"],
    labels: Labels,
    columns: Mapping[str, Any],
) -> list[Fact]:
    facts = []
    for method in names:
        for metric in metrics:
            found = table.get((method, metric.name))
            if found is None:
                continue
            facts += score_facts(method, metric, found, labels if metric.objects else predicted, **columns)
            if metric.name == "mprt":
                facts.append(gate_fact(method, found, **columns))
    return facts
