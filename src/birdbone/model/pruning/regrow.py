"""Bring removed neurons back where the loss asks for them most."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from birdbone.algo.regrowth import best_chunks, outgoing_gradient, refit_columns
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.layout import Block, Layout
from birdbone.model.network import build, device_of
from birdbone.model.observing.gradients import gradients
from birdbone.model.pruning.removal import return_nodes
from birdbone.model.units import Nodes
from birdbone.progress import track


def regrow(
    checkpoint: Checkpoint,
    seed: Checkpoint,
    windows: Tensor,
    share: float,
    multiple: int,
    device: str,
    damping: float = 0.01,
) -> tuple[Checkpoint, dict[str, int]]:
    """The checkpoint with up to ``share`` of its removed neurons returned, and how many per layer.

    Candidates have the seed's incoming rows and no output yet; their score is the norm of the
    gradient their output column would get. Returning columns are then fitted by least squares to
    what the layer's output lacks of the seed's on ``windows`` [N, T].
    """
    layout = checkpoint.layout
    removed = {i: torch.nonzero(~checkpoint.node_mask(Nodes("ffn", i))).flatten() for i in range(layout.layers)}
    removed = {layer: numbers for layer, numbers in removed.items() if len(numbers)}
    limit = int(share * sum(map(len, removed.values())))
    if limit < multiple:
        return checkpoint, {}
    network = build(checkpoint, device)
    full = build(seed, device)
    gains = _gains(network, full, layout, removed, windows)
    widths = {layer: checkpoint.count("ffn", layer) for layer in removed}
    chosen = best_chunks(gains, removed, widths, limit, multiple)
    columns = _columns(network, full, layout, chosen, windows, damping)
    grown = checkpoint
    for layer, neurons in chosen.items():
        grown = return_nodes(grown, seed, Nodes("ffn", layer), neurons, columns[layer])
    return grown, {str(layer): len(neurons) for layer, neurons in chosen.items()}


def candidates(full: nn.Module, block: Block, neurons: Tensor, x: Tensor) -> Tensor:
    """Activations [tokens, k] the seed's ``neurons`` would have on the FFN input x [tokens,
    hidden].
    """
    down = full.get_submodule(block.ffn_output)
    caught: list[Tensor] = []
    handle = down.register_forward_pre_hook(lambda _, args: caught.append(args[0]))
    try:
        full.get_submodule(block.ffn)(x)
    finally:
        handle.remove()
    return caught[0][:, neurons]


def _gains(
    network: nn.Module, full: nn.Module, layout: Layout, removed: dict[int, Tensor], windows: Tensor
) -> dict[int, Tensor]:
    """‖∂L/∂W_down[:, j]‖ of every removed neuron, by layer."""
    outputs = {layer: layout.blocks[layer].ffn_output for layer in removed}
    sums: dict[int, Tensor] = {}
    for ids in track(windows, "regrow: gradients", unit="window"):
        ids = ids.to(device_of(network))
        inputs = _ffn_inputs(network, layout, removed, ids)
        pairs = gradients(network, list(outputs.values()), ids)
        for layer, neurons in removed.items():
            with torch.no_grad():
                h = candidates(full, layout.blocks[layer], neurons, inputs[layer][:-1])
            sums[layer] = sums.get(layer, 0) + outgoing_gradient(h, pairs[outputs[layer]][1])
    return {layer: total.norm(dim=0).cpu() for layer, total in sums.items()}


@torch.no_grad()
def _columns(
    network: nn.Module,
    full: nn.Module,
    layout: Layout,
    chosen: dict[int, Tensor],
    windows: Tensor,
    damping: float,
) -> dict[int, Tensor]:
    """Output columns of the returning neurons, by layer."""
    crosses: dict[int, Tensor] = {}
    squares: dict[int, Tensor] = {}
    for ids in track(windows, "regrow: refit", unit="window"):
        inputs = _ffn_inputs(network, layout, chosen, ids.to(device_of(network)))
        for layer, neurons in chosen.items():
            block = layout.blocks[layer]
            x = inputs[layer]
            lacks = full.get_submodule(block.ffn)(x) - network.get_submodule(block.ffn)(x)
            h = candidates(full, block, neurons, x)
            crosses[layer] = crosses.get(layer, 0) + lacks.T @ h
            squares[layer] = squares.get(layer, 0) + h.T @ h
    return {layer: refit_columns(crosses[layer], squares[layer], damping).cpu() for layer in chosen}


@torch.no_grad()
def _ffn_inputs(network: nn.Module, layout: Layout, layers: Iterable[int], ids: Tensor) -> dict[int, Tensor]:
    """What the FFN of each layer takes in, for one window [T]: [T, hidden]."""
    seen: dict[int, Tensor] = {}
    handles = []
    for layer in layers:

        def note(_, args, layer=layer) -> None:
            seen[layer] = args[0].detach()[0]

        first = network.get_submodule(layout.blocks[layer].ffn_inputs[0])
        handles.append(first.register_forward_pre_hook(note))
    try:
        network(ids.view(1, -1).long(), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return seen
