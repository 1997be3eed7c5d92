"""What protocols and minimum-norm attacks would have said of the made-up nets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bantamweight.facts import Fact, proportion
from bantamweight.judging.protocol import protocol_facts, warm_facts

RIGHT = 80


def protocols(names: Sequence[str], n: int, hostile: str) -> list[Fact]:
    """A cascade on every variant at two budgets; one check fails, every second audit finds something."""
    found = []
    for at, name in enumerate(names):
        for eps in (0.03, 0.1):
            where: dict[str, Any] = {"variant": name, "attack": "fast", "protocol": "fast", "threat": f"linf {eps}"}
            where["split"] = "test"
            warm, broken = 10 if "/" in name else 0, round(400 * eps)
            counts = {"transferred": (RIGHT, warm)} if warm else {}
            counts |= {"pgd": (RIGHT - warm, broken), f"audit/{hostile}": (4, at % 2)}
            fooled = sum(fell for _, fell in counts.values())
            found.append(proportion("right_before", RIGHT, n, **where))
            found.append(proportion("robust_accuracy", RIGHT - fooled, n, **where))
            found.append(proportion("attack_success", fooled, RIGHT, **where))
            said = _said(counts, (4, at % 2), f"checks failed: {hostile}" if at == 2 else "")
            found += protocol_facts(said, **where)
            found += warm_facts(said, source=name.rpartition("/")[0], **where) if warm else []
    return found


def _said(counts: dict[str, tuple[int, int]], audited: tuple[int, int], escalated: str) -> dict[str, Any]:
    parts = [
        {"name": name, "given": given, "broken": fell, "forwards": 9 * given, "backwards": 8 * given, "seconds": 0.25}
        for name, (given, fell) in counts.items()
    ]
    logits = "fail" if escalated else "pass"
    checks = [
        {"name": "logits", "state": logits, "figure": 0.5, "detail": "the outputs are no probabilities"},
        {"name": "slope", "state": "pass", "figure": 0.0, "detail": "the loss rises"},
        {"name": "doubling", "state": "did not run", "figure": None, "detail": "it runs at level full only"},
    ]
    audit = {"n": audited[0], "broken": audited[1], "bound": 0.527, "survivors": 100}
    clean = {"correct": RIGHT}
    return {"clean": clean, "attacks": parts, "checks": checks, "audit": audit, "escalated": escalated}


def distances(names: Sequence[str], n: int) -> list[Fact]:
    """A minimum-norm attack: a curve down to below chance, medians, what is left in 8 bits."""
    found = []
    for name in names:
        where: dict[str, Any] = {"variant": name, "attack": "ddn", "threat": "l2 unbounded", "split": "test"}
        for eps, k in ((0.0, 80), (0.2, 60), (0.4, 35), (0.6, 15)):
            found.append(proportion("accuracy_at_eps", k, n, step=eps, **where))
        for norm, value in (("linf", 0.1), ("l2", 0.4), ("l1", 1.5), ("l0", 30.0)):
            ends = {"low": 0.8 * value, "high": 1.2 * value}
            found.append(Fact(metric=f"distance_{norm}", kind="median", value=value, k=n, n=n, **ends, **where))
        found.append(Fact(metric="eps_for_half", kind="median", value=0.35, low=0.3, high=0.4, n=n, **where))
        found.append(Fact(metric="eps_for_chance", kind="score", value=0.6, n=n, **where))
        found.append(proportion("survives_8bit", 79, RIGHT, **where))
    return found


def shown(kind: str, threat: str, classes: Sequence[str]) -> dict[str, Any]:
    """`shown.json` of three images: the second falls at the larger budget, the third was wrong before."""
    items = []
    for index in range(3):
        fooled = kind == "minimum_norm" or (index == 1 and threat == "linf 0.1")
        item: dict[str, Any] = {"index": index, "name": classes[0], "label": classes[index], "clean": classes[index]}
        item |= {"right": index != 2, "attacked": index != 2, "success": fooled, "adversarial": classes[1 - fooled]}
        item |= {"confidence": 0.9, "gain": 5.0}
        item["sizes"] = {"linf": 0.03, "l2": 0.9 - 0.3 * index, "l1": 1.2, "l0": 64.0}
        item["pictures"] = {key: f"pictures/{index}-{key}.png" for key in ("original", "perturbation", "adversarial")}
        items.append(item)
    return {"norm": threat.partition(" ")[0], "classes": list(classes), "items": items}
