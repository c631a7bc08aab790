"""Model states read and written tensor by tensor, never with the whole model in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from birdbone.datasets.atomic import MANIFEST, read_manifest, write_folder
from birdbone.datasets.folders import MASKS, WEIGHTS
from birdbone.diff.bits import CODES, DTYPES, Spec, raw, spec_of, unraw
from birdbone.errors import ArtifactError, SourceError
from birdbone.model.checkpoint import Checkpoint, names_digest, tensor_digest

INDEX = "model.safetensors.index.json"


class Tensors(Mapping[str, Tensor]):
    """Tensors by name. Each is read on access and checked.

    origin: what errors call them. specs: of every tensor. load: gives one by name. digests:
    ``tensor_digest`` by name where known; the others are computed when first read.
    """

    def __init__(
        self,
        origin: str,
        specs: dict[str, Spec],
        load: Callable[[str], Tensor],
        digests: dict[str, str] | None = None,
    ) -> None:
        self.origin = origin
        self.specs = specs
        self._load = load
        self._digests = dict(digests or {})

    def verified(self, name: str) -> tuple[Tensor, str]:
        """A tensor and its digest. Raises ArtifactError where that is not the known one."""
        tensor = self._load(name)
        digest = tensor_digest(tensor)
        if spec_of(tensor) != self.specs[name] or self._digests.setdefault(name, digest) != digest:
            raise ArtifactError(
                f"{self.origin}: tensor {name} is not what its digest says (changed or damaged): "
                "make or download it again, or restore it with dvc checkout"
            )
        return tensor, digest

    def digest(self, name: str) -> str:
        """``tensor_digest`` of a tensor, read only where that is not known yet."""
        return self._digests.get(name) or self.verified(name)[1]

    def __getitem__(self, name: str) -> Tensor:
        return self.verified(name)[0]

    def __contains__(self, name: object) -> bool:
        return name in self.specs

    def __iter__(self) -> Iterator[str]:
        return iter(self.specs)

    def __len__(self) -> int:
        return len(self.specs)


@dataclass(frozen=True)
class State:
    """Configuration, weights and masks as in ``Checkpoint``, no tensor read yet."""

    config: dict
    weights: Tensors
    masks: Tensors

    @cached_property
    def digest(self) -> str:
        """The same as ``Checkpoint.digest``. Reads what has no known digest."""
        weights, masks = ({n: t.digest(n) for n in t} for t in (self.weights, self.masks))
        return state_digest(self.config, weights.items(), masks.items())


def state_digest(
    config: dict, weights: Iterable[tuple[str, str]], masks: Iterable[tuple[str, str]]
) -> str:
    """``Checkpoint.digest`` from the configuration and (name, tensor digest) pairs."""
    text = (
        json.dumps(config, sort_keys=True, default=str)
        + names_digest(weights)
        + names_digest(masks)
    )
    return hashlib.sha256(text.encode()).hexdigest()


def state_of(checkpoint: Checkpoint) -> State:
    """The state of a model in memory."""
    config = json.loads(json.dumps(checkpoint.config, default=str))
    return State(
        config,
        _in_memory("the model's weights", checkpoint.weights),
        _in_memory("the model's masks", checkpoint.masks.to_tensors()),
    )


def open_state(folder: Path) -> State:
    """The state in a folder: a Hugging Face one (with ``config.json``; no masks), or one of
    ``ModelFolder``.

    Raises SourceError when it is neither or holds pickles, ArtifactError when files are missing or
    damaged.
    """
    if (folder / "config.json").is_file():
        return _hugging_face(folder)
    if not (folder / MANIFEST).is_file():
        raise SourceError(f"{folder} holds no model: neither {MANIFEST} nor config.json is there")
    manifest = read_manifest(folder)
    try:
        config = dict(manifest["config"])
        recorded = manifest["digest"]
        weights = _recorded(folder / WEIGHTS, manifest["weights"])
        masks = _recorded(folder / MASKS, manifest["masks"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(
            f"{folder / MANIFEST} is not the manifest of a model ({error!r})"
        ) from error
    state = State(config, weights, masks)
    if state.digest != recorded:
        raise ArtifactError(
            f"{folder / MANIFEST}: the digest is not that of its tensors: run the stage that makes "
            "it"
        )
    return state


def write_state(folder: Path, state: State) -> str:
    """Write a state as ``ModelFolder`` does, at once, with one tensor in memory at a time; returns
    its digest.

    Raises ArtifactError when a tensor is not what its digest says or the disk is full; nothing is
    replaced then.
    """

    def fill(place: Path) -> dict:
        weights = _write(place / WEIGHTS, state.weights)
        masks = _write(place / MASKS, state.masks)
        pairs = ([(n, r["sha256"]) for n, r in records.items()] for records in (weights, masks))
        digest = state_digest(state.config, *pairs)
        return {"config": state.config, "weights": weights, "masks": masks, "digest": digest}

    return write_folder(folder, fill)["digest"]


def _in_memory(origin: str, tensors: dict[str, Tensor]) -> Tensors:
    return Tensors(
        origin, {n: spec_of(t) for n, t in tensors.items()}, lambda name: tensors[name].detach()
    )


class _File:
    """One safetensors file, checked when opened and mapped anew for each tensor.

    A map that stays open would keep the pages it has read in memory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.specs = {}
        codes = {code: dtype for dtype, code in CODES.items()}
        with self._mapped() as file:
            for name in file.keys():
                part = file.get_slice(name)
                code = part.get_dtype()
                if code not in codes:
                    raise ArtifactError(
                        f"{path}: tensor {name} is of type {code}, which is not supported"
                    )
                self.specs[name] = Spec(codes[code], tuple(part.get_shape()))

    def read(self, name: str) -> Tensor:
        with self._mapped() as file:
            tensor = file.get_tensor(name)
        is_mask = tensor.dtype == torch.bool and tensor.numel()
        if is_mask and int(tensor.view(torch.uint8).max()) > 1:
            raise ArtifactError(
                f"{self.path}: tensor {name} is bool and holds bytes other than 0 and 1"
            )
        return tensor

    @contextmanager
    def _mapped(self) -> Iterator[safe_open]:
        try:
            with safe_open(self.path, "pt") as file:
                yield file
        except (SafetensorError, OSError, ValueError) as error:
            raise ArtifactError(
                f"{self.path} is missing, truncated or corrupted ({error}). Get it again"
            ) from error


