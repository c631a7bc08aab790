"""A tiny random model with its tokenizer, and scans of it."""

from __future__ import annotations

from pathlib import Path

import torch
from families import small

from birdbone.datasets.mscan import Module, Scan, ScanWriter
from birdbone.datasets.mscan_open import open_scan
from birdbone.model.checkpoint import Checkpoint
from birdbone.text.tokenizer import train_tokenizer

CORPUS = [
    "3 + 5 = 8 and 12 - 7 = 5",
    "the small model looks at the sum and says eight",
    "def add(a, b): return a + b",
]


def model(seed: int = 0) -> Checkpoint:
    """Two layers, a width that is no multiple of 64, and few positions."""
    sizes = {"intermediate_size": 160, "vocab_size": 300, "max_position_embeddings": 48}
    return small("llama", seed, **sizes)


def tokenizer():
    return train_tokenizer(CORPUS * 3, 300)


def tokenizer_folder(place: Path) -> Path:
    tokenizer().save_pretrained(place)
    return place


MODULES = [
    Module(f"layers.{layer}.{name}", layer, inputs, outputs)
    for layer in range(2)
    for name, inputs, outputs in (
        ("q_proj", 128, 128),
        ("k_proj", 128, 64),
        ("v_proj", 128, 64),
        ("o_proj", 128, 128),
        ("gate_proj", 128, 200),
        ("up_proj", 128, 200),
        ("down_proj", 200, 128),
    )
]


def scan_file(
    place: Path, parts: dict[str, int], seed: int = 0, modules: list[Module] = MODULES
) -> Scan:
    """A scan of random norms: text set -> its tokens, each a chunk of its own."""
    generator = torch.Generator().manual_seed(seed)
    with ScanWriter(place, model="small", model_digest=f"{seed}" * 64, modules=modules) as writer:
        for source, count in parts.items():
            a, g = (
                {
                    m.name: torch.rand(count, -(-getattr(m, side) // 64), generator=generator)
                    for m in modules
                }
                for side in ("inputs", "outputs")
            )
            writer.append(a, g, [f"{source[0]}{i}" for i in range(count)], source)
    return open_scan(place)
