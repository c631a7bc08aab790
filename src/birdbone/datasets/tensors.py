"""Safetensors with a digest per tensor: written whole, verified on load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from birdbone.errors import ArtifactError
from birdbone.model.checkpoint import tensor_digest


def save_tensors(tensors: dict[str, Tensor], path: Path) -> dict[str, dict]:
    """Write tensors (bool ones packed eight to a byte) and return ``{name: {dtype, shape,
    sha256}}``.
    """
    plain = {n: t.detach().cpu().contiguous() for n, t in tensors.items()}
    save_file({n: _packed(t) for n, t in plain.items()}, path)
    return {
        n: {"dtype": str(t.dtype).removeprefix("torch."), "shape": list(t.shape), "sha256": tensor_digest(t)}
        for n, t in plain.items()
    }


def load_tensors(path: Path, records: dict[str, dict]) -> dict[str, Tensor]:
    """Read and verify what ``save_tensors`` wrote. Raises ArtifactError naming file and tensor."""
    try:
        stored = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(f"{path} is truncated or corrupted ({error}): delete its folder and run again") from error
    if set(stored) != set(records):
        raise ArtifactError(f"{path} does not hold the tensors of its manifest: delete its folder and run again")
    tensors = {}
    for name, record in records.items():
        tensor = _unpacked(path, stored[name], record["shape"]) if record["dtype"] == "bool" else stored[name]
        if tensor_digest(tensor) != record["sha256"]:
            raise ArtifactError(
                f"{path}: tensor {name} does not match its manifest (changed or damaged): "
                "delete its folder and run again, or restore it with dvc checkout"
            )
        tensors[name] = tensor
    return tensors


def _packed(tensor: Tensor) -> Tensor:
    if tensor.dtype != torch.bool:
        return tensor
    return torch.from_numpy(np.packbits(tensor.reshape(-1).numpy()))


def _unpacked(path: Path, packed: Tensor, shape: list[int]) -> Tensor:
    count = int(np.prod(shape)) if shape else 1
    if packed.numel() * 8 < count:
        raise ArtifactError(f"{path}: a packed mask of {packed.numel()} bytes cannot hold {count} bits")
    bits = np.unpackbits(packed.numpy(), count=count)
    return torch.from_numpy(bits.astype(bool)).reshape(shape)
