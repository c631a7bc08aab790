"""Kedro datasets of the project: model, tensors, files, JSON, text. All atomic, all verified.

Each has ``digest()``: re-hashes what is on disk and returns the content's digest, or None when
it is absent or damaged. The resume ledger and DVC-independent verification rest on it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from torch import Tensor

from birdbone.datasets.atomic import (
    file_digest,
    json_digest,
    link_tree,
    read_manifest,
    verify_folder,
    write_file,
    write_folder,
)
from birdbone.datasets.tensors import load_tensors, save_tensors
from birdbone.errors import ArtifactError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.masks import Masks

WEIGHTS, MASKS = "model.safetensors", "masks.safetensors"


class Stored(AbstractDataset):
    """What all share: a path, existence by a valid manifest, a digest that re-hashes."""

    def __init__(self, filepath: str, metadata: dict | None = None) -> None:
        self.filepath = Path(filepath)
        self.metadata = metadata

    def _describe(self) -> dict:
        return {"filepath": str(self.filepath)}

    def _exists(self) -> bool:
        try:
            read_manifest(self.filepath)
        except ArtifactError:
            return False
        return True

    def digest(self) -> str | None:
        """Content digest after re-hashing every byte, or None when absent or damaged."""
        try:
            return verify_folder(self.filepath)["sha256"]
        except ArtifactError:
            return None


class FileFolder(Stored):
    """Any files. Saves a function ``write(folder)``, which may return entries for the manifest;
    loads the path of the verified folder.
    """

    def save(self, write: Callable[[Path], object]) -> None:
        def fill(folder: Path) -> dict | None:
            extra = write(folder)
            return extra if isinstance(extra, dict) else None

        write_folder(self.filepath, fill)

    def load(self) -> Path:
        verify_folder(self.filepath)
        return self.filepath


class TensorFolder(Stored):
    """Tensors with a JSON-able description: saves and loads ``(tensors, meta)``."""

    def save(self, content: tuple[dict[str, Tensor], dict]) -> None:
        tensors, meta = content

        def fill(folder: Path) -> dict:
            return {"tensors": save_tensors(tensors, folder / "tensors.safetensors"), "meta": meta}

        write_folder(self.filepath, fill)

    def load(self) -> tuple[dict[str, Tensor], dict]:
        manifest = verify_folder(self.filepath)
        return load_tensors(self.filepath / "tensors.safetensors", manifest["tensors"]), manifest[
            "meta"
        ]


class ObjectFolder(TensorFolder):
    """A frozen object made of tensors, such as Scores: saves and loads that object.

    holds: the dotted name of its class, which has ``to_tensors() -> (tensors, meta)`` and the class
    method ``from_tensors(tensors, meta)``.
    """

    def __init__(self, filepath: str, holds: str, metadata: dict | None = None) -> None:
        super().__init__(filepath, metadata)
        self._holds = holds

    def save(self, content: Any) -> None:
        super().save(content.to_tensors())

    def load(self) -> Any:
        module, _, name = self._holds.rpartition(".")
        return getattr(import_module(module), name).from_tensors(*super().load())


class ModelFolder(Stored):
    """A Checkpoint: ``model.safetensors``, ``masks.safetensors``, ``manifest.json``.

    A checkpoint that was loaded and not changed is handed on by hard links.
    """

    def save(self, checkpoint: Checkpoint) -> None:
        def fill(folder: Path) -> dict:
            if checkpoint.source:
                link_tree(checkpoint.source, folder)
                manifest = read_manifest(checkpoint.source)
                return {k: manifest[k] for k in ("config", "weights", "masks", "digest", "files")}
            return {
                "config": checkpoint.config,
                "weights": save_tensors(checkpoint.weights, folder / WEIGHTS),
                "masks": save_tensors(checkpoint.masks.to_tensors(), folder / MASKS),
                "digest": checkpoint.digest,
            }

        write_folder(self.filepath, fill)

    def load(self) -> Checkpoint:
        manifest = read_manifest(self.filepath)
        return Checkpoint(
            manifest["config"],
            load_tensors(self.filepath / WEIGHTS, manifest["weights"]),
            Masks.from_tensors(load_tensors(self.filepath / MASKS, manifest["masks"])),
            source=self.filepath,
        )


class JSONFile(Stored):
    """A JSON object that carries the SHA-256 of its own content under ``sha256``."""

    def save(self, value: dict) -> None:
        body = {k: v for k, v in value.items() if k != "sha256"}
        text = json.dumps({"sha256": json_digest(body), **body}, indent=1, ensure_ascii=False)
        write_file(self.filepath, text + "\n")

    def load(self) -> dict:
        return self._verified()

    def _verified(self) -> dict:
        try:
            value = json.loads(self.filepath.read_text())
            body = {k: v for k, v in value.items() if k != "sha256"}
            good = value["sha256"] == json_digest(body)
        except FileNotFoundError as error:
            raise ArtifactError(
                f"{self.filepath} is missing: run the stage that makes it"
            ) from error
        except (ValueError, KeyError, AttributeError) as error:
            raise ArtifactError(f"{self.filepath} is corrupted: delete it and run again") from error
        if not good:
            raise ArtifactError(
                f"{self.filepath} was changed since it was written: delete it and run again"
            )
        return body

    def _exists(self) -> bool:
        return self.digest() is not None

    def digest(self) -> str | None:
        try:
            return json_digest(self._verified())
        except ArtifactError:
            return None


class TextFile(Stored):
    """A text for people or other tools (CSV, HTML, Markdown, GraphML): nothing here depends on
    it.
    """

    def save(self, text: str) -> None:
        write_file(self.filepath, text)

    def load(self) -> str:
        return self.filepath.read_text()

    def _exists(self) -> bool:
        return self.filepath.is_file()

    def digest(self) -> str | None:
        return file_digest(self.filepath) if self.filepath.is_file() else None
