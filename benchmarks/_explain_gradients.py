"""Class-activation methods and integrated gradients against captum."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from _explain_scene import fastest, head, images_for, net_for, seconds
from _scene import columns, interleaved, note, row, spread
from captum.attr import IntegratedGradients, LayerGradCam, LayerGradientXActivation
from torch import Tensor, nn

from bantamweight.explainers import explain
from bantamweight.explainers._cam import CAMS
from bantamweight.explainers._cam import cams as maps_of
from bantamweight.explainers._layers import find_layer
from bantamweight.explainers.integrated_gradients import integrated_gradients


def unit(maps: Tensor) -> Tensor:
    """Each map over its largest magnitude."""
    return maps / maps.abs().amax(dim=(-2, -1), keepdim=True).clamp_min(1e-30)


def cams(options: argparse.Namespace) -> None:
    """Grad-CAM of ten classes, then all five, against captum once per class."""
    net, x = net_for(options), images_for(options)
    layer = find_layer(net, x[:8])
    with torch.no_grad():
        count = net(x[:8]).shape[1]
    classes = torch.arange(count).expand(len(x), count)
    peer = LayerGradCam(net, net.get_submodule(layer))

    def captum(batch: int, which: range) -> Tensor:
        found = [
            torch.cat([peer.attribute(part, target=one, relu_attributions=True).detach() for part in x.split(batch)])
            for one in which
        ]
        return torch.cat(found, dim=1)

    batch = fastest(lambda size: captum(size, range(1)), options.batches)
    note(f"captum is fastest at {batch}")
    calls = {
        "ours, Grad-CAM": lambda _: seconds(lambda: maps_of(net, x, classes, use=["grad_cam"])),
        "ours, five methods": lambda _: seconds(lambda: maps_of(net, x, classes)),
        "captum, Grad-CAM": lambda _: seconds(lambda: captum(batch, range(count))),
    }
    times = interleaved(calls, options.repeats)
    head(options, f"Class-activation maps of {count} classes at {layer}")
    columns("who", " seconds", " of captum's")
    theirs = torch.tensor(times["captum, Grad-CAM"]).median()
    for name, took in times.items():
        ratio = float(torch.tensor(took).median() / theirs)
        row(name + (f", batch {batch}" if name.startswith("captum") else ""), spread(took), f"1/{1 / ratio:.1f}")
    found = maps_of(net, x, classes)
    print("\nLargest difference of maps, each over its own maximum:\n")
    columns("method", "beside", " difference")
    for name in CAMS:
        told, beside = _expected(name, net, x, layer, count, lambda: captum(batch, range(count)))
        row(name, beside, f"{float((unit(found[name].coarse) - unit(told)).abs().max()):.1e}")


def _expected(name: str, net: nn.Module, x: Tensor, layer: str, count: int, captum: object) -> tuple[Tensor, str]:
    """Maps of all classes by captum where it has the method, else by the formula over autograd's pair, in float64."""
    part = net.get_submodule(layer)
    if name == "grad_cam":
        return captum(), "captum LayerGradCam"  # type: ignore[operator]
    if name == "hires_cam":
        peer = LayerGradientXActivation(net, part)
        said = [torch.cat([peer.attribute(rows, target=one).sum(dim=1).detach() for rows in x.split(64)])
                for one in range(count)]  # fmt: skip
        return torch.stack(said, dim=1), "captum LayerGradientXActivation"
    kept: list[Tensor] = []
    handle = part.register_forward_hook(lambda _m, _i, out: kept.append(out))
    told = []
    for rows in x.split(64):
        kept.clear()
        logits = net(rows.clone().requires_grad_())
        A = kept[-1]
        each = [torch.autograd.grad(logits[:, one].sum(), A, retain_graph=True)[0].double() for one in range(count)]
        told.append(torch.stack([_formula(name, A.detach().double(), g) for g in each], dim=1))
    handle.remove()
    return torch.cat(told).float(), "the formula over autograd, float64"


def _formula(name: str, A: Tensor, g: Tensor) -> Tensor:
    if name == "layer_cam":
        return (g.relu() * A).sum(dim=1).relu()
    total = A.sum(dim=(2, 3), keepdim=True)
    if name == "xgrad_cam":
        w = torch.where(total == 0, 0.0, (g * A).sum(dim=(2, 3), keepdim=True) / torch.where(total == 0, 1.0, total))
    else:
        below = 2 * g.square() + g.pow(3) * total
        alpha = torch.where(g == 0, 0.0, g.square() / torch.where(below == 0, 1.0, below))
        w = (alpha * g.relu()).sum(dim=(2, 3), keepdim=True)
    return (w * A).sum(dim=1).relu()


def ig(options: argparse.Namespace) -> None:
    """Ours, which stops each image by itself; captum with the fewest steps whose mean error is no larger."""
    net, x = net_for(options), images_for(options)
    black = torch.zeros_like(x)
    with torch.no_grad():
        classes = net(x).argmax(dim=1)
        due = (net(x) - net(black)).gather(1, classes[:, None])[:, 0]
    peer = IntegratedGradients(net)

    def error(maps: Tensor) -> Tensor:
        return (maps.sum(dim=(1, 2)) - due).abs() / due.abs().clamp_min(1.0)

    def captum(steps: int, batch: int) -> Tensor:
        found = peer.attribute(x, black, target=classes, n_steps=steps, internal_batch_size=batch)
        return found.sum(dim=1).float().detach()

    batch = fastest(lambda size: captum(32, size), options.batches)
    note(f"captum is fastest at {batch}")
    head(options, "Integrated gradients at equal completeness error")
    print("Error: |sum of the map - (f(x) - f(black))| over |f(x) - f(black)|, f in float32 for both.\n")
    columns(
        "ours", " seconds", " mean error", " largest", f"captum, batch {batch}", " seconds", " mean error", " ratio"
    )
    wanted: list[tuple[str, dict[str, object], str]] = [
        (f"{precision}, to {tolerance:g}", {"steps": 16, "tolerance": tolerance}, precision)
        for precision in ("fp32", "bf16")
        for tolerance in options.tolerance
    ]
    for name, settings, precision in wanted:
        method = integrated_gradients(**settings)  # type: ignore[arg-type]
        mine = error(explain(method, net, x, classes, precision=precision).maps)  # type: ignore[arg-type]
        steps = _steps(lambda count: float(error(captum(count, batch)).mean()), float(mine.mean()))
        calls = {
            "ours": lambda _, m=method, p=precision: seconds(lambda: explain(m, net, x, classes, precision=p)),
            "captum": lambda _, s=steps: seconds(lambda: captum(s, batch)),
        }
        times = interleaved(calls, options.repeats)
        theirs = error(captum(steps, batch))
        ratio = float(torch.tensor(times["captum"]).median() / torch.tensor(times["ours"]).median())
        row(name, spread(times["ours"]), f"{float(mine.mean()):.1e}", f"{float(mine.max()):.1e}", f"{steps} steps",
            spread(times["captum"]), f"{float(theirs.mean()):.1e}", f"{ratio:.2f}")  # fmt: skip


def _steps(error: Callable[[int], float], most: float) -> int:
    """About the fewest steps (within 5%) at which captum's mean error is no larger: bisected on a logarithmic scale."""
    low, high = 8, 16
    while error(high) > most and high < 2048:
        low, high = high, 2 * high
    while high / low > 1.05 and high - low > 1:
        middle = round((low * high) ** 0.5)
        low, high = (low, middle) if error(middle) <= most else (middle, high)
    return high
