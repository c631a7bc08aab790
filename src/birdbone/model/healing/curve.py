"""The healing curve as it grows: dvclive while it runs, CSV when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

COLUMNS = ("step", "loss", "kl", "ce", "states", "lr", "check")


@contextmanager
def live_log(folder: Path) -> Iterator[Callable[[dict], None]]:
    """A function that logs one step's figures in a folder, which dvclive keeps (outside every
    digest).
    """
    from dvclive import Live
    from scmrepo.exceptions import SCMError

    try:
        live = Live(dir=str(folder), save_dvc_exp=False, dvcyaml=None, monitor_system=False)
    except SCMError:  # a git repository without a commit: the curve still goes to its CSV
        yield lambda row: None
        return
    with live:

        def log(row: dict) -> None:
            live.step = row["step"]
            for key in row.keys() - {"step"}:
                live.log_metric(key, row[key])
            live.make_summary()

        yield log


def curve_csv(curve: list[dict]) -> str:
    """One line per step, ``check`` empty where it was not measured; the header alone where nothing
    was healed.
    """
    lines = [",".join(str(row.get(column, "")) for column in COLUMNS) for row in curve]
    return "\n".join([",".join(COLUMNS), *lines]) + "\n"
