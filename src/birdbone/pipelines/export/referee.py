"""llama.cpp itself as the referee of the exported file."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from birdbone.algo.perplexity import perplexity
from birdbone.errors import ExportError
from birdbone.gguf import llamacpp
from birdbone.gguf.file import GGUF_NAME, refuse_substitutes, type_counts
from birdbone.gguf.header import tensor_types
from birdbone.gguf.writer import write_gguf
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.context import within
from birdbone.model.judging.evaluate import kl_divergence, losses
from birdbone.model.network import build
from birdbone.model.rounding.quantized import Quantized
from birdbone.model.rounding.rounder import dequantized
from birdbone.pipelines.export.settings import ExportSettings
from birdbone.pipelines.gathered import Together
from birdbone.text.texts import Texts

EXACT_KL = 1e-7
GELU_KL = 1e-4
"""The limit where llama.cpp computes GELU, which it reads from a table in half precision. That
costs 2e-6 to 1e-5 nats on Gemma 3 270M.
"""
CLEAR_MARGIN = 1e-2
SAME_PERPLEXITY = 0.01


@dataclass(frozen=True)
class Exported(Together):
    """The file, and the model and blocks that it was written from."""

    gguf_folder: Path
    model: Checkpoint
    quantized: Quantized


def referee(
    exported: Exported,
    tokenizer_folder: Path,
    texts: Texts,
    settings: ExportSettings,
    threads: int | None,
) -> tuple[dict, dict]:
    """(llama.cpp's figures for the export, its speed). Raises ExportError where runtimes disagree.

    An f32 file of the accepted weights with an f32 KV cache must have PyTorch's logits. The
    exported file must have the perplexity of the same de-quantized weights in PyTorch, within 1 %.
    Both stay within the file's context.
    """
    accepted, quantized = exported.model, exported.quantized
    path = exported.gguf_folder / GGUF_NAME
    context = llamacpp.context_length(path)
    windows = [within(domain.windows, context) for domain in texts.guard.values()]
    ids = torch.cat(windows).flatten()[: min(settings.referee_tokens, context)]
    exact = _exactness(accepted, tokenizer_folder, ids, threads)
    count = max(2, settings.perplexity_tokens // windows[0].shape[1])
    rows = torch.cat([part[:count] for part in windows])
    state = dequantized(accepted, quantized.packed, quantized.types)
    scored = len(rows) * (rows.shape[1] - 1)
    ours = perplexity(losses(build(state), rows, "referee: torch"), scored)
    theirs = perplexity(
        torch.tensor([nll for nll, _ in llamacpp.perplexity(path, rows.tolist(), threads=threads)]),
        scored,
    )
    report = {
        "exact": exact,
        "torch_perplexity": ours,
        "llamacpp_perplexity": theirs,
        "difference": theirs / ours - 1,
        "tokens": scored,
        "context": context,
        "bytes": path.stat().st_size,
        "types": type_counts(tensor_types(path)),
        "bits_per_weight": 8 * path.stat().st_size / accepted.parameters,
    }
    if abs(report["difference"]) > SAME_PERPLEXITY:
        raise ExportError(
            f"{path}: llama.cpp's perplexity is {theirs:.4f}, PyTorch's on the same weights "
            f"{ours:.4f}: they differ by more than 1 %, so the file is not the model"
        )
    speed = llamacpp.speed(path, threads=threads, generated=settings.speed_tokens)
    return report, speed


def _exactness(
    checkpoint: Checkpoint, tokenizer_folder: Path, ids: Tensor, threads: int | None
) -> dict:
    with tempfile.TemporaryDirectory(prefix="birdbone-") as folder:
        path = Path(folder) / "f32.gguf"
        requested = write_gguf(path, checkpoint, tokenizer_folder, default_type="f32")
        refuse_substitutes(path, requested)
        theirs = torch.from_numpy(llamacpp.logits(path, ids.tolist(), kv="f32", threads=threads))
    with torch.no_grad():
        ours = build(checkpoint)(ids.view(1, -1).long(), use_cache=False).logits[0]
    kl = float(kl_divergence(theirs, ours).mean())
    top = ours.topk(2, dim=-1).values
    clear = (top[:, 0] - top[:, 1]) > CLEAR_MARGIN
    same = ours.argmax(-1) == theirs.argmax(-1)
    report = {
        "tokens": len(ids),
        "kl": kl,
        "top1": float(same.double().mean()),
        "clear": int(clear.sum()),
        "top1_clear": float(same[clear].double().mean()) if clear.any() else 1.0,
        "max_difference": float((ours - theirs).abs().max()),
    }
    limit = GELU_KL if "gelu" in checkpoint.layout.family.gguf.activation.value else EXACT_KL
    if not kl < limit or report["top1_clear"] < 1:
        raise ExportError(
            f"llama.cpp's logits of the f32 export differ from PyTorch's: mean KL {kl:.2e} (limit "
            f"{limit:.0e}), top-1 {report['top1_clear']:.2%} where the choice is clear"
        )
    return report
