"""Where each module's blocks lie in a picture: one slice per layer, slices side by side as in a
brain scan.

In a slice the attention modules stand one on another at the left (query, key, value, output), the
FFN's at the right; the last one is turned (its columns downwards), so that a row of the FFN's three
is one run of neurons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from birdbone.datasets.mscan import Module
from birdbone.datasets.mscan_reader import blocks
from birdbone.scan.picture import Picture

ATTENTION = 4
SPACE = 1
"""Empty blocks between modules; slices lie three times as far apart."""


@dataclass(frozen=True)
class Tile:
    """A module's place: its top left block, its row and column blocks, and whether it is drawn
    turned.
    """

    module: Module
    top: int
    left: int
    rows: int
    columns: int
    turned: bool

    @property
    def height(self) -> int:
        return self.columns if self.turned else self.rows

    @property
    def width(self) -> int:
        return self.rows if self.turned else self.columns


@dataclass(frozen=True)
class Montage:
    """All tiles on a canvas of ``height`` × ``width`` blocks; slices: layer -> (top, left, height,
    width).
    """

    tiles: tuple[Tile, ...]
    slices: dict[int, tuple[int, int, int, int]]
    height: int
    width: int

    def canvas(self, picture: Picture) -> np.ndarray:
        """SPS at each block's place, float32 [height, width], NaN between the modules."""
        canvas = np.full((self.height, self.width), np.nan, "f4")
        for tile in self.tiles:
            found = picture.blocks(tile.module.name).numpy()
            area = canvas[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
            area[:] = found.T if tile.turned else found
        return canvas


def montage(modules: tuple[Module, ...], block: int, shape: float = 1.75) -> Montage:
    """Slices in as many columns as bring the canvas near to ``shape`` (width / height) with few
    places empty.
    """
    layers: dict[int, list[Module]] = {}
    for module in modules:
        layers.setdefault(module.layer, []).append(module)
    own = {layer: _slice(found, block) for layer, found in sorted(layers.items())}
    height = max(t.top + t.height for tiles in own.values() for t in tiles)
    width = max(t.left + t.width for tiles in own.values() for t in tiles)
    gap = 3 * SPACE
    down, right = height + gap + 2, width + gap

    def unfit(columns: int) -> float:
        rows = -(-len(own) // columns)
        return abs(np.log(columns * right / (rows * down) / shape)) + rows * columns / len(own)

    columns = min(range(1, len(own) + 1), key=unfit)
    tiles, slices = [], {}
    for i, (layer, found) in enumerate(own.items()):
        top, left = gap + i // columns * down, i % columns * right
        slices[layer] = (top, left, height, width)
        tiles += [
            Tile(t.module, t.top + top, t.left + left, t.rows, t.columns, t.turned) for t in found
        ]
    rows = -(-len(own) // columns)
    return Montage(tuple(tiles), slices, rows * down, columns * right - gap)


def _slice(modules: list[Module], block: int) -> list[Tile]:
    stacked = modules[:ATTENTION] if len(modules) > ATTENTION + 1 else []
    beside = modules[len(stacked) :]
    tiles, top, left = [], 0, 0
    for module in stacked:
        tiles.append(_tile(module, top, 0, block))
        top += tiles[-1].height + SPACE
        left = max(left, tiles[-1].width + SPACE)
    for place, module in enumerate(beside):
        turned = bool(stacked) and place == len(beside) - 1
        tiles.append(_tile(module, 0, left, block, turned))
        left += tiles[-1].width + SPACE
    return tiles


def _tile(module: Module, top: int, left: int, block: int, turned: bool = False) -> Tile:
    return Tile(
        module, top, left, blocks(module.outputs, block), blocks(module.inputs, block), turned
    )
