"""What there is to choose from: every part of a kind with the first line of its documentation."""

from __future__ import annotations

from bantamweight.errors import InputError, near
from bantamweight.parts import find, names

__all__ = ["KINDS", "described"]

KINDS = {
    "models": "models",
    "attacks": "attacks",
    "protocols": "protocols",
    "checks": "checks",
    "compressions": "compression",
    "explainers": "explainers",
    "metrics": "metrics",
    "runtimes": "runtimes",
    "data": "data",
}


def described(what: str) -> list[tuple[str, str]]:
    """Names and one line each; `studies` lists the bundled ones with their titles.

    Raises InputError for a kind that there is none of.

    >>> [name for name, _ in described("protocols")]
    ['autoattack', 'fast']
    """
    if what == "studies":
        return _studies()
    if what not in KINDS:
        raise InputError(f"{what!r} is not a kind of part{near(what, [*KINDS, 'studies'])}")
    room = KINDS[what]
    return [(name, _first_line(find(room, name).__doc__)) for name in names(room)]


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


def _studies() -> list[tuple[str, str]]:
    import yaml

    from bantamweight.studies.spec import bundled

    told = {name: yaml.safe_load(path.read_text(encoding="utf-8")) for name, path in bundled().items()}
    return [(name, str(study.get("title", ""))) for name, study in sorted(told.items())]
