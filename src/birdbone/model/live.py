"""The healing curve as it grows: dvclive while it runs, CSV when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path(".birdbone/live")
COLUMNS = ("step", "loss", "kl", "ce", "states", "lr")


@contextmanager
def live_log(name: str) -> Iterator[Callable[[dict], None]]:
    """A function that logs one step's figures under ``.birdbone/live/<name>`` (outside every digest)."""
    from dvclive import Live
    from scmrepo.exceptions import SCMError

    try:
        live = Live(dir=str(FOLDER / name), save_dvc_exp=False, dvcyaml=None, monitor_system=False)
    except SCMError:  # a git repository without a commit: the curve still goes to its CSV
        yield lambda row: None
        return
    with live:

        def log(row: dict) -> None:
            live.step = row["step"]
            for key in COLUMNS[1:]:
                live.log_metric(key, row[key])
            live.make_summary()

        yield log


def curve_csv(curve: list[dict]) -> str:
    """One line per step; the header alone where nothing was healed."""
    return "\n".join([",".join(COLUMNS), *(",".join(str(row[c]) for c in COLUMNS) for row in curve)]) + "\n"
