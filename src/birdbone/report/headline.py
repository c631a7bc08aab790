"""The few figures that two runs are compared by: what ``dvc metrics diff`` shows."""

from __future__ import annotations

from birdbone.report.data import ReportData, judged, value


def headline(data: ReportData) -> dict:
    """Size (bytes), quality and speed (tokens/s) of the export, and each wave's judged change.

    Without lists and intervals.
    """
    ours = data.file("ours") or {}
    figures = {
        "accepted": int(data.verdict == "accepted"),
        "removed": data.reached,
        "bytes": ours.get("bytes"),
        "bits_per_weight": ours.get("bits_per_weight"),
        "tokens_per_second": ours.get("tokens_per_second"),
        "worst_change": data.worst and value(judged(data.worst)),
        "kl": _figure(data.kl),
        "top1": _figure(data.top1),
        "canaries": _share_right(data),
        "perplexity": {row["domain"]: row["after"] for row in data.domains},
        "waves": {str(row["wave"]): value(row["delta"]) for row in data.waves if row.get("delta") is not None},
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def _figure(measure) -> float | None:
    return None if measure is None else value(measure)


def _share_right(data: ReportData) -> float | None:
    items = sum(row["items"] for row in data.canaries)
    return sum(row["after"] * row["items"] for row in data.canaries) / items if items else None
