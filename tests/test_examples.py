"""The notebooks run from top to bottom, and what they draw is a picture."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))


def cells(notebook: Path, kind: str) -> list[str]:
    said = json.loads(notebook.read_text(encoding="utf-8"))
    assert (said["nbformat"], said["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in said["cells"]}) == len(said["cells"])
    return ["".join(cell["source"]) for cell in said["cells"] if cell["cell_type"] == kind]


def shown(source: str, names: dict[str, Any]) -> Any:
    """Run a cell as a kernel would; returns the value of its last line if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def test_there_is_one() -> None:
    assert "explain.ipynb" in {notebook.name for notebook in NOTEBOOKS}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda one: one.stem)
def test_it_runs(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BANTAM_CACHE", "")
    names: dict[str, Any] = {"__name__": "__main__"}
    values = [shown(source, names) for source in cells(notebook, "code")]
    pictures = [value for value in values if isinstance(value, Image.Image)]
    assert pictures
    assert all(np.asarray(one).std() > 10 for one in pictures)
    assert "right" in capsys.readouterr().out
