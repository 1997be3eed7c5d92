"""A run folder as a study leaves it, made up: two nets and their cuts, hostile names, pictures, predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from bantamweight import facts as table
from bantamweight.facts import Fact, proportion
from bantamweight.judging.accuracy import accuracy_facts, paired_facts, pairs_to_compare, recovery_fact, trend_fact
from bantamweight.judging.latency import latency_facts
from bantamweight.judging.recommend import recommend, recommended_facts
from bantamweight.judging.transfer import transfer_facts
from tests.reports import made_attacks, made_cuts, made_inversion

SCRIPT = "<script>document.title='owned'</script>"
CLASSES = (SCRIPT, '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}\u2028</script><!--", "tennis & 'golf'", "plain")
VARIANTS = (
    ("net", "", None, False),
    ("small", "", None, False),
    *((f"net/magnitude-{share}", "net", share, False) for share in (0.2, 0.5, 0.8)),
    *((f"net/magnitude-{share}/tuned", f"net/magnitude-{share}", share, True) for share in (0.2, 0.5, 0.8)),
)
NAMES = [name for name, *_ in VARIANTS]
LAYERS = ("conv1.weight", "<b>fc</b>.weight")
N = 100
SKILL = {name: 0.5 + 0.45 * (1 - (share or 0.1) * (0.3 if tuned else 0.9)) for name, _, share, tuned in VARIANTS}


def made(folder: Path) -> Path:
    """Write a whole store with one run into `folder`; returns the run's folder."""
    labels = np.arange(N) % len(CLASSES)
    answers = {name: _answers(labels, seed) for seed, name in enumerate(NAMES)}
    jobs = [_data(folder, labels)]
    jobs += [_evaluated(folder, name, labels, answers[name]) for name in NAMES]
    jobs += [_explained(folder, name, target) for name in NAMES for target in ("", CLASSES[0]) if name != "small"]
    jobs.append(_scored(folder, "net"))
    inverted, job = _folder(folder, "inversion", variant="net", split="test")
    made_inversion.job(inverted, LAYERS, SCRIPT, _picture)
    jobs.append(job)
    jobs += [_shown(folder, "protocol", name, f"linf {eps}") for name in ("net", NAMES[-1]) for eps in (0.03, 0.1)]
    jobs += [_shown(folder, "minimum_norm", name, "l2 unbounded") for name in ("net", NAMES[-1])]
    run = folder / "runs" / "made-1"
    run.mkdir(parents=True)
    table.save(every_fact(labels, answers), run / "facts.parquet")
    (run / "run.json").write_text(json.dumps(_manifest(jobs)), encoding="utf-8")
    return run


def every_fact(labels: np.ndarray, answers: dict[str, np.ndarray]) -> list[Fact]:
    """One of everything that a study writes."""
    right = {name: answers[name] == labels for name in NAMES}
    found = [
        fact for name in NAMES for fact in accuracy_facts(labels, answers[name], CLASSES, variant=name, split="test")
    ]
    found += paired_facts(right, pairs_to_compare(right), split="test")
    found += [recovery_fact(right, name, "net", split="test") for name in NAMES if name.endswith("tuned")]
    cuts = {0.0: right["net"], **{share: right[f"net/magnitude-{share}"] for share in (0.2, 0.5, 0.8)}}
    found.append(trend_fact(cuts, variant="net", item="magnitude", split="test"))
    found += [
        *_curves(),
        *_costs(),
        *_attacked(),
        *_carried(labels, answers),
        *_maps(),
        *_trust(),
        *_drift(),
        *_explain_costs(),
        *_anatomy(),
        *made_inversion.facts(LAYERS),
        *_hardened(),
        *_data_facts(),
    ]
    found += made_cuts.cuts(VARIANTS, right, SCRIPT, found)
    found += made_attacks.protocols(NAMES, N, SCRIPT) + made_attacks.distances(("net", NAMES[-1]), N)
    found += recommended_facts(found, recommend(found))
    stamped = [fact.model_copy(update={"study": "made", "job": "0" * 32, "machine": "a machine"}) for fact in found]
    return [fact if fact.threads else fact.model_copy(update={"threads": 2}) for fact in stamped]


