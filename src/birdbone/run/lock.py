"""One run at a time per profile."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TextIO

from birdbone.errors import RunLockedError


def take_lock(state: Path) -> TextIO:
    """Lock a profile for this process until the returned file is closed or the process ends.

    Raises RunLockedError naming the pid of the run that holds it, or the folder that cannot be
    written.
    """
    try:
        state.mkdir(parents=True, exist_ok=True)
        file = (state / "lock").open("a+")
    except OSError as error:
        raise RunLockedError(f"{state} cannot be written ({error.strerror}): a run keeps its books there") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        pid = file.read().strip() or "unknown"
        file.close()
        raise RunLockedError(
            f"another run is going on (pid {pid}): wait for it, or end it with `kill {pid}`; "
            "the next run keeps what it finished"
        ) from error
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file
