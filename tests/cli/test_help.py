"""Everything is documented, and asking costs nothing: neither --help nor `import bantamweight` imports torch."""

from __future__ import annotations

import inspect
import io
import subprocess
import sys

import pytest
import typer
from rich.console import Console

import bantamweight as bw
from bantamweight.cli import app
from bantamweight.progress import shown
from bantamweight.studies import Progress
from scripts.commands import PAGE, commands, names, page

HEAVY = {"torch", "sklearn", "scipy", "pandas", "onnx", "onnxruntime", "altair", "PIL", "lightning_fabric"}


def test_every_command_and_option_is_documented() -> None:
    for name, command in commands(typer.main.get_command(app)).items():
        assert (command.help or "").strip().endswith((".", ")")), name
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{name} {parameter.name}"


def test_the_page_of_commands_is_as_they_are() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m scripts.commands"


def after(code: str) -> set[str]:
    """The heavy modules that a fresh Python has imported after running some code."""
    code += "\nimport sys; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return HEAVY & set(done.stderr.split())


def test_help_imports_nothing_heavy() -> None:
    calls = "".join(f"assert _code([*{name!r}.split(), '--help']) == 0\n" for name in names())
    assert after(f"from bantamweight.cli import _code\nassert _code([]) == 0\n{calls}") == set()


def test_neither_do_the_package_its_facts_and_its_reports() -> None:
    assert after("import bantamweight") == set()
    assert "torch" not in after(
        "from bantamweight import facts, load_facts, report, list_parts; import bantamweight.cli"
    )


def test_what_the_package_exports() -> None:
    assert {*dir(bw), "__version__"} == set(bw.__all__)
    for name in bw.__all__:
        found = getattr(bw, name)
        assert name == "__version__" or (inspect.getdoc(found) or "").strip(), name
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        bw.evalute  # noqa: B018


def test_every_command_is_a_function_too() -> None:
    others = {"list": "list_parts", "facts": "load_facts"}
    assert {others.get(name, name.split()[0]) for name in names()} <= set(bw.__all__)


def event(done: float, *, kept: bool = False) -> Progress:
    return Progress(1, 3, "train", "[red]net", done, "epoch 1", kept, 2.0)


def test_bars_on_a_terminal_and_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")  # a dumb one has no bars
    for terminal in (True, False):
        text = io.StringIO()
        console = Console(file=text, force_terminal=terminal, width=100, markup=False, highlight=False)
        with shown(console) as show:
            for done in (0.0, 0.5, 1.0):
                show(event(done))
            show(event(1.0, kept=True))
        if terminal:
            assert "\x1b[" in text.getvalue()
            assert "train [red]net" in text.getvalue()
        else:
            assert text.getvalue() == "[1/3] train [red]net (2.0 s)\n"
