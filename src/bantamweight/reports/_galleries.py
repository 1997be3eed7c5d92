"""The galleries that explain jobs left in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bantamweight.reports._run import Context

__all__ = ["FAILS", "UNSHOWN", "Gallery", "galleries", "marked", "marks", "named"]

METHODS = {
    "gradient": "Saliency",
    "cam": "CAM",
    "grad_cam": "Grad-CAM",
    "grad_cam_plus_plus": "Grad-CAM++",
    "layer_cam": "LayerCAM",
    "hires_cam": "HiResCAM",
    "xgrad_cam": "XGrad-CAM",
    "score_cam": "Score-CAM",
    "smooth_grad": "SmoothGrad",
    "lime": "LIME",
    "rise": "RISE",
}
FAILS, UNSHOWN = "fails the parameter check", "not shown to pass the parameter check"
"""Marks of a method whose maps hardly change when the model's parameters are re-initialised, or may hardly change."""


@dataclass(frozen=True)
class Gallery:
    """One variant's examples; `undefined` maps an explainer to the reason why this net has no such maps."""

    variant: str
    about: str
    target: str
    folder: Path
    classes: tuple[str, ...]
    explainers: tuple[str, ...]
    undefined: Mapping[str, str]
    items: Sequence[Mapping[str, Any]]

    @property
    def title(self) -> str:
        """The variant and the attack."""
        return f"{self.variant}, {self.about}" if self.about else self.variant

    def paths(self, item: Mapping[str, Any]) -> dict[str, Path]:
        """The pictures of an example by what they show; files outside the job's folder are left out."""
        home = self.folder.resolve()
        found = {key: (home / str(name)).resolve() for key, name in item["pictures"].items()}
        return {key: path for key, path in found.items() if path.is_relative_to(home)}


def named(explainer: str) -> str:
    """An explainer as people call it: `Grad-CAM` for grad_cam, `Saliency` for the plain gradient."""
    return METHODS.get(explainer, explainer.replace("_", " "))


def marks(context: Context) -> dict[tuple[str, str], str]:
    """Marks of variants and methods that don't pass the check of the parameters, for wherever such maps appear."""
    return {
        (fact.variant, fact.item): UNSHOWN if fact.value is None else FAILS
        for fact in context.find("mprt_failed")
        if fact.value != 0
    }


def marked(name: str, mark: str | None) -> str:
    """A name with its mark behind it, if there is one."""
    return f"{name} ({mark})" if mark else name


def galleries(context: Context) -> list[Gallery]:
    """All of a run, variants in its order; a file that can't be read is left out."""
    found = []
    for job in context.jobs("explain"):
        said = job.json("gallery.json")
        if not isinstance(said, dict) or not said.get("items"):
            continue
        target = str(job.labels.get("target") or "").removeprefix("none")
        cell = [str(job.labels[key]) for key in ("attack", "threat") if job.labels.get(key)]
        about = ", ".join([*cell, *([f"towards {target}"] if target else [])])
        found.append(
            Gallery(
                variant=str(job.labels.get("variant", "")),
                about=about,
                target=target,
                folder=job.folder,
                classes=tuple(str(name) for name in said.get("classes") or context.classes),
                explainers=tuple(str(name) for name in said.get("explainers") or ()),
                undefined={str(key): str(value) for key, value in (said.get("undefined") or {}).items()},
                items=[item for item in said["items"] if {"pictures", "clean", "label"} <= item.keys()],
            )
        )
    return sorted((one for one in found if one.items), key=lambda one: context.place(one.variant))
