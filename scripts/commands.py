"""Writes docs/commands.md from what the commands say of themselves (`python -m scripts.commands`)."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any
from unittest import mock

import typer

from bantamweight.cli import _code, app

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"

TOP = """# The command `bantam`

What follows is each command's own `--help`. Everything here is also a function: `import bantamweight as bw`.

Results go to the store, `.bantam` in the working directory unless `--store` or the environment variable `BANTAM_STORE`
says otherwise. `BANTAM_DATA` names the folder that holds data sets which don't come with the package, `BANTAM_CACHE`
one for decoded images (empty: no cache).

| exit code | |
|---|---|
| 0 | done |
| 1 | done, and a gate of the study failed |
| 2 | the input is wrong: one sentence on stderr says what was expected, what came and what to do |
| 3 | a bug of ours, with its traceback |
| 130 | interrupted; what was finished is kept |

Results are on stdout, everything else on stderr; progress bars show on a terminal only.
"""


def names() -> list[str]:
    """Every command, in the order of the help."""
    return list(commands(typer.main.get_command(app)))


def commands(group: Any) -> dict[str, Any]:
    """The commands of a group by name, those of a group inside it as `outer inner`."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = commands(command) if hasattr(command, "commands") else {}
        found |= {f"{name} {other}": one for other, one in inner.items()} or {name: command}
    return found


def helped(*arguments: str) -> str:
    """What `--help` prints, 100 columns wide."""
    said = io.StringIO()
    with mock.patch.dict(os.environ, COLUMNS="100", TERMINAL_WIDTH="100"), contextlib.redirect_stdout(said):
        assert _code([*arguments, "--help"]) == 0
    return "\n".join(line.rstrip() for line in said.getvalue().strip().splitlines())


def page() -> str:
    """The whole page."""
    parts = [f"\n## bantam {name}\n\n```\n{helped(*name.split())}\n```\n" for name in names()]
    return TOP + "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
