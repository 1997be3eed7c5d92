"""A fact states what its n can carry, and survives the disk."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from bantamweight import facts
from bantamweight.errors import InputError
from bantamweight.facts import Fact, proportion


def test_a_proportion_that_n_cannot_produce_is_refused():
    with pytest.raises((InputError, ValidationError), match="can't come from n = 20"):
        Fact(metric="attack_success", kind="proportion", value=0.62, n=20)
    assert Fact(metric="attack_success", kind="proportion", value=0.6, n=20).value == 0.6


@pytest.mark.parametrize(("k", "n"), [(3, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(k, n):
    with pytest.raises((InputError, ValidationError)):
        proportion("accuracy", k, n)


@pytest.mark.parametrize(
    "change", [{"value": float("nan")}, {"low": 2.0, "high": 1.0}, {"kind": "guess"}, {"colour": 1}]
)
def test_nonsense_is_refused(change):
    good = {"metric": "latency_ms", "kind": "time", "value": 1.0}
    with pytest.raises((InputError, ValidationError)):
        Fact(**(good | change))


def test_facts_survive_the_disk(tmp_path):
    kept = [
        proportion("accuracy", 31, 50, variant="mlp", split="test"),
        Fact(metric="epochs", kind="count", value=None),
    ]
    facts.save(kept, tmp_path / "facts.parquet")
    assert facts.load(tmp_path / "facts.parquet") == kept
    assert facts.select(kept, "accuracy", variant="mlp") == kept[:1]


def test_an_edited_file_cannot_smuggle_nonsense_in(tmp_path):
    import pyarrow.parquet as pq

    table = facts.table([proportion("accuracy", 31, 50)])
    spoiled = table.set_column(table.column_names.index("value"), "value", [[0.9]])
    pq.write_table(spoiled, tmp_path / "facts.parquet")
    with pytest.raises((InputError, ValidationError)):
        facts.load(tmp_path / "facts.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="expected a facts file"):
        facts.load(tmp_path / "broken.parquet")
