"""The model to scan: the profile's seed, a folder that a stage wrote, or any source of a seed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from birdbone.datasets.atomic import MANIFEST, read_manifest
from birdbone.datasets.folders import FileFolder, JSONFile, ModelFolder
from birdbone.errors import SourceError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer
from birdbone.run.catalog import CatalogFiles
from birdbone.run.config import ConfigLoader
from birdbone.sources.load import load
from birdbone.sources.locate import locate
from birdbone.text.sources import documents


class Opened(NamedTuple):
    """A model ready to scan."""

    name: str
    digest: str
    checkpoint: Checkpoint
    tokenizer: object


def open_model(model: str | None, root: Path, loader: ConfigLoader) -> Opened:
    """The model of this name or path; for None the profile's seed, else its preset.

    Raises SourceError or ArtifactError naming what is missing.
    """
    files = CatalogFiles(loader)
    seed = root / files.path("seed_model")
    about = root / files.path("seed_about")
    if model is None and (seed / MANIFEST).is_file():
        return _stored(seed, _seed_name(about, seed))
    if model and (Path(model) / MANIFEST).is_file():
        place = Path(model).resolve()
        name = _seed_name(about, seed)
        if place != seed.resolve():
            name = f"{name}, {place.parent.name}/{place.name}"
        return _stored(place, name)
    settings = loader.checked
    presets = {name: preset.model_dump() for name, preset in settings.models.items()}
    source = locate(model or settings.model, presets)
    checkpoint, write_tokenizer = load(
        source, settings.random_seed, lambda: [d.text for d in documents(settings.text.source)]
    )
    with tempfile.TemporaryDirectory(prefix="birdbone-") as folder:
        write_tokenizer(Path(folder))
        return Opened(source["name"], checkpoint.digest, checkpoint, read_tokenizer(Path(folder)))


def _stored(folder: Path, name: str) -> Opened:
    digest = read_manifest(folder).get("digest")
    if digest is None:
        raise SourceError(
            f"{folder} holds no model that a stage wrote: give models/<profile>/seed or "
            ".../accepted"
        )
    near = [parent / "tokenizer" for parent in folder.resolve().parents[:2]]
    tokenizer = next((place for place in near if (place / MANIFEST).is_file()), None)
    if tokenizer is None:
        raise SourceError(
            f"{folder} has no tokenizer beside it: run the seed stage, kedro run --pipelines=seed"
        )
    return Opened(
        name,
        digest,
        ModelFolder(str(folder)).load(),
        read_tokenizer(FileFolder(str(tokenizer)).load()),
    )


def _seed_name(about: Path, seed: Path) -> str:
    origin = JSONFile(str(about))
    return origin.load()["name"] if origin.exists() else seed.parent.name
