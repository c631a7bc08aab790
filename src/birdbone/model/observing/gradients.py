"""One forward and one backward pass per window: activations and output gradients, no weight
gradients.

Gradients are of the loss summed over a window's positions; position t's share includes later
tokens. The last position has no target and is left out everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birdbone.algo.sps import NodeMoments
from birdbone.errors import NumericalError
from birdbone.model.layout import Block, Layout
from birdbone.model.network import device_of
from birdbone.model.units import Nodes
from birdbone.progress import track

Pairs = dict[str, tuple[Tensor, Tensor]]


def gradients(network: nn.Module, names: list[str], ids: Tensor) -> Pairs:
    """For one window of tokens [T]: module name -> (input [T-1, in], gradient at its output [T-1,
    out]).

    Raises NumericalError naming the module whose gradients are not finite, or all zero. Of two
    tokens alone the first is scored, and attends to itself alone: its query and key rightly have
    none.
    """
    network.requires_grad_(False)
    seen: dict[str, list[Tensor]] = {name: [] for name in names}

    def note(name: str) -> Callable:
        def hook(module: nn.Module, args: tuple, output: Tensor) -> None:
            if not seen[name]:  # a streamed block comes by again on the way back: that graph would hold its weights
                seen[name] = [args[0], output]

        return hook

    handles = [network.get_submodule(name).register_forward_hook(note(name)) for name in names]
    start = network.get_input_embeddings().register_forward_hook(lambda m, a, out: out.requires_grad_(True))
    try:
        with torch.enable_grad():
            logits = network(ids.view(1, -1).long(), use_cache=False).logits[0, :-1]
            loss = F.cross_entropy(logits.float(), ids[1:].long(), reduction="sum")
            slopes = torch.autograd.grad(loss, [seen[name][1] for name in names])
    finally:
        for handle in [*handles, start]:
            handle.remove()
    pairs = {name: (seen[name][0].detach()[0, :-1], grad[0, :-1]) for name, grad in zip(names, slopes, strict=True)}
    for name, (_, grad) in pairs.items():
        if not torch.isfinite(grad).all():
            raise NumericalError(f"{name}: gradients are not finite on this text")
        if len(ids) > 2 and not grad.any():
            raise NumericalError(f"{name}: every gradient is zero on this text, so no score can be trusted")
    return pairs


def node_moments(
    network: nn.Module,
    layout: Layout,
    windows: Tensor,
    label: str,
    also: Callable[[Tensor, Pairs], None] | None = None,
) -> tuple[dict[Nodes, NodeMoments], dict[str, Tensor], dict[str, Tensor]]:
    """What every node does over ``windows`` [N, T], and where an error would matter.

    Returns moments of every layer's nodes, and for every linear module the mean
    squared output gradient per channel [out] (diagonal Fisher information) and per token [N, T],
    the latter divided by its mean over the scored positions (the last of a window has none: 0).
    ``also`` is called with each window's tokens and its (input, output gradient) pairs.
    """
    device = device_of(network)
    names = layout.linears
    moments: dict[Nodes, NodeMoments] = {}
    fisher: dict[str, Tensor] = {}
    tokens = {name: torch.zeros(windows.shape) for name in names}
    for row, ids in enumerate(track(windows, label, unit="window")):
        pairs = gradients(network, names, ids.to(device))
        for nodes, (h, grad, count) in node_values(network, layout, pairs).items():
            moments[nodes] = moments.get(nodes, NodeMoments.zero(count)).add(h, grad)
        for name, (_, grad) in pairs.items():
            squared = grad.float().square().cpu()
            fisher[name] = fisher.get(name, 0) + squared.sum(0)
            tokens[name][row, :-1] = squared.mean(1)
        if also:
            also(ids, pairs)
    count = windows.shape[0] * (windows.shape[1] - 1)
    return (
        moments,
        {name: total / count for name, total in fisher.items()},
        {name: weight * (count / weight.sum()) for name, weight in tokens.items()},
    )


def node_values(network: nn.Module, layout: Layout, pairs: Pairs) -> dict[Nodes, tuple[Tensor, Tensor, int]]:
    """(h, ∂L/∂h, how many) of every layer's nodes, h and gradient [T-1, nodes·w]: what the nodes
    hand on.
    """
    return {nodes: _handed_on(network, layout.blocks[nodes.layer], nodes.unit, pairs) for nodes in layout.nodes}


def _handed_on(network: nn.Module, block: Block, unit: str, pairs: Pairs) -> tuple[Tensor, Tensor, int]:
    """At the module that reads the nodes: the gradient goes back through its weight."""
    h, grad = pairs[block.reader(unit)]
    weight = network.get_submodule(block.reader(unit)).weight
    axis = block.axes[f"{block.reader(unit)}.weight"]
    return h, grad @ weight.to(grad), axis.count(weight.shape)
