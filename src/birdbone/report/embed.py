"""Pages that open with no network: one template environment, Plotly's script packed into each."""

from __future__ import annotations

import base64
import gzip
from functools import cache
from importlib.resources import files
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from birdbone.report import numbers

CHART_CHOICES = {"displayModeBar": False, "responsive": True}
FIGURES = ("size", "amount", "exact", "plain", "points", "nats", "share", "change", "duration")


def environment() -> Environment:
    """Templates by ``<package>/<file>`` with filters for figures; inserted values are escaped."""
    templates = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    templates.filters |= {name: getattr(numbers, name) for name in FIGURES}
    return templates


def rendered(template: str, plots: dict[str, go.Figure], **values: Any) -> str:
    """A page with Plotly charts from a template such as ``birdbone.report/template.html``.

    Equal values give equal text. The template finds each chart under ``plots`` and includes
    ``charts.html`` once, at its end. Plotly's script is embedded packed (gzip in base64), which
    keeps the page near 2 MB.
    """
    page = environment().get_template(template)
    return page.render(
        plots={name: _embedded(name, figure) for name, figure in plots.items()},
        config=CHART_CHOICES,
        plotly=Markup(_packed_plotly()),
        **values,
    )


def _template(name: str) -> str:
    package, _, file = name.rpartition("/")
    return files(package or "birdbone.report").joinpath(file).read_text(encoding="utf-8")


def _embedded(name: str, figure: go.Figure) -> Markup:
    """A chart's place and its data; ``<`` is escaped so that no text can close the script."""
    figure_json = figure.to_json().replace("<", "\\u003c")
    return Markup(
        f'<div class="plot" id="plot-{name}" style="min-height:{figure.layout.height:.0f}px"></div>'
        f'<script type="application/json" data-plot="plot-{name}">{figure_json}</script>'
    )


@cache
def _packed_plotly() -> str:
    packed = gzip.compress(get_plotlyjs().encode(), compresslevel=9, mtime=0)
    return base64.b64encode(packed).decode()
