"""llama.cpp's files with its importance matrix: llama-cpp-python's whole-file quantizer takes none.

Each block matrix of a finished file is rounded again by ggml's own quantizer with the importance of
its columns, the mean squared inputs, which is what llama-imatrix collects; types and everything
else stay.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType
from torch import Tensor

from birdbone.algo import ggml
from birdbone.gguf.header import read_gguf_header
from birdbone.gguf.plan import joined
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.observing.moments import Moments, moments


def importance_matrix(checkpoint: Checkpoint, windows: Tensor, device: str) -> Moments:
    """GGUF name of each block matrix -> mean squared input of each of its columns [I]."""
    names = {part: name for name, parts in joined(checkpoint).items() for part in parts}
    found = {}
    for _, fit, check in moments(checkpoint, windows, {}, device):
        for module, moment in fit.items():
            found[names[f"{module}.weight"]] = (moment + check[module]).diagonal() / windows.numel()
    return found


def requantize(path: Path, source: Path, importance: Moments) -> None:
    """Round the matrices of ``path`` once more from the f16 file ``source``, in place, by ggml."""
    written, from_f16 = read_gguf_header(path).tensors, read_gguf_header(source).tensors
    into, values = np.memmap(path, np.uint8, "r+"), np.memmap(source, np.uint8, "r")
    for name, columns in importance.items():
        target, origin = written[name], from_f16[name]
        raw = (
            values[origin.offset : origin.offset + origin.nbytes]
            .view(np.float16)
            .reshape(origin.shape)
        )
        weight = torch.from_numpy(raw.astype(np.float32))
        kind = GGMLQuantizationType[target.type].value
        packed = ggml.quantized(weight, kind, target.nbytes // len(weight), columns)
        into[target.offset : target.offset + target.nbytes] = packed.numpy().reshape(-1)
    into.flush()
