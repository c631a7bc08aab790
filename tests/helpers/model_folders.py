"""Tiny models as folders that one could have downloaded, and how they are spoiled."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from families import logits, random_model, tokens
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from birdbone.model.network import build
from birdbone.sources.load import load
from birdbone.sources.locate import locate
from birdbone.sources.shape import model_shape
from birdbone.text.tokenizer import train_tokenizer

CORPUS = ["the quick brown fox jumps over the lazy dog " * 20]
VOCABULARY = 300


def saved(folder: Path, name: str = "llama", **changes: object) -> PreTrainedModel:
    """A model saved to a folder with a tokenizer; returns the model."""
    model = random_model(name, vocab_size=VOCABULARY, **changes)
    model.save_pretrained(folder)
    train_tokenizer(CORPUS, VOCABULARY).save_pretrained(folder)
    return model


def edit(path: Path, **changes: object) -> None:
    """Change keys of a JSON file; ``...`` deletes one."""
    found = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not ...}))


def retensor(folder: Path, change: Callable[[str, Tensor], dict[str, Tensor]]) -> None:
    """Replace every tensor of a folder's file by what ``change`` makes of it."""
    state = load_file(folder / "model.safetensors")
    made = {n: t for name, tensor in state.items() for n, t in change(name, tensor).items()}
    save_file(
        {n: t.contiguous().clone() for n, t in made.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )


def add(folder: Path, **tensors: Tensor) -> None:
    """Further tensors in a folder's file."""
    state = load_file(folder / "model.safetensors")
    save_file({**state, **tensors}, folder / "model.safetensors", {"format": "pt"})


def seed(folder: Path):
    """(checkpoint, tokenizer's writer) as seed.load has them."""
    return load(locate(str(folder), {}), 0, list)


def planned(folder: Path):
    """What `birdbone plan` reads of the folder."""
    return model_shape(locate(str(folder), {}))


def assert_like_from_pretrained(folder: Path) -> None:
    """The seed read from a folder has the logits of the stock class that reads it."""
    stock = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=False
    ).eval()
    torch.testing.assert_close(
        logits(build(seed(folder)[0]), tokens()), logits(stock, tokens()), atol=1e-5, rtol=0
    )
