"""How much of the machine other processes take: what a timing on a shared machine is worth."""

from __future__ import annotations

import os
from pathlib import Path

STAT = Path("/proc/stat")


class Load:
    """Measures the load of other processes from the moment it is made."""

    def __init__(self) -> None:
        self._machine = machine_ticks()
        self._own = own_seconds()

    def others(self) -> float | None:
        """Share of the machine's processor time that other processes took since then.

        Guests of the same host count where the kernel reports them as stolen time. None where the
        system does not say, or before the first tick has passed.
        """
        machine = machine_ticks()
        if machine is None or self._machine is None:
            return None
        busy, total = (now - then for now, then in zip(machine, self._machine, strict=True))
        own = (own_seconds() - self._own) * os.sysconf("SC_CLK_TCK")
        return others_share(busy, total, own)


def others_share(busy: float, total: float, own: float) -> float | None:
    """Share of ``total`` that was ``busy`` with anything but one's ``own`` work, all in ticks."""
    return min(1.0, max(0.0, (busy - own) / total)) if total > 0 else None


def machine_ticks() -> tuple[int, int] | None:
    """(busy, all) ticks of all processors since the start of the system; None where it does not say
    (not Linux).
    """
    try:
        first = STAT.read_text().splitlines()[0]
    except OSError:
        return None
    user, nice, system, idle, waiting, *rest = map(int, first.split()[1:9])
    busy = user + nice + system + sum(rest)
    return busy, busy + idle + waiting


def own_seconds() -> float:
    """Processor seconds of this process and its finished children."""
    return sum(os.times()[:4])
