"""Would a wrong sign, a missing projection or a lax success rule be noticed? Change each and run the tests.

    python benchmarks/mutations.py                 every mutation of `_mutants.py`, and the table `mutations.md`
    python benchmarks/mutations.py ddn threats/l1  only the files whose names contain one of these; prints, no table
    python benchmarks/mutations.py --list          how many there are of each file, and which no longer fit the sources

The package is copied to a temporary folder, one fragment of one file is changed there, and the tests that matter to
that file run against the copy. They must pass on an unchanged copy, or the mutations of that file say nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from _mutants import MUTANTS, TESTS

from bantamweight.machine import describe, versions

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "benchmarks" / "mutations.md"
PACKAGE = ROOT / "src" / "bantamweight"
PLUMBING = {f"attacks/{name}.py" for name in ("__init__", "_crew", "_problem", "_selftest")} | {"threats/__init__.py"}
"""Files in which nothing has a sign, a projection or a success rule."""
PATIENCE = 900
"""Seconds after which tests that do not end count as having noticed."""


@dataclass(frozen=True)
class Outcome:
    """One mutation, the test that noticed it (None where none did), and how long that took."""

    file: str
    old: str
    new: str
    noticed: str | None
    seconds: float


def environment(copy: Path) -> dict[str, str]:
    """Ours, in which `import bantamweight` finds the copy: PYTHONPATH comes before what is installed."""
    return {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}


def check(copy: Path) -> None:
    """Refuse to go on where the copy is not what is imported."""
    command = [sys.executable, "-c", "import bantamweight; print(bantamweight.__file__)"]
    found = subprocess.run(command, env=environment(copy), cwd=ROOT, capture_output=True, text=True, check=True)
    if not Path(found.stdout.strip()).is_relative_to(copy):
        raise SystemExit(f"expected the copy in {copy} to be imported, got {found.stdout.strip()}")


def noticed(copy: Path, file: str) -> str | None:
    """The first of the file's tests that fails on the copy; None if all pass."""
    files, only = TESTS[file]
    options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--no-header", "--tb=no", "-rfE", "-k", only]
    command = [sys.executable, "-m", "pytest", *options, *dict.fromkeys(files.split())]
    try:
        done = subprocess.run(
            command, env=environment(copy), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return f"did not end within {PATIENCE} s"
    if done.returncode == 0:
        return None
    if done.returncode not in (1, 2):
        raise SystemExit(f"the tests of {file} did not run: {done.stdout[-500:]}{done.stderr[-500:]}")
    failed = re.search(r"^(?:FAILED|ERROR) \S*?(?:::)?(\w+(?:\[[^\]]*\])?)(?: - .*)?$", done.stdout, re.MULTILINE)
    return failed[1] if failed else "the tests could not be collected"


def outcomes(copy: Path, files: list[str]) -> Iterator[Outcome]:
    """Every mutation of the files in turn, each file first as it is."""
    for file in files:
        path = copy / "bantamweight" / file
        source = path.read_text()
        failing = noticed(copy, file)
        if failing is not None:
            raise SystemExit(f"{failing} fails without any mutation of {file}: mend that first")
        for old, new in MUTANTS[file]:
            started = time.perf_counter()
            path.write_text(source.replace(old, new))
            yield Outcome(file, old, new, noticed(copy, file), time.perf_counter() - started)
        path.write_text(source)


def lacking() -> list[str]:
    """Files of attacks and norms that have fewer than three mutations."""
    parts = [path for room in ("attacks", "threats") for path in (PACKAGE / room).glob("*.py")]
    files = sorted(f"{path.parent.name}/{path.name}" for path in parts)
    return [
        f"{file}: fewer than 3 mutations" for file in files if file not in PLUMBING and len(MUTANTS.get(file, ())) < 3
    ]


def stale(files: list[str]) -> list[str]:
    """Every fragment that does not occur exactly once in its file, as after a change of the sources."""
    found = []
    for file in files:
        source = (PACKAGE / file).read_text() if (PACKAGE / file).is_file() else ""
        times = [(old, source.count(old)) for old, _ in MUTANTS[file]]
        found += [f"{file}: {old!r} occurs {count} times, not once" for old, count in times if count != 1]
    return found


def line(outcome: Outcome) -> str:
    """A row of the table."""
    old, new = (
        re.sub(r"\s+", " ", text).replace("|", "\\|").strip() or "(nothing)" for text in (outcome.old, outcome.new)
    )
    said = "**survived**" if outcome.noticed is None else f"killed by `{outcome.noticed}`"
    return f"| {outcome.file} | `{old}` | `{new}` | {said} | {outcome.seconds:.0f} |"


def written(found: list[Outcome]) -> str:
    """The dated table."""
    killed = sum(outcome.noticed is not None for outcome in found)
    head = [
        "# Mutations of the attacks and norms",
        "",
        "`python benchmarks/mutations.py`",
        "",
        f"{date.today().isoformat()}; {describe()}; {versions(['torch', 'bantamweight'])}; "
        f"{killed} of {len(found)} mutations in {len(MUTANTS)} files killed.",
        "",
        "Each is made alone, in a copy of the package; the tests are those that know the answer in closed form and the "
        "conformance suite, as far as they concern the file. Named is the first that fails.",
        "",
        "| file | written | mutated | outcome | seconds |",
        "|---|---|---|---|---:|",
    ]
    return "\n".join([*head, *map(line, found)]) + "\n"


def main() -> int:
    """Run, print, write the table where everything ran; 1 where a mutation survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help="parts of the names of files")
    parser.add_argument("--list", action="store_true", help="run nothing; 1 where a mutation is missing or out of date")
    given = parser.parse_args()
    files = [file for file in MUTANTS if not given.only or any(part in file for part in given.only)]
    wrong = stale(files) + (lacking() if files == list(MUTANTS) else [])
    if given.list:
        print(*(f"{len(MUTANTS[file]):3} {file}" for file in files), sep="\n")
    if wrong:
        raise SystemExit("\n".join(wrong))
    if given.list:
        return 0
    found = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve()
        shutil.copytree(PACKAGE, copy / "bantamweight", ignore=shutil.ignore_patterns("__pycache__"))
        check(copy)
        for outcome in outcomes(copy, files):
            print(line(outcome), flush=True)
            found.append(outcome)
    if files == list(MUTANTS):
        aside = TABLE.with_suffix(".part")
        aside.write_text(written(found))
        aside.replace(TABLE)
    return int(any(outcome.noticed is None for outcome in found))


if __name__ == "__main__":
    sys.exit(main())
