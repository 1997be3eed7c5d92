"""Loss curves as a picture that stands alone, on the page's own kind of chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import vl_convert

__all__ = ["loss_picture"]

_MOST, _LEAST = 400, 1e-4
"""Points of a line, of which more are not seen, and the smallest share of the largest value that is drawn."""


def loss_picture(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> bytes:
    """A PNG of losses by step: a panel per curve's name, a line per term, on a logarithmic scale.

    Terms are told apart by their dashes as well as their colours. What is less than a 10,000th of the largest value is
    left out: a weak term's first steps would take most of the scale.
    """
    least = _LEAST * max((max(values) for terms in curves.values() for values in terms.values()), default=0.0)
    rows = [
        {"name": name, "term": term, "step": at + 1, "loss": values[at]}
        for name, terms in curves.items()
        for term, values in terms.items()
        for at in range(0, len(values), max(1, len(values) // _MOST))
        if values[at] > least
    ]
    order = alt.Scale(domain=list(dict.fromkeys(row["term"] for row in rows)))
    lines = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("step:Q", title="step"),
            y=alt.Y("loss:Q", title="loss", scale=alt.Scale(type="log")),
            color=alt.Color("term:N", title=None, scale=order),
            strokeDash=alt.StrokeDash("term:N", title=None, scale=order),
        )
        .properties(width=300, height=220)
        .facet(alt.Facet("name:N", title=None, sort=list(curves)), columns=3)
    )
    made: bytes = vl_convert.vegalite_to_png(lines.to_dict(), scale=1.5)
    return made
