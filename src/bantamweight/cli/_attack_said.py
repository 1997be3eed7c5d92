"""What `bantam attack` says of its answer: an accuracy under a budget, distances without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["sentences"]


def sentences(said: Mapping[str, Any]) -> Iterator[str]:
    """The answer as a person would want to read it."""
    n, clean = said["n"], said["clean"]["correct"]
    then = ", then the reference ensemble" if said["escalated"] else ""
    under = f"under {said['threat']} by {said['protocol']}{then}"
    yield f"{clean} of {n} images are right before, {_stood(said)} {under}"
    if said["left_out"]:
        yield f"{said['left_out']} more are of the class that was aimed for, and left out"
    yield from _distances(said) if "distance" in said else _accuracy(said)
    for part in said["attacks"]:
        yield (
            f"  {part['name']:<20} broke {part['broken']:>5} of {part['given']:<5}"
            f" {part['forwards']:>9,} forwards {part['backwards']:>9,} backwards {part['seconds']:>7.1f} s"
        )
    for check in said["checks"]:
        if check["state"] == "fail":
            yield f"FAIL  {check['name']}: {check['detail']}"
    if said["checks"]:
        states = [check["state"] for check in said["checks"]]
        absent = f", {states.count('did not run')} did not run" if "did not run" in states else ""
        yield f"{states.count('pass')} of {len(states)} checks passed{absent}"
    if said["audit"]:
        yield _audited(said["audit"])
    if said["escalated"]:
        yield f"escalated to the reference ensemble: {said['escalated']}"
    yield f"{said['seconds']:.1f} s; verdicts and images in {said['folder']}"


def _stood(said: Mapping[str, Any]) -> str:
    """How many images stand; without a budget an attack goes on until it has broken what can be broken."""
    stood = said["robust"]["correct"]
    if said["targeted"]:
        return f"{stood} never became what was aimed for"
    return f"{stood} never broken" if "distance" in said else str(stood)


def _accuracy(said: Mapping[str, Any]) -> Iterator[str]:
    robust, share = said["robust"], "right, and never the target" if said["targeted"] else "robust accuracy"
    yield f"{share} {robust['correct'] / said['n']:.1%} ({robust['low']:.1%} to {robust['high']:.1%} at 95%)"


def _distances(said: Mapping[str, Any]) -> Iterator[str]:
    """Of a run without a budget: how far it had to go, instead of an accuracy at no distance in particular."""
    whole, right, successes = said["distance"], said["distance_right"], said["successes"]
    if whole["n"] > right["n"]:
        yield f"median distance {_middle(whole)}, counting images that were wrong before as 0"
    if right["n"]:
        yield f"median distance of images right before {_middle(right)}"
        half = said["queries_for_half"]
        tried = f"half of the {right['n']} images attacked"
        yield f"fewer than {tried} were broken" if half is None else f"queries until {tried} were broken: {half:,.0f}"
    if successes:
        yield f"{said['survives_8bit']} of {successes} successes survive rounding to 8 bits"


def _middle(distance: Mapping[str, Any]) -> str:
    """A median with its interval, where it has one that says anything; "more" than was tried is beyond all numbers."""
    middle, low, high = (
        "more" if distance[end] is None else f"{distance[end]:.4g}" for end in ("median", "low", "high")
    )
    around = "" if distance["low"] is None else f"{low} to {high} at 95%, "
    return f"{middle} ({around}n = {distance['n']})"


def _audited(audit: Mapping[str, Any]) -> str:
    n, survivors, broken = audit["n"], audit["survivors"], audit["broken"]
    if not survivors:
        return "audit: no survivor was left to the reference ensemble"
    if n == survivors:
        return f"audit: {broken} of all {n} survivors broken by the reference ensemble"
    return (
        f"audit: {broken} of {n} of {survivors} survivors broken by the reference ensemble: "
        f"at 95% at most {audit['bound']:.1%} of survivors"
    )
