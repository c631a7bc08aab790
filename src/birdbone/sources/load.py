"""Where a seed comes from: a preset, a hub id, a local folder, a GGUF file, or random weights.

Only safetensors, GGUF and JSON are ever read; pickled weights are refused, remote code never runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from birdbone.errors import ArtifactError, SourceError
from birdbone.gguf.header import read_gguf_header
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.generation import beside, folder_generation, gguf_generation
from birdbone.model.layout import Layout
from birdbone.model.network import as_checkpoint, canonical, check_described, same, stock_network, stock_shapes
from birdbone.sources import adapter, fp8
from birdbone.sources import gguf as reader
from birdbone.sources.configuration import checked
from birdbone.sources.files import Stored, json_object, read, tensors_of, weight_files, whole
from birdbone.sources.fitting import check_fit, check_format
from birdbone.sources.tokenizer import Tokenizer, tokenizer_of_folder, tokenizer_of_gguf

SMALL = ["*.json", "*.model", "*.jinja", "LICENSE*", "merges.txt", "vocab.*"]
WANTED = ["*.safetensors", *SMALL]
READ_TOO = ("generation_config.json", "special_tokens_map.json", "added_tokens.json")
"""What others read from a model's folder, beside the files that are opened here by name."""

log = logging.getLogger("birdbone")


def config_of(source: dict) -> dict[str, Any]:
    """The configuration that ``load`` will find, without reading weights: what `birdbone plan` counts by.

    Raises whatever ``load`` would, where that can be known without them; of a hub id only ``config.json`` is read.
    """
    if source["kind"] == "random":
        return checked(dict(source["config"]), f"preset {source['name']}")
    if source["kind"] == "hub":
        folder = _download(source, ["*.json"])
        return checked(json_object(folder / "config.json"), folder / "config.json")
    return _opened(source).config


def load(source: dict, random_seed: int, corpus: Callable[[], list[str]]) -> tuple[Checkpoint, Callable[[Path], None]]:
    """The checkpoint (float32, canonical) and a function that writes its tokenizer to a folder.

    ``corpus`` gives texts to train a tokenizer on; only random models need one.
    Raises SourceError or ArtifactError naming the file, before any large allocation where possible.
    """
    if source["kind"] == "random":
        return _random(source, random_seed, corpus())
    opened = _opened(source)
    tokenizer = opened.tokenizer()
    checkpoint = as_checkpoint(opened.weights(), opened.config)
    origin = source.get("id") or source["path"]
    if folder := source.get("adapter"):
        checkpoint = adapter.merged(checkpoint, folder)
        if (folder / "tokenizer.json").is_file():
            tokenizer, origin = tokenizer_of_folder(folder), folder
    checkpoint, write = _fitting(origin, checkpoint, tokenizer)
    return checkpoint, beside(write, opened.generation)


def tokenizer_of(source: dict) -> Tokenizer | None:
    """The tokenizer that ``load`` will find, without reading weights; None for a random model, which has none yet."""
    if source["kind"] == "random":
        return None
    if source["kind"] == "gguf":
        return tokenizer_of_gguf(source["path"], read_gguf_header(source["path"]).metadata)
    own = source.get("adapter")
    if own and (own / "tokenizer.json").is_file():
        return tokenizer_of_folder(own)
    return tokenizer_of_folder(_download(source, SMALL) if source["kind"] == "hub" else source["path"])


@dataclass(frozen=True)
class _Opened:
    """A model whose files were looked at: its configuration, and how to read the rest."""

    config: dict[str, Any]
    weights: Callable[[], dict[str, Tensor]]
    tokenizer: Callable[[], Tokenizer]
    generation: str | None


def _opened(source: dict) -> _Opened:
    if source["kind"] == "gguf":
        return _opened_gguf(source["path"])
    folder = _download(source, WANTED) if source["kind"] == "hub" else source["path"]
    return _opened_folder(folder, source.get("adapter"))


def _opened_gguf(path: Path) -> _Opened:
    header = read_gguf_header(whole(path))
    config = checked(reader.raw_config(path, header), path)
    check_described(config)
    reader.check_tensors(path, header, config)
    return _Opened(
        config,
        lambda: reader.weights(path, header, config),
        lambda: tokenizer_of_gguf(path, header.metadata),
        gguf_generation(header.metadata),
    )


