"""Stage 1: the untouched model, its text, and how good it is."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from birdbone.algo.perplexity import perplexity
from birdbone.algo.stop_loss import START
from birdbone.datasets.atomic import file_digest
from birdbone.errors import TextError
from birdbone.gguf.header import quantized_type
from birdbone.model.checkpoint import Checkpoint, tensors_digest
from birdbone.model.device import read_tokenizer, resolve_device
from birdbone.model.judging.evaluate import losses, score_canaries
from birdbone.model.judging.harness import evaluate, fallen
from birdbone.model.judging.judge import domains
from birdbone.model.judging.reference import Reference, final_states
from birdbone.model.network import build
from birdbone.model.observing.self_text import write_windows
from birdbone.sources import load as sources
from birdbone.sources.adapter import about as adapter_about
from birdbone.text.canaries import load_canaries
from birdbone.text.dialogue import check_chat
from birdbone.text.sources import documents
from birdbone.text.splits import document_windows, packed_windows, split

HEAL_SHARES = {"heal": 0.8, "guard": 0.1, "test": 0.1}
DOMAIN_SHARES = {"guard": 0.5, "test": 0.5}
CHECK = 4
"""Windows of the healing text's own kind that nothing learns from."""
FEW = 8
"""Documents below which a bootstrap over them says little."""

log = logging.getLogger("birdbone")


def load_seed(
    model: Any, models: dict, text_source: str, random_seed: int
) -> tuple[Checkpoint, Callable[[Path], None], dict]:
    """The seed as a clean float32 checkpoint, its tokenizer, and where both came from.

    model: as ``sources.locate`` takes it. A random model has its tokenizer trained on ``text_source``.
    """
    source = sources.locate(model, models)
    checkpoint, write_tokenizer = sources.load(source, random_seed, lambda: [d.text for d in documents(text_source)])
    path = source.get("path")
    about = {
        "name": source["name"],
        "kind": source["kind"],
        "origin": source.get("id") or (path.name if path else source["name"]),
        "adapter": adapter_about(source["adapter"]) if source.get("adapter") else None,
        "licence": source.get("licence"),
        "base_model": source.get("base_model") or source.get("id"),
        "source_bytes": os.path.getsize(path) if path and path.is_file() else None,
        "dequantized_from": quantized_type(path) if source["kind"] == "gguf" else None,
        "digest": checkpoint.digest,
        "parameters": checkpoint.parameters,
        "tensors": tensors_digest(checkpoint.weights),
    }
    return checkpoint, write_tokenizer, about


def read_text(tokenizer_folder: Path, text: dict, random_seed: int) -> tuple[dict[str, Tensor], dict]:
    """Token windows from the sources: calibration and healing less what the seed will write, guard and test.

    Whole documents go to one split, by a hash of their title; test is read by the report alone. A domain that
    is the healing text's own source has its guard and test documents apart from what healing reads. Raises
    TextError where guard or test text is among the documents that healing reads.
    """
    tokenizer = read_tokenizer(tokenizer_folder)

    def encode(string: str) -> list[int]:
        return tokenizer(string, add_special_tokens=False, verbose=False).input_ids

    def chat(messages: list[dict]) -> str:
        return tokenizer.apply_chat_template(messages, tokenize=False)

    if text["chat"]:
        check_chat(tokenizer)
    window, end = text["window"], tokenizer.eos_token_id
    template = chat if text["chat"] else None
    parts = split(documents(text["source"], template), random_seed, HEAL_SHARES)
    held = packed_windows(parts["guard"], encode, CHECK * window, window, "check", separator=end, lower="text.window")
    windows = {"check": held}
    read = 0
    for name, by_seed in _by_seed(text).items():
        tokens = int((~by_seed).sum()) * window
        windows[name] = packed_windows(parts["heal"], encode, tokens, window, name, skip=read, separator=end)
        read += len(windows[name])
    healing = {document.text for document in parts["heal"]} if read else set()
    for domain in text["guard_domains"]:
        if domain != text["source"]:
            unseen = split(documents(domain, template), random_seed, DOMAIN_SHARES)
        elif read:
            unseen = {n: [d for d in parts[n] if d.text not in healing] for n in DOMAIN_SHARES}
        else:
            unseen = split(parts["heal"], random_seed, {n: HEAL_SHARES["heal"] / 2 for n in DOMAIN_SHARES})
        for name, found in unseen.items():
            ids, numbers = document_windows(found, encode, text[f"{name}_tokens"], window, name, domain)
            windows |= {f"{name}.{domain}": ids, f"{name}.{domain}.documents": numbers}
            spoke = [found[i] for i in numbers.unique()]
            if any(document.text in healing for document in spoke):
                raise TextError(
                    f"parameter text.guard_domains: {domain} holds documents that text.source ({text['source']}) gives "
                    "to healing, so that it would judge by what was learnt. Give other text, or the very same source"
                )
            if len(spoke) < FEW:
                log.warning("%s text %s is of %d documents only: its intervals are rough", name, domain, len(spoke))
    return windows, {"window": window, "source": text["source"], "domains": text["guard_domains"]}


