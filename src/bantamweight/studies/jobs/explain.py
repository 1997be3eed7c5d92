"""Maps of clean and attacked images of one variant: figures over `n` images and a gallery of a few."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bantamweight import pictures
from bantamweight.attacks._core import run
from bantamweight.attacks._verdicts import Verdicts
from bantamweight.explainers._core import Attributions
from bantamweight.explainers._core import explain as attribute
from bantamweight.facts import Fact
from bantamweight.judging.attribution import map_correlation, map_facts
from bantamweight.judging.drift import Distances, distances, drift_facts, noise_floor
from bantamweight.oracle import oracle
from bantamweight.parts import configure
from bantamweight.predict import logits_of
from bantamweight.studies._place import Place, draw, part, split_of
from bantamweight.studies.jobs.attack import aim
from bantamweight.types import Images, Int64, Labels, Logits
from bantamweight.variants import build

__all__ = ["explain"]


@dataclass(frozen=True)
class _Scene:
    """The images of this job before and after the attack, and what the variant says of both."""

    index: Int64[Tensor, " n"]
    images: Images
    labels: Labels
    clean: Logits
    verdicts: Verdicts | None
    attacked: Logits | None


def explain(
    place: Place,
    *,
    explainers: Sequence[dict[str, Any]],
    attack: dict[str, Any] | None,
    threat: dict[str, Any] | None,
    target: str,
    split: str,
    n: int,
    show: int,
    drift: dict[str, Any] | None,
    seed: int,
) -> list[Fact]:
    """Facts map_correlation, flat_maps, explainer_undefined and, where asked for, drift and gaze_moved.

    Clean maps are compared with attacked ones, and this variant's with its dense parent's.
    Figures are over maps of the true class, so that only the gaze can differ. The gallery shows the predicted class,
    for the same images in every variant of a family. Writes `gallery.json`, `pictures/` and `maps.safetensors`.
    """
    module = build(place.variant(), trust=place.trust)
    shown = _choice(place.inputs["choice"], show)
    total = len(split_of(place, split))
    others = draw(total, n, seed)
    index = torch.cat([shown, others[~torch.isin(others, shown)]])[: max(n, len(shown))]
    scene = _scene(place, module, index, split, attack, threat, target, seed)
    cell = _columns(place, attack, threat, target, seed)
    facts, drawn, kept, reasons = [], {}, {}, {}
    for spec in explainers:
        method = part(place, "explainers", spec)
        before = attribute(method, module, scene.images, scene.labels)
        facts += map_facts(before)
        if before.undefined is not None:
            reasons[method.name] = before.undefined
            continue
        kept[method.name] = before.maps
        floor = None if drift is None else _floor(place, spec, module, scene, before, drift, seed)
        facts += _moved(place, before, scene, module, method, cell, floor)
        drawn[method.name] = _to_draw(method, module, scene, len(shown))
        place.tell((len(drawn) + len(reasons)) / len(explainers), method.name)
    save_file({name: maps.contiguous() for name, maps in kept.items()} | {"index": index},
              place.out / "maps.safetensors")  # fmt: skip
    _gallery(place, scene, drawn, reasons, split, len(shown))
    return facts


def _columns(
    place: Place, attack: dict[str, Any] | None, threat: dict[str, Any] | None, target: str, seed: int
) -> dict[str, Any]:
    """What attacked images are called in facts."""
    if attack is None or threat is None:
        return {}
    named = str(configure("attacks", attack, trust=place.trust))
    budget = str(part(place, "threats", threat))
    return {"attack": named, "threat": budget, "target": "" if target == "none" else target, "seed": seed}


def _choice(evaluated: Path, show: int) -> Int64[Tensor, " k"]:
    """Images to show: one right and one wrong answer of the dense net per class, class after class, most confident
    first; the same for every variant of a family because it is the dense net's answers that decide."""
    columns = pq.read_table(evaluated / "predictions.parquet").to_pydict()
    rows = sorted(zip(columns["index"], columns["label"], columns["right"], columns["confidence"], strict=True),
                  key=lambda row: (-row[3], row[0]))  # fmt: skip
    chosen: list[int] = []
    for wanted in (True, False):
        firsts: dict[int, int] = {}
        for index, label, right, _ in rows:
            if right == wanted:
                firsts.setdefault(label, index)
        chosen += [firsts[label] for label in sorted(firsts)][: (show + 1) // 2]
    rest = [row[0] for row in rows if row[0] not in chosen]
    return torch.tensor((chosen + rest)[:show])


def _scene(
    place: Place,
    module: nn.Module,
    index: Int64[Tensor, " n"],
    split: str,
    attack: dict[str, Any] | None,
    threat: dict[str, Any] | None,
    target: str,
    seed: int,
) -> _Scene:
    chosen = split_of(place, split)
    images, labels = chosen.floats(index), chosen.labels[index]
    clean = logits_of(module, images)
    if attack is None or threat is None:
        return _Scene(index, images, labels, clean, None, None)
    budget = part(place, "threats", threat)
    method = part(place, "attacks", attack, budget)
    targets = aim(place, target, labels)
    verdicts = run(
        method, oracle(module, device=place.device), images, labels, budget, targets=targets, until="budget", seed=seed
    )
    return _Scene(index, images, labels, clean, verdicts, logits_of(module, verdicts.images))


def _floor(
    place: Place, spec: dict[str, Any], module: nn.Module, scene: _Scene, before: Attributions,
    drift: dict[str, Any], seed: int,
) -> Distances:  # fmt: skip
    """The method's own noise; a method that draws is also given two other seeds."""
    again = [part(place, "explainers", {**spec, "seed": spec["seed"] + more}) for more in (1, 2) if "seed" in spec]
    method = part(place, "explainers", spec)
    return noise_floor(method, module, scene.images, before, again=again, seed=seed, **drift)


def _moved(
    place: Place,
    before: Attributions,
    scene: _Scene,
    module: nn.Module,
    method: Any,
    cell: dict[str, Any],
    floor: Distances | None,
) -> list[Fact]:
    """How far the gaze moved: through the attack (images it was tried on), and from the dense parent."""
    facts = []
    if scene.verdicts is not None and scene.verdicts["attacked"].any():
        rows = torch.from_numpy(scene.verdicts["attacked"])
        after = attribute(method, module, scene.verdicts.images[rows], scene.labels[rows])
        facts += map_correlation(_rows(before, rows), after, against="attacked", **cell)
        if floor is not None:
            still = {measure: values[rows.numpy()] for measure, values in floor.items()}
            moved = distances(_rows(before, rows), after)
            facts += drift_facts(moved, still, item=method.name, against="attacked", **cell)
    if "dense" in place.inputs:
        stored = load_file(place.inputs["dense"] / "maps.safetensors")
        if method.name in stored:
            maps = stored[method.name]
            dense = Attributions(method.name, maps, before.classes, _flat(maps))
            facts += map_correlation(before, dense, against="dense")
            if floor is not None:
                facts += drift_facts(distances(before, dense), floor, item=method.name, against="dense")
    return facts


def _flat(maps: Tensor) -> Tensor:
    """Which maps carry no information."""
    return torch.tensor([pictures.flat(one.numpy()) for one in maps])


def _rows(maps: Attributions, rows: Tensor) -> Attributions:
    return Attributions(maps.explainer, maps.maps[rows], maps.classes[rows], maps.flat[rows], layer=maps.layer)


def _to_draw(method: Any, module: nn.Module, scene: _Scene, count: int) -> dict[str, Tensor]:
    """Maps of the predicted class of the images shown, before and after."""
    found = {"clean": attribute(method, module, scene.images[:count], scene.clean[:count].argmax(dim=1)).maps}
    if scene.verdicts is not None and scene.attacked is not None:
        after = scene.attacked[:count].argmax(dim=1)
        found["adversarial"] = attribute(method, module, scene.verdicts.images[:count], after).maps
    return found


def _gallery(
    place: Place,
    scene: _Scene,
    drawn: dict[str, dict[str, Tensor]],
    reasons: dict[str, str],
    split: str,
    count: int,
) -> None:
    (place.out / "pictures").mkdir()
    names = split_of(place, split).names
    classes = place.data.classes
    items = []
    for row in range(count):
        files = _draw_row(place.out, scene, drawn, row)
        item: dict[str, Any] = {
            "index": int(scene.index[row]),
            "name": names[int(scene.index[row])],
            "label": classes[int(scene.labels[row])],
            "right": bool(scene.clean[row].argmax() == scene.labels[row]),
            "clean": _said(scene.clean[row], classes),
            "adversarial": None,
            "flat": [key for key, flat in files.items() if flat],
            "pictures": {key: _file(scene, row, key) for key in files},
        }
        if scene.verdicts is not None and scene.attacked is not None:
            verdicts = scene.verdicts
            item["adversarial"] = _said(scene.attacked[row], classes)
            item["attacked"] = bool(verdicts["attacked"][row])
            item["success"] = bool(verdicts["success"][row])
            item["query"] = int(verdicts["query"][row])
            item["norms"] = {name: float(verdicts[f"size_{name}"][row]) for name in ("linf", "l2", "l1", "l0")}
            item["gain"] = pictures.perturbation((verdicts.images[row] - scene.images[row]).numpy()).gain
        items.append(item)
    about = {"classes": list(classes), "explainers": [*drawn, *reasons], "undefined": reasons, "items": items}
    (place.out / "gallery.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def _file(scene: _Scene, row: int, key: str) -> str:
    return f"pictures/{int(scene.index[row])}-{key.replace(' ', '-')}.png"


def _draw_row(out: Path, scene: _Scene, drawn: dict[str, dict[str, Tensor]], row: int) -> dict[str, bool]:
    """Write the pictures of one image; returns which of them are maps without information."""
    original = scene.images[row].numpy()
    made = {"original": pictures.picture(original)}
    flat = {"original": False}
    shown = {"clean": original}
    if scene.verdicts is not None:
        shown["adversarial"] = scene.verdicts.images[row].numpy()
        made["perturbation"] = pictures.perturbation(shown["adversarial"] - original).picture
        made["adversarial"] = pictures.picture(shown["adversarial"])
        flat |= {"perturbation": False, "adversarial": False}
    for name, maps in drawn.items():
        for state, values in maps.items():
            one = values[row].numpy()
            made[f"{name} {state}"] = pictures.overlay(shown[state], one)
            flat[f"{name} {state}"] = pictures.flat(one)
    for key, drawn_ in made.items():
        (out / _file(scene, row, key)).write_bytes(pictures.png(drawn_))
    return flat


def _said(logits: Tensor, classes: tuple[str, ...]) -> dict[str, Any]:
    best = int(logits.argmax())
    return {
        "predicted": classes[best],
        "confidence": float(torch.softmax(logits, dim=0)[best]),
        "logits": [round(float(value), 4) for value in logits],
    }
