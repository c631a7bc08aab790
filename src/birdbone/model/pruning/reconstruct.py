"""Block-wise reconstruction: each decoder block in turn learns to give the seed's block's output.

No pass through the whole network and none through the head, so that a step costs a fraction of
distilling (after BRECQ, Li et al. 2021, arXiv:2102.05426). A block reads what the healed blocks
before it give, and so also makes up for what they still do wrong.
"""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.errors import NumericalError
from birdbone.model.blockwise import block_inputs, block_output
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.healing.recipe import Recipe
from birdbone.model.healing.trainable import Student
from birdbone.model.network import blocks_of, build, device_of
from birdbone.progress import track


def reconstruct(student: Student, seed: Checkpoint, windows: Tensor, recipe: Recipe) -> tuple[Checkpoint, list[dict]]:
    """The healed checkpoint and one row per block: its error before and after, a share of the
    seed's output power.

    windows [N, T] are used in order, ``recipe.batch`` a step, ``recipe.steps`` steps a block. Every
    masked weight of the result is exactly 0. Raises NumericalError when an error is not finite.
    """
    layout = student.start.layout
    teacher = build(seed, str(device_of(student.network)))
    curve = []
    parts = windows.split(recipe.batch)
    targets, arguments = block_inputs(teacher, layout, parts)
    inputs = [hidden.clone() for hidden in targets]
    pairs = list(zip(blocks_of(teacher, layout), blocks_of(student.network, layout), strict=True))
    for layer, (theirs, ours) in enumerate(track(pairs, "reconstruct", unit="block")):
        calls = [a[layer] for a in arguments]
        with torch.no_grad():
            targets = [block_output(theirs, h, call) for h, call in zip(targets, calls, strict=True)]
        power = sum(w.square().sum() for w in targets) / sum(w.numel() for w in targets)
        learns = [p for p in ours.parameters() if any(p is t for t in student.trained.values())]
        optimizer = torch.optim.Adam(learns, lr=recipe.learning_rate)
        errors = []
        for step in range(recipe.steps):
            i = step % len(parts)
            error = (block_output(ours, inputs[i], calls[i]) - targets[i]).square().mean() / power
            if not torch.isfinite(error):
                raise NumericalError(f"block {layer}: the error is not finite at step {step}; lower the learning rate")
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
            errors.append(error.item())
        with torch.no_grad():
            inputs = [block_output(ours, h, call) for h, call in zip(inputs, calls, strict=True)]
        left = sum((g - w).square().mean() for g, w in zip(inputs, targets, strict=True)) / len(parts) / power
        curve.append({"block": layer, "before": errors[0], "after": float(left)})
    return student.merged(), curve
