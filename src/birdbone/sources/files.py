"""The files of a model's folder, looked at before anything is read into memory: whole, readable,
unambiguous.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from birdbone.errors import ArtifactError, SourceError

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
POINTERS = (b"version https://git-lfs.github.com/spec/", b"# xet version")
"""How a file begins that only says where the real one lies."""

log = logging.getLogger("birdbone")


@dataclass(frozen=True)
class Stored:
    """One tensor of a safetensors file. dtype: as the file names it, ``BF16``."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


def whole(path: Path) -> Path:
    """The path of a file that is not empty and no pointer of git-lfs; else raises ArtifactError
    naming it.
    """
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise ArtifactError(f"{path} is truncated or corrupted: it is empty. Download it again")
    if start.startswith(POINTERS):
        raise ArtifactError(
            f"{path} is a pointer of git-lfs, not the file itself: run `git lfs pull` there, or download it again"
        )
    return path


def json_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ArtifactError naming the file."""
    try:
        value = json.loads(whole(path).read_text(encoding="utf-8")) if path.stat().st_size else None
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is not valid JSON: {error}. Download it again") from error
    if not isinstance(value, dict):
        raise ArtifactError(f"{path} is not a JSON object{'' if value else ': it is empty'}. Download it again")
    return value


def refusal(path: Path) -> str:
    """Why a pickle is not opened, and what to do."""
    return (
        f"{path} is a pickle: opening it could run code, so birdbone never does. Convert it to "
        "safetensors "
        "(load it where you trust it and call save_pretrained)"
    )


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that hold a folder's model, each whole. Raises naming what is missing
    or there twice.
    """
    present = {p.name for p in folder.glob("*.safetensors")} - {"adapter_model.safetensors"}
    if not present:
        raise SourceError(_nothing(folder))
    indexed = _indexed(folder / INDEX) if (folder / INDEX).is_file() else set()
    if lost := sorted(indexed - present):
        raise ArtifactError(f"{folder / INDEX} names shards that are missing: {', '.join(lost)}. Download them again")
    shards = {name for name in present if name.startswith("model-")}
    named = indexed or {WEIGHTS} & present
    if not named:
        raise SourceError(
            f"model folder {folder} has {min(shards)} but no {INDEX}: download it again"
            if shards
            else f"model folder {folder} has no {WEIGHTS}, only {min(present)}: transformers' name for a model's "
            f"weights is {WEIGHTS}"
        )
    if beside := sorted((shards | ({WEIGHTS} & present)) - named):
        raise SourceError(
            f"model folder {folder} holds weights twice: {', '.join(beside[:3])} and the files of "
            f"{INDEX if indexed else WEIGHTS} ({min(named)}). Remove the ones that are not the "
            "model"
        )
    if others := sorted(present - named):
        log.warning("%s: not read: %s; the model is %s", folder, ", ".join(others), ", ".join(sorted(named)))
    return [whole(folder / name) for name in sorted(named)]


def tensors_of(files: list[Path]) -> dict[str, Stored]:
    """Every tensor of some safetensors files, from their headers. Raises ArtifactError naming a
    damaged file, or a tensor that is in two.
    """
    stored: dict[str, Stored] = {}
    for path in files:
        try:
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118 - no dict
                    if name in stored:
                        raise ArtifactError(f"tensor {name} is in {stored[name].file} and in {path}: which one counts?")
                    part = file.get_slice(name)
                    stored[name] = Stored(path, tuple(part.get_shape()), part.get_dtype())
        except (SafetensorError, OSError) as error:
            raise ArtifactError(f"{path} is truncated or corrupted ({error}). Download it again") from error
    return stored


def read(tensors: dict[str, Stored]) -> dict[str, Tensor]:
    """The tensors themselves, mapped from their files."""
    by_file: dict[Path, list[str]] = defaultdict(list)
    for name, stored in tensors.items():
        by_file[stored.file].append(name)
    tensors = {}
    for path, names in by_file.items():
        try:
            with safe_open(path, "pt") as file:
                tensors |= {name: file.get_tensor(name) for name in names}
        except (SafetensorError, OSError) as error:
            raise ArtifactError(f"{path} cannot be read ({error}). Download it again") from error
    return tensors


def _indexed(index: Path) -> set[str]:
    named = json_object(index).get("weight_map")
    if not isinstance(named, dict) or not named or not all(isinstance(n, str) for n in named.values()):
        raise ArtifactError(f"{index} has no weight_map. Download it again")
    if outside := sorted(n for n in set(named.values()) if Path(n).name != n):
        raise ArtifactError(f"{index} names a file outside its folder: {outside[0]}")
    return set(named.values())


def _nothing(folder: Path) -> str:
    if pickled := [p for p in sorted(folder.iterdir()) if p.suffix in PICKLES]:
        return refusal(pickled[0])
    return f"model folder {folder} has no *.safetensors file"