def _answers(labels: np.ndarray, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    wrong = draw.random(N) > SKILL[NAMES[seed]]
    return np.where(wrong, (labels + draw.integers(1, len(CLASSES), N)) % len(CLASSES), labels)


def _curves() -> list[Fact]:
    found = []
    for name in ("net", "small", "net/magnitude-0.5/tuned", "net/magnitude-0.8/tuned"):
        for epoch in range(1, 6):
            for split, n in (("train", 300), ("val", 60)):
                where: dict[str, Any] = {"variant": name, "split": split, "step": float(epoch), "seed": 0}
                found.append(Fact(metric="epoch_loss", kind="mean", value=2 / epoch, n=n, **where))
                found.append(proportion("epoch_accuracy", n * epoch // 6, n, **where))
                found.append(Fact(metric="epoch_seconds", kind="time", value=1.5, unit="s", origin="measured", **where))
        time = {"unit": "s", "origin": "measured", "variant": name}
        found.append(Fact(metric="training_seconds", kind="time", value=7.5, **time))
        found.append(Fact(metric="epochs", kind="count", value=5, variant=name))
    return found


def _costs() -> list[Fact]:
    found = []
    for name, _, share, _ in VARIANTS:
        found.append(Fact(metric="parameters", kind="count", value=620_810, variant=name))
        for item, size in (("dense_fp32", 2.5e6), ("bitmap", 2.5e6 * (1.03 - (share or 0)))):
            found.append(
                Fact(metric="size_bytes", kind="count", value=round(size), item=item, unit="bytes", variant=name)
            )
        if share is not None:
            found.append(Fact(metric="sparsity", kind="ratio", value=share, variant=name))
            found += [
                Fact(metric="layer_sparsity", kind="ratio", value=share, item=one, variant=name) for one in LAYERS
            ]
    for layer in LAYERS:
        for step in (0.0, 0.5, 0.9):
            k = round(90 - 60 * step)
            found.append(proportion("sensitivity_accuracy", k, N, item=layer, step=step, variant="net", split="test"))
    draw = np.random.default_rng(0)
    seconds = {
        (name, runtime): {batch: 0.002 * batch * draw.normal(1, 0.02, 60) for batch in (1, 16)}
        for name in NAMES
        for runtime in ("torch", "onnxruntime")
    }
    found += latency_facts(seconds, threads=2, machine="a machine", versions="made")
    found.append(proportion("parity_top1", 64, 64, variant="net", runtime="onnxruntime"))
    return found


def _attacked() -> list[Fact]:
    found = []
    for name in NAMES:
        for attack, budgets in (("fgsm", (0.01, 0.03, 0.1)), ("pgd(steps=40)", (0.03,))):
            for eps in budgets:
                for target in ("", CLASSES[0]):
                    where = {
                        "variant": name,
                        "attack": attack,
                        "threat": f"linf {eps}",
                        "target": target,
                        "split": "test",
                    }
                    tried, fooled = 80, round(70 * min(1, eps * 12))
                    found.append(proportion("robust_accuracy", tried - fooled, N, **where))
                    found.append(proportion("fooled_overall", N - tried + fooled, N, **where))
                    found.append(proportion("attack_success", fooled, tried, **where))
                    found.append(Fact(metric="perturbation_linf", kind="median", value=eps, n=fooled, **where))
                    if target:
                        found.append(proportion("targeted_success", fooled // 2, tried, **where))
        unbroken = {"variant": name, "threat": "linf 0.5", "attack": "pgd(steps=40)"}
        found.append(Fact(metric="eps_for_half", kind="median", value=None, k=3, n=64, **unbroken))
    return found


def _carried(labels: np.ndarray, answers: dict[str, np.ndarray]) -> list[Fact]:
    moved = (labels + 1) % len(CLASSES)
    found = []
    for source in ("net", "small"):
        for judged in NAMES:
            if judged != source:
                fooled = np.random.default_rng(len(judged)).random(N) < 0.4
                where = {"source": source, "variant": judged, "attack": "pgd(steps=40)", "threat": "linf 0.03"}
                after = np.where(fooled, moved, labels)
                found += transfer_facts(labels, answers[judged], after, fooled, **where)
    return found


def _maps() -> list[Fact]:
    found = []
    for name in NAMES:
        for item in ("gradient", "grad_cam"):
            if (name, item) == ("small", "grad_cam"):
                note = "no convolution"
                found.append(
                    Fact(metric="explainer_undefined", kind="flag", value=1.0, item=item, variant=name, note=note)
                )
                continue
            for against in ("attacked", *(["dense"] if "/" in name else [])):
                where = {"variant": name, "item": item, "against": against}
                found.append(Fact(metric="map_correlation", kind="mean", value=0.6, low=0.5, high=0.7, n=60, **where))
            found.append(proportion("flat_maps", 1, 64, item=item, variant=name))
    return found


SHAKEN = ("rank", "top", "centre", "ssim")


def _trust() -> list[Fact]:
    """Scores with baselines, the gate, and drift over its floor."""
    found = []
    for name in ("net", "net/magnitude-0.5"):
        for place, item in enumerate(("grad_cam", "guided_backprop", "random_map", "edge_map")):
            about: dict[str, Any] = {"variant": name, "item": item, "n": 60}
            for metric, value in (("mprt", 0.1 + place / 5), ("deletion", 0.3), ("iou", 0.2), ("pixel_auc", 0.7)):
                ends = {"low": value - 0.02, "high": value + 0.02}
                found.append(Fact(metric=f"map_{metric}", kind="mean", value=value, **ends, **about))
            found.append(Fact(metric="mprt_failed", kind="flag", value=float(place > 0), **about))
            for step, layer in enumerate(("<b>fc</b>", "conv1"), start=1):
                where = {"step": float(step), "against": layer}
                found.append(Fact(metric="map_mprt_curve", kind="mean", value=0.2 * step, **where, **about))
            if place < 2:
                sure = {"against": "random_map", "p": 0.01, "p_adjusted": 0.02 + place}
                sure["p_adjusted"] = min(1.0, sure["p_adjusted"])
                ends = {"low": 0.05, "high": 0.15}
                found.append(Fact(metric="map_deletion_gain", kind="score", value=0.1, **ends, **sure, **about))
    return found


def _drift() -> list[Fact]:
    found = []
    cells = [({"against": "dense"}, name) for name in NAMES if "/" in name]
    cells += [
        ({"against": "attacked", "attack": "pgd(steps=40)", "threat": f"linf {eps}"}, "net") for eps in (0.01, 0.03)
    ]
    for where, name in cells:
        about = {"variant": name, "item": "grad_cam", "n": 60, **where}
        for measure in SHAKEN:
            ends = {"low": 0.3, "high": 0.5}
            found.append(Fact(metric=f"drift_{measure}", kind="mean", value=0.4, p_adjusted=0.001, **ends, **about))
            found.append(Fact(metric=f"drift_{measure}_floor", kind="mean", value=0.05, low=0.04, high=0.06, **about))
        found.append(Fact(metric="gaze_moved", kind="flag", value=1.0, note="above: rank", **about))
    return found


def _explain_costs() -> list[Fact]:
    found = []
    for item, ms in (("grad_cam", 0.4), ("guided_backprop", 0.9)):
        for batch in (1, 8):
            about: dict[str, Any] = {"variant": "net", "item": item, "batch": batch, "step": 32.0}
            clock = {"kind": "time", "unit": "ms", "origin": "measured", **about}
            found.append(Fact(metric="explain_ms", value=ms, low=0.9 * ms, high=1.1 * ms, n=7, **clock))
            found += [
                Fact(metric=f"explain_{part}_ms", value=ms / 3, **clock) for part in ("forward", "backward", "rest")
            ]
            passes = {"kind": "score", "unit": "rows per image", **about}
            found += [Fact(metric=f"explain_{part}", value=2.0, **passes) for part in ("forwards", "backwards")]
            found.append(Fact(metric="explain_peak_bytes", kind="count", value=2e6, unit="bytes", **about))
    return found


def _anatomy() -> list[Fact]:
    """Of a net with one layer that is called twice and one without a known field."""
    found = [
        Fact(metric="training_bytes", kind="count", value=3e6, item=part, against="adamw", batch=32, variant="net")
        for part in ("weights", "activations", "peak")
    ]
    found += [
        Fact(metric=f"roof_{rate}", kind="score", value=value, origin="measured", variant="net")
        for rate, value in (("flops", 2e11), ("bandwidth", 1e10))
    ]
    for step, (item, kind) in enumerate(((LAYERS[0], "Conv2d"), ("relu", "ReLU"), ("relu", "ReLU"), ("fc", "Linear"))):
        about: dict[str, Any] = {"variant": "net", "item": item, "against": kind, "step": float(step)}
        counts = {"parameters": 100, "macs": 0 if kind == "ReLU" else 5000, "activation_bytes": 400, "saved_bytes": 400}
        found += [Fact(metric=f"layer_{name}", kind="count", value=value, **about) for name, value in counts.items()]
        if kind != "Linear":
            found += [Fact(metric=f"layer_{name}", kind="score", value=3.0, **about) for name in ("field", "stride")]
        clock = {"kind": "time", "unit": "ms", "origin": "measured", **about}
        found += [Fact(metric=f"layer_{name}", value=0.25, **clock) for name in ("ms", "least_ms")]
    return found


def _hardened() -> list[Fact]:
    """A training with ADMM against attack, a guard that stepped in and an epoch that was begun again."""
    about: dict[str, Any] = {"variant": "net"}
    found = [
        Fact(
            metric=f"epoch_{name}_residual", kind="score", value=0.5 / epoch, split="train", step=float(epoch), **about
        )
        for name in ("primal", "dual")
        for epoch in (1, 2, 3)
    ]
    found += [
        proportion(
            "epoch_robust_accuracy",
            20 + epoch,
            60,
            split="val",
            step=float(epoch),
            attack="pgd",
            threat="linf 0.1",
            **about,
        )
        for epoch in (1, 2, 3)
    ]
    for name, value in (("recovering", 7), ("setbacks", 1)):
        found.append(Fact(metric=f"epoch_{name}", kind="count", value=value, split="train", step=2.0, **about))
    for when, value in (("before", 0.8), ("after", 0.75)):
        found.append(proportion(f"epoch_accuracy_{when}_cut", round(60 * value), 60, split="val", step=2.0, **about))
    clock = {"origin": "measured", **about}
    found.append(Fact(metric="training_images_per_second", kind="score", value=512.0, unit="images/s", **clock))
    found.append(Fact(metric="attack_share", kind="ratio", value=0.6, **clock))
    return found


def _data_facts() -> list[Fact]:
    counts = {"train": 300, "val": 60, "test": N}
    found = [Fact(metric="data_images", kind="count", value=n, n=n, split=split) for split, n in counts.items()]
    found.append(Fact(metric="data_skipped", kind="count", value=1, note=f"{SCRIPT}.png: truncated"))
    found.append(
        Fact(metric="data_leaks", kind="count", value=2, split="train", against="test", note="perceptual hash")
    )
    return found


def _folder(store: Path, kind: str, **labels: Any) -> tuple[Path, dict[str, Any]]:
    key = f"{kind}{len(list(store.glob('jobs/*')))}"
    folder = store / "jobs" / key
    folder.mkdir(parents=True)
    return folder, {"key": key, "kind": kind, "folder": f"jobs/{key}", "labels": labels}


def _picture(path: Path, seed: int, size: tuple[int, int] = (8, 8)) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def _data(store: Path, labels: np.ndarray) -> dict[str, Any]:
    folder, job = _folder(store, "data")
    _picture(folder / "sheet.png", 0, (80, 80))
    names = [f"{SCRIPT}/{index}.png" for index in range(N)]
    about = {
        "split": "test",
        "columns": 10,
        "rows": 10,
        "tile": [8, 8],
        "n": N,
        "labels": labels.tolist(),
        "names": names,
    }
    (folder / "sheet.json").write_text(json.dumps(about), encoding="utf-8")
    pairs = [["train", SCRIPT, "test", "other.png"]] * 2
    (folder / "leaks.json").write_text(json.dumps(pairs), encoding="utf-8")
    return job


def _evaluated(store: Path, name: str, labels: np.ndarray, answers: np.ndarray) -> dict[str, Any]:
    folder, job = _folder(store, "evaluate", variant=name, split="test")
    columns = {"index": np.arange(N), "label": labels, "predicted": answers, "right": answers == labels}
    pq.write_table(pa.table(columns), folder / "predictions.parquet")
    return job


def _scored(store: Path, name: str) -> dict[str, Any]:
    folder, job = _folder(store, "score", variant=name, split="test")
    said = {"n": 60, "sentences": [f"grad_cam {SCRIPT} passes the check of the parameters."], "undefined": {}}
    (folder / "scores.json").write_text(json.dumps(said), encoding="utf-8")
    return job


def _explained(store: Path, name: str, target: str) -> dict[str, Any]:
    labels = {"variant": name, "attack": "pgd(steps=40)", "threat": "linf 0.03", "target": target}
    folder, job = _folder(store, "explain", **labels)
    (folder / "pictures").mkdir()
    items = [_example(folder, index, target) for index in range(6)]
    about = {"classes": CLASSES, "explainers": ["gradient", "grad_cam"], "undefined": {}, "items": items}
    (folder / "gallery.json").write_text(json.dumps(about), encoding="utf-8")
    return job


def _example(folder: Path, index: int, target: str) -> dict[str, Any]:
    kinds: Sequence[str] = ("original", "perturbation", "adversarial", "gradient clean", "gradient adversarial")
    kinds = (*kinds, "grad_cam clean", "grad_cam adversarial")
    pictures = {kind: f"pictures/{index}-{kind.replace(' ', '-')}.png" for kind in kinds}
    for seed, path in enumerate(pictures.values()):
        _picture(folder / path, 10 * index + seed)
    said = {"predicted": CLASSES[index % 5], "confidence": 0.9, "logits": [1.0, 2.0, 3.0, -1.0, 0.5]}
    return {
        "index": index,
        "name": f"{SCRIPT}/{index}.png",
        "label": CLASSES[index % 5],
        "right": index % 2 == 0,
        "clean": said,
        "adversarial": said | {"predicted": target or CLASSES[(index + 1) % 5]},
        "attacked": index % 2 == 0,
        "success": index % 4 == 0,
        "query": 3,
        "norms": {"linf": 0.03, "l2": 0.4, "l1": 1.2, "l0": 64.0},
        "gain": 10.0,
        "flat": ["grad_cam clean"] if index == 2 else [],
        "pictures": pictures,
    }


def _shown(store: Path, kind: str, name: str, threat: str) -> dict[str, Any]:
    folder, job = _folder(store, kind, variant=name, attack="fast" if kind == "protocol" else "ddn", threat=threat)
    about = made_attacks.shown(kind, threat, CLASSES)
    (folder / "pictures").mkdir()
    for seed, path in enumerate(path for item in about["items"] for path in item["pictures"].values()):
        _picture(folder / path, seed)
    (folder / "shown.json").write_text(json.dumps(about), encoding="utf-8")
    return job


def _manifest(jobs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "study": "made",
        "title": f"Made up {SCRIPT}",
        "about": "</style><script>alert(1)</script>",
        "spec": {"study": "made", "note": "</script><script>alert(2)</script>"},
        "store": "../..",
        "data": {"name": "made", "classes": CLASSES, "counts": {"test": N}, "evaluation": "test", "size": [8, 8]},
        "variants": [
            {
                "name": name,
                "family": name.partition("/")[0],
                "parent": parent,
                "criterion": "magnitude" if parent else None,
                "sparsity": share,
                "tuned": tuned,
            }
            for name, parent, share, tuned in VARIANTS
        ],
        "jobs": jobs,
        "versions": {"torch": "2.13"},
        "machine": "a machine",
        "threads": 2,
        "gates": [
            {"gate": "accuracy[net].low >= 0.5", "passed": True, "value": 0.7, "note": ""},
            {"gate": f"accuracy[{SCRIPT}]", "passed": None, "value": None, "note": "no such fact"},
        ],
    }
