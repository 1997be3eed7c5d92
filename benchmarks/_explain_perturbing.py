"""LIME against captum, deletion and insertion against a loop over images."""

from __future__ import annotations

import argparse

import numpy as np
import torch
from _explain_scene import fastest, head, images_for, net_for, seconds
from _scene import columns, interleaved, note, row, spread
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import Lime
from torch import Tensor

from bantamweight.explainers import explain
from bantamweight.explainers.grad_cam import grad_cam
from bantamweight.explainers.lime import lime as our_lime
from bantamweight.explainers.lime import superpixels
from bantamweight.explainers.metrics import answers, scene
from bantamweight.explainers.metrics.deletion import deletion
from bantamweight.explainers.metrics.insertion import insertion


def lime(options: argparse.Namespace) -> None:
    """The predicted class's map of each image; captum image by image, which is how it works."""
    net, x = net_for(options), images_for(options)
    with torch.no_grad():
        classes = net(x).argmax(dim=1)
    cut = [superpixels(one, 50, 10.0) for one in x]
    hidden = [torch.stack([one[:, mask == s].mean(dim=1) for s in range(int(mask.max()) + 1)], dim=1)[:, mask]
              for one, mask in zip(x, cut, strict=True)]  # fmt: skip

    def similar(_given: Tensor, _changed: Tensor, z: Tensor, **_rest: object) -> float:
        distance = 1.0 - float(z.float().mean()) ** 0.5
        return float(np.sqrt(np.exp(-(distance**2) / 0.25**2)))

    def draw(_given: Tensor, **rest: object) -> Tensor:
        return (torch.rand(1, int(rest["num_interp_features"])) < 0.5).long()  # type: ignore[call-overload]

    def said(rows: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.softmax(net(rows), dim=1)

    peer = Lime(said, SkLearnRidge(alpha=1.0), similarity_func=similar, perturb_func=draw)

    def captum(batch: int, count: int) -> None:
        for at in range(count):
            peer.attribute(x[at : at + 1], hidden[at][None], target=int(classes[at]), n_samples=options.samples,
                           feature_mask=cut[at].expand(1, 3, -1, -1), perturbations_per_eval=batch)  # fmt: skip

    batch = fastest(lambda size: captum(size, 1), options.batches, repeats=1)
    note(f"captum is fastest at {batch}")
    method = our_lime(samples=options.samples)
    calls = {
        "ours, fp32": lambda _: seconds(lambda: explain(method, net, x, classes)),
        "ours, bf16": lambda _: seconds(lambda: explain(method, net, x, classes, precision="bf16")),
        f"captum, batch {batch}": lambda _: seconds(lambda: captum(batch, len(x))),
    }
    times = interleaved(calls, options.repeats)
    head(options, f"LIME, {options.samples} samples, ridge, about 50 superpixels")
    _table(times, f"captum, batch {batch}")
    exact, fast = (explain(method, net, x, classes, precision=p).maps.flatten(1) for p in ("fp32", "bf16"))
    alike = [float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in zip(exact, fast, strict=True)]
    print(f"\nCorrelation of bf16 with fp32 maps: {min(alike):.4f} at least.")


def perturbation(options: argparse.Namespace) -> None:
    """Deletion and insertion of Grad-CAM maps, as many steps as pixels on a side."""
    net, x = net_for(options), images_for(options)
    with torch.no_grad():
        classes = net(x).argmax(dim=1)
    maps = explain(grad_cam(), net, x, classes)

    def ours(precision: str) -> np.ndarray:
        answer = answers(net, x, precision=precision)  # type: ignore[arg-type]
        seen = scene(grad_cam(), net, x, classes, answer=answer, maps=maps)
        return np.stack([deletion().score(seen).values, insertion().score(seen).values])

    found: dict[str, np.ndarray] = {}

    def timed(name: str, call: object) -> float:
        return seconds(lambda: found.__setitem__(name, call()))  # type: ignore[operator]

    calls = {
        "ours, fp32": lambda _: timed("ours, fp32", lambda: ours("fp32")),
        "ours, bf16": lambda _: timed("ours, bf16", lambda: ours("bf16")),
        "image by image": lambda _: timed("image by image", lambda: _loop(net, x, classes, maps.maps)),
    }
    times = interleaved(calls, options.repeats)
    head(options, "Deletion and insertion")
    _table(times, "image by image")
    print("\nLargest difference of a score from the loop's (deletion, insertion); ties are broken at random by both:\n")
    for name in ("ours, fp32", "ours, bf16"):
        difference = np.abs(found[name] - found["image by image"]).max(axis=1)
        print(f"- {name}: {difference[0]:.1e}, {difference[1]:.1e}")


def _loop(net: torch.nn.Module, x: Tensor, classes: Tensor, maps: Tensor) -> np.ndarray:
    """As it is usually written: one image, one step, one forward; places and blank images are those of the metrics."""
    from bantamweight.explainers._blank import blank
    from bantamweight.explainers.metrics._core import importance, stops

    places = importance(maps, x)
    at = stops(x.shape[2] * x.shape[3], None, x.shape[2])
    told = []
    for start, end in ((x, _default(deletion, x, blank)), (_default(insertion, x, blank), x)):
        areas = []
        for image in range(len(x)):
            curve = []
            for count in at:
                changed = (places[image] < count).reshape(x.shape[2:])
                mixed = torch.where(changed, end[image], start[image])[None]
                with torch.no_grad():
                    curve.append(float(torch.softmax(net(mixed), dim=1)[0, classes[image]]))
            areas.append((sum(curve) - (curve[0] + curve[-1]) / 2) / (len(curve) - 1))
        told.append(areas)
    return np.array(told)


def _default(metric: object, x: Tensor, blank: object) -> Tensor:
    """What the metric itself puts in the place of removed pixels."""
    import inspect

    return blank(x, inspect.signature(metric).parameters["baseline"].default)  # type: ignore[operator, arg-type]


def _table(times: dict[str, list[float]], peer: str) -> None:
    columns("who", " seconds", " times as fast as the peer")
    for name, took in times.items():
        row(name, spread(took), f"{float(np.median(times[peer]) / np.median(took)):.2f}")
