"""Everything measured, on one page."""

from __future__ import annotations

import json

from birdbone.model.scores import Scores
from birdbone.report.assemble import assemble
from birdbone.report.card import model_card
from birdbone.report.headline import headline
from birdbone.report.page import render


def make_page(node_scores: Scores, **measured) -> tuple[str, str, str, str]:
    """(report.html, model card, summary for the terminal, headline figures as JSON); measured: see ``assemble``."""
    from birdbone.report.summary import summary

    data = assemble(scores=node_scores, **measured)
    return render(data), model_card(data), summary(data), json.dumps(headline(data), indent=1) + "\n"
