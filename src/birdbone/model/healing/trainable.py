"""What is trained while healing: a LoRA on the pruned network, or all of its weights under their
masks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birdbone.errors import ConfigError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.healing.recipe import Lora
from birdbone.model.network import build

ADAPTER = "heal"


@dataclass(frozen=True)
class Student:
    """A network that learns.

    start: the checkpoint that it comes from. trained: those of its parameters that learn. merged:
    gives the checkpoint that they amount to. rounded: whether its base is in 4 bits, so that the
    network is not quite what the checkpoint holds.
    """

    start: Checkpoint
    network: nn.Module
    trained: dict[str, nn.Parameter]
    merged: Callable[[], Checkpoint]
    rounded: bool = False


def student_of(checkpoint: Checkpoint, lora: Lora | None, random_seed: int, device: str) -> Student:
    """A student with a LoRA on its linear layers; without one all their weights learn."""
    torch.manual_seed(random_seed)
    if lora is None:
        return _full(checkpoint, device)
    adapted = with_lora(build(checkpoint, device), checkpoint, lora)
    trained = {n: p for n, p in adapted.named_parameters() if p.requires_grad}
    network = adapted.get_base_model()
    rounded = lora.base == "nf4"
    return Student(checkpoint, network, trained, partial(merge, checkpoint, adapted, lora), rounded)


def _full(checkpoint: Checkpoint, device: str) -> Student:
    """Every linear layer's weight learns; what a mask removed has no gradient and stays exactly
    0.
    """
    names = [f"{module}.weight" for module in checkpoint.layout.linears]
    copies = {n: checkpoint.weights[n].clone() for n in names}
    network = build(checkpoint.evolve(copies), device)
    trained = {n: network.get_parameter(n) for n in names}
    for name, parameter in trained.items():
        parameter.requires_grad_(True)
        mask = checkpoint.masks.weights.get(name)
        if mask is not None:
            parameter.register_hook(_masking(mask.to(parameter.device)))

    def merged() -> Checkpoint:
        return checkpoint.evolve({n: p.detach().cpu() for n, p in trained.items()})

    return Student(checkpoint, network, trained, merged)


def _masking(mask: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda gradient: gradient * mask


@torch.no_grad()
def merge(checkpoint: Checkpoint, student: nn.Module, lora: Lora) -> Checkpoint:
    """W + s·(BA ⊙ M) in float32 for every adapted layer: on the checkpoint's own weights, or with
    ``merge_onto: base`` on the de-quantized NF4 base. Masked weights come out exactly 0.
    """
    merged = {}
    for name, module in student.base_model.model.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        weight = checkpoint.weights[f"{name}.weight"]
        if lora.base == "nf4" and lora.merge_onto == "base":
            weight = _dequantized(module.base_layer).cpu()
        change = module.scaling[ADAPTER] * (
            module.lora_B[ADAPTER].weight.float() @ module.lora_A[ADAPTER].weight.float()
        )
        mask = checkpoint.masks.weights.get(f"{name}.weight")
        new = weight.float() + change.cpu()
        merged[f"{name}.weight"] = (new if mask is None else torch.where(mask, new, 0.0)).to(weight.dtype)
    return checkpoint.evolve(merged)


def with_lora(network: nn.Module, checkpoint: Checkpoint, lora: Lora) -> nn.Module:
    """The network with a peft LoRA on every linear layer, whose base is in 4 bits with ``base:
    nf4``.
    """
    from peft import LoraConfig, get_peft_model

    names = checkpoint.layout.linears
    if lora.base == "nf4":
        for name in names:
            network.set_submodule(name, _nf4(network.get_submodule(name)))
    config = LoraConfig(r=lora.rank, lora_alpha=2 * lora.rank, lora_dropout=0.0, target_modules=names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for a name that it has renamed
        student = get_peft_model(network, config, adapter_name=ADAPTER)
    student.eval()  # no dropout: the teacher has none, and a resumed run could not repeat its draws
    for name in names:
        layer = student.base_model.model.get_submodule(name)
        mask = checkpoint.masks.weights.get(f"{name}.weight")
        if lora.base == "nf4":
            # In evaluation bitsandbytes repacks a CPU weight, and it cannot be read again.
            layer.base_layer.train()
        if mask is not None:
            _mask_lora(layer, mask)
    return student


def _mask_lora(layer: nn.Module, mask: Tensor) -> None:
    """Make a peft layer compute x(W + s·(BA ⊙ M))ᵀ, so that training sees what the merge will
    keep.
    """
    a, b = layer.lora_A[ADAPTER], layer.lora_B[ADAPTER]
    keep = mask.to(a.weight.device, a.weight.dtype)

    def forward(x: Tensor) -> Tensor:
        change = layer.scaling[ADAPTER] * (b.weight @ a.weight) * keep
        return layer.base_layer(x) + F.linear(x, change.to(x.dtype))

    layer.forward = forward


def _nf4(linear: nn.Linear) -> nn.Module:
    """The layer in 4 bits. Blocks must not straddle rows: bitsandbytes 0.50 reads them wrongly on a
    CPU.
    """
    import bitsandbytes as bnb

    device, block = (
        linear.weight.device,
        next((b for b in (64, 32) if linear.in_features % b == 0), None),
    )
    if block is None:
        raise ConfigError(
            f"parameter micro_heal.base: nf4 needs inputs in multiples of 32, not {linear.in_features}: use float32"
        )
    quantized = bnb.nn.Linear4bit(
        linear.in_features,
        linear.out_features,
        linear.bias is not None,
        compute_dtype=torch.float32,
        quant_type="nf4",
    )
    weight = linear.weight.detach().clone()
    quantized.weight = bnb.nn.Params4bit(
        weight, requires_grad=False, quant_type="nf4", blocksize=block, module=quantized
    )
    if linear.bias is not None:
        quantized.bias = nn.Parameter(linear.bias.detach().clone(), requires_grad=False)
    quantized = quantized.to(device)
    if quantized.weight.quant_state is None:
        quantized.weight = quantized.weight._quantize(device)
    return quantized


def _dequantized(layer: nn.Module) -> Tensor:
    import bitsandbytes.functional as bnb

    return bnb.dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()
