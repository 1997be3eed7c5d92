"""Stores and runs that can't be used, and command lines that can't be meant."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bantamweight import facts
from bantamweight.studies import Store
from tests.cli.corpus.desk import Case, Cases, Desk

__all__ = ["CASES"]

ATTACKED = (
    r"folder is an attack's: its answer is result\.json and its rows are verdicts\.parquet; .* `bantam run STUDY`"
)
STUDY = "study: a\ndata: digits\ntrain: {model: mlp, epochs: 1}\n"


def run(desk: Desk, *more: str) -> list[str]:
    return ["run", desk.study(STUDY), *more]


def finished(desk: Desk, *, manifest: str | None = None, facts_file: bytes | None = None) -> str:
    """The folder of a run, made by hand."""
    Store(desk.path / "store")
    desk.file("store/runs/pets-1/run.json", json.dumps({"jobs": []}) if manifest is None else manifest)
    target = desk.path / "store" / "runs" / "pets-1" / "facts.parquet"
    if facts_file is None:
        facts.save([facts.proportion("accuracy", 1, 2, variant="mlp", split="test")], target)
    else:
        target.write_bytes(facts_file)
    return "store/runs/pets-1"


def attacked(desk: Desk, *names: str) -> str:
    """The folder of an attack, made by hand."""
    for name in names or ("question.json", "result.json", "verdicts.parquet"):
        desk.file(f"folder/{name}", "{}")
    return "folder"


def impossible(desk: Desk) -> str:
    """A fact file in which someone improved an accuracy."""
    folder = finished(desk)
    path = desk.path / folder / "facts.parquet"
    table = pq.read_table(path)
    column = table.schema.get_field_index("value")
    pq.write_table(table.set_column(column, "value", pa.array([0.97])), path)
    return folder


def other_table(desk: Desk) -> str:
    folder = finished(desk)
    pq.write_table(pa.table({"metric": ["x"], "colour": ["red"]}), desk.path / folder / "facts.parquet")
    return folder


STORES: Cases = {
    "no threads": Case(lambda desk: run(desk, "--threads", "0"), "expected 1 to 1024 threads, got 0"),
    "fewer than no threads": Case(lambda desk: run(desk, "--threads", "-1"), "expected 1 to 1024 threads, got -1"),
    "threads without end": Case(lambda desk: run(desk, "--threads", "100000"), "expected 1 to 1024 threads"),
    "a store that is a file": Case(
        lambda desk: run(desk, "--store", desk.file("kept", "x")),
        "to be a folder, got a file; give another with --store",
    ),
    "a store below a file": Case(
        lambda desk: run(desk, "--store", desk.file("kept", "x") + "/below"), "give another with --store"
    ),
    "a store with an endless name": Case(lambda desk: run(desk, "--store", "x" * 300), "give another with --store"),
    "cleaning a file": Case(lambda desk: ["clean", "--store", desk.file("kept", "x")], "to be a folder, got a file"),
    "cleaning what is not there": Case(lambda _: ["clean", "--store", "no/such"], "there is no store at no/such"),
    "cleaning with a broken run": Case(
        lambda desk: ["clean", "--store", str(Path(finished(desk, manifest="{")).parents[1])], "run.json is damaged"
    ),
}

RUNS: Cases = {
    "facts of nothing": Case(lambda _: ["facts", "no-such-run"], "expected the folder of a finished run"),
    "a report of nothing": Case(lambda _: ["report", "no-such-run"], "expected the folder of a finished run"),
    "a report of a folder that is no run": Case(
        lambda desk: ["report", str(Path(desk.file("folder/notes.txt", "x")).parent)], "the folder of a finished run"
    ),
    "facts of an attack": Case(lambda desk: ["facts", attacked(desk)], ATTACKED),
    "a report of an attack": Case(lambda desk: ["report", attacked(desk)], ATTACKED),
    "a report of an attack that was stopped": Case(lambda desk: ["report", attacked(desk, "question.json")], ATTACKED),
    "a run with a slip": Case(
        lambda desk: (finished(desk), ["facts", "pest-1", "--store", "store"])[1], r"did you mean 'pets-1'\?"
    ),
    "a metric with a slip": Case(
        lambda desk: ["facts", finished(desk), "--metric", "acuracy"], r"no metric 'acuracy'; did you mean 'accuracy'\?"
    ),
    "facts in two forms": Case(
        lambda desk: ["facts", finished(desk), "--json", "--csv"], "expected --json or --csv, got both"
    ),
    "facts that are no table": Case(
        lambda desk: ["facts", finished(desk, facts_file=b"hello")], "expected a facts file at"
    ),
    "facts that can't be": Case(lambda desk: ["facts", impossible(desk)], r"accuracy = 0\.97 can't come from n = 2"),
    "facts of another kind": Case(lambda desk: ["facts", other_table(desk)], "is no fact"),
    "a report of broken facts": Case(
        lambda desk: ["report", finished(desk, facts_file=b"hello")], "expected a facts file at"
    ),
    "a report of a broken run": Case(lambda desk: ["report", finished(desk, manifest="{")], r"run\.json"),
    "a report of damaged jobs": Case(
        lambda desk: ["report", finished(desk, manifest='{"jobs": [1]}')],
        "'jobs' of .* to be a list of mappings",
    ),
    "a report of another manifest": Case(lambda desk: ["report", finished(desk, manifest="[1]")], r"run\.json"),
}

LINES: Cases = {
    "a command with a slip": Case(lambda _: ["runn"], "No such command 'runn'"),
    "an option with a slip": Case(lambda desk: run(desk, "--thread", "2"), "No such option: --thread"),
    "an option without its value": Case(lambda desk: run(desk, "--store"), "--store"),
    "a word for a number": Case(lambda _: ["evaluate", "mlp", "digits", "--n", "many"], r"--n.*valid integer"),
    "an argument that is missing": Case(lambda _: ["evaluate", "mlp"], "Missing argument.*DATA"),
    "an argument too many": Case(lambda _: ["evaluate", "mlp", "digits", "mlp"], "unexpected extra argument"),
    "a kind with a slip": Case(lambda _: ["list", "attack"], r"'attack' .*did you mean 'attacks'\?"),
    "a name with an escape": Case(lambda _: ["profile", "\x1b[31mred"], r"'.*\[31mred' is not a model"),
    "a name with a NUL": Case(lambda _: ["evaluate", "mlp", "a\0b"], "neither a path that exists nor a source"),
    "an endless name": Case(lambda _: ["profile", "x" * 5000], "is not a model"),
}

CASES: Cases = {**STORES, **RUNS, **LINES}
