"""Second moments of every linear layer's input, its tokens weighted, block by block; cached for the seed."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from birdbone.algo.moments import second_moment
from birdbone.model.architecture import architecture_of
from birdbone.model.blockwise import BATCH, walk
from birdbone.model.checkpoint import Checkpoint, tensor_digest
from birdbone.model.network import build

CACHE = Path(".birdbone/moments")
Moments = dict[str, Tensor]


def token_weights(scores: dict[str, Tensor]) -> Moments:
    """Module -> weight of each calibration token [N, T], from a scan's ``tokens.<module>``."""
    return {n.removeprefix("tokens."): t for n, t in scores.items() if n.startswith("tokens.")}


def moments(
    checkpoint: Checkpoint, windows: Tensor, weights: Moments, device: str, cache: Path | None = None
) -> Iterator[tuple[int, Moments, Moments]]:
    """Yield (layer, fit, check): second moments [in, in] of every linear module's input.

    windows [N, T]; weights: module -> [N, T]. ``fit`` sums over three quarters of the windows,
    ``check`` over the rest. A complete ``cache`` folder of this model, text and weights is read
    instead of computing; one is never written here.
    """
    held = cache and cache / cache_key(checkpoint, windows, weights)
    if held and (held / "complete").is_file():
        for layer in range(checkpoint.layers):
            stored = load_file(held / f"{layer}.safetensors")
            yield (
                layer,
                *(
                    {n.partition("|")[2]: t for n, t in stored.items() if n.startswith(kind)}
                    for kind in ("fit|", "check|")
                ),
            )
        return
    network, architecture = build(checkpoint, device), architecture_of(checkpoint.config)
    for layer, batches in walk(network, architecture, windows, "second moments"):
        yield (layer, *fold(batches, architecture.inputs_of(layer), weights))


def fold(batches: Iterator[Moments], inputs: dict[str, list[str]], weights: Moments) -> tuple[Moments, Moments]:
    """Sum the batches' second moments per module: every fourth batch to ``check``, the rest to ``fit``.

    inputs: first module -> the modules that share its input, as in ``Architecture.inputs_of``. weights: none at all
    where every token counts alike.
    """
    sums: tuple[Moments, Moments] = ({}, {})
    for i, batch in enumerate(batches):
        into, rows = sums[i % 4 == 3], slice(BATCH * i, BATCH * (i + 1))
        for first, modules in inputs.items():
            for name in modules if weights else [first]:
                moment = second_moment(batch[first], weights[name][rows].flatten() if weights else None)
                into[name] = into[name].add_(moment) if name in into else moment
    summed = {name: name if weights else first for first, modules in inputs.items() for name in modules}
    fit, check = ({n: m.cpu() for n, m in found.items()} for found in (sums[0], sums[1] or sums[0]))
    return {n: fit[of] for n, of in summed.items()}, {n: check[of] for n, of in summed.items()}


def held_out(windows: Tensor) -> tuple[Tensor, Tensor]:
    """The windows [N, T] that ``fit`` and ``check`` moments sum over; all for both where there are too few to part."""
    batches = windows.split(BATCH)
    check = batches[3::4]
    fit = [batch for i, batch in enumerate(batches) if i % 4 != 3]
    return torch.cat(fit), torch.cat(check or batches)


def check_tokens(windows: Tensor) -> int:
    """Tokens that the ``check`` moments of ``windows`` [N, T] sum over."""
    return held_out(windows)[1].numel()


def store(folder: Path, layer: int, fit: Moments, check: Moments) -> None:
    """Add one layer to a cache folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"fit|{n}": m for n, m in fit.items()} | {f"check|{n}": m.clone() for n, m in check.items()}
    save_file(tensors, folder / f"{layer}.safetensors")


def seal(folder: Path) -> None:
    """Mark a cache folder as complete and drop the other models' caches beside it."""
    (folder / "complete").touch()
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def remember(checkpoint: Checkpoint, windows: Tensor, weights: Moments, device: str) -> None:
    """Fill the cache where it does not hold these moments yet: another model's run may have taken their place."""
    folder = CACHE / cache_key(checkpoint, windows, weights)
    if not (folder / "complete").is_file():
        for layer, fit, check in moments(checkpoint, windows, weights, device):
            store(folder, layer, fit, check)
        seal(folder)


def cache_key(checkpoint: Checkpoint, windows: Tensor, weights: Moments) -> str:
    """Folder name for a model, its calibration text and the weights of its tokens."""
    weighed = "|".join(tensor_digest(weights[n]) for n in sorted(weights))
    text = f"{checkpoint.digest}|{tensor_digest(windows)}|{weighed}|{torch.get_num_threads()}"
    return hashlib.sha256(text.encode()).hexdigest()[:24]
