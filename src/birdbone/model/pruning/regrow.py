"""Bring removed neurons back where the loss asks for them most."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from birdbone.algo.regrowth import best_chunks, outgoing_gradient, refit_columns
from birdbone.model.architecture import Architecture, architecture_of
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.network import build
from birdbone.model.observing.gradients import gradients
from birdbone.model.pruning.removal import ffn_width, grow_neurons, node_masks
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
    architecture = architecture_of(checkpoint.config)
    masks = node_masks(checkpoint)
    removed = {i: torch.nonzero(~masks[f"ffn.{i}"]).flatten() for i in range(checkpoint.layers)}
    removed = {i: found for i, found in removed.items() if len(found)}
    limit = int(share * sum(len(found) for found in removed.values()))
    if limit < multiple:
        return checkpoint, {}
    network = build(checkpoint, device)
    full = build(seed, device)
    gains = _gains(network, full, architecture, removed, windows)
    widths = {i: ffn_width(checkpoint, i) for i in removed}
    chosen = best_chunks(gains, removed, widths, limit, multiple)
    columns = _columns(network, full, architecture, chosen, windows, damping)
    grown = checkpoint
    for layer, neurons in chosen.items():
        grown = grow_neurons(grown, seed, layer, neurons, columns[layer])
    return grown, {str(layer): len(neurons) for layer, neurons in chosen.items()}


def candidates(full: nn.Module, architecture: Architecture, layer: int, neurons: Tensor, x: Tensor) -> Tensor:
    """Activations [tokens, k] the seed's ``neurons`` would have on the FFN input x [tokens, hidden]."""
    down = full.get_submodule(architecture.ffn_output(layer))
    caught: list[Tensor] = []
    handle = down.register_forward_pre_hook(lambda _, args: caught.append(args[0]))
    try:
        full.get_submodule(architecture.ffn_output(layer).rpartition(".")[0])(x)
    finally:
        handle.remove()
    return caught[0][:, neurons]


def _gains(network, full, architecture, removed, windows) -> dict[int, Tensor]:
    """‖∂L/∂W_down[:, j]‖ of every removed neuron, by layer."""
    names = [architecture.ffn_output(i) for i in removed]
    sums: dict[int, Tensor] = {}
    device = next(network.parameters()).device
    for ids in track(windows, "regrow: gradients", unit="window"):
        inputs = _ffn_inputs(network, architecture, removed, ids.to(device))
        pairs = gradients(network, names, ids.to(device))
        for layer, neurons in removed.items():
            with torch.no_grad():
                h = candidates(full, architecture, layer, neurons, inputs[layer][:-1])
            sums[layer] = sums.get(layer, 0) + outgoing_gradient(h, pairs[architecture.ffn_output(layer)][1])
    return {layer: total.norm(dim=0).cpu() for layer, total in sums.items()}


@torch.no_grad()
def _columns(network, full, architecture, chosen, windows, damping) -> dict[int, Tensor]:
    """Output columns of the returning neurons, by layer."""
    crosses: dict[int, Tensor] = {}
    squares: dict[int, Tensor] = {}
    device = next(network.parameters()).device
    for ids in track(windows, "regrow: refit", unit="window"):
        inputs = _ffn_inputs(network, architecture, chosen, ids.to(device))
        for layer, neurons in chosen.items():
            ffn = architecture.ffn_output(layer).rpartition(".")[0]
            x = inputs[layer]
            lacks = full.get_submodule(ffn)(x) - network.get_submodule(ffn)(x)
            h = candidates(full, architecture, layer, neurons, x)
            crosses[layer] = crosses.get(layer, 0) + lacks.T @ h
            squares[layer] = squares.get(layer, 0) + h.T @ h
    return {i: refit_columns(crosses[i], squares[i], damping).cpu() for i in chosen}


@torch.no_grad()
def _ffn_inputs(network, architecture: Architecture, layers, ids: Tensor) -> dict[int, Tensor]:
    """What the FFN of each layer takes in, for one window [T]: [T, hidden]."""
    seen: dict[int, Tensor] = {}
    handles = []
    for layer in layers:

        def note(_, args, layer=layer) -> None:
            seen[layer] = args[0].detach()[0]

        handles.append(network.get_submodule(architecture.ffn_inputs(layer)[0]).register_forward_pre_hook(note))
    try:
        network(ids.view(1, -1).long(), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return seen
