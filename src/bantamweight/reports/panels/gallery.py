"""Single images before and after an attack: labels, logits, sizes, and what the net looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Fragment, Panel, Prose
from bantamweight.reports._galleries import Gallery, galleries, marked, marks, named
from bantamweight.reports._pictures import Album, album
from bantamweight.reports._run import Context

__all__ = ["gallery"]

NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1", "l0": "L0"}


def gallery(context: Context, *, most_images: int = 420, most_bytes: int = 2_200_000) -> Panel | None:
    """The galleries of the run's explain jobs that were attacked; None without any.

    At most `most_images` pictures sets the number of examples per variant, and they weigh at most
    `most_bytes`, so that the page of a large run stays small.
    """
    found = [one for one in galleries(context) if any(item.get("adversarial") for item in one.items)]
    if not found:
        return None
    per_item = max(len(item["pictures"]) for one in found for item in one.items)
    count = max(2, most_images // (per_item * len(found)))
    paths = [path for one in found for item in one.items[:count] for path in one.paths(item).values()]
    pictures = album(paths, most=most_bytes)
    mark = marks(context)
    values = [
        {
            "title": one.title,
            "items": [_example(one, item, pictures, mark) for item in one.items[:count]],
            "undefined": one.undefined,
        }
        for one in found
    ]
    blocks: list[Block] = [Fragment("{% include 'gallery.html' %}", {"galleries": values})]
    cut = max(len(one.items) for one in found)
    if cut > count:
        blocks.append(Prose(f"The first {count} of {cut} examples per variant; the store holds the rest.", "note"))
    blocks += [Prose(pictures.note, "note")] if pictures.note else []
    lead = (
        "Examples, not evidence: the same images for every form of a net, chosen by the dense net's answers. "
        "Perturbations are drawn around grey and enlarged by the factor stated; sizes are in pixels of [0, 1]."
    )
    return Panel("Before and after an attack", 130, blocks, lead)


def _example(
    one: Gallery, item: Mapping[str, Any], pictures: Album, mark: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    files = {key: pictures.get(path) for key, path in one.paths(item).items()}
    # An image that was wrong before was not attacked: there is no after to show.
    attacked = bool(item.get("attacked", True))
    clean, after = item["clean"], item.get("adversarial") if attacked else None
    norms = item.get("norms") or {}
    return {
        "name": str(item.get("name", item.get("index", ""))),
        "label": str(item["label"]),
        "clean": clean,
        "after": after,
        "attacked": attacked,
        "target": one.target,
        "success": bool(item.get("success")),
        "query": item.get("query"),
        "norms": [(name, _words.number(norms[key])) for key, name in NORMS.items() if key in norms],
        "gain": _words.number(item.get("gain")),
        "strip": {key: files.get(key, "") for key in ("original", "perturbation", "adversarial")},
        "maps": [
            _pair(name, files, item, mark.get((one.variant, name)))
            for name in one.explainers
            if files.get(f"{name} clean")
        ],
        "logits": _logits(one.classes, clean, after),
    }


def _pair(name: str, files: Mapping[str, str], item: Mapping[str, Any], mark: str | None) -> dict[str, Any]:
    flat = item.get("flat") or []
    return {
        "name": marked(named(name), mark),
        "before": files.get(f"{name} clean", ""),
        "after": files.get(f"{name} adversarial", ""),
        "flat": [state for state in ("clean", "adversarial") if f"{name} {state}" in flat],
    }


def _logits(
    classes: tuple[str, ...], clean: Mapping[str, Any], after: Mapping[str, Any] | None
) -> list[dict[str, str]]:
    """A row per class; of many classes the ten with the largest logit before or after."""
    first = list(clean.get("logits") or [])
    second = list((after or {}).get("logits") or [])
    order = range(min(len(classes), len(first)))
    if len(order) > 12:
        best = sorted(order, key=lambda at: -max(first[at], second[at] if second else first[at]))[:10]
        order = sorted(best)  # type: ignore[assignment]
    return [
        {"class": classes[at], "before": f"{first[at]:.2f}", "after": f"{second[at]:.2f}" if second else _words.NONE}
        for at in order
    ]
