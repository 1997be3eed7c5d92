"""What is wrong is said in one sentence, with exit code 2; nothing runs and nothing is left behind."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from bantamweight.cli import _code
from tests.cli.corpus import attacks, compressions, data, explanations, models, places, scores, ship, studies
from tests.cli.corpus.desk import BANTAM, Desk

CASES = {
    f"{kind}: {name}": case
    for kind, cases in {
        "data": data.CASES,
        "study": studies.CASES,
        "model": models.CASES,
        "place": places.CASES,
        "attack": attacks.CASES,
        "explain": explanations.CASES,
        "score": scores.CASES,
        "ship": ship.CASES,
        "compress": compressions.CASES,
    }.items()
    for name, case in cases.items()
}

IN_A_PROCESS = (
    "data: a decompression bomb",
    "data: an archive with a pickle that runs code",
    "study: an attack that is os.system",
    "model: a .pt with a pickle that runs code",
    "model: a .pt2 with a pickle inside",
    "place: a name with an escape",
)
"""Cases that are also run as a user would, with what libraries print of their own accord."""


def snapshot(folder: Path) -> dict[str, str]:
    """Everything below a folder, files with their content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if "__pycache__" in path.parts:
            continue
        plain = path.is_file() and not path.is_symlink()
        found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest() if plain else ""
    return found


@pytest.mark.parametrize("name", CASES)
def test_one_sentence_and_nothing_done(name: str, desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = list(CASES[name].make(desk))
    before = snapshot(desk.path)
    capsys.readouterr()
    code = _code(arguments)
    said = capsys.readouterr()
    assert code == 2, said.err
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 1, said.err
    assert lines[0].startswith("bantam: ")
    assert re.search(CASES[name].said, lines[0]), lines[0]
    assert lines[0].isprintable()
    assert snapshot(desk.path) == before


@pytest.mark.parametrize("name", IN_A_PROCESS)
def test_the_same_as_a_command(name: str, desk: Desk) -> None:
    arguments = CASES[name].make(desk)
    before = snapshot(desk.path)
    done = subprocess.run([*BANTAM, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert re.fullmatch(f"bantam: .*{CASES[name].said}.*\n", done.stderr), done.stderr
    assert snapshot(desk.path) == before


def test_the_corpus_is_as_large_as_was_asked() -> None:
    assert len(CASES) >= 60
