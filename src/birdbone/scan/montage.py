"""Where each module's blocks lie in a picture: one slice per layer, side by side as in a brain
scan.

In a slice the attention modules (query, key, value, output) are stacked at the left, the FFN's are
at the right. The last one is turned, its columns downwards, so that a row across the FFN's three is
one run of neurons.
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
    """A module's place: top left block, row and column blocks, and whether it is drawn turned."""

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
    """All tiles on a canvas of ``height`` × ``width`` blocks.

    slices: layer -> (top, left, height, width).
    """

    tiles: tuple[Tile, ...]
    slices: dict[int, tuple[int, int, int, int]]
    height: int
    width: int

    def canvas(self, picture: Picture) -> np.ndarray:
        """SPS at each block's place, float32 [height, width], NaN between the modules."""
        canvas = np.full((self.height, self.width), np.nan, "f4")
        for tile in self.tiles:
            values = picture.blocks(tile.module.name).numpy()
            area = canvas[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
            area[:] = values.T if tile.turned else values
        return canvas


def montage(modules: tuple[Module, ...], block: int, shape: float = 1.75) -> Montage:
    """Slices in columns, so that width / height is near ``shape`` and few places stay empty."""
    layers: dict[int, list[Module]] = {}
    for module in modules:
        layers.setdefault(module.layer, []).append(module)
    by_layer = {layer: _slice(layers[layer], block) for layer in sorted(layers)}
    height = max(t.top + t.height for tiles in by_layer.values() for t in tiles)
    width = max(t.left + t.width for tiles in by_layer.values() for t in tiles)
    gap = 3 * SPACE
    down = height + gap + 2
    right = width + gap

    def unfit(columns: int) -> float:
        rows = -(-len(by_layer) // columns)
        return abs(np.log(columns * right / (rows * down) / shape)) + rows * columns / len(by_layer)

    columns = min(range(1, len(by_layer) + 1), key=unfit)
    tiles = []
    slices = {}
    for i, (layer, layer_tiles) in enumerate(by_layer.items()):
        top = gap + i // columns * down
        left = i % columns * right
        slices[layer] = (top, left, height, width)
        tiles += [
            Tile(t.module, t.top + top, t.left + left, t.rows, t.columns, t.turned)
            for t in layer_tiles
        ]
    rows = -(-len(by_layer) // columns)
    return Montage(tuple(tiles), slices, rows * down, columns * right - gap)


def _slice(modules: list[Module], block: int) -> list[Tile]:
    stacked = modules[:ATTENTION] if len(modules) > ATTENTION + 1 else []
    beside = modules[len(stacked) :]
    tiles = []
    top = 0
    left = 0
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
