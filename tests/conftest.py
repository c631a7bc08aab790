"""What every test meets: one thread, and the files that take longest first."""

import os
from pathlib import Path

# Set before torch is imported: several threads in contention are many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("KEDRO_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")

pytest_plugins = ["demo_fixtures", "repo_fixtures", "tokenizer_fixtures"]

COMMANDS = ("end_to_end", "demo_project")
"""Rooms whose tests start whole commands."""


def pytest_collection_modifyitems(items: list) -> None:
    """Files with a slow test first, then those that start commands: so the workers end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def turn(path: Path) -> int:
        return 0 if path in slow else 1 if path.parent.name in COMMANDS else 2

    items.sort(key=lambda item: turn(item.path))