def _recorded(path: Path, records: dict[str, dict]) -> Tensors:
    """Tensors as ``save_tensors`` wrote them; each of its records is ``{dtype, shape, sha256}``."""
    file = _File(path)
    specs = {n: Spec(DTYPES[r["dtype"]], tuple(r["shape"])) for n, r in records.items()}
    if {n: s.stored for n, s in specs.items()} != file.specs:
        raise ArtifactError(f"{path} does not hold the tensors of its manifest: make it again")

    def read(name: str) -> Tensor:
        tensor = file.read(name)
        return unraw(tensor.numpy(), specs[name]) if specs[name].dtype == torch.bool else tensor

    return Tensors(str(path), specs, read, {n: str(r["sha256"]) for n, r in records.items()})


def _hugging_face(folder: Path) -> State:
    config = _json_object(folder / "config.json")
    if (folder / WEIGHTS).is_file():
        files = dict.fromkeys((file := _File(folder / WEIGHTS)).specs, file)
    elif (folder / INDEX).is_file():
        files = _shards(folder)
    else:
        from birdbone.sources.files import PICKLES, refusal

        pickled = [p for p in sorted(folder.iterdir()) if p.suffix in PICKLES]
        raise SourceError(
            refusal(pickled[0]) if pickled else f"{folder} holds neither {WEIGHTS} nor {INDEX}"
        )
    specs = {n: f.specs[n] for n, f in files.items()}
    return State(
        config, Tensors(str(folder), specs, lambda n: files[n].read(n)), _in_memory("no masks", {})
    )


def _shards(folder: Path) -> dict[str, _File]:
    """The file of each tensor, by the index."""
    index = _json_object(folder / INDEX).get("weight_map")
    names = index.values() if isinstance(index, dict) else ()
    if not names or not all(isinstance(f, str) and Path(f).name == f for f in names):
        raise ArtifactError(
            f"{folder / INDEX} does not map tensors to files of this folder. Download it again"
        )
    files = {name: _File(folder / name) for name in sorted(set(names))}
    pairs = {(tensor, name) for name, file in files.items() for tensor in file.specs}
    if pairs != set(index.items()):
        odd = min(pairs ^ set(index.items()))
        raise ArtifactError(
            f"{folder / INDEX} and {odd[1]} do not agree on tensor {odd[0]}. Download them again"
        )
    return {tensor: files[name] for tensor, name in index.items()}


def _json_object(path: Path) -> dict:
    try:
        content = json.loads(path.read_text())
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError, OSError) as error:
        raise ArtifactError(f"{path} is not valid JSON: {error}. Download it again") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{path} is not a JSON object. Download it again")
    return content


def _write(path: Path, tensors: Tensors) -> dict[str, dict]:
    """Stream one safetensors file, widest types first for alignment; returns its records."""
    stored = {n: s.stored for n, s in tensors.specs.items()}
    order = sorted(stored, key=lambda n: (-stored[n].dtype.itemsize, n))
    header = {}
    records = {}
    end = 0
    for name in order:
        begin = end
        end += stored[name].nbytes
        header[name] = {
            "dtype": CODES[stored[name].dtype],
            "shape": stored[name].shape,
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("xb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            tensor, digest = tensors.verified(name)
            spec = tensors.specs[name]
            file.write(memoryview(raw(tensor)))
            records[name] = {"dtype": spec.word, "shape": list(spec.shape), "sha256": digest}
    return records
