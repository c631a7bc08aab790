"""Torch networks from checkpoints, and back: narrow layers, split GPT-2 matrices, tied heads.

The network is the family's own transformers class. Only the shapes of its linear layers differ,
and GPT-2's fused, transposed matrices become plain linear layers, so that every algorithm sees
one kind of weight: [out, in].
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from birdbone.errors import NumericalError, SourceError, UnsupportedArchitectureError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.ignorable import ignorable
from birdbone.model.layout import Block, Layout
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
    """The family's own transformers class for a checkpoint's configuration, in the attention that
    everything uses.
    """
    stock = hf_config(config)
    stock._attn_implementation = "sdpa"
    return AutoModelForCausalLM.from_config(stock, dtype=dtype, trust_remote_code=False)


def stock_shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor that the stock class has, head included, by its name there; nothing
    is allocated.
    """
    with torch.device("meta"):
        network = stock_network(config)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def canonical_shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """The same by canonical names: split, turned to [out, in]."""
    with torch.device("meta"):
        network = stock_network(config)
        _to_linear(network, Layout(config))
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def check_described(config: dict) -> None:
    """Whether the family's file and the stock class agree: UnsupportedArchitectureError naming file
    and tensor, or the key of the configuration.
    """
    layout = Layout(config)
    family = layout.family
    present = {
        name.removesuffix(".weight").removesuffix(".bias"): name
        for name in canonical_shapes(config)
    }
    described = {family.embedding, family.final_norm, family.head, *family.gguf.modules}
    for block in layout.blocks:
        described |= {*block.linears, *block.norms}
    for module in sorted(present.keys() - described - layout.kept):
        raise UnsupportedArchitectureError(
            f"{family.file} does not say what {present[module]} is: describe it there, a matrix "
            "under ffn or attention, a norm under norms or head_norms"
        )
    for module in sorted(described - present.keys() - layout.kept):
        raise UnsupportedArchitectureError(
            f"{family.file} names {module}, which {config['model_type']} does not have"
        )
    stock = hf_config(config)
    for key in sorted(family.gguf.asked):
        if not hasattr(stock, key):
            raise UnsupportedArchitectureError(
                f"{family.file} names {key} under gguf, which the configuration of "
                f"{config['model_type']} does not have"
            )


def build(
    checkpoint: Checkpoint,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    streamed: bool | None = None,
) -> nn.Module:
    """A network in evaluation mode with the checkpoint's weights; masked weights are zero.

    Weights are shared with the checkpoint where device and dtype agree: train a copy. streamed:
    blocks stay the checkpoint's own and visit the device one at a time (see ``streaming``); None:
    where the device is too small. Raises SourceError when weights are missing or do not fit the
    architecture.
    """
    layout = checkpoint.layout
    with torch.device("meta"):
        network = stock_network(checkpoint.config, dtype)
    _to_linear(network, layout)
    _narrow(network, checkpoint)
    if streamed is None:
        streamed = too_large(checkpoint.parameters * dtype.itemsize, device)
    stays = f"{layout.family.blocks}." if streamed else None
    weights = {
        n: w if stays and n.startswith(stays) else w.to(device=device, dtype=dtype)
        for n, w in checkpoint.weights.items()
    }
    tied = layout.head not in weights
    if tied:
        weights[layout.head] = weights[layout.embedding]
    missing, unexpected = network.load_state_dict(weights, strict=False, assign=True)
    if missing or unexpected:
        raise SourceError(
            f"weights do not fit {layout.family.name}: missing {missing[:3]}, unexpected "
            f"{unexpected[:3]}"
        )
    if tied:
        network.get_output_embeddings().weight = network.get_input_embeddings().weight
    _fill_buffers(network, network.config, device)
    if streamed:
        stream(blocks_of(network, layout), device, dtype)
    network.requires_grad_(False)
    return network.eval()


def weights_of(network: nn.Module, like: Checkpoint) -> dict[str, Tensor]:
    """The network's weights under the checkpoint's names, float32, on the CPU, detached."""
    state = network.state_dict()
    return {n: state[n].detach().to("cpu", like.weights[n].dtype, copy=True) for n in like.weights}


