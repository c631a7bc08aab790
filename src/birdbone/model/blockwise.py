"""Block by block through a network: only one block's activations live beside the hidden states.

Every family's blocks get the very arguments its own model passes them (masks, rotary tables), so
sliding windows and per-layer position tables need no special case.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from birdbone.model.layout import Block, Layout
from birdbone.model.network import blocks_of, device_of
from birdbone.progress import track

Batch = dict[str, Tensor]
BATCH = 4
"""Windows computed at once."""


class _Recorder(nn.Module):
    """Stands in for a block: notes its arguments and hands the hidden states on."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block, self.calls = block, []

    def __getattr__(self, name: str):
        return super().__getattr__(name) if name in ("block", "calls", "_modules") else getattr(self.block, name)

    def forward(self, hidden_states: Tensor, *args, **kwargs) -> Tensor:
        self.calls.append((hidden_states, args, kwargs))
        return hidden_states


@torch.no_grad()
def walk(
    network: nn.Module,
    layout: Layout,
    windows: Tensor,
    label: str,
    batch: int = BATCH,
    settle: bool = False,
) -> Iterator[tuple[int, Iterator[Batch]]]:
    """Yield (layer, batches); each batch maps the names of the block's ``inputs`` to the
    inputs [batch * T, features] those modules saw. Batches are computed as they are read.

    settle: the next block reads what this one gives once the caller is done with it, so that a
    change made to its weights meanwhile counts, for one more pass.
    """
    hidden, arguments = block_inputs(network, layout, windows.split(batch))
    blocks = blocks_of(network, layout)
    for layer in track(range(len(blocks)), label, unit="block"):
        calls = [a[layer] for a in arguments]
        run = _run_block(network, blocks[layer], layout.blocks[layer], hidden, calls, moves=not settle)
        yield layer, run
        for _ in run:
            pass
        if settle and layer + 1 < len(blocks):
            for i, call in enumerate(calls):
                hidden[i].copy_(block_output(blocks[layer], hidden[i], call))  # in place: no holes


@torch.no_grad()
def block_inputs(network: nn.Module, layout: Layout, batches: Sequence[Tensor]) -> tuple[list[Tensor], list[list]]:
    """Per batch of windows [B, T]: the first block's hidden states [B, T, H], and every block's
    other arguments.
    """
    device = device_of(network)
    hidden: list[Tensor] = []
    arguments: list[list] = []
    for ids in batches:
        first, calls = _arguments(network, layout, ids.to(device).long())
        hidden.append(first)
        arguments.append(calls)
    return hidden, arguments


def _arguments(network: nn.Module, layout: Layout, ids: Tensor) -> tuple[Tensor, list]:
    """What the model hands its blocks for these tokens: first hidden states, then (args, kwargs)
    each.
    """
    blocks = blocks_of(network, layout)
    originals = list(blocks)
    recorders = [_Recorder(block) for block in originals]
    try:
        for i, recorder in enumerate(recorders):
            blocks[i] = recorder
        network.base_model(ids, use_cache=False)
    finally:
        for i, block in enumerate(originals):
            blocks[i] = block
    return recorders[0].calls[0][0], [r.calls[0][1:] for r in recorders]


def block_output(block: nn.Module, hidden: Tensor, call: tuple) -> Tensor:
    """A block's hidden states [B, T, H] for the ones given and its other arguments as
    ``block_inputs`` has them.
    """
    args, kwargs = call
    out = block(hidden, *args, **kwargs)
    return out[0] if isinstance(out, tuple) else out


def _run_block(
    network: nn.Module,
    module: nn.Module,
    block: Block,
    hidden: list[Tensor],
    arguments: list,
    moves: bool,
) -> Iterator[Batch]:
    for i, call in enumerate(arguments):
        seen: Batch = {}
        handles = [network.get_submodule(name).register_forward_pre_hook(_note(seen, name)) for name in block.inputs]
        try:
            with torch.no_grad():
                out = block_output(module, hidden[i], call)
        finally:
            for handle in handles:
                handle.remove()
        if moves:
            hidden[i] = out
        yield seen


def _note(seen: Batch, name: str):
    def hook(_, args) -> None:
        seen[name] = args[0].flatten(0, -2)

    return hook
