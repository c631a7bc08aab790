"""Silencing nodes: what a network loses without them, by hooks; no weight is copied or changed.

Legend: N windows, T tokens, H hidden size. A set of nodes is ``layer -> numbers into the layer``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from birdbone.errors import NumericalError
from birdbone.model.blockwise import BATCH
from birdbone.model.judging.evaluate import kl_divergence, window_nll
from birdbone.model.layout import Layout
from birdbone.model.network import blocks_of, device_of
from birdbone.progress import track


class _Given(nn.Module):
    """Stands in for a block before the first silenced one: hands on hidden states computed
    already.
    """

    def __init__(self, block: nn.Module, hidden: Tensor) -> None:
        super().__init__()
        self.block, self.hidden = block, hidden

    def __getattr__(self, name: str):
        return super().__getattr__(name) if name in ("block", "_modules", "_buffers") else getattr(self.block, name)

    def forward(self, *args, **kwargs) -> Tensor:
        return self.hidden


@contextmanager
def silenced(network: nn.Module, layout: Layout, nodes: dict[int, Tensor]) -> Iterator[None]:
    """Within it, the FFN nodes give 0 to the residual stream: zeros at the input of the output
    projection.

    Raises ValueError on a node that the layer does not have.
    """
    with ExitStack() as hooks:
        for layer, chosen in nodes.items():
            output = network.get_submodule(layout.blocks[layer].ffn_output)
            if len(chosen) and not 0 <= int(chosen.min()) <= int(chosen.max()) < output.in_features:
                raise ValueError(f"layer {layer} has {output.in_features} nodes, asked to silence {int(chosen.max())}")
            hooks.callback(output.register_forward_pre_hook(_zero(chosen)).remove)
        yield


def ablated_losses(
    network: nn.Module,
    layout: Layout,
    windows: Tensor,
    sets: Sequence[dict[int, Tensor]],
    label: str,
) -> Tensor:
    """Summed negative log-likelihood of each window [1 + sets, N] (nats, float64): intact, then
    without each set.

    Raises NumericalError where a loss is not finite.
    """
    return _ablated(network, layout, windows, sets, label, lambda logits, _, ids: window_nll(logits, ids))


def ablated_divergences(
    network: nn.Module,
    layout: Layout,
    windows: Tensor,
    sets: Sequence[dict[int, Tensor]],
    label: str,
) -> Tensor:
    """KL(intact || without a set) of each window, summed over its positions [sets, N] (nats,
    float64).

    Raises NumericalError where one is not finite.
    """
    return _ablated(network, layout, windows, sets, label, _divergences)[1:]


def _divergences(logits: Tensor, intact: Tensor, ids: Tensor) -> Tensor:
    rows = zip(logits[:, :-1], intact[:, :-1], strict=True)
    return torch.stack([kl_divergence(ours, theirs).double().sum().cpu() for ours, theirs in rows])


@torch.no_grad()
def _ablated(
    network: nn.Module,
    layout: Layout,
    windows: Tensor,
    sets: Sequence[dict[int, Tensor]],
    label: str,
    measure: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Tensor:
    """``measure`` of (logits, the intact network's logits, ids) per window: [1 + sets, N].

    A pass without a set begins at its first layer, from the intact network's hidden states there;
    only those of one batch of windows are held.
    """
    device = device_of(network)
    starts = sorted({min(nodes) for nodes in sets})
    rows = []
    for ids in track(windows.split(BATCH), label, unit="batch"):
        ids = ids.to(device).long()
        with _noted(network, layout, starts) as hidden:
            intact = network(ids, use_cache=False).logits
            measured = [measure(intact, intact, ids)]
        for nodes in sets:
            first = min(nodes)
            with _from(network, layout, first, hidden[first]), silenced(network, layout, nodes):
                measured.append(measure(network(ids, use_cache=False).logits, intact, ids))
        rows.append(torch.stack(measured))
    whole = torch.cat(rows, 1)
    if not whole.isfinite().all():
        raise NumericalError("a loss is not finite with nodes silenced: look at the model's weights")
    return whole


@contextmanager
def _noted(network: nn.Module, layout: Layout, layers: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """The hidden states that enter each of these blocks, filled while it is open."""
    hidden: dict[int, Tensor] = {}

    def note(layer: int):
        def hook(_, args: tuple) -> None:
            hidden[layer] = args[0]

        return hook

    blocks = blocks_of(network, layout)
    with ExitStack() as hooks:
        for layer in layers:
            hooks.callback(blocks[layer].register_forward_pre_hook(note(layer)).remove)
        yield hidden


@contextmanager
def _from(network: nn.Module, layout: Layout, first: int, hidden: Tensor) -> Iterator[None]:
    """The network begins at block ``first`` with these hidden states."""
    blocks = blocks_of(network, layout)
    originals = list(blocks[:first])
    try:
        for layer, block in enumerate(originals):
            blocks[layer] = _Given(block, hidden)
        yield
    finally:
        for layer, block in enumerate(originals):
            blocks[layer] = block


def _zero(chosen: Tensor):
    def hook(_, args: tuple) -> tuple:
        h = args[0].clone()
        h[..., chosen.to(h.device)] = 0
        return (h, *args[1:])

    return hook
