"""How the numbers of a tensor stand in a GGUF file, and back: rotary pairs, offsets, heads in another order.

Both ways in one place, so that what ``plan`` writes ``sources.gguf`` reads.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from birdbone.model.family import Tiled
from birdbone.model.layout import Block, Layout


def to_file(layout: Layout, arch: str, name: str, weight: Tensor) -> Tensor:
    """A weight's numbers as the file holds them, in the file's order."""
    block, part = _place(layout, name)
    if offset := _offset(layout, block, name):
        weight = weight + offset
    if part in layout.family.gguf.decays:
        weight = -weight.exp()
    return rows_to_file(layout, arch, name, weight)


def rows_to_file(layout: Layout, arch: str, name: str, rows: Tensor) -> Tensor:
    """Rows and columns in the file's order; of packed rows, where heads are whole blocks, their bytes."""
    block, part = _place(layout, name)
    if part is None:
        return rows
    if layout.family.gguf.pairs(arch) and _turns(block, part):
        rows = _by_pairs(rows, block.head_size, lambda pairs: pairs.unflatten(1, (2, -1)))
    return _tiled(layout, part, rows)


def from_file(layout: Layout, arch: str, name: str, tensor: Tensor) -> Tensor:
    """The inverse of ``to_file``."""
    block, part = _place(layout, name)
    if part is not None:
        if layout.family.gguf.pairs(arch) and _turns(block, part):
            tensor = _by_pairs(tensor, block.head_size, lambda pairs: pairs.unflatten(1, (-1, 2)))
        tensor = _tiled(layout, part, tensor, back=True)
    if part in layout.family.gguf.decays:
        tensor = (-tensor).log()
    offset = _offset(layout, block, name)
    return tensor - offset if offset else tensor


def _place(layout: Layout, name: str) -> tuple[Block | None, str | None]:
    """(the block a tensor is of, its module's name there); None for one outside the blocks."""
    start = f"{layout.family.blocks}."
    if not name.startswith(start):
        return None, None
    layer, _, part = name.removeprefix(start).partition(".")
    return layout.blocks[int(layer)], part.removesuffix(".weight").removesuffix(".bias")


def _offset(layout: Layout, block: Block | None, name: str) -> float:
    """What is added to a norm's weights."""
    norms = block.norms if block else [layout.family.final_norm]
    return layout.family.norms.offset if name.removesuffix(".weight") in norms else 0


def _turns(block: Block, part: str) -> bool:
    return part in (block.family.attention.query, block.family.attention.key)


def _by_pairs(rows: Tensor, size: int, parted: Callable[[Tensor], Tensor]) -> Tensor:
    """Each head's rows with the two dimensions that ``parted`` makes of them exchanged."""
    return parted(rows.reshape(rows.shape[0] // size, size, -1)).transpose(1, 2).reshape(rows.shape)


def _tiled(layout: Layout, part: str, tensor: Tensor, back: bool = False) -> Tensor:
    """Heads in llama.cpp's order, or from it."""
    tiled = layout.family.gguf.tiled
    if tiled is None or part not in (*tiled.rows, *tiled.columns, *tiled.single):
        return tensor
    if part in tiled.columns:
        return _reordered(tensor.T, layout.config, tiled, tensor.shape[1], back).T
    heads = layout.config[tiled.heads]
    count = heads if part in tiled.single else heads * layout.config[tiled.size]
    return _reordered(tensor, layout.config, tiled, count, back)


def _reordered(tensor: Tensor, config: dict, tiled: Tiled, count: int, back: bool) -> Tensor:
    """The last ``count`` rows, which are heads one after another, in the other order of heads."""
    groups, each = config[tiled.groups], config[tiled.heads] // config[tiled.groups]
    parts = (each, groups) if back else (groups, each)
    first, heads = tensor[:-count], tensor[-count:]
    turned = heads.unflatten(0, (*parts, -1)).transpose(0, 1).flatten(0, 2)
    return torch.cat([first, turned])
