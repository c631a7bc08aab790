"""A peft adapter merged into a checkpoint before it becomes the seed."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from birdbone.errors import ArtifactError, NumericalError, SourceError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.network import as_checkpoint, canonical, stock_network, stock_state
from birdbone.sources.files import PICKLES, json_object, read, refusal, tensors_of, whole

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MERGED = ("LORA", "LOHA", "LOKR", "ADALORA", "IA3", "OFT", "BOFT", "VERA", "HRA", "FOURIERFT", "RANDLORA")
"""Kinds that peft merges into the weights."""
EXACT = 1e-3
"""How far merged logits may lie from unmerged ones, in shares of their spread."""
PROBE = 16


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, alone or beside a model."""
    return (folder / CONFIG).is_file()


def ways_out(folder: Path, alone: bool) -> str:
    """What to do with a folder that holds an adapter: the message of an error."""
    base = json_object(folder / CONFIG).get("base_model_name_or_path") or "which its adapter_config.json does not name"
    if alone:
        return (
            f"model folder {folder} holds only an adapter, of the base model {base}. Give "
            "model.name: the base model, "
            f"and model.adapter: {folder}, which merges it first; or merge it yourself (peft's "
            "merge_and_unload)"
        )
    return (
        f"model folder {folder} holds a model and an adapter beside it (of {base}). Give "
        f"model.name: {folder} and "
        f"model.adapter: {folder}, which merges it first; or remove {CONFIG} to leave it out"
    )


def check_adapter(folder: Path) -> dict[str, Any]:
    """What an adapter's folder says of itself. Raises SourceError or ArtifactError naming the file
    at fault.
    """
    if not folder.is_dir() or not is_adapter(folder):
        raise SourceError(f"parameter model.adapter: {folder} is no folder with {CONFIG}")
    config = json_object(folder / CONFIG)
    kind = config.get("peft_type")
    if kind not in MERGED:
        raise SourceError(
            f"{folder / CONFIG}: an adapter of the kind {kind!r} cannot be merged into weights; {', '.join(MERGED)} can"
        )
    if not (folder / WEIGHTS).is_file():
        pickled = [p for p in sorted(folder.iterdir()) if p.suffix in PICKLES]
        raise SourceError(refusal(pickled[0]) if pickled else f"adapter {folder} has no {WEIGHTS}")
    tensors_of([whole(folder / WEIGHTS)])
    return config


def about(folder: Path) -> dict[str, str]:
    """An adapter's name, and the SHA-256 of its two files' bytes."""
    sha = hashlib.sha256((folder / CONFIG).read_bytes())
    sha.update((folder / WEIGHTS).read_bytes())
    return {"name": folder.resolve().name, "digest": sha.hexdigest()}


def merged(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """The checkpoint with an adapter merged into its weights by peft, in float32.

    Raises SourceError naming the tensor that does not fit, ArtifactError for damaged files,
    NumericalError where merged weights do not compute what the adapter does.
    """
    config = check_adapter(folder)
    tensors = {name: tensor.float() for name, tensor in read(tensors_of([folder / WEIGHTS])).items()}
    if bad := sorted(n for n, t in tensors.items() if not torch.isfinite(t).all()):
        raise NumericalError(f"{folder / WEIGHTS}: tensor {bad[0]} holds NaN or infinite values: it is damaged")
    network = _stock(checkpoint, _rows(checkpoint, tensors))
    adapted = _adapted(network, config, tensors, folder)
    probe = torch.arange(PROBE)[None] % network.get_input_embeddings().num_embeddings
    before = _logits(adapted, probe)
    network = adapted.merge_and_unload()
    after = _logits(network, probe)
    if not (after - before).abs().max() <= EXACT * before.std():
        raise NumericalError(
            f"adapter {folder}: merged weights do not compute what it does (logits differ by "
            f"{(after - before).abs().max():.2g}). Merge it yourself and give the merged model"
        )
    full = {**checkpoint.config, "vocab_size": network.get_input_embeddings().num_embeddings}
    return as_checkpoint(canonical(network.state_dict(), full), full)


def _stock(checkpoint: Checkpoint, rows: int) -> nn.Module:
    """The family's own class with the checkpoint's weights, its embedding of at least ``rows``
    rows.
    """
    layout = checkpoint.layout
    network = stock_network(checkpoint.config)
    state = stock_state(checkpoint)
    state.setdefault(layout.head, state[layout.embedding])
    network.load_state_dict(state)
    if rows > network.get_input_embeddings().num_embeddings:
        network.resize_token_embeddings(rows, mean_resizing=False)
    return network.requires_grad_(False).eval()


def _rows(checkpoint: Checkpoint, tensors: dict[str, Tensor]) -> int:
    """Rows of the embedding that an adapter was trained with: more than the model's, where tokens
    were added.
    """
    outer = (checkpoint.layout.embedding, checkpoint.layout.head)
    return max((tensor.shape[0] for name, tensor in tensors.items() if name.endswith(outer)), default=0)


def _adapted(network: nn.Module, config: dict[str, Any], tensors: dict[str, Tensor], folder: Path):
    from peft import PeftConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            settings = PeftConfig.from_peft_type(**{**config, "inference_mode": True})
            adapted = PeftModel(network, settings)
            expected = get_peft_model_state_dict(adapted, save_embedding_layers=False)
            for name, tensor in tensors.items():
                if name in expected and expected[name].shape != tensor.shape:
                    raise SourceError(
                        f"adapter {folder} does not fit the model: tensor {name} is of shape "
                        f"{list(tensor.shape)}, "
                        f"the model asks for {list(expected[name].shape)}"
                    )
            outcome = set_peft_model_state_dict(adapted, tensors)
    except SourceError:
        raise
    except Exception as error:  # peft raises many kinds
        raise SourceError(f"adapter {folder} does not fit the model: {' '.join(str(error).split())[:300]}") from error
    if lost := sorted(outcome.unexpected_keys):
        raise SourceError(f"adapter {folder} does not fit the model, which has no place for its tensor {lost[0]}")
    if missing := sorted(expected.keys() - tensors.keys()):
        raise ArtifactError(f"{folder / WEIGHTS} lacks {len(missing)} tensors, such as {missing[0]}. Download it again")
    return adapted.eval()


@torch.no_grad()
def _logits(network: nn.Module, ids: Tensor) -> Tensor:
    return network(input_ids=ids, use_cache=False).logits.float()
