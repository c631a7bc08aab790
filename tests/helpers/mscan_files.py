"""A small scan to write and read."""

import torch

from birdbone.datasets.mscan import Module, ScanWriter

MODULES = [
    Module("layers.0.q", 0, 128, 100),
    Module("layers.0.down", 0, 192, 128),
    Module("layers.1.q", 1, 128, 64),
]
COLUMNS = {"layers.0.q": (2, 2), "layers.0.down": (3, 2), "layers.1.q": (2, 1)}
ABOUT = {"model": "tiny", "model_digest": "d" * 64, "modules": MODULES}


def norms(tokens, seed):
    generator = torch.Generator().manual_seed(seed)
    a = {n: torch.rand(tokens, c, generator=generator) * 1e3 for n, (c, _) in COLUMNS.items()}
    g = {n: torch.rand(tokens, r, generator=generator) * 1e-6 for n, (_, r) in COLUMNS.items()}
    return a, g


CHUNKS = [
    (*norms(4, 0), list("abcd"), "code"),
    (*norms(1, 1), ["é"], "prose"),
    (*norms(7, 2), list("tuvwxyz"), "prose"),
]


def write(path, chunks=CHUNKS):
    with ScanWriter(path, **ABOUT) as writer:
        for chunk in chunks:
            writer.append(*chunk)
