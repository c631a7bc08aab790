"""What one wave did and how it was judged, in one report."""

from __future__ import annotations


def report_wave(pruned: dict, healed: dict, regrown: dict, verdict: dict) -> dict:
    """The reports of a wave's steps under ``prune``, ``heal``, ``regrow`` and ``verdict``.

    change: the kind of change that the wave makes, such as ``removed``.
    """
    return {
        "wave": verdict["wave"],
        "change": pruned["change"],
        "prune": pruned,
        "heal": healed,
        "regrow": regrown,
        "verdict": verdict,
    }
