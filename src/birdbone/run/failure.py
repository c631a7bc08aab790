"""How an error reaches the user: one clear message and exit code 1 instead of a traceback."""

from __future__ import annotations

import sys
from types import TracebackType

from birdbone.errors import BirdboneError


def message(error: BaseException | None) -> str | None:
    """The message of the first BirdboneError in the chain of causes; None when there is none.

    Kedro wraps what a dataset raises in its own DatasetError, so the cause is what to show.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, BirdboneError):
            return str(error)
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def show_plainly() -> None:
    """Make an uncaught BirdboneError end the process with its message alone, in every command."""
    if getattr(sys.excepthook, "shows_plainly", False):
        return
    otherwise = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        text = message(error)
        if text is None:
            otherwise(kind, error, trace)
        else:
            print(f"birdbone: {text}", file=sys.stderr)

    hook.shows_plainly = True
    sys.excepthook = hook
