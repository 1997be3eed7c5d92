"""A variant is its content: hash, disk, lineage, masks; and what is damaged is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from bantamweight import variants
from bantamweight.errors import InputError, StoreError
from bantamweight.loading import untrained
from bantamweight.variants import build, capture, load, masks, save


@pytest.fixture
def variant():
    return replace(untrained("small_cnn", size=8, channels=1), classes=tuple("abcdefghij"))


def test_the_hash_is_of_content_not_of_names_or_order(variant):
    turned = dict(reversed(list(variant.weights.items())))
    assert replace(variant, weights=turned, name="other").hash == variant.hash
    changed = {key: value.clone() for key, value in variant.weights.items()}
    first = next(key for key, value in changed.items() if value.ndim == 4)
    changed[first].view(-1)[0] += 1e-6
    assert replace(variant, weights=changed).hash != variant.hash
    assert replace(variant, classes=variant.classes[::-1]).hash != variant.hash
    assert replace(variant, preprocessing={**variant.preprocessing, "resize": "squash"}).hash != variant.hash


def test_what_is_saved_comes_back_to_the_bit(variant, tmp_path):
    save(variant, tmp_path / "kept")
    again = load(tmp_path / "kept")
    assert again.hash == variant.hash
    assert again.classes == variant.classes
    assert all(torch.equal(again.weights[key], value) for key, value in variant.weights.items())
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(build(again)(images), build(variant)(images))
    save(again, tmp_path / "kept")  # over the old one
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]


def test_built_modules_are_fresh_frozen_and_in_eval_mode(variant):
    one, other = build(variant), build(variant)
    assert not one.training
    assert not any(parameter.requires_grad for parameter in one.parameters())
    next(one.parameters()).data.zero_()
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


def test_capture_descends_and_masks_are_the_zeros_of_cut_layers(variant):
    module = build(variant)
    name = next(key for key, value in module.named_parameters() if value.ndim == 4)
    module.get_parameter(name).data[0] = 0.0
    child = capture(variant, module, name="child", edits=({"edit": "mask", "layers": [name]},))
    assert child.lineage == (variant.hash,)
    assert masks(variant) == {}
    (mask,) = masks(child).values()
    assert not mask[0].any()
    assert mask[1:].all()


@pytest.mark.parametrize("damage", ["flip", "classes", "truncate", "missing", "not json", "wrong type"])
def test_a_damaged_folder_is_refused(variant, tmp_path, damage):
    folder = tmp_path / "kept"
    save(variant, folder)
    about, weights = folder / "variant.json", folder / "weights.safetensors"
    said = json.loads(about.read_text())
    if damage == "flip":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    elif damage == "classes":
        about.write_text(json.dumps(said | {"classes": said["classes"][::-1]}))
    elif damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:-10])
    elif damage == "missing":
        weights.unlink()
    elif damage == "not json":
        about.write_text("{")
    else:
        about.write_text(json.dumps([said]))
    with pytest.raises(InputError, match=r"expected a saved variant|is not what was saved"):
        load(folder)


def test_weights_that_do_not_fit_are_named(variant):
    small = {key: value for key, value in variant.weights.items() if not key.endswith("weight")}
    with pytest.raises(InputError, match="lacks"):
        build(replace(variant, weights=small))
    with pytest.raises(InputError, match="unknown extra"):
        build(replace(variant, weights={**variant.weights, "extra": torch.zeros(1)}))
    grown = {key: (value[:-1] if value.ndim == 2 else value) for key, value in variant.weights.items()}
    with pytest.raises(InputError, match="check classes, channels and size"):
        build(replace(variant, weights=grown))


def test_a_full_disk_leaves_nothing_behind(variant, tmp_path, monkeypatch):
    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(variants, "save_file", full)
    with pytest.raises(StoreError, match="No space left"):
        save(variant, tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []


def test_foreign_factories_need_trust(variant):
    with pytest.raises(InputError, match="--trust"):
        build(replace(variant, factory="os:system", arguments={"command": "true"}))


def test_a_variant_is_shown_in_one_line(variant):
    shown = repr(replace(variant, edits=({"edit": "mask", "layers": []},)))
    assert variant.name in shown
    assert shown.endswith("edits: mask)")
    assert len(shown) < 200
