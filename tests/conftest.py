"""What every test meets: one thread, and the files that take longest first."""

import os

import pytest

# Set before torch is imported: several threads in contention are many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("KEDRO_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")

pytest_plugins = ["demo_fixtures", "repo_fixtures", "tokenizer_fixtures"]

FOLDERS = ("end_to_end", "demo_project")
PROJECTS = {"workspace", "undisturbed", "demo", "undisturbed_project"}
"""Folders whose tests start whole commands, and fixtures that do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with a slow test first, then those that start commands.

    The workers then end at about the same time. A file's tests stay together.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    commands = {item.path for item in items if _starts_commands(item)}
    items.sort(key=lambda item: (item.path not in slow, item.path not in commands))


def _starts_commands(item: pytest.Item) -> bool:
    fixtures = getattr(item, "fixturenames", ())
    return item.path.parent.name in FOLDERS or not PROJECTS.isdisjoint(fixtures)
