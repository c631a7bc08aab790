"""Torch networks from checkpoints, and back: narrow layers, split GPT-2 matrices, tied heads.

The network is the family's own transformers class. Only the shapes of its linear layers differ,
and GPT-2's fused, transposed matrices become plain linear layers, so that every algorithm sees
one kind of weight: [out, in].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from birdbone.errors import NumericalError, SourceError
from birdbone.model.architecture import Architecture, architecture_of
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.ignorable import ignorable
from birdbone.model.streaming import stream, too_large


class Fused(nn.Module):
    """Several linear layers on one input, their outputs side by side: GPT-2's ``c_attn``."""

    def __init__(self, parts: dict[str, nn.Linear]) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.children()], dim=-1)


def hf_config(config: dict) -> AutoConfig:
    """The transformers configuration of a checkpoint's dict."""
    return AutoConfig.for_model(**config)


def stock_network(config: dict, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The family's own transformers class for a checkpoint's configuration, in the attention that everything uses."""
    stock = hf_config(config)
    stock._attn_implementation = "sdpa"
    return AutoModelForCausalLM.from_config(stock, dtype=dtype, trust_remote_code=False)


def stock_shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor that the stock class has, head included, by its name there; nothing is allocated."""
    with torch.device("meta"):
        network = stock_network(config)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def canonical_shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """The same by canonical names: split, turned to [out, in]."""
    with torch.device("meta"):
        network = stock_network(config)
        _to_linear(network, architecture_of(config))
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def build(
    checkpoint: Checkpoint, device: str = "cpu", dtype: torch.dtype = torch.float32, streamed: bool | None = None
) -> nn.Module:
    """A network in evaluation mode with the checkpoint's weights; masked weights are zero.

    Weights are shared with the checkpoint where device and dtype agree: train a copy. streamed: blocks stay
    the checkpoint's own and visit the device one at a time (see ``streaming``); None: where the device is too small.
    Raises SourceError when weights are missing or do not fit the architecture.
    """
    architecture = architecture_of(checkpoint.config)
    with torch.device("meta"):
        network = stock_network(checkpoint.config, dtype)
    _to_linear(network, architecture)
    _narrow(network, checkpoint, architecture)
    if streamed is None:
        streamed = too_large(checkpoint.parameters * dtype.itemsize, device)
    stays = f"{architecture.blocks}." if streamed else None
    weights = {
        n: w if stays and n.startswith(stays) else w.to(device=device, dtype=dtype)
        for n, w in checkpoint.weights.items()
    }
    tied = f"{architecture.head}.weight" not in weights
    if tied:
        weights[f"{architecture.head}.weight"] = weights[f"{architecture.embedding}.weight"]
    missing, unexpected = network.load_state_dict(weights, strict=False, assign=True)
    if missing or unexpected:
        raise SourceError(f"weights do not fit {architecture.name}: missing {missing[:3]}, unexpected {unexpected[:3]}")
    if tied:
        network.get_output_embeddings().weight = network.get_input_embeddings().weight
    _fill_buffers(network, network.config, device)
    if streamed:
        stream(blocks_of(network, architecture), device, dtype)
    network.requires_grad_(False)
    return network.eval()


def weights_of(network: nn.Module, like: Checkpoint) -> dict[str, Tensor]:
    """The network's weights under the checkpoint's names, float32, on the CPU, detached."""
    state = network.state_dict()
    return {n: state[n].detach().to("cpu", like.weights[n].dtype, copy=True) for n in like.weights}


def as_checkpoint(weights: dict[str, Tensor], config: dict) -> Checkpoint:
    """A checkpoint of canonical weights. They decide of the head: one equal to the embedding is left out, and the
    configuration's ``tie_word_embeddings`` says what is.
    """
    weights = _without_tied_head(weights, architecture_of(config))
    tied = f"{architecture_of(config).head}.weight" not in weights
    return Checkpoint({**config, "tie_word_embeddings": tied}, weights)


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same numbers in the same shape."""
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)


def canonical(state: dict[str, Tensor], config: dict, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """A transformers state dict under canonical names: split, turned to [out, in], a head of its own kept.

    ``state`` is emptied on the way, so that two copies never stand side by side where nobody else holds the first.
    Raises NumericalError naming the first tensor that holds NaN or infinity.
    """
    architecture = architecture_of(config)
    out: dict[str, Tensor] = {}
    for name in list(state):
        tensor = state.pop(name)
        if ignorable(name):
            continue
        tensor = tensor.to(dtype)
        if not torch.isfinite(tensor).all():
            raise NumericalError(f"tensor {name} holds NaN or infinite values: the model file is damaged")
        module, _, kind = name.rpartition(".")
        if module.endswith(architecture.transposed) and architecture.transposed and kind == "weight":
            tensor = tensor.T
        fused = next((f for f in architecture.fused if module.endswith(f)), None)
        parts = architecture.fused.get(fused, ())
        names = [f"{module.removesuffix(fused)}{part}.{kind}" for part in parts] if parts else [name]
        for part_name, part in zip(names, tensor.chunk(len(names)), strict=True):
            out[part_name] = part.contiguous().clone()
    return _without_tied_head(out, architecture)


def stock_state(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The inverse of ``canonical``: names and layouts of the stock transformers class."""
    architecture = architecture_of(checkpoint.config)
    weights = dict(checkpoint.weights)
    for layer in range(checkpoint.layers):
        for fused, parts in architecture.fused.items():
            for kind in ("weight", "bias"):
                names = [f"{architecture.part(layer, part)}.{kind}" for part in parts]
                if names[0] in weights:
                    weights[f"{architecture.part(layer, fused)}.{kind}"] = torch.cat(
                        [weights.pop(name) for name in names]
                    )
        for turned in architecture.transposed:
            name = f"{architecture.part(layer, turned)}.weight"
            weights[name] = weights[name].T.contiguous()
    return weights


def blocks_of(network: nn.Module, architecture: Architecture) -> nn.ModuleList:
    """The list of decoder blocks."""
    return network.get_submodule(architecture.blocks)


def _without_tied_head(weights: dict[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    head, embedding = f"{architecture.head}.weight", f"{architecture.embedding}.weight"
    if head not in weights or not same(weights[head], weights[embedding]):
        return weights
    return {name: weight for name, weight in weights.items() if name != head}


def _to_linear(network: nn.Module, architecture: Architecture) -> None:
    for name, module in list(network.named_modules()):
        if not isinstance(module, Conv1D):
            continue
        out_features, in_features = module.weight.shape[1], module.weight.shape[0]
        fused = next((f for f in architecture.fused if name.endswith(f)), None)
        if fused is None:
            replacement = nn.Linear(in_features, out_features, device="meta")
        else:
            parts = [p.rpartition(".")[2] for p in architecture.fused[fused]]
            size = out_features // len(parts)
            replacement = Fused({p: nn.Linear(in_features, size, device="meta") for p in parts})
        network.set_submodule(name, replacement)


def _narrow(network: nn.Module, checkpoint: Checkpoint, architecture: Architecture) -> None:
    """Give every linear layer the shape of its weight, and tell attention its head count."""
    for layer in range(checkpoint.layers):
        for name in architecture.linears(layer):
            module = network.get_submodule(name)
            weight = checkpoint.weights.get(f"{name}.weight")
            if weight is None or weight.shape == module.weight.shape:
                continue
            module.out_features, module.in_features = weight.shape
            module.weight = nn.Parameter(torch.empty(weight.shape, device="meta"))
            if module.bias is not None:
                module.bias = nn.Parameter(torch.empty(weight.shape[0], device="meta"))
        attention = network.get_submodule(architecture.attention_part(layer, "output").rpartition(".")[0])
        if hasattr(attention, "split_size"):
            query = network.get_submodule(architecture.attention_part(layer, "query"))
            attention.split_size = query.out_features


def _fill_buffers(network: nn.Module, config: AutoConfig, device: str) -> None:
    """Buffers are made on the meta device too: compute them on a real one."""
    for name, module in list(network.named_modules()):
        if not any(b.is_meta for b in module.buffers(recurse=False)):
            continue
        if "rotary" in type(module).__name__.lower():
            network.set_submodule(name, type(module)(config=config).to(device))
        elif hasattr(module, "embed_scale"):
            scale = torch.tensor(module.scalar_embed_scale, device=device)
            module.register_buffer("embed_scale", scale, persistent=False)
        elif hasattr(module, "bias") and "bias" in dict(module.named_buffers(recurse=False)):
            size = config.max_position_embeddings
            causal = torch.tril(torch.ones(size, size, dtype=torch.bool, device=device))
            module.register_buffer("bias", causal.view(1, 1, size, size), persistent=False)
