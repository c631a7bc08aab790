"""Weights stored in eight-bit floats with scales beside them, as ``quant_method: fp8`` describes
them.

A scale multiplies its weight: one for the whole matrix, one for each row, or one for each block.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from birdbone.errors import ArtifactError
from birdbone.sources.files import Stored

SCALES = ("_scale_inv", "_scale")
ACTIVATIONS = (".activation_scale", ".input_scale")
"""What a runtime would round activations by; weights are the same without."""


def scale_names(tensors: dict[str, Stored]) -> dict[str, str]:
    """The scale of every eight-bit weight, by the weight's name. Raises ArtifactError for a weight
    without one.
    """
    scales = {}
    for name, stored in tensors.items():
        if not stored.dtype.startswith("F8_") or name.endswith(SCALES):
            continue
        scale = next((name + end for end in SCALES if name + end in tensors), None)
        if scale is None:
            raise ArtifactError(f"{stored.file}: tensor {name} is FP8 and has no {name}_scale_inv. Download it again")
        scales[name] = scale
    return scales


def weights_alone(tensors: dict[str, Stored]) -> dict[str, Stored]:
    """The tensors without the scales of FP8 weights."""
    scales = scale_names(tensors)
    modules = tuple(name.rpartition(".")[0] for name in scales)
    used = {*scales.values(), *(module + end for module in modules for end in ACTIVATIONS)}
    return {name: stored for name, stored in tensors.items() if name not in used}


def dequantized(name: str, weight: Tensor, scale: Tensor, quantization: dict[str, Any]) -> Tensor:
    """An FP8 weight [out, in] as float32. Raises ArtifactError where its scale's shape does not
    fit.
    """
    weight, scale = weight.float(), scale.float()
    if scale.numel() == 1:
        return weight * scale.reshape(())
    if scale.numel() == weight.shape[0] and scale.dim() <= 2:
        return weight * scale.reshape(-1, 1)
    block = quantization.get("weight_block_size")
    if not (isinstance(block, list | tuple) and len(block) == 2 and all(isinstance(b, int) and b > 0 for b in block)):
        raise ArtifactError(
            f"tensor {name} has a scale of shape {list(scale.shape)}, but config.json's "
            f"quantization_config.weight_block_size is {block}"
        )
    expected = [-(-size // b) for size, b in zip(weight.shape, block, strict=True)]
    if list(scale.shape) != expected:
        raise ArtifactError(f"tensor {name} has a scale of shape {list(scale.shape)}, its blocks need {expected}")
    for dim, size in enumerate(block):
        scale = scale.repeat_interleave(size, dim).narrow(dim, 0, weight.shape[dim])
    return weight * scale
