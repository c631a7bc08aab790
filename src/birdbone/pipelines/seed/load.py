"""Stage 1: the untouched model."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from birdbone.gguf.header import quantized_type
from birdbone.model.checkpoint import Checkpoint, tensors_digest
from birdbone.sources import adapter
from birdbone.sources.load import load
from birdbone.sources.locate import locate
from birdbone.text.sources import documents


def load_seed(
    model: Any, models: dict, text_source: str, random_seed: int
) -> tuple[Checkpoint, Callable[[Path], None], dict]:
    """The seed as a clean float32 checkpoint, its tokenizer, and where both came from.

    model: as ``locate`` takes it. A random model has its tokenizer trained on ``text_source``.
    """
    source = locate(model, models)
    checkpoint, write_tokenizer = load(
        source, random_seed, lambda: [d.text for d in documents(text_source)]
    )
    path = source.get("path")
    about = {
        "name": source["name"],
        "kind": source["kind"],
        "origin": source.get("id") or (path.name if path else source["name"]),
        "adapter": adapter.about(source["adapter"]) if source.get("adapter") else None,
        "licence": source.get("licence"),
        "base_model": source.get("base_model") or source.get("id"),
        "source_bytes": os.path.getsize(path) if path and path.is_file() else None,
        "dequantized_from": quantized_type(path) if source["kind"] == "gguf" else None,
        "digest": checkpoint.digest,
        "parameters": checkpoint.parameters,
        "tensors": tensors_digest(checkpoint.weights),
    }
    return checkpoint, write_tokenizer, about
