"""The comparison on a page."""

from __future__ import annotations

from birdbone.mixture.page import rendered_page, table


def make_mixture_page(report: dict, speed: dict, about: dict, command: str) -> tuple[str, str]:
    """(page with charts, table for the terminal)."""
    return rendered_page(report, speed, about, command), table(report, speed, about, command)