def as_checkpoint(weights: dict[str, Tensor], config: dict) -> Checkpoint:
    """A checkpoint of canonical weights. They decide of the head: one equal to the embedding is
    left out, and the configuration's ``tie_word_embeddings`` says what is.
    """
    layout = Layout(config)
    weights = _without_tied_head(weights, layout)
    tied = layout.head not in weights
    return Checkpoint({**config, "tie_word_embeddings": tied}, weights)


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same numbers in the same shape."""
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)


def canonical(
    state: dict[str, Tensor], config: dict, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """A transformers state dict under canonical names: split, turned to [out, in], a head of its
    own kept.

    ``state`` is emptied on the way, so that two copies never stand side by side where nobody else
    holds the first. Raises NumericalError naming the first tensor that holds NaN or infinity.
    """
    layout = Layout(config)
    out: dict[str, Tensor] = {}
    for name in list(state):
        tensor = state.pop(name)
        if ignorable(name):
            continue
        tensor = tensor.to(dtype)
        if not torch.isfinite(tensor).all():
            raise NumericalError(
                f"tensor {name} holds NaN or infinite values: the model file is damaged"
            )
        module, _, suffix = name.rpartition(".")
        if module in layout.transposed and suffix == "weight":
            tensor = tensor.T
        if module not in layout.fused:
            out[name] = tensor.contiguous().clone()
            continue
        parts = layout.fused[module]
        for part, rows in zip(parts, tensor.split(list(parts.values())), strict=True):
            out[f"{part}.{suffix}"] = rows.contiguous().clone()
    return _without_tied_head(out, layout)


def stock_state(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The inverse of ``canonical``: names and layouts of the stock transformers class."""
    weights = dict(checkpoint.weights)
    for stored, parts in checkpoint.layout.fused.items():
        for suffix in ("weight", "bias"):
            names = [f"{part}.{suffix}" for part in parts]
            if names[0] in weights:
                weights[f"{stored}.{suffix}"] = torch.cat([weights.pop(name) for name in names])
    for module in checkpoint.layout.transposed:
        weights[f"{module}.weight"] = weights[f"{module}.weight"].T.contiguous()
    return weights


def blocks_of(network: nn.Module, layout: Layout) -> nn.ModuleList:
    """The list of decoder blocks."""
    return network.get_submodule(layout.family.blocks)


def device_of(network: nn.Module) -> torch.device:
    """Where a network's weights are."""
    return next(network.parameters()).device


def _without_tied_head(weights: dict[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    if layout.head not in weights or not same(weights[layout.head], weights[layout.embedding]):
        return weights
    return {name: weight for name, weight in weights.items() if name != layout.head}


def _to_linear(network: nn.Module, layout: Layout) -> None:
    """Plain linear layers in place of turned and fused ones."""
    for name, module in list(network.named_modules()):
        parts = layout.fused.get(name)
        if not isinstance(module, Conv1D) and parts is None:
            continue
        columns, rows = (
            module.weight.shape if isinstance(module, Conv1D) else module.weight.shape[::-1]
        )
        bias = module.bias is not None
        if parts is None:
            replacement: nn.Module = nn.Linear(columns, rows, bias, device="meta")
        else:
            own = {part.rpartition(".")[2]: size for part, size in parts.items()}
            replacement = Fused(
                {part: nn.Linear(columns, size, bias, device="meta") for part, size in own.items()}
            )
        network.set_submodule(name, replacement)


def _narrow(network: nn.Module, checkpoint: Checkpoint) -> None:
    """Give every tensor that nodes were cut from the shape of its weight, and tell attention its
    head count.
    """
    for block in checkpoint.layout.blocks:
        for name in block.axes:
            module, _, suffix = name.rpartition(".")
            place = network.get_submodule(module)
            weight = checkpoint.weights.get(name)
            if weight is None or weight.shape == getattr(place, suffix).shape:
                continue
            setattr(place, suffix, nn.Parameter(torch.empty(weight.shape, device="meta")))
            if weight.dim() == 2:
                place.out_features, place.in_features = weight.shape
        _tell_heads(network, block, checkpoint.count("kv", block.layer))


def _tell_heads(network: nn.Module, block: Block, groups: int) -> None:
    """Attention that cuts a fused projection apart does so by the configuration's heads: give it
    its own.
    """
    if groups == block.kv_heads or not isinstance(
        network.get_submodule(block.query.rpartition(".")[0]), Fused
    ):
        return
    attention = network.get_submodule(block.attention)
    heads = groups * (block.heads // block.kv_heads)
    if hasattr(attention, "split_size"):
        attention.split_size = heads * block.head_size
    if hasattr(attention, "num_key_value_heads"):
        attention.num_key_value_heads = groups
        attention.config = copy.copy(attention.config)
        attention.config.num_attention_heads = heads


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
