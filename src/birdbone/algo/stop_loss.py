"""The guard's verdict: accepted, provisional on a first strike, reverted on a second."""

from __future__ import annotations

from typing import TypedDict


class Standing(TypedDict):
    """What one wave hands to the next."""

    wave: int
    status: str
    strikes: int
    halvings: int
    stopped: bool


START: Standing = {"wave": 0, "status": "accepted", "strikes": 0, "halvings": 0, "stopped": False}


def standing_after(before: Standing, passed: bool) -> Standing:
    """The standing after a wave that kept within the guard's limits, or did not.

    A first strike leaves the state provisional: the next wave only heals
    or regrows, and later prune steps are halved. A second strike in a row reverts to the last
    accepted state and stops. A stopped loop stays stopped.
    """
    wave = before["wave"] + 1
    if before["stopped"]:
        return {**before, "wave": wave, "status": "stopped"}
    if passed:
        return {
            "wave": wave,
            "status": "accepted",
            "strikes": 0,
            "halvings": before["halvings"],
            "stopped": False,
        }
    if before["strikes"] == 0:
        return {
            "wave": wave,
            "status": "provisional",
            "strikes": 1,
            "halvings": before["halvings"] + 1,
            "stopped": False,
        }
    return {
        "wave": wave,
        "status": "reverted",
        "strikes": 2,
        "halvings": before["halvings"],
        "stopped": True,
    }


def may_prune(before: Standing) -> bool:
    """Whether the coming wave may remove anything: not after a strike, not once stopped."""
    return before["status"] == "accepted" and not before["stopped"]


def why_not(before: Standing) -> str:
    """Why the coming wave does not prune, for people; empty where it may."""
    if before["stopped"]:
        return "stopped: the last accepted model is handed through"
    return "first strike: this wave only heals or regrows" if before["strikes"] else ""
