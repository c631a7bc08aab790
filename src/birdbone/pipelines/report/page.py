"""Everything measured, on one page."""

from __future__ import annotations

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.scores import Scores
from birdbone.report.assemble import assemble
from birdbone.report.card import model_card
from birdbone.report.headline import headline
from birdbone.report.page import render
from birdbone.report.summary import summary


def make_page(
    about: dict,
    seed_metrics: dict,
    control: dict,
    quantize_report: dict,
    files: dict,
    files_speed: dict,
    final: dict,
    topology: dict,
    node_scores: Scores,
    accepted: Checkpoint,
    parameters: dict,
    command: str,
    *waves: dict,
) -> tuple[str, str, str, dict]:
    """(report.html, model card, summary for the terminal, headline figures).

    waves: the report of each, in order.
    """
    data = assemble(
        about,
        seed_metrics,
        control,
        quantize_report,
        files,
        files_speed,
        final,
        topology,
        node_scores,
        accepted,
        parameters,
        command,
        waves,
    )
    return render(data), model_card(data), summary(data), headline(data)
