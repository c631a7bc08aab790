"""The model to scan: the profile's seed, a folder that a stage wrote, or any source a seed may come from."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from birdbone.datasets.atomic import MANIFEST, read_manifest
from birdbone.datasets.folders import FileFolder, JSONFile, ModelFolder
from birdbone.errors import SourceError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer
from birdbone.run.config import ConfigLoader, roots
from birdbone.sources.load import load
from birdbone.sources.locate import locate
from birdbone.text.sources import documents


class Opened(NamedTuple):
    """A model ready to scan."""

    name: str
    digest: str
    checkpoint: Checkpoint
    tokenizer: object


def open_model(asked: str | None, root: Path, loader: ConfigLoader) -> Opened:
    """The profile's seed where it was loaded before, else its preset; or what was asked for by name or path.

    Raises SourceError or ArtifactError naming what was looked for.
    """
    places = {key: root / place for key, place in roots(loader).items()}
    seed = places["models"] / "seed"
    if asked is None and (seed / MANIFEST).is_file():
        return _stored(seed, _seed_name(places["data"], seed))
    if asked and (Path(asked) / MANIFEST).is_file():
        place = Path(asked).resolve()
        own = _seed_name(places["data"], seed)
        return _stored(place, own if place == seed.resolve() else f"{own}, {place.parent.name}/{place.name}")
    settings = loader.checked
    source = locate(asked or settings.model, {n: p.model_dump() for n, p in settings.models.items()})
    checkpoint, write_tokenizer = load(
        source, settings.random_seed, lambda: [d.text for d in documents(settings.text.source)]
    )
    with tempfile.TemporaryDirectory(prefix="birdbone-") as folder:
        write_tokenizer(Path(folder))
        return Opened(source["name"], checkpoint.digest, checkpoint, read_tokenizer(Path(folder)))


def _stored(folder: Path, name: str) -> Opened:
    digest = read_manifest(folder).get("digest")
    if digest is None:
        raise SourceError(f"{folder} holds no model that a stage wrote: give models/<profile>/seed or .../accepted")
    near = [parent / "tokenizer" for parent in folder.resolve().parents[:2]]
    tokenizer = next((place for place in near if (place / MANIFEST).is_file()), None)
    if tokenizer is None:
        raise SourceError(f"{folder} has no tokenizer beside it: run the seed stage, kedro run --pipelines=seed")
    return Opened(name, digest, ModelFolder(str(folder)).load(), read_tokenizer(FileFolder(str(tokenizer)).load()))


def _seed_name(data: Path, seed: Path) -> str:
    about = JSONFile(str(data / "08_reporting" / "seed_about.json"))
    return about.load()["name"] if about.exists() else seed.parent.name
