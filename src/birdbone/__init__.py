"""birdbone: makes language models small, one reviewable wave at a time.

For scripts: ``birdbone.load``, ``Scanner``, ``Pruner``, ``save``; see ``birdbone.api``. They are
imported when first used, because every command imports this file.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["Pruner", "Scanner", "build", "from_transformers", "load", "save"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'birdbone' has no attribute {name!r}")
    return getattr(import_module("birdbone.api"), name)
