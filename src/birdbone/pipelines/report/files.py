"""The exported file beside the seed, its source and llama.cpp's own types, all in llama.cpp."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from birdbone.gguf import llamacpp
from birdbone.gguf.file import GGUF_NAME, type_counts
from birdbone.gguf.header import tensor_types
from birdbone.gguf.plan import beyond_half
from birdbone.gguf.quality import quality
from birdbone.gguf.writer import write_gguf
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.context import within
from birdbone.model.device import read_tokenizer
from birdbone.model.vocabulary import reread
from birdbone.pipelines.export.settings import ExportSettings
from birdbone.pipelines.gathered import Together
from birdbone.pipelines.report.settings import ReportSettings
from birdbone.progress import track
from birdbone.sources.locate import locate
from birdbone.text.texts import Domain, Texts


@dataclass(frozen=True)
class Subjects(Together):
    """The seed, where it came from, and what became of it.

    source, source_tokenizer_folder: the seed before any token went.
    """

    seed: Checkpoint
    source: Checkpoint
    source_tokenizer_folder: Path
    about: dict
    model: str
    models: dict
    accepted: Checkpoint
    gguf_folder: Path


def measure_files(
    subjects: Subjects,
    tokenizer_folder: Path,
    texts: Texts,
    report: ReportSettings,
    export: ExportSettings,
    threads: int | None,
) -> tuple[dict, dict]:
    """(quality, speed) of ours, the seed at f16, its source file and llama.cpp's own types.

    llama.cpp measures all of them on the same test text. KL and top-1 are against the seed at f16.
    Where tokens went, everything but ours is the untrimmed seed's: it reads the text with its own
    tokenizer, perplexities are per token of that, and KL is ours alone, against the trimmed seed.
    """
    seed, source_model = subjects.seed, subjects.source
    trimmed = seed.digest != source_model.digest
    with tempfile.TemporaryDirectory(prefix="birdbone-") as temporary:
        f16 = Path(temporary) / "seed.gguf"
        _write_half(f16, source_model, subjects.source_tokenizer_folder)
        files = [
            ("seed f16", "seed", f16, {}),
            ("birdbone", "ours", subjects.gguf_folder / GGUF_NAME, {}),
        ]
        if trimmed:
            trimmed_f16 = Path(temporary) / "trimmed.gguf"
            _write_half(trimmed_f16, seed, tokenizer_folder)
            files.insert(0, ("trimmed f16", "trimmed", trimmed_f16, {}))
        if source := _source_file(subjects.model, subjects.models):
            name = f"source file ({subjects.about['dequantized_from'] or 'not quantized'})"
            files.append((name, "source", source, {}))
        for kind in report.peers:
            target = Path(temporary) / f"{kind}.gguf"
            substituted = llamacpp.quantize(f16, target, kind, threads)
            files.append((f"llama.cpp {kind}", "peer", target, substituted))
        rows = _test_rows(texts.test, [path for _, _, path, _ in files], export.perplexity_tokens)
        untrimmed = rows
        if trimmed:
            ours, theirs = map(read_tokenizer, (tokenizer_folder, subjects.source_tokenizer_folder))
            untrimmed = {name: reread(windows, ours, theirs) for name, windows in rows.items()}
        tokens = {name: sum(len(ids) - 1 for ids in part) for name, part in untrimmed.items()}
        qualities = {}
        for name, role, path, substituted in track(files, "files in llama.cpp", unit="file"):
            small = not trimmed or role in ("ours", "trimmed")
            model_in_file = {"ours": subjects.accepted, "trimmed": seed}.get(role, source_model)
            logits = Path(temporary) / ("logits" if small else "untrimmed")
            logits.mkdir(exist_ok=True)
            qualities[name] = {
                "role": role,
                "bytes": path.stat().st_size,
                "substituted": _pairs(substituted),
                "types": type_counts(tensor_types(path)),
                "macs_per_token": model_in_file.macs_per_token,
                "bits_per_weight": 8 * path.stat().st_size / model_in_file.parameters,
                **quality(path, rows if small else untrimmed, logits, threads, tokens),
                **({} if small else {"kl": None, "top1": None}),
            }
        paths = {name: path for name, _, path, _ in files}
        return qualities, llamacpp.speeds(paths, threads, generated=export.speed_tokens)


def _write_half(path: Path, model: Checkpoint, tokenizer_folder: Path) -> None:
    """The model as an f16 file."""
    write_gguf(path, model, tokenizer_folder, default_type="f16", types=beyond_half(model))


def _test_rows(domains: dict[str, Domain], files: list[Path], tokens: int) -> dict[str, Tensor]:
    """Test windows of each domain, ``tokens`` in all, cut at the shortest context of the files."""
    context = min(map(llamacpp.context_length, files))
    rows = {name: within(domain.windows, context) for name, domain in domains.items()}
    return {name: windows[: max(2, tokens // windows.shape[1])] for name, windows in rows.items()}


def _source_file(model: Any, models: dict) -> Path | None:
    """The GGUF file that the seed was read from; None for other sources and merged adapters."""
    source = locate(model, models)
    return source["path"] if source["kind"] == "gguf" and not source.get("adapter") else None


def _pairs(substituted: dict[str, tuple[str, str]]) -> dict[str, int]:
    pairs = [f"{requested} -> {written}" for requested, written in substituted.values()]
    return {p: pairs.count(p) for p in sorted(set(pairs))}
