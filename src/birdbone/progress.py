"""One progress bar, with rate and remaining time, for everything that takes over a few seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def track(
    items: Iterable[T], label: str, total: int | None = None, unit: str = "it"
) -> Iterator[T]:
    """Yield ``items`` behind a bar on standard error: label, count, rate, time left.

    Redrawn at most twice a second on a terminal, every 30 s elsewhere, so that logs stay short.
    """
    total = len(items) if total is None and hasattr(items, "__len__") else total
    every = 0.5 if sys.stderr.isatty() else 30.0
    yield from tqdm(
        items,
        desc=label,
        total=total,
        unit=unit,
        mininterval=every,
        maxinterval=every,
        dynamic_ncols=True,
        file=sys.stderr,
    )
