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


def rounds(seed: int = 0, settle_ms: float = 0.0) -> tuple[Calls, dict[str, dict[int, np.ndarray]]]:
    calls: Calls = []
    sessions = {name: fake(name, calls) for name in "abc"}
    return calls, measure(sessions, threads=1, batches=(1, 16), warmup=2, runs=8, settle_ms=settle_ms, seed=seed)


def test_every_round_times_every_session_once_after_an_untimed_call() -> None:
    calls, seconds = rounds()
    assert len(calls) == 2 * 2 * 10 * 3
    settling, timed = calls[::2], calls[1::2]
    assert settling == timed
    assert [size for _, size, _ in timed] == [1] * 30 + [16] * 30
    for start in range(0, 60, 3):
        assert {name for name, _, _ in timed[start : start + 3]} == set("abc")
    assert {name: sorted(by_batch) for name, by_batch in seconds.items()} == {name: [1, 16] for name in "abc"}
    assert all(taken.shape == (8,) and (taken > 0).all() for found in seconds.values() for taken in found.values())


def test_settling_goes_on_for_the_time_asked(monkeypatch) -> None:
    readings = count()
    clock = SimpleNamespace(
        perf_counter=lambda: next(readings) / 4000, perf_counter_ns=lambda: next(readings) * 250_000
    )
    monkeypatch.setattr("bantamweight.runtimes._latency.time", clock)
    calls: Calls = []
    seconds = measure({"a": fake("a", calls)}, threads=1, batches=(2,), warmup=1, runs=2, settle_ms=0.9)
    # At a quarter of a millisecond per look at the clock: four untimed calls fill 0.9, and one call is timed.
    assert len(calls) == 3 * (4 + 1)
    np.testing.assert_allclose(seconds["a"][2], 0.25e-3)


def test_the_order_is_shuffled_by_the_seed_and_the_images_are_the_same() -> None:
    orders = [tuple(name for name, _, _ in rounds(seed)[0]) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert len({orders[0][start : start + 6] for start in range(0, 120, 6)}) == 6
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
    measure({0: fake("a", [])}, threads=1, batches=(2,), warmup=1, runs=3, progress=told.append)
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
