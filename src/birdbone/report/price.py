"""What a model that was made for one job lost elsewhere."""

from __future__ import annotations

from birdbone.report import numbers
from birdbone.report.data import ReportData, value


def price(data: ReportData) -> str:
    """A sentence; empty for a general model."""
    if not data.elsewhere:
        return ""
    changes = ((row["domain"], numbers.change(value(row["change"]))) for row in data.elsewhere)
    lost = ", ".join(f"{domain} {change}" for domain, change in changes)
    return f"Made for {data.job or 'one job'}. Perplexity elsewhere: {lost}."
