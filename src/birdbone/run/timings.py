"""How long each node took when it last ran, and how busy the machine was meanwhile."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from birdbone.datasets.atomic import write_file

FILE = "timings.json"


@dataclass(frozen=True)
class Timing:
    """seconds: loading and saving included. others: share of the machine's processor time that
    other processes took meanwhile, None where unknown. ended: the day, as ISO says it. resumed:
    whether an earlier, killed attempt had done a part of it.
    """

    seconds: float
    others: float | None
    ended: str
    resumed: bool = False

    @property
    def alone(self) -> float:
        """Seconds on an idle machine: as if the node could have used what the others took."""
        return self.seconds * (1 - (self.others or 0))


def read_timings(state: Path) -> dict[str, Timing]:
    """Node name -> its last timing, from the state folder of a profile.

    A row of another form (an earlier birdbone wrote seconds alone) counts as no timing.
    """
    path = state / FILE
    rows = json.loads(path.read_text()) if path.is_file() else {}
    return {name: Timing(**row) for name, row in rows.items() if isinstance(row, dict)}


def add_timing(state: Path, node: str, seconds: float, others: float | None, resumed: bool) -> None:
    """Note that ``node`` ended just now."""
    share = None if others is None else round(others, 3)
    timings = read_timings(state) | {
        node: Timing(round(seconds, 2), share, str(date.today()), resumed)
    }
    write_file(
        state / FILE,
        json.dumps({name: asdict(row) for name, row in timings.items()}, indent=1) + "\n",
    )
