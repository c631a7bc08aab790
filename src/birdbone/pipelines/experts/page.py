"""The experts on a page."""

from __future__ import annotations


def make_experts_page(experts_report: dict, ablation: dict) -> str:
    """The interactive page of report and ablation."""
    from birdbone.report.experts_page import experts_page

    return experts_page(experts_report, ablation)
