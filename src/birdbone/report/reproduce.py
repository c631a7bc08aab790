"""The text that a model card shows under "Reproduce"."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

TOOLS = ("birdbone", "torch", "transformers", "llama_cpp_python")


def reproduction(command: str, seed_digest: str) -> str:
    """The command under comments with the versions and the seed."""
    versions = {name: _version(name) for name in TOOLS}
    tools = ", ".join(f"{name} {number}" for name, number in versions.items() if number)
    return f"# {tools}, Python {platform.python_version()}\n# seed {seed_digest}\n{command}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