def _opened_folder(folder: Path, given: Path | None) -> _Opened:
    _check_kind(folder, given)
    raw = json_object(folder / "config.json")
    config = checked(raw, folder / "config.json")
    if raw.get("auto_map"):
        log.warning("%s names Python code of its own (auto_map): it is not run", folder / "config.json")
    quantization = raw.get("quantization_config") or raw.get("compression_config") or {}
    if not isinstance(quantization, dict):
        raise SourceError(f"{folder / 'config.json'}: quantization_config has to be an object or null")
    found = tensors_of(weight_files(folder))
    check_format(folder, {name: stored.dtype for name, stored in found.items()}, quantization)
    check_described(config)
    expected = stock_shapes(config)
    layout = Layout(config)
    names = _stock_names(folder, fp8.weights_alone(found), expected, layout.family.prefix)
    head, embedding = layout.head, layout.embedding
    shapes = {name: found[stored].shape for name, stored in names.items()}
    check_fit(folder, expected, shapes, (head, embedding) if config["tie_word_embeddings"] else None)
    if {head, embedding} <= names.keys():
        pair = read({name: found[name] for name in (names[head], names[embedding])}).values()
        config = {**config, "tie_word_embeddings": same(*pair)}

    def weights() -> dict[str, Tensor]:
        stored, scales = read(found), fp8.scale_names(found)
        state = {}
        for name, own in names.items():
            tensor = stored.pop(own)
            scale = scales.get(own)
            state[name] = fp8.dequantized(own, tensor, stored[scale], quantization) if scale else tensor
        state.setdefault(embedding, state.get(head))
        return canonical(state, config)

    return _Opened(config, weights, lambda: tokenizer_of_folder(folder), folder_generation(folder, raw))


def _check_kind(folder: Path, given: Path | None) -> None:
    """Refuse a folder that is no model's, or not a model's alone. given: the adapter that is merged into it."""
    has_model = (folder / "config.json").is_file()
    if adapter.is_adapter(folder) and not (has_model and given and given.resolve() == folder.resolve()):
        raise SourceError(adapter.ways_out(folder, alone=not has_model))
    if not has_model:
        ggufs = sorted(folder.glob("*.gguf"))
        raise SourceError(
            f"model folder {folder} has no config.json"
            + (
                f", but GGUF files: give one of them, such as {ggufs[0]}"
                if ggufs
                else ": is this a Hugging Face model folder?"
            )
        )
    for name in READ_TOO:
        if (folder / name).is_file():
            json_object(folder / name)


def _stock_names(folder: Path, found: dict[str, Stored], expected: Mapping[str, Any], prefix: str) -> dict[str, str]:
    """The stock class's name of every tensor -> its name in the file, which may lack the class's prefix."""
    names: dict[str, str] = {}
    for own in found:
        name = own if own in expected or f"{prefix}.{own}" not in expected else f"{prefix}.{own}"
        if name in names:
            raise ArtifactError(f"model {folder} holds {name} twice, as {names[name]} and as {own}: which one counts?")
        names[name] = own
    return names


def _download(source: dict, wanted: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source["id"], revision=source.get("revision"), allow_patterns=wanted))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise SourceError(
            f"model {source['id']}: not a preset or a local path, and the hub did not give it "
            f"({type(error).__name__}). Check the name, the network, or the login for gated models"
        ) from error


def _fitting(origin: Path, checkpoint: Checkpoint, tokenizer: Tokenizer) -> tuple[Checkpoint, Callable[[Path], None]]:
    rows = checkpoint.weights[checkpoint.layout.embedding].shape[0]
    if len(tokenizer) > rows:
        raise SourceError(
            f"model {origin}: its tokenizer has {len(tokenizer)} tokens, its embedding {rows} rows. They are not of "
            "the same model, or a token was added without resize_token_embeddings"
        )
    return checkpoint, tokenizer.save_pretrained


def _random(source: dict, random_seed: int, corpus: list[str]) -> tuple[Checkpoint, Callable[[Path], None]]:
    from birdbone.text.tokenizer import train_tokenizer

    asked = checked(dict(source["config"]), f"preset {source['name']}")
    check_described(asked)
    tokenizer = train_tokenizer(corpus, asked["vocab_size"])
    end = tokenizer.eos_token_id
    config = {**asked, "bos_token_id": end, "eos_token_id": end}
    config |= dict.fromkeys(("vocab_size", *Layout(asked).family.vocabulary), len(tokenizer))
    with torch.random.fork_rng():
        torch.manual_seed(random_seed)
        network = stock_network(config)
    return as_checkpoint(canonical(network.state_dict(), config), config), tokenizer.save_pretrained
