"""The command `bantam`. Exit codes: 0 done, 1 a gate failed, 2 the input is wrong, 3 our bug, 130 interrupted."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bantamweight.cli._attack import attack
from bantamweight.cli._compress import compress
from bantamweight.cli._explain_invert import explain
from bantamweight.cli._models import evaluate
from bantamweight.cli._options import DeviceOption, JsonOption, StoreOption, TrustOption
from bantamweight.cli._profile import profile
from bantamweight.cli._ship import bench, export
from bantamweight.errors import BantamError, InputError

if TYPE_CHECKING:
    from bantamweight.studies.execute import Run

__all__ = ["app", "main"]

app = typer.Typer(
    name="bantam",
    help="Make image classifiers light, hard to fool and legible, and prove each claim.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def _version(wanted: bool) -> None:
    if wanted:
        from bantamweight import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    _said: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Make image classifiers light, hard to fool and legible, and prove each claim."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def run(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A study file, or the name of a bundled one.")
    ] = "digits",
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change one setting.")] = None,
    store: StoreOption = None,
    threads: Annotated[int | None, typer.Option("--threads", help="Processor threads (default: all).")] = None,
    device: DeviceOption = "auto",
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run a study to its facts and its report; what is finished already is not done again."""
    from bantamweight.reports import report as write_report
    from bantamweight.studies import run as run_study

    with _progress() as progress:
        result = run_study(
            study,
            overrides=overrides or (),
            store=store,
            threads=threads,
            device=device,
            trust=trust,
            progress=progress,
        )
    page = write_report(result.path)
    _conclude(result, page, as_json)


@app.command()
def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its name in the store.")],
    store: StoreOption = None,
) -> None:
    """Write a run's report again, from its facts and stored pictures."""
    from bantamweight.reports import report as write_report

    typer.echo(write_report(_run_folder(run, store)))


@app.command()
def facts(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its name in the store.")],
    metric: Annotated[str | None, typer.Option("--metric", help="Only the facts of this metric.")] = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values on stdout.")] = False,
    store: StoreOption = None,
) -> None:
    """Show the facts of a run."""
    from bantamweight import facts as table
    from bantamweight.errors import near

    if as_json and as_csv:
        raise InputError("expected --json or --csv, got both; choose one")
    found = table.load(_run_folder(run, store) / "facts.parquet")
    if metric is not None:
        known = {fact.metric for fact in found}
        if metric not in known:
            raise InputError(f"the run has no metric {metric!r}{near(metric, known)}")
        found = table.select(found, metric)
    rows = [fact.model_dump() for fact in found]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    elif as_csv:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        typer.echo(text.getvalue(), nl=False)
    else:
        _show_facts(rows)


app.command()(evaluate)
app.command()(attack)
app.command()(compress)
app.add_typer(explain)
app.command()(export)
app.command()(bench)
app.command()(profile)


