"""Training ends in the same bits whether or not it was killed on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from bantamweight.errors import InputError, StoreError
from bantamweight.training import train
from tests.training.conftest import bits

ROOT = Path(__file__).parents[2]


class Killed(BaseException):
    """A stand-in for SIGKILL that a test can place exactly."""


def test_killed_at_random_moments_gives_the_same_bits(tmp_path):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    command = [sys.executable, "-m", "tests.training.killed", str(tmp_path), "7"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["times"] >= 3
    assert said["whole"] == said["killed"]
    assert [name for name in said["files"] if name.endswith((".aside", ".pkl", ".pt"))] == []


def test_stopped_before_and_after_every_rename_gives_the_same_bits(digits, net, tmp_path, monkeypatch):
    def run(folder):
        return train(net(), digits, folder, epochs=3, batch=64, optimizer="sgd", rate=0.1, precision="fp32")

    whole, renames = run(tmp_path / "whole"), os.replace
    wanted = (bits(whole.weights), bits(whole.last), whole.best_epoch)
    at = 0
    for after in (False, True):
        for at in range(1, 100):
            calls = []

            def stopping(source, target, at=at, after=after, calls=calls):
                calls.append(target)
                if len(calls) != at:
                    return renames(source, target)
                if after:
                    renames(source, target)
                raise Killed

            folder = tmp_path / f"{after}-{at}"
            monkeypatch.setattr(os, "replace", stopping)
            try:
                run(folder)
                break
            except Killed:
                monkeypatch.setattr(os, "replace", renames)
                resumed = run(folder)
                assert (bits(resumed.weights), bits(resumed.last), resumed.best_epoch) == wanted
    assert at > 6  # two or three renames in each of three epochs


def test_a_finished_training_is_read_and_not_repeated(digits, net, tmp_path):
    first = train(net(), digits, tmp_path, epochs=2)
    seen = []
    again = train(net(), digits, tmp_path, progress=lambda done, total: seen.append((done, total)), epochs=2)
    assert seen == []
    assert bits(again.weights) == bits(first.weights)
    assert again.history == first.history


def test_resume_false_starts_over(digits, net, tmp_path):
    first = train(net(), digits, tmp_path, epochs=2)
    seen = []
    again = train(net(), digits, tmp_path, progress=lambda done, _: seen.append(done), epochs=2, resume=False)
    assert seen == [1, 2]
    assert bits(again.weights) == bits(first.weights)


def test_another_training_in_the_folder_is_refused(digits, net, tmp_path):
    train(net(), digits, tmp_path, epochs=1, rate=1e-3)
    with pytest.raises(InputError, match=r"another training.*rate was 0\.001 and is now 0\.002.*resume=False"):
        train(net(), digits, tmp_path, epochs=1, rate=2e-3)
    other = net()
    nn.init.zeros_(other[0].bias)
    with pytest.raises(InputError, match="another training"):
        train(other, digits, tmp_path, epochs=1, rate=1e-3)


@pytest.mark.parametrize("damage", ["json", "tensors", "missing"])
def test_a_damaged_checkpoint_is_an_input_error(digits, net, tmp_path, damage):
    train(net(), digits, tmp_path, epochs=1)
    (tensors,) = tmp_path.glob("last-*.safetensors")
    if damage == "json":
        (tmp_path / "checkpoint.json").write_text('{"format": 1')
    elif damage == "tensors":
        tensors.write_bytes(tensors.read_bytes()[:-100])
    else:
        tensors.unlink()
    with pytest.raises(InputError, match=r"can't be read.*resume=False"):
        train(net(), digits, tmp_path, epochs=1)


def test_a_folder_that_cannot_be_written_is_a_store_error(digits, net, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="expected to be able to write"):
        train(net(), digits, tmp_path / "file" / "folder", epochs=1)


def test_the_folder_holds_safetensors_json_and_curves_only(digits, net, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def stop(done, _):
        if done == 2:
            raise Killed

    with pytest.raises(Killed):
        train(net(), digits, tmp_path, progress=stop, epochs=3)
    trained = train(net(), digits, tmp_path, epochs=3)
    names = {path.name.split("-")[0] for path in tmp_path.iterdir()}
    assert names == {"best", "last", "checkpoint.json", "tensorboard"}
    curves = EventAccumulator(str(tmp_path / "tensorboard"))
    curves.Reload()
    assert {"loss/train", "loss/val", "accuracy/train", "accuracy/val", "rate"} <= set(curves.Tags()["scalars"])
    losses = [event.value for event in curves.Scalars("loss/val")]
    assert losses == pytest.approx([row.loss for row in trained.history if row.split == "val"])
