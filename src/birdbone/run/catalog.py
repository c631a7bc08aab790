"""Where the catalog keeps each dataset, asked without building any."""

from __future__ import annotations

from pathlib import Path

from kedro.config import OmegaConfigLoader
from kedro.io import CatalogConfigResolver

from birdbone.errors import ConfigError
from birdbone.run.config import base_loader

KINDS = ("out", "git", "metric", "plot", "none")
UNKNOWN = {"{default}": {"type": "unknown"}}


class CatalogFiles:
    """Where each dataset lies and what it is to DVC, factory patterns resolved."""

    def __init__(self, loader: OmegaConfigLoader) -> None:
        self._resolver = CatalogConfigResolver(loader["catalog"], default_runtime_patterns=UNKNOWN)

    def path(self, name: str) -> str:
        """The dataset's file or folder, relative to the project."""
        entry = self._entry(name)
        path = entry.get("filepath") or entry.get("path")
        if not path:
            raise ConfigError(f"catalog entry {name} has no filepath: every hand-over needs one")
        return str(path)

    def kind(self, name: str) -> str:
        """One of ``KINDS``."""
        kind = self.notes(name).get("dvc", "out")
        if kind not in KINDS:
            raise ConfigError(
                f"catalog entry {name}: metadata.birdbone.dvc must be one of {', '.join(KINDS)} (got {kind!r})"
            )
        return kind

    def notes(self, name: str) -> dict:
        """The entry's ``metadata.birdbone``."""
        return (self._entry(name).get("metadata") or {}).get("birdbone") or {}

    def _entry(self, name: str) -> dict:
        entry = self._resolver.config.get(name) or self._resolver.resolve_pattern(name)
        if entry["type"] == "unknown":
            raise ConfigError(f"dataset {name} is not in the catalog: every hand-over needs an entry")
        return entry


def base_files(root: Path) -> CatalogFiles:
    """The catalog of the base profile, which DVC and git follow, for the project in ``root``."""
    return CatalogFiles(base_loader(root))
