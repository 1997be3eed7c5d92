"""Methods scored on a net that learned planted objects: the truth above, chance below."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bantamweight.data.planted import planted
from bantamweight.errors import InputError
from bantamweight.explainers._core import Explainer, Heat
from bantamweight.explainers.gradient import gradient
from bantamweight.facts import select
from bantamweight.models.mlp import mlp
from bantamweight.models.small_cnn import small_cnn
from bantamweight.parts import configure
from bantamweight.recipes.scores import GIVEN, score, score_maps

METRICS = [configure("metrics", name).make() for name in GIVEN]


@pytest.fixture(scope="module")
def split():
    return planted(size=24, classes=4, train=2, val=2, test=40).splits["test"]


def truth(masks: Tensor, images: Tensor) -> Explainer:
    """A method that knows the answer: the planted mask itself."""
    keys = {image.numpy().tobytes(): mask for image, mask in zip(images, masks, strict=True)}

    def explain(_module: nn.Module, rows: Tensor, classes: Tensor, _layer: str | None) -> Heat:
        maps = torch.stack([keys[row.numpy().tobytes()].float() for row in rows])
        return Heat(maps[:, None].expand(-1, classes.shape[1], -1, -1).clone())

    return Explainer("planted_mask", explain)


def test_the_planted_mask_ranks_above_every_method_and_the_random_map_below(split) -> None:
    torch.manual_seed(0)
    net, images = mlp(size=24, classes=4).eval(), split.floats()
    methods = [truth(split.masks, images), gradient()]
    found = score_maps(net, images, split.labels, methods, METRICS, objects=split.masks)
    for metric in METRICS:
        means = {fact.item: fact.value for fact in select(list(found.facts), f"map_{metric.name}")}
        order = sorted(means, key=means.__getitem__, reverse=metric.better == "higher")
        assert order[0] == "planted_mask", metric.name
        assert means["planted_mask"] == pytest.approx(
            {"pointing_game": 1.0, "iou": 1.0, "pixel_auc": 1.0}.get(metric.name, means["planted_mask"])
        )
        gain = next(
            fact
            for fact in select(list(found.facts), f"map_{metric.name}_gain", item="planted_mask")
            if fact.against == "random_map"
        )
        assert gain.p_adjusted < 0.001
        assert gain.value > 0


def test_classes_are_the_predicted_ones_except_where_the_object_is_asked_for(split) -> None:
    """A net that always says class 3, with maps that tell which class they speak of."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, 4))
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].bias.copy_(torch.tensor([0.0, 0.0, 0.0, 1.0]))
    asked: list[int] = []

    def explain(_module: nn.Module, rows: Tensor, classes: Tensor, _layer: str | None) -> Heat:
        asked.extend(classes[:, 0].tolist())
        return Heat(torch.rand(len(rows), 1, 24, 24))

    method = Explainer("spy", explain)
    sparse = configure("metrics", "sparseness").make()
    score_maps(net, split.floats()[:8], split.labels[:8], [method], [sparse])
    assert set(asked) == {3}
    score_maps(net, split.floats()[:8], split.labels[:8], [method], METRICS[:1], objects=split.masks[:8])
    assert set(asked) == {0, 1, 2, 3}


def test_a_method_without_meaning_is_said_and_the_rest_is_scored(split) -> None:
    net = mlp(size=24, classes=4).eval()
    found = score(net, split.floats()[:6], split.labels[:6], ["grad_cam", "gradient"], ["sparseness"])
    assert found.undefined["grad_cam"].startswith("no convolution")
    assert found.sentences[0].startswith("grad_cam has no meaning for this model")
    assert ("gradient", "sparseness") in found.scores


def test_a_net_in_another_precision_is_scored_as_it_is_explained(split) -> None:
    metrics = [{"use": "mprt", "most": 2}, {"use": "deletion", "steps": 4}, "road", "faithfulness_correlation"]
    x, labels = split.floats()[:4], split.labels[:4]
    torch.manual_seed(0)
    net = small_cnn(size=24, classes=4).eval()
    plain = score(net, x, labels, ["grad_cam"], metrics)
    exact = score(net.double(), x, labels, ["grad_cam"], metrics)
    assert next(net.parameters()).dtype == torch.float64
    for metric in ("deletion", "road"):
        left, right = (torch.from_numpy(found.scores["grad_cam", metric].values) for found in (plain, exact))
        torch.testing.assert_close(left, right, rtol=0, atol=1e-4)


def test_what_is_scored_is_a_net_at_rest(split) -> None:
    """A net in training mode would be asked with dropout, and its running statistics would move."""
    net = small_cnn(size=24, classes=4).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    score(net, split.floats()[:4], split.labels[:4], ["gradient"], ["sparseness"])
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("use", "metrics", "said"),
    [
        (["gradient"], ["iou"], "iou needs to know where the object is"),
        (["gradient", "gradient"], ["sparseness"], "'gradient' twice"),
        (["gradiant"], ["sparseness"], "did you mean 'gradient'"),
        (["gradient"], ["deletoin"], "did you mean 'deletion'"),
        ([], ["sparseness"], "at least one method"),
    ],
)
def test_what_can_not_be_scored_is_refused(split, use, metrics, said) -> None:
    with pytest.raises(InputError, match=said):
        score(mlp(size=24, classes=4), split.floats()[:4], split.labels[:4], use, metrics)