def write_text(
    seed: Checkpoint,
    tokenizer_folder: Path,
    read: tuple[dict[str, Tensor], dict],
    text: dict,
    device: str,
    random_seed: int,
) -> tuple[dict[str, Tensor], dict]:
    """The windows read, and in calibration and healing evenly between them those the seed writes itself."""
    windows, about = dict(read[0]), {**read[1], "written_share": text["written_share"]}
    places = _by_seed(text)
    wanted = [int(by_seed.sum()) for by_seed in places.values()]
    if not any(wanted):
        return windows, about
    tokenizer = read_tokenizer(tokenizer_folder)
    special = set(tokenizer.all_special_ids)
    starts = torch.tensor([i for i in range(len(tokenizer)) if i not in special])
    written = write_windows(seed, starts, sum(wanted), text["window"], random_seed, resolve_device(device))
    for (name, by_seed), own in zip(places.items(), written.split(wanted), strict=True):
        mixed = torch.empty(len(by_seed), text["window"], dtype=torch.int32)
        mixed[~by_seed], mixed[by_seed] = windows[name], own
        windows[name] = mixed
    return windows, about


def _by_seed(text: dict) -> dict[str, Tensor]:
    """For calibration and healing, which windows (bool [N]) the seed writes: ``text.written_share`` of any stretch."""
    counts = {n: -(-text[f"{n}_tokens"] // text["window"]) for n in ("calibration", "heal")}
    return {n: (torch.arange(c + 1) * text["written_share"]).floor().diff() > 0 for n, c in counts.items()}


def measure_baseline(
    seed: Checkpoint, tokenizer_folder: Path, texts: tuple[dict[str, Tensor], dict], text: dict, device: str
) -> tuple[dict, tuple[dict[str, Tensor], dict]]:
    """What every later state is judged against, and the standing that wave 1 starts from; the seed's final
    states on guard and test text (no choice is made by the test text: the report and the control read it).
    """
    windows, _ = texts
    place = resolve_device(device)
    network = build(seed, place)
    names = [f"{split}.{domain}" for split in ("guard", "test") for domain in domains(windows, split)]
    states = {name: final_states(network, windows[name], f"seed: {name}") for name in names}
    reference = Reference(seed, states)
    tokens, figures = windows["check"].shape[1] - 1, {}
    for domain in domains(windows, "guard"):
        found = reference.losses(f"guard.{domain}", windows[f"guard.{domain}"], place)
        figures[domain] = {"perplexity": perplexity(found, len(found) * tokens)}
    check = perplexity(losses(network, windows["check"], "seed: check"), len(windows["check"]) * tokens)
    metrics = {
        **START,
        "domains": figures,
        "check_perplexity": check,
        "canaries": score_canaries(network, read_tokenizer(tokenizer_folder), load_canaries(text["canaries"])),
        "parameters": seed.parameters,
        "block_parameters": seed.block_parameters,
        "macs_per_token": seed.macs_per_token,
        "bytes_f16": 2 * seed.parameters,
    }
    return metrics, (states, {"splits": ["guard", "test"]})


def measure_tasks(
    seed: Checkpoint, tokenizer_folder: Path, allowed: dict[str, float], settings: dict, device: str, random_seed: int
) -> dict:
    """The benchmark tasks that the guard watches, as ``harness.guarded`` takes them; nothing where it watches none."""
    if not allowed:
        return {}
    files = {n: about for n, about in settings["files"].items() if n in allowed}
    asked = {**{k: settings[k] for k in ("few_shot", "limit", "batch")}, "files": files}
    found = evaluate("seed", seed, tokenizer_folder, list(allowed), asked, device, random_seed)
    fallen(found, found, allowed)
    # The guards get the files through these settings alone: other questions are another input to them.
    read = {
        p: file_digest(Path(p).expanduser()) for f in files.values() for k in ("test", "examples") if (p := f.get(k))
    }
    return {"allowed": allowed, "settings": asked, "files": read, "seed": found}
