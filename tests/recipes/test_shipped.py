"""What ships is what decides: every success is one of the file itself, and the comparison with its parent is paired."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bantamweight.data import load
from bantamweight.errors import InputError
from bantamweight.loading import untrained
from bantamweight.predict import logits_of
from bantamweight.recipes.export import export
from bantamweight.recipes.robustness import robustness
from bantamweight.recipes.shipped import attack_shipped, shipped_oracle
from bantamweight.runtimes._surrogate import artifact_of, surrogate
from bantamweight.runtimes.onnxruntime import open_onnx
from bantamweight.stats import equivalence
from bantamweight.training import fresh, train
from bantamweight.types import Images, Labels
from bantamweight.variants import Variant, build

Scene = tuple[Variant, Path, Images, Labels]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A net that reads digits, its int8 file, and digits it has not seen."""
    data = load("digits")
    variant = train(fresh("small_cnn", data), data, epochs=4).variant
    assert variant is not None
    path = tmp_path_factory.mktemp("shipped") / "net.onnx"
    export(variant, path, int8=True, calibrate=data.splits["train"].floats(torch.arange(128)), batches=())
    shown = data.splits["test"]
    return variant, path, shown.floats(torch.arange(200)), shown.labels[:200]


def answers(variant: Variant, path: Path, images: Images) -> np.ndarray:
    with open_onnx(artifact_of(variant, path), shape=variant.input_shape, threads=1) as session:
        return session.run(images.contiguous().numpy()).argmax(axis=1)


def test_surrogate_and_file_agree(scene: Scene) -> None:
    variant, path, images, _ = scene
    with torch.no_grad():
        found = surrogate(path)(images).argmax(dim=1).numpy()
    assert (found == answers(variant, path, images)).mean() >= 0.995


def test_success_is_the_files_own(scene: Scene) -> None:
    variant, path, images, labels = scene
    found = attack_shipped(
        variant,
        path,
        images[:60],
        labels[:60],
        "linf 0.1",
        protocol={"use": "fast"},
        by_score={"use": "square", "queries": 30},
        checks="none",
    )
    right = answers(variant, path, images[:60]) == labels[:60].numpy()
    assert (found.through.columns["right"] == right).all()
    broken = found.through.columns["success"]
    assert broken.sum() > 10
    assert found.through.images is not None
    fooled = answers(variant, path, found.through.images) != labels[:60].numpy()
    assert fooled[broken].all()
    assert float((found.through.images - images[:60]).abs().max()) <= 0.1 + 1e-6
    assert found.by_score is not None
    left = np.flatnonzero(right & ~broken)
    assert len(found.by_score.columns["right"]) == len(left)
    standing = right & ~broken
    standing[left] &= ~found.by_score.columns["success"]
    assert (found.standing == standing).all()
    # The parent had the same chances to fall: what fooled the file, and attacks by score.
    back = logits_of(build(variant), found.through.images).argmax(dim=1).numpy() != labels[:60].numpy()
    own = found.parent.columns["right"] & ~found.parent.columns["success"] & ~(back & broken)
    assert found.parent_by_score is not None
    assert len(found.parent_by_score.columns["right"]) == int(own.sum())
    own[own] = ~found.parent_by_score.columns["success"]
    assert (found.parent_standing == own).all()
    gained = int((standing & ~found.parent_standing).sum())
    lost = int((found.parent_standing & ~standing).sum())
    assert found.equivalence == equivalence(gained, lost, 60, 0.02)
    said = found.summary()
    assert (said["robust"]["correct"], said["gained"], said["lost"]) == (int(standing.sum()), gained, lost)


def test_masking_checks_look_at_the_file(scene: Scene) -> None:
    variant, path, images, labels = scene
    steps = {"use": "pgd", "steps": 10}
    found = robustness(shipped_oracle(variant, path), images[:24], labels[:24], "linf 0.4", attack=steps, checks="full")
    states = {check.name: check.state for check in found.checks}
    assert found.columns["success"].sum() > 20
    assert (states["deterministic"], states["gradient"], states["transfer_failure"]) == ("pass", "pass", "pass"), states


def test_a_score_oracle_asks_the_file_and_shows_no_gradient(scene: Scene) -> None:
    variant, path, images, labels = scene
    asked = shipped_oracle(variant, path, access="score")
    assert asked.proposer is asked.judged
    robustness(asked, images[:20], labels[:20], "linf 0.1", attack={"use": "square", "queries": 10}, checks="none")
    assert asked.ledger.forwards > 0
    assert asked.ledger.backwards == 0


def test_a_float_file_is_attacked_through_its_variant(scene: Scene, tmp_path: Path) -> None:
    variant, _, images, labels = scene
    export(variant, tmp_path / "net.onnx")
    asked = shipped_oracle(variant, tmp_path / "net.onnx")
    found = robustness(asked, images[:20], labels[:20], "linf 0.1", attack={"use": "pgd", "steps": 5}, checks="none")
    assert found.images is not None
    fooled = answers(variant, tmp_path / "net.onnx", found.images) != labels[:20].numpy()
    assert fooled[found.columns["success"]].all()


def test_another_variants_file_is_refused(scene: Scene) -> None:
    _, path, images, labels = scene
    with pytest.raises(InputError, match="was made from another variant"):
        attack_shipped(untrained("small_cnn", size=8, channels=1), path, images, labels, "linf 0.1")


def test_a_file_is_not_handed_to_the_ensemble_for_what_all_integers_do(scene: Scene) -> None:
    """Steps below a level change nothing of integers; the check says so, and scores are asked instead."""
    variant, path, images, labels = scene
    one = {"use": "pgd", "steps": 3}
    few = {"use": "square", "queries": 5}
    found = attack_shipped(variant, path, images[:24], labels[:24], "linf 0.1", protocol="fast", by_score=few)
    assert found.through.escalated == ""
    failing = [check.name for check in found.through.checks if check.state == "fail"]
    assert failing in ([], ["slope"])
    left = robustness(
        shipped_oracle(variant, path), images[:24], labels[:24], "linf 0.1", attack=one, audit=1, escalate=False
    )
    assert left.escalated == ""
