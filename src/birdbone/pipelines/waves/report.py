"""What one wave did and how it was judged, in one report."""

from __future__ import annotations


def report_wave(pruned: dict, healed: dict, regrown: dict, trace: dict, verdict: dict) -> dict:
    """The reports of a wave's steps: ``prune``, ``heal``, ``regrow``, ``trace``, ``verdict``.

    change: the kind of change that the wave makes, such as ``removed``.
    """
    return {
        "wave": verdict["wave"],
        "change": pruned["change"],
        "prune": pruned,
        "heal": healed,
        "regrow": regrown,
        "trace": trace["steps"],
        "verdict": verdict,
    }
