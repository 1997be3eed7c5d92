"""The order of calls and what is around them; how long they took is nobody's assertion."""

from __future__ import annotations

import gc
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bantamweight.errors import InputError
from bantamweight.runtimes import Session, measure

Calls = list[tuple[str, int, int]]


def fake(name: str, calls: Calls, threads: int = 1) -> Session:
    def call(images: np.ndarray) -> np.ndarray:
        calls.append((name, len(images), hash(images.tobytes())))
        assert not gc.isenabled()
        assert torch.get_num_threads() == threads
        return np.zeros((len(images), 2), np.float32)

    return Session(call, runtime="fake", threads=threads, shape=(1, 8, 8))


@pytest.fixture(autouse=True)
def hurried(monkeypatch) -> None:
    """One untimed call before the timed ones, however fast a fake is."""
    monkeypatch.setattr("bantamweight.runtimes._latency.SETTLE_S", 0.0)


def rounds(seed: int = 0, runs: int = 20) -> tuple[Calls, dict[str, dict[int, np.ndarray]]]:
    calls: Calls = []
    sessions = {name: fake(name, calls) for name in "abc"}
    return calls, measure(sessions, threads=1, batches=(1, 16), warmup=2, runs=runs, seed=seed)


def test_every_round_gives_every_session_a_burst_after_an_untimed_call() -> None:
    calls, seconds = rounds()
    # Per batch: a first look (1 + 1 calls), then 1 discarded and 10 timed rounds of 1 untimed and 2 timed calls.
    assert len(calls) == 2 * (2 + 11 * 3) * 3
    assert [size for _, size, _ in calls] == [1] * 105 + [16] * 105
    for start in (6, 111):
        turns = [calls[at : at + 3] for at in range(start, start + 99, 3)]
        assert all(len(set(turn)) == 1 for turn in turns)
        assert all({turn[0][0] for turn in turns[at : at + 3]} == set("abc") for at in range(0, 33, 3))
    assert {name: sorted(by_batch) for name, by_batch in seconds.items()} == {name: [1, 16] for name in "abc"}
    assert all(taken.shape == (10, 2) for found in seconds.values() for taken in found.values())
    assert all((taken > 0).all() for found in seconds.values() for taken in found.values())


def test_few_and_odd_numbers_of_runs() -> None:
    assert rounds(runs=3)[1]["a"][16].shape == (3, 1)
    assert rounds(runs=25)[1]["a"][16].size >= 25


def test_settling_takes_as_many_calls_as_fill_the_time(monkeypatch) -> None:
    readings = count()
    clock = SimpleNamespace(perf_counter_ns=lambda: next(readings) * 1_000_000)
    monkeypatch.setattr("bantamweight.runtimes._latency.time", clock)
    monkeypatch.setattr("bantamweight.runtimes._latency.SETTLE_S", 0.0035)
    calls: Calls = []
    seconds = measure({"a": fake("a", calls)}, threads=1, batches=(2,), warmup=0, runs=10)
    # At a millisecond a call, four untimed calls fill 3.5 of them.
    assert len(calls) == 2 + 10 * (4 + 1)
    np.testing.assert_allclose(seconds["a"][2], 1e-3)


def test_the_order_is_shuffled_by_the_seed_and_the_images_are_the_same() -> None:
    orders = [tuple(name for name, _, _ in rounds(seed)[0]) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert len({orders[0][start : start + 9] for start in range(6, 105, 9)}) > 3
    calls, _ = rounds()
    assert len({(size, content) for _, size, content in calls}) == 2


def test_state_is_restored_also_when_a_session_fails() -> None:
    before = torch.get_num_threads()

    def broken(images: np.ndarray) -> np.ndarray:
        raise RuntimeError(f"broken at {len(images)}")

    session = Session(broken, runtime="fake", threads=before + 1, shape=(1, 8, 8))
    with pytest.raises(RuntimeError, match="broken"):
        measure({"a": session}, threads=before + 1)
    assert gc.isenabled()
    assert torch.get_num_threads() == before


def test_progress_reaches_the_end() -> None:
    told: list[float] = []
    measure({0: fake("a", [])}, threads=1, batches=(2, 3), warmup=1, runs=1, progress=told.append)
    assert told == [0.25, 0.5, 0.75, 1.0]


def test_settings_that_measure_nothing() -> None:
    session = fake("a", [])
    with pytest.raises(InputError, match="expected sessions"):
        measure({}, threads=1)
    for batches in ((), (0,), (4, 4)):
        with pytest.raises(InputError, match="distinct batch sizes"):
            measure({"a": session}, threads=1, batches=batches)
    with pytest.raises(InputError, match="runs >= 1"):
        measure({"a": session}, threads=1, runs=0)
    with pytest.raises(InputError, match="expected every session to have 2 threads, got 1 on fake"):
        measure({"a": session}, threads=2)
