"""Tiny models made by hand, pruned and healed, and any tensors of any type; no bit of them is
special.
"""

from __future__ import annotations

import struct

import torch
from hypothesis import strategies as st

from birdbone.diff.bits import CODES
from birdbone.diff.states import State, state_of
from birdbone.model.checkpoint import Checkpoint, tensor_digest
from birdbone.model.masks import Masks

CONFIG = {
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 2,
    "vocab_size": 10,
    "rope_theta": 1e-05,
}
DTYPES = list(CODES)
SHAPES = [(), (0,), (3, 0, 2), (1,), (7,), (3, 5), (2, 3, 4)]


def random_bits(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> torch.Tensor:
    """Any bit patterns: NaN payloads, infinities, subnormals and -0.0 among them."""
    generator = torch.Generator().manual_seed(seed)
    if dtype == torch.bool:
        return torch.rand(shape, generator=generator) > 0.5
    count = torch.Size(shape).numel()
    data = torch.randint(0, 256, (count * dtype.itemsize,), generator=generator, dtype=torch.uint8)
    return data.view(dtype).reshape(shape) if count else torch.empty(shape, dtype=dtype)


def tiny(
    seed: int = 0, dtype: torch.dtype = torch.float32, bias: bool = False, **config: object
) -> Checkpoint:
    """A llama of three layers, its node projections of random weights, everything else too."""
    config = {**CONFIG, **config}
    hidden, ffn, heads, groups = 8, config["intermediate_size"], 4 * 2, 2 * 2
    generator = torch.Generator().manual_seed(seed)
    shapes = {"model.embed_tokens.weight": (10, hidden), "model.norm.weight": (hidden,)}
    for layer in range(config["num_hidden_layers"]):
        parts = {
            "q": (heads, hidden),
            "k": (groups, hidden),
            "v": (groups, hidden),
            "o": (hidden, heads),
        }
        modules = {f"self_attn.{n}_proj": shape for n, shape in parts.items()}
        modules |= {f"mlp.{n}_proj": (ffn, hidden) for n in ("gate", "up")} | {
            "mlp.down_proj": (hidden, ffn)
        }
        for name, shape in modules.items():
            shapes[f"model.layers.{layer}.{name}.weight"] = shape
            if bias:
                shapes[f"model.layers.{layer}.{name}.bias"] = shape[:1]
        shapes[f"model.layers.{layer}.input_layernorm.weight"] = (hidden,)
    return Checkpoint(
        config, {n: torch.randn(s, generator=generator).to(dtype) for n, s in shapes.items()}
    )


def healed(checkpoint: Checkpoint, seed: int = 1) -> Checkpoint:
    """Every weight a little different, zeros where a weight mask says so."""
    generator, weights = torch.Generator().manual_seed(seed), {}
    for name, weight in checkpoint.weights.items():
        moved = weight + 0.01 * torch.randn(weight.shape, generator=generator).to(weight.dtype)
        mask = checkpoint.masks.weights.get(name)
        weights[name] = moved if mask is None else moved * mask
    return checkpoint.evolve(weights)


def masked(checkpoint: Checkpoint, name: str, seed: int) -> Checkpoint:
    """A random weight mask on one tensor, its weights zero there."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(checkpoint.weights[name].shape, generator=generator) > 0.4
    return checkpoint.evolve({name: checkpoint.weights[name] * mask}, Masks(weights={name: mask}))


def all_but(count: int, *gone: int) -> torch.Tensor:
    stays = torch.ones(count, dtype=torch.bool)
    stays[list(gone)] = False
    return stays


def digests(state: State) -> dict[str, str]:
    """Every tensor and mask by its digest, all of them read."""
    parts = {"weight": state.weights, "mask": state.masks}
    return {
        f"{part} {n}": tensor_digest(tensors[n]) for part, tensors in parts.items() for n in tensors
    }


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


def header_of(patch: bytes) -> bytes:
    return patch[16 : 16 + struct.unpack("<Q", patch[8:16])[0]]


@st.composite
def any_pairs(draw) -> tuple[State, State]:
    """Two states whose tensors are the same, changed, reshaped, of another type, or only on one
    side.
    """
    sides: list[dict] = [{}, {}]
    masks: list[dict] = [{}, {}]
    for i in range(draw(st.integers(0, 6))):
        dtype, shape = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(SHAPES))
        first = random_bits(shape, dtype, draw(st.integers(0, 99)))
        second = draw(
            st.sampled_from(
                [
                    first,
                    random_bits(shape, dtype, 100),
                    random_bits((5, 2), dtype, 101),
                    random_bits(shape, torch.bfloat16, 102),
                    None,
                ]
            )
        )
        name = draw(st.sampled_from([f"t{i}", f"ünï {i}", f"a.{i}/b\\\"'"]))
        for side, tensor in zip(sides, draw(st.permutations([first, second])), strict=True):
            side.update({} if tensor is None else {name: tensor})
    for i in range(draw(st.integers(0, 3))):
        for side in masks:
            if draw(st.booleans()):
                shape = draw(st.sampled_from(SHAPES))
                side[f"m{i}"] = random_bits(shape, torch.bool, draw(st.integers(0, 1)))
    configs = [
        {"model_type": "any", "n": draw(st.sampled_from([1, 1.5e-7, "é"]))} for _ in range(2)
    ]
    old, new = (
        state_of(Checkpoint(c, w, Masks(weights=m)))
        for c, w, m in zip(configs, sides, masks, strict=True)
    )
    return old, new
