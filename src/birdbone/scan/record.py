"""Block norms of a model on windows of text, written one ``.mscan`` chunk per window."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import Tensor

from birdbone.algo.sps import block_norms
from birdbone.datasets.mscan import Module, Scan, ScanWriter
from birdbone.datasets.mscan_open import open_scan
from birdbone.errors import ArtifactError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.observing.gradients import Pairs

log = logging.getLogger("birdbone")


def modules_of(checkpoint: Checkpoint) -> list[Module]:
    """Every linear module of every block, in the order of data flow, with its present widths."""
    return [
        Module(name, block.layer, *reversed(checkpoint.weights[f"{name}.weight"].shape))
        for block in checkpoint.layout.blocks
        for name in block.linears
    ]


def token_texts(tokenizer, ids: Tensor) -> list[str]:
    """The text of each token of a window that has a successor [T-1], decoded alone."""
    return [tokenizer.decode([i]) for i in ids[:-1].tolist()]


def append(writer: ScanWriter, pairs: Pairs, tokens: list[str], source: str, block: int) -> None:
    """One window's (input, output gradient) pairs as one chunk."""
    a = {name: block_norms(x, block).cpu() for name, (x, _) in pairs.items()}
    g = {name: block_norms(grad, block).cpu() for name, (_, grad) in pairs.items()}
    writer.append(a, g, tokens, source=source)


def open_writer(
    path: Path,
    *,
    model: str,
    model_digest: str,
    modules: list[Module],
    block: int,
    chunks: list[tuple[str, list[str]]],
) -> tuple[ScanWriter, int]:
    """A writer, and how many of the ``chunks`` (text set, token texts) are in the file already.

    An interrupted scan of the same model and the same first chunks resumes. Any other file at this
    path is replaced.
    """
    kept = _kept(path, model_digest, modules, block, chunks) if path.is_file() else 0
    if kept:
        log.info("%s: resumes after %d of %d windows", path.name, kept, len(chunks))
        return ScanWriter.extend(path), kept
    return ScanWriter(path, model=model, model_digest=model_digest, modules=modules, block=block), 0


def _kept(
    path: Path, digest: str, modules: list[Module], block: int, planned: list[tuple[str, list[str]]]
) -> int:
    try:
        scan = open_scan(path, model_digest=digest, partial=True)
    except ArtifactError as error:
        log.info("%s; it is written anew", error)
        return 0
    chunks = scan.chunks
    same = scan.version == Scan.version and (scan.modules, scan.block) == (modules, block)
    return len(chunks) if same and chunks == planned[: len(chunks)] else 0
