"""Second moments of every linear layer's input, its tokens weighted, block by block; kept on disk
for the seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from birdbone.algo.moments import second_moment
from birdbone.model.blockwise import BATCH, walk
from birdbone.model.checkpoint import Checkpoint, tensor_digest
from birdbone.model.network import build

KEY = "key"
"""The file that says, once all layers are there, what the moments in a folder are of."""
Moments = dict[str, Tensor]
Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class SecondMoments:
    """A folder of second moments, a file per layer; None: there is none. Those of another model,
    text or weights are computed anew.
    """

    folder: Path | None = None

    def of(
        self, checkpoint: Checkpoint, windows: Tensor, weights: Weights, device: str
    ) -> Iterator[tuple[int, Moments, Moments]]:
        """Yield (layer, fit, check): see ``moments``; read where the folder holds them."""
        if not self.folder or _read_key(self.folder) != key_of(checkpoint, windows, weights):
            yield from moments(checkpoint, windows, weights, device)
            return
        for layer in range(checkpoint.layers):
            stored = load_file(self.folder / f"{layer}.safetensors")
            yield layer, _kind(stored, "fit"), _kind(stored, "check")


def moments(
    checkpoint: Checkpoint, windows: Tensor, weights: Weights, device: str
) -> Iterator[tuple[int, Moments, Moments]]:
    """Yield (layer, fit, check): second moments [in, in] of every linear module's input.

    windows [N, T]; weights: module -> [N, T]. ``fit`` sums over three quarters of the windows,
    ``check`` over the rest.
    """
    network = build(checkpoint, device)
    for layer, batches in walk(network, checkpoint.layout, windows, "second moments"):
        yield layer, *fold(batches, checkpoint.layout.blocks[layer].inputs, weights)


def fold(batches: Iterator[Moments], inputs: dict[str, list[str]], weights: Weights) -> tuple[Moments, Moments]:
    """Sum the batches' second moments per module: every fourth batch to ``check``, the rest to
    ``fit``.

    inputs: first module -> the modules that share its input, as in ``Block.inputs``. weights: none
    at all where every token counts alike.
    """
    sums: tuple[Moments, Moments] = ({}, {})
    for i, batch in enumerate(batches):
        into, rows = sums[i % 4 == 3], slice(BATCH * i, BATCH * (i + 1))
        for first, modules in inputs.items():
            for name in modules if weights else [first]:
                moment = second_moment(batch[first], weights[name][rows].flatten() if weights else None)
                into[name] = into[name].add_(moment) if name in into else moment
    summed = {name: name if weights else first for first, modules in inputs.items() for name in modules}
    fit = {name: moment.cpu() for name, moment in sums[0].items()}
    check = {name: moment.cpu() for name, moment in (sums[1] or sums[0]).items()}
    return {n: fit[of] for n, of in summed.items()}, {n: check[of] for n, of in summed.items()}


def held_out(windows: Tensor) -> tuple[Tensor, Tensor]:
    """The windows [N, T] that ``fit`` and ``check`` moments sum over; all for both where there are
    too few to part.
    """
    batches = windows.split(BATCH)
    check = batches[3::4]
    fit = [batch for i, batch in enumerate(batches) if i % 4 != 3]
    return torch.cat(fit), torch.cat(check or batches)


def check_tokens(windows: Tensor) -> int:
    """Tokens that the ``check`` moments of ``windows`` [N, T] sum over."""
    return held_out(windows)[1].numel()


def store(folder: Path, layer: int, fit: Moments, check: Moments) -> None:
    """Add one layer to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"fit|{n}": m for n, m in fit.items()} | {f"check|{n}": m.clone() for n, m in check.items()}
    save_file(tensors, folder / f"{layer}.safetensors")


def seal(folder: Path, key: str) -> None:
    """Say that a folder holds every layer of what ``key_of`` gave this key."""
    (folder / KEY).write_text(key)


def key_of(checkpoint: Checkpoint, windows: Tensor, weights: Weights) -> str:
    """What the second moments of a model, its calibration text and the weights of its tokens are
    known by.
    """
    weighed = "|".join(tensor_digest(weights[n]) for n in sorted(weights))
    text = f"{checkpoint.digest}|{tensor_digest(windows)}|{weighed}|{torch.get_num_threads()}"
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _read_key(folder: Path) -> str | None:
    file = folder / KEY
    return file.read_text() if file.is_file() else None


def _kind(stored: Moments, kind: str) -> Moments:
    return {name.partition("|")[2]: moment for name, moment in stored.items() if name.startswith(f"{kind}|")}
