"""One scan over all labelled text: what every block and every node does in each domain."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer, resolve_device
from birdbone.model.network import build
from birdbone.scan.domains import profile_tensors, sample_tokens, scan_label
from birdbone.scan.record import modules_of, open_writer, token_texts


def scan(
    seed: Checkpoint,
    about: dict,
    texts: tuple[dict[str, Tensor], dict],
    tokenizer_folder: Path,
    settings: dict,
    sps_scan: dict,
    device: str,
    random_seed: int,
    scratch: Path,
) -> tuple[Path, tuple[dict[str, Tensor], dict]]:
    """The ``.mscan`` of every label's windows, and ``domain_profile`` (see ``profile_tensors``).

    Both grow in the node's scratch folder while it reads, so that a killed scan goes on where it stopped.
    """
    labels, block = texts[1]["labels"], sps_scan["block"]
    windows = {label: texts[0][f"scan.{label}"] for label in labels}
    sampled = sample_tokens(windows, settings["profile_tokens"], random_seed)
    tokenizer = read_tokenizer(tokenizer_folder)
    network = build(seed, resolve_device(device))
    shown = {label: [token_texts(tokenizer, row) for row in windows[label]] for label in labels}
    writer, written = open_writer(
        scratch / "domains.mscan",
        model=about["name"],
        model_digest=about["digest"],
        modules=modules_of(seed),
        block=block,
        wanted=[(label, row) for label in labels for row in shown[label]],
    )
    sums = {}
    with writer:
        for number, label in enumerate(labels):
            sums[label] = scan_label(
                network,
                seed.layout,
                windows[label],
                sampled[label],
                label,
                shown[label],
                writer,
                min(written, len(windows[label])),
                block,
                scratch / f"sums-{number}.safetensors",
            )
            written = max(0, written - len(windows[label]))
    meta = {
        "labels": labels,
        "tokens": {label: ids.shape[0] * (ids.shape[1] - 1) for label, ids in windows.items()},
        "model": about["digest"],
    }
    return scratch / "domains.mscan", (profile_tensors(sums, sampled), meta)
