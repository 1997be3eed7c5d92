"""What a net is made of: each layer's counts, what it sees of the image, its time under the roof; training's memory."""

from __future__ import annotations

from collections.abc import Sequence

from bantamweight.facts import Fact
from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Cell, Chart, Group, Panel, Prose, Table
from bantamweight.reports._charts import dots
from bantamweight.reports._run import Context
from bantamweight.reports._tables import measured

__all__ = ["anatomy"]

SHARES = {
    "layer_parameters": "parameters",
    "layer_macs": "multiply-accumulates",
    "layer_saved_bytes": "kept for backward",
    "layer_ms": "time",
}
"""What a layer's share of the net is drawn of."""

MOST = 30
"""Layers in a chart; the table has all."""


def anatomy(context: Context) -> Panel | None:
    """Per net the layers with the largest shares, all layers, and the memory of training; None without such facts."""
    names = list(dict.fromkeys(fact.variant for fact in context.find("layer_macs")))
    if not names:
        return None
    blocks: list[Block] = []
    for name in names:
        inside: list[Block] = [_shares(context, name), _layers(context, name)]
        memory = _memory(context, name)
        inside += [memory] if memory else []
        blocks.append(Group(name, inside))
    roof = _roof(context)
    lead = (
        "For one image, in the order of the forward pass. A receptive field is how many pixels of the image one value "
        "can depend on, and the stride how far apart neighbours look."
    )
    return Panel("Anatomy", 128, [*blocks, *([roof] if roof else [])], lead)


def _by_step(context: Context, metric: str, name: str) -> dict[float, Fact]:
    return {fact.step or 0.0: fact for fact in context.find(metric, variant=name)}


def _shares(context: Context, name: str) -> Chart:
    """Points per layer, one per kind of share; layers that do nothing of any kind are left out."""
    found = {metric: _by_step(context, metric, name) for metric in SHARES}
    whole = {metric: sum(fact.value or 0.0 for fact in facts.values()) for metric, facts in found.items()}
    shares = {
        (metric, step): (fact.value or 0.0) / whole[metric]
        for metric, facts in found.items()
        if whole[metric]
        for step, fact in facts.items()
    }
    steps = sorted(
        {step for _, step in shares}, key=lambda step: -max(shares.get((metric, step), 0.0) for metric in SHARES)
    )
    layers = found["layer_macs"]
    # Two calls of one layer are two rows.
    label = {step: layers[step].item for step in steps[:MOST]}
    seen = list(label.values())
    label = {step: f"{one} ({step:.0f})" if seen.count(one) > 1 else one for step, one in label.items()}
    drawn = [
        {"x": share, "low": share, "high": share, "layer": label[step], "of": SHARES[metric]}
        for (metric, step), share in sorted(shares.items(), key=lambda pair: pair[0][1])
        if step in label
    ]
    rows = [
        [label[step], *(_words.percent(shares[metric, step]) if (metric, step) in shares else "" for metric in SHARES)]
        for step in sorted(label)
    ]
    table = Table(f"Shares of {name}", ["layer", *SHARES.values()], rows)
    left = f" The {MOST} layers with the largest shares of {len(steps)}." if len(steps) > MOST else ""
    spec = dots(drawn, x="share of the net", y="layer", colour="of", percent_x=True, from_zero=True)
    return Chart(f"Where {name} spends", spec, table, left.strip())


def _layers(context: Context, name: str) -> Table:
    metrics = ("parameters", "macs", "activation_bytes", "saved_bytes", "field", "stride", "ms", "least_ms")
    found = {metric: _by_step(context, f"layer_{metric}", name) for metric in metrics}
    rows: list[Sequence[str | Cell]] = []
    for step, layer in sorted(found["macs"].items()):
        cells = {metric: facts.get(step) for metric, facts in found.items()}
        macs = layer.value or 0.0
        rows.append(
            [
                layer.item,
                layer.against,
                _words.whole(_value(cells["parameters"])),
                _words.whole(macs),
                _words.whole(2 * macs),
                *(_words.size(_value(cells[metric])) for metric in ("activation_bytes", "saved_bytes")),
                *(_words.number(_value(cells[metric])) for metric in ("field", "stride", "ms", "least_ms")),
            ]
        )
    head = ["layer", "kind", "parameters", "MACs", "FLOPs", "answer", "kept for backward", "field", "stride"]
    head += ["ms", "least possible ms"]
    note = measured(found["ms"].values())
    return Table(f"Layers of {name}", head, rows, note, folded=True)


def _value(fact: Fact | None) -> float | None:
    return None if fact is None else fact.value


def _memory(context: Context, name: str) -> Table | None:
    facts = context.find("training_bytes", variant=name)
    if not facts:
        return None
    batch, optimizer = facts[0].batch, facts[0].against
    rows = [[fact.item, _words.size(fact.value)] for fact in facts]
    note = (
        "Activations are what forward keeps for backward. The parts need not all be there at once; the peak is the "
        "most that is, with what kernels hold inside themselves left out."
    )
    return Table(f"Memory of training {name}, {optimizer}, batch of {_words.whole(batch)}", ["part", ""], rows, note)


def _roof(context: Context) -> Prose | None:
    flops, bandwidth = (context.one(f"roof_{rate}") for rate in ("flops", "bandwidth"))
    if flops is None or bandwidth is None or not flops.value or not bandwidth.value:
        return None
    text = (
        f"The roof: {flops.value / 1e9:,.0f} GFLOP/s in a matrix product and {bandwidth.value / 1e9:,.1f} GB/s in a "
        f"copy, so a layer with fewer than {flops.value / bandwidth.value:.0f} FLOPs per byte waits for memory, "
        "unless the caches hold what it needs."
    )
    return Prose(text, "note")
