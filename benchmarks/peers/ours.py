"""Our masks on a model folder, in a process of its own: FOLDER WINDOWS OUT METHOD STRUCTURE, as the peer's script.

Uniform budgets and every token counted alike, so that both do the same. Prints the seconds that the masking took.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import resolve_device
from birdbone.model.folder import write_folder
from birdbone.model.layout import Layout
from birdbone.model.network import canonical
from birdbone.model.observing.moments import SecondMoments
from birdbone.model.pruning.settings import MaskSettings
from birdbone.model.pruning.weight_sparsity import mask_weights
from birdbone.model.scores import Scores

DAMPING = 0.1
"""The default of `prune_wave.damping`; the peer keeps its own default, 0.01."""


def main(folder: str, windows: str, out: str, method: str, structure: str) -> None:
    config = json.loads((Path(folder) / "config.json").read_text())
    weights, layout = load_file(Path(folder) / "model.safetensors"), Layout(config)
    if layout.fused or layout.transposed:
        weights = canonical(weights, config)
    seed = Checkpoint(config, weights)
    ids = load_file(windows)["windows"]
    n, m = map(int, structure.split(":"))
    settings = MaskSettings(method=method, sparsity=0.5, pattern=(n, m) if m else None, budget="uniform")
    start = time.perf_counter()
    masked = mask_weights(seed, ids, SecondMoments(), Scores(), settings, DAMPING, resolve_device("auto"))
    seconds = time.perf_counter() - start
    Path(out).mkdir(parents=True)
    write_folder(masked, Path(out), torch.float32)
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
