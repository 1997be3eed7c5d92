"""One HTML page from panels: templates with autoescape on, scripts inlined and named in the policy by their hash."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import altair
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bantamweight.reports import _blocks, _words
from bantamweight.reports._blocks import Block, Chart, Fragment, Group, Panel

__all__ = ["page", "policy_of", "text_of"]


def page(title: str, panels: Sequence[tuple[str, Panel]], facts: Mapping[str, Any], **values: Any) -> str:
    """The page as one string. `panels` come with the names of their files, which become anchors; `facts` is the
    fact table as plain JSON. Scripts are inlined once, and only those run: the policy names their hashes."""
    charts = [chart for _, panel in panels for chart in _charts(panel.blocks)]
    numbers = {id(chart): index for index, chart in enumerate(charts)}
    scripts = [_bundle(), text_of("page.js")] if charts else [text_of("page.js")]
    environment = _environment()
    environment.globals["chart_number"] = lambda chart: numbers[id(chart)]
    environment.globals["render"] = _render(environment)
    return environment.get_template("page.html").render(
        title=title,
        panels=panels,
        facts=facts,
        specs=[{"title": chart.title, "spec": chart.spec} for chart in charts],
        style=Markup(text_of("style.css")),
        scripts=[Markup(script) for script in scripts],
        policy=policy_of(scripts),
        **values,
    )


def _charts(blocks: Sequence[Block]) -> Iterator[Chart]:
    for block in blocks:
        if isinstance(block, Chart):
            yield block
        elif isinstance(block, Group):
            yield from _charts(block.blocks)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bantamweight.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _words.percent, "whole": _words.whole, "number": _words.number}
    environment.filters |= {"numeric": _numeric, "heads": _heads, "bound": _bound, "breakable": _breakable}
    environment.tests["table"] = lambda block: isinstance(block, _blocks.Table)
    environment.tests["chart"] = lambda block: isinstance(block, Chart)
    environment.tests["prose"] = lambda block: isinstance(block, _blocks.Prose)
    environment.tests["group"] = lambda block: isinstance(block, Group)
    environment.tests["cell"] = lambda cell: isinstance(cell, _blocks.Cell)
    return environment


def _render(environment: Environment) -> Any:
    def render(fragment: Fragment) -> Markup:
        return Markup(environment.from_string(fragment.source).render(**fragment.values))

    return render


def _numeric(text: str) -> bool:
    """Whether a cell reads as a number, so that it is set to the right."""
    return text[:1].isdigit() or text[:1] in ("+", "-", "[", _words.NONE) or text == "unknown"


def _heads(table: _blocks.Table) -> list[tuple[str, bool]]:
    """Each heading, and whether it stands over numbers."""
    first = [cell.text if isinstance(cell, _blocks.Cell) else cell for cell in table.rows[0]] if table.rows else []
    return [(name, 0 < at < len(first) and _numeric(first[at])) for at, name in enumerate(table.head)]


def _bound(text: str) -> str:
    """The text with its `n = 450` never broken over two lines."""
    return text.replace("n = ", "n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")


def _breakable(text: str) -> Markup:
    """The text, escaped, which may break after a slash: names of variants are long."""
    return Markup("/<wbr>").join(text.split("/"))


def policy_of(scripts: Sequence[str]) -> str:
    """No network, no plug-ins, no frames; pictures from the page itself; exactly these scripts."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    rules = ("default-src 'none'", "img-src data:", "style-src 'unsafe-inline'", f"script-src {allowed}")
    return "; ".join((*rules, "base-uri 'none'", "form-action 'none'"))


def text_of(name: str) -> str:
    """A template's file as it is."""
    return files("bantamweight.reports").joinpath("templates", name).read_text(encoding="utf-8").replace("\r", "")


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed of the version that Altair writes for, as one script."""
    wanted = ".".join(altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    known = vl_convert.get_vegalite_versions()
    text: str = vl_convert.javascript_bundle(
        "window.vegaEmbed=vegaEmbed;", vl_version=wanted if wanted in known else known[-1]
    )
    if "</script" in text.lower() or "<!--" in text:
        raise RuntimeError("the chart library can't be written into a page as it is")
    return text.replace("\r", "")
