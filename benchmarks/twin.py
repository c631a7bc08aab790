"""A model off every quantization grid with the same function: the fair ground for comparing roundings.

The default seed was de-quantized from a 4-bit file, so its own blocks can be kept bit for bit. Here
random per-channel scales are folded into each norm and the matrices that it feeds, and between the
values and the attention's output, and the up-projection and the down-projection.
"""

from __future__ import annotations

import torch

from birdbone.model.architecture import architecture_of
from birdbone.model.checkpoint import Checkpoint

SPREAD = 0.3
NORMS = {"input_layernorm": ("query", "key", "value"), "post_attention_layernorm": ("ffn",)}


def twin(seed: Checkpoint, random_seed: int = 0) -> Checkpoint:
    """The seed with other weights and the same function, up to float32 rounding. For llama-like families."""
    architecture, config = architecture_of(seed.config), seed.config
    generator = torch.Generator().manual_seed(random_seed)
    size = architecture.head_size(config)
    shared = architecture.heads(config) // architecture.kv_heads(config)
    new = {n: w.clone() for n, w in seed.weights.items()}

    def scales(count: int) -> torch.Tensor:
        return (SPREAD * torch.randn(count, generator=generator)).exp()

    for layer in range(seed.layers):
        for norm, fed in NORMS.items():
            name = f"{architecture.part(layer, norm)}.weight"
            s = scales(len(new[name]))
            new[name] /= s
            modules = architecture.ffn_inputs(layer) if fed == ("ffn",) else None
            for module in modules or [architecture.attention_part(layer, which) for which in fed]:
                new[f"{module}.weight"] *= s
        value, out = (f"{architecture.attention_part(layer, w)}.weight" for w in ("value", "output"))
        s = scales(len(new[value]))
        new[value] *= s[:, None]
        new[out] /= s.view(-1, size).repeat_interleave(shared, 0).flatten()
        up, down = f"{architecture.ffn_inputs(layer)[-1]}.weight", f"{architecture.ffn_output(layer)}.weight"
        s = scales(len(new[up]))
        new[up] *= s[:, None]
        new[down] /= s
    return Checkpoint(seed.config, new)