@app.command("list")
def list_(
    what: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="models, attacks, protocols, checks, compressions, explainers, metrics, runtimes, data or studies.",
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """List the parts of a kind, each with what it is for."""
    from bantamweight.listing import described

    rows = described(what)
    if as_json:
        typer.echo(json.dumps([{"name": name, "about": about} for name, about in rows], indent=1))
        return
    width = max((len(name) for name, _ in rows), default=0)
    for name, about in rows:
        typer.echo(f"{name:<{width}}  {about}")


@app.command()
def clean(
    store: StoreOption = None,
    interrupted: Annotated[bool, typer.Option("--interrupted", help="Also what unfinished studies had done.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove the jobs that no run needs; nothing else is ever removed."""
    from bantamweight.studies.execute import STORE
    from bantamweight.studies.store import Store
    from bantamweight.studies.store import clean as remove

    home = Path(store or os.environ.get("BANTAM_STORE") or STORE)
    if not home.exists():
        raise InputError(f"there is no store at {home}; say where it is with --store")
    removed = remove(Store(home), interrupted=interrupted)
    if as_json:
        typer.echo(json.dumps({"jobs": removed.jobs, "size_bytes": removed.size_bytes}))
    else:
        typer.echo(f"removed {removed.jobs} unused jobs, {removed.size_bytes / 1e6:.1f} MB")


def _run_folder(run: str, store: Path | None) -> Path:
    """A run by its folder, or by its name (or its study's, when only one run has it) in the store."""
    from bantamweight.errors import near
    from bantamweight.reports._run import refuse_attack
    from bantamweight.studies.execute import STORE

    path = Path(run)
    if (path / "facts.parquet").is_file():
        return path
    refuse_attack(path)
    home = Path(store or os.environ.get("BANTAM_STORE") or STORE) / "runs"
    known = {folder.name: folder for folder in home.glob("*") if (folder / "facts.parquet").is_file()}
    if run in known:
        return known[run]
    matching = [folder for name, folder in known.items() if name.rpartition("-")[0] == run]
    if matching:
        return max(matching, key=lambda folder: (folder / "facts.parquet").stat().st_mtime)
    raise InputError(f"expected the folder of a finished run, got {run!r}{near(run, known)}")


def _progress() -> Any:
    from bantamweight.progress import shown

    return shown(errors)


def _conclude(result: Run, page: Path, as_json: bool) -> None:
    failed = [gate for gate in result.gates if not gate["passed"]]
    if as_json:
        gates = [dict(gate) for gate in result.gates]
        said = {"run": str(result.path), "report": str(page), "facts": len(result.facts), "gates": gates}
        typer.echo(json.dumps(said))
    else:
        for gate in result.gates:
            typer.echo(f"{'pass' if gate['passed'] else 'FAIL'}  {gate['gate']}")
        typer.echo(f"{len(result.facts)} facts")
        typer.echo(f"run     {result.path}")
        typer.echo(f"report  {page}")
    if failed:
        why = _one_line(failed[0]["note"] or failed[0]["gate"])
        errors.print(f"bantam: {len(failed)} of {len(result.gates)} gates failed: {why}")
        raise typer.Exit(1)


_SHOWN = (
    *("metric", "variant", "other", "split", "threat", "attack", "target", "source", "item", "against", "step"),
    *("runtime", "batch"),
)


def _show_facts(rows: Sequence[dict[str, Any]]) -> None:
    columns = [name for name in _SHOWN if any(row[name] not in ("", None) for row in rows)]
    table = Table(*columns, "value", "low", "high", "n", box=None)
    for row in rows:
        numbers = [f"{row[name]:.4g}" if row[name] is not None else "" for name in ("value", "low", "high")]
        cells = [str(row[name]) if row[name] is not None else "" for name in columns]
        table.add_row(*cells, *numbers, str(row["n"] or ""))
    Console(markup=False, width=None if sys.stdout.isatty() else 240).print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with the documented exit code."""
    sys.exit(_code(arguments))


def _code(arguments: Sequence[str] | None) -> int:
    """One sentence for what the user can mend, a traceback only for our own bugs."""
    try:
        command = typer.main.get_command(app)
        # Not `command.main`, which makes exits of its own out of an interruption and of a pipe that is closed.
        with command.make_context("bantam", list(sys.argv[1:] if arguments is None else arguments)) as context:
            command.invoke(context)
        sys.stdout.flush()
        return 0
    except typer.Exit as leave:
        return leave.exit_code
    except (KeyboardInterrupt, typer.Abort):
        errors.print("bantam: interrupted; what was finished is kept, run it again to go on")
        return 130
    except InputError as error:
        errors.print(f"bantam: {_one_line(str(error))}")
        return 2
    except typer.TyperException as error:
        errors.print(f"bantam: {_one_line(error.format_message()).rstrip('.')}; --help says more")
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BantamError as error:
        errors.print(f"bantam: a check of our own failed, please report it: {_one_line(str(error))}")
        return 3
    except Exception:
        errors.print(traceback.format_exc().rstrip())
        errors.print("bantam: this is a bug of ours; please report it with the lines above")
        return 3


def _one_line(message: str) -> str:
    """The message without line breaks or control characters: names in it may come from strangers."""
    text = " ".join(message.split())
    return "".join(letter if letter.isprintable() else "?" for letter in text)
