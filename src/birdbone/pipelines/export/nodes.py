"""Stage 9, second half: files that stock runtimes load, and llama.cpp itself as the referee."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from birdbone.algo.perplexity import perplexity
from birdbone.errors import ExportError
from birdbone.gguf import llamacpp
from birdbone.gguf.header import tensor_types
from birdbone.gguf.writer import check_form, write_gguf
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.context import positions_of, within
from birdbone.model.device import read_tokenizer
from birdbone.model.folder import check_range, copy_tokenizer, write_folder
from birdbone.model.judging.evaluate import kl_divergence, losses, prompt_ids
from birdbone.model.judging.judge import domains
from birdbone.model.network import build
from birdbone.model.rounding.rounder import dequantized, with_vectors

EXACT_KL = 1e-7
GELU_KL = 1e-4
"""The limit where llama.cpp computes GELU: it reads that from a table in half precision, worth 2e-6 to 1e-5 nats on
Gemma 3 270M."""
CLEAR_MARGIN = 1e-2
SAME_PERPLEXITY = 0.01
GGUF_NAME = "model.gguf"


def export_form(seed: Checkpoint, tokenizer_folder: Path, dtype: str, prompts: list[str]) -> dict:
    """What the GGUF file will be called and keyed by; see ``check_form``.

    What only weights and the tokenizer can tell of the last stages is checked here, before anything is computed:
    raises ExportError for a seed that the export's files cannot hold, TextError for prompts that cannot be asked.
    """
    tokenizer = read_tokenizer(tokenizer_folder)
    for prompt in prompts:
        prompt_ids(tokenizer, prompt, positions_of(seed.config))
    check_range(seed, getattr(torch, dtype))
    return check_form(seed, tokenizer_folder)


def export_folder(
    accepted: Checkpoint, tokenizer_folder: Path, model_card: str, settings: dict
) -> Callable[[Path], None]:
    """A writer of a folder for ``from_pretrained``: config, weights, tokenizer, generation settings, model card."""

    def write(folder: Path) -> None:
        copy_tokenizer(tokenizer_folder, folder)
        write_folder(accepted, folder, getattr(torch, settings["dtype"]))
        (folder / "README.md").write_text(model_card)

    return write


def export_gguf(
    accepted: Checkpoint, quantized: tuple[dict[str, Tensor], dict], tokenizer_folder: Path, about: dict
) -> Callable[[Path], None]:
    """A writer of ``model.gguf`` with the packed blocks as they are.

    Raises ExportError when a tensor's type in the file is not the one asked for.
    """
    packed, types = quantized[0], quantized[1]["types"]

    def write(folder: Path) -> None:
        path = folder / GGUF_NAME
        metadata = {"name": f"{about['name']} (birdbone)"} | ({"license": about["licence"]} if about["licence"] else {})
        asked = write_gguf(
            path,
            with_vectors(accepted, packed, types),
            tokenizer_folder,
            default_type="f32",
            metadata=metadata,
            packed={n: (types[n], p.numpy()) for n, p in packed.items() if n in types},
            types={n: t for n, t in types.items() if n not in packed},
        )
        _refuse_substitutes(path, asked)

    return write


def referee(
    gguf_folder: Path,
    accepted: Checkpoint,
    quantized: tuple[dict[str, Tensor], dict],
    tokenizer_folder: Path,
    texts: tuple[dict[str, Tensor], dict],
    settings: dict,
    threads: int | None,
) -> tuple[dict, dict]:
    """(what llama.cpp says of the export, how fast it runs it). Raises ExportError where it disagrees.

    An f32 file of the accepted weights with an f32 KV cache must have PyTorch's logits; the exported
    file must have the perplexity of the same de-quantized weights in PyTorch, within 1 %. Both read no further than
    the file's context.
    """
    path = gguf_folder / GGUF_NAME
    context = llamacpp.context_length(path)
    windows = [within(texts[0][f"guard.{d}"], context) for d in domains(texts[0], "guard")]
    ids = torch.cat(windows).flatten()[: min(settings["referee_tokens"], context)]
    exact = _exactness(accepted, tokenizer_folder, ids, threads)
    count = max(2, settings["perplexity_tokens"] // windows[0].shape[1])
    rows = torch.cat([found[:count] for found in windows])
    state = dequantized(accepted, quantized[0], quantized[1]["types"])
    scored = len(rows) * (rows.shape[1] - 1)
    ours = perplexity(losses(build(state), rows, "referee: torch"), scored)
    theirs = perplexity(
        torch.tensor([nll for nll, _ in llamacpp.perplexity(path, rows.tolist(), threads=threads)]), scored
    )
    report = {
        "exact": exact,
        "torch_perplexity": ours,
        "llamacpp_perplexity": theirs,
        "difference": theirs / ours - 1,
        "tokens": scored,
        "context": context,
        "bytes": path.stat().st_size,
        "types": _counted(tensor_types(path)),
        "bits_per_weight": 8 * path.stat().st_size / accepted.parameters,
    }
    if abs(report["difference"]) > SAME_PERPLEXITY:
        raise ExportError(
            f"{path}: llama.cpp's perplexity is {theirs:.4f}, PyTorch's on the same weights {ours:.4f}: "
            "they differ by more than 1 %, so the file is not the model"
        )
    speed = llamacpp.speed(path, threads=threads, generated=settings["speed_tokens"])
    return report, speed


def _exactness(checkpoint: Checkpoint, tokenizer_folder: Path, ids: Tensor, threads: int | None) -> dict:
    with tempfile.TemporaryDirectory(prefix="birdbone-") as folder:
        path = Path(folder) / "f32.gguf"
        asked = write_gguf(path, checkpoint, tokenizer_folder, default_type="f32")
        _refuse_substitutes(path, asked)
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


def _refuse_substitutes(path: Path, asked: dict[str, str]) -> None:
    written = tensor_types(path)
    wrong = {n: (t, written.get(n)) for n, t in asked.items() if written.get(n) != t}
    if wrong:
        name, (wanted, got) = next(iter(wrong.items()))
        raise ExportError(
            f"{path}: {len(wrong)} tensors have another type than asked, such as {name}: {wanted} -> {got}"
        )


def _counted(types: dict[str, str]) -> dict[str, int]:
    return {t: list(types.values()).count(t) for t in sorted(set(types.values()))}
