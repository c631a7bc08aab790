"""Everything measured, on one page."""

from __future__ import annotations

from birdbone.pipelines.report.assemble import Looked, Shipped, assemble
from birdbone.report.card import model_card
from birdbone.report.headline import headline
from birdbone.report.page import render
from birdbone.report.summary import summary


def make_page(
    looked: Looked, shipped: Shipped, parameters: dict, command: str, *waves: dict
) -> tuple[str, str, str, dict]:
    """(report.html, model card, summary for the terminal, headline figures).

    waves: the report of each, in order.
    """
    data = assemble(looked, shipped, parameters, command, waves)
    return render(data), model_card(data), summary(data), headline(data)
