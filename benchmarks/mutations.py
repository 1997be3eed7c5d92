"""Would a wrong sign, a missing projection or a lax success rule be noticed? Change each and run the tests.

    python benchmarks/mutations.py                 every mutation of `_mutants.py`, and the table `mutations.md`
    python benchmarks/mutations.py ddn threats/l1  only the files whose names contain one of these; prints, no table

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
            if source.count(old) != 1:
                raise SystemExit(f"expected {old!r} once in {file}, found it {source.count(old)} times")
            started = time.perf_counter()
            path.write_text(source.replace(old, new))
            yield Outcome(file, old, new, noticed(copy, file), time.perf_counter() - started)
        path.write_text(source)


def required(files: list[str]) -> None:
    """Every attack and norm has at least three mutations."""
    package = ROOT / "src" / "bantamweight"
    parts = [path for room in ("attacks", "threats") for path in (package / room).glob("[!_]*.py")]
    lacking = [name for path in parts if len(MUTANTS.get(name := f"{path.parent.name}/{path.name}", ())) < 3]
    if lacking and files == list(MUTANTS):
        raise SystemExit(f"expected at least 3 mutations of every attack and norm, got fewer of {', '.join(lacking)}")


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
    only = parser.parse_args().only
    files = [file for file in MUTANTS if not only or any(part in file for part in only)]
    required(files)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve()
        shutil.copytree(
            ROOT / "src" / "bantamweight", copy / "bantamweight", ignore=shutil.ignore_patterns("__pycache__")
        )
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
