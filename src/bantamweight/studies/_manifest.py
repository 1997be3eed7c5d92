"""The manifest of a run: what was asked, which jobs answered it, where and with what."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bantamweight.parts import Part
from bantamweight.studies._blocks import Study
from bantamweight.studies.plan import Plan, machine

__all__ = ["said", "versions", "write"]

FORMAT = 1
SHOWN = ("torch", "numpy", "onnxruntime", "scikit-learn", "python")


def said(value: Any) -> Any:
    """A study, or any part of it, as plain JSON."""
    if isinstance(value, Part):
        return said(value.spec)
    if isinstance(value, BaseModel):
        pairs = {key: getattr(value, key) for key in type(value).model_fields} | (value.model_extra or {})
        return {key: said(inner) for key, inner in pairs.items()}
    if isinstance(value, Mapping):
        return {key: said(inner) for key, inner in value.items()}
    return [said(inner) for inner in value] if isinstance(value, list | tuple) else value


def versions(record: Mapping[str, Any]) -> str:
    """The libraries that decide numbers, in one line."""
    known = record.get("versions", {})
    return ", ".join(f"{name} {known[name]}" for name in SHOWN if name in known)


def write(path: Path, plan: Plan, gates: Sequence[Mapping[str, Any]]) -> None:
    """`run.json`; the same run always writes the same bytes."""
    study: Study = plan.study
    jobs = [
        {"key": job.key, "kind": job.kind, "folder": f"jobs/{job.key}", "labels": dict(job.labels)} for job in plan.jobs
    ]
    subject = plan.subject
    manifest = {
        "format": FORMAT,
        "study": study.study,
        "title": study.title or study.study,
        "about": study.about,
        "spec": said(study),
        "store": "../..",
        "data": {
            "name": subject.name,
            "classes": list(subject.classes),
            "counts": dict(subject.counts),
            "evaluation": subject.evaluation,
            "content": subject.content,
            "channels": subject.channels,
            "size": list(subject.size),
        },
        "variants": [
            {
                "name": one.name,
                "family": one.family,
                "parent": one.parent or None,
                "criterion": one.criterion or None,
                "sparsity": one.sparsity,
                "tuned": one.tuned,
                "seed": one.seed,
                "key": one.key,
            }
            for one in plan.variants
        ],
        "jobs": jobs,
        "versions": _all_versions(plan),
        "machine": machine(),
        "threads": plan.threads,
        "gates": [dict(gate) for gate in gates],
    }
    path.write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _all_versions(plan: Plan) -> dict[str, str]:
    found: dict[str, str] = {}
    for job in plan.jobs:
        found |= job.record.get("versions", {})
    return dict(sorted(found.items()))
