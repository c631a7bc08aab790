"""Where the blocks of a picture lie."""

import torch
from small_scans import MODULES, scan_file

from birdbone.scan.montage import montage
from birdbone.scan.picture import token_picture


def test_every_block_has_one_place_in_the_montage(tmp_path):
    found = token_picture(scan_file(tmp_path / "s.mscan", {"code": 1}), 0)
    plan = montage(found.modules, found.block)
    canvas = torch.from_numpy(plan.canvas(found))
    values = torch.cat([found.blocks(m.name).flatten() for m in MODULES])
    torch.testing.assert_close(canvas[~canvas.isnan()].sort().values, values.sort().values)
    down = next(t for t in plan.tiles if t.module.name == "layers.1.down_proj")
    placed = canvas[down.top : down.top + down.height, down.left : down.left + down.width]
    torch.testing.assert_close(placed, found.blocks("layers.1.down_proj").T)
