"""Routers that learn: a dense network whose experts they switch on and off.

The switch multiplies an expert's neurons by 1 or 0 before the outgoing projection. That is the
stock mixture's sum to rounding, at the dense network's cost. It also gives routers a gradient for
experts left out. The stock layer gives none, since its routers act through the chosen experts'
weights alone. The experts stay the dense ones.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birdbone.algo.mixture import chosen_experts
from birdbone.mixture.model import Mixture
from birdbone.model.healing.trainable import Student
from birdbone.model.network import build


def routing_student(mixture: Mixture, device: str) -> tuple[Student, Callable[[], list[Tensor]]]:
    """A student in which only the routers learn, and a function that gives its present routers.

    The mixture's active experts are on. Each router is divided by its own root mean square, so that
    one learning rate suits all layers.
    """
    network = build(mixture.dense, device)
    sizes = [float(router.pow(2).mean().sqrt()) or 1.0 for router in mixture.routers]
    trained = {
        f"router.{layer}": nn.Parameter((router / sizes[layer]).to(device))
        for layer, router in enumerate(mixture.routers)
    }
    for layer, (parameter, size) in enumerate(zip(trained.values(), sizes, strict=True)):
        _switch(network, mixture, layer, lambda x, p=parameter, s=size: F.linear(x, p * s))

    def routers() -> list[Tensor]:
        return [(p.detach() * s).cpu() for p, s in zip(trained.values(), sizes, strict=True)]

    return Student(mixture.dense, network, trained, lambda: mixture.dense), routers


def _switch(
    network: nn.Module, mixture: Mixture, layer: int, router: Callable[[Tensor], Tensor]
) -> None:
    """Let a router decide which of a layer's neurons reach its outgoing projection."""
    block = mixture.dense.layout.blocks[layer]
    shape = mixture.shape
    seen: dict[str, Tensor] = {}

    def note(_, args: tuple) -> None:
        seen["x"] = args[0]

    def silence(_, args: tuple) -> tuple:
        x = seen.pop("x")
        with torch.autocast(x.device.type, enabled=False):  # near ties are decided by the last bits
            chosen = chosen_experts(router(x.float()), mixture.active)
        shared = chosen.new_ones(*chosen.shape[:-1], shape.shared)
        return (args[0] * torch.cat([shared, chosen.repeat_interleave(shape.width, -1)], -1),)

    network.get_submodule(block.ffn_inputs[0]).register_forward_pre_hook(note)
    network.get_submodule(block.ffn_output).register_forward_pre_hook(silence)
