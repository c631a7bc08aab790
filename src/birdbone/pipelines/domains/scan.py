"""One scan over all labelled text: what every block and every node does in each domain."""

from __future__ import annotations

from pathlib import Path

from birdbone.model.device import read_tokenizer
from birdbone.model.network import build
from birdbone.pipelines.domains.settings import DomainSettings
from birdbone.pipelines.inputs import Seed, Workplace
from birdbone.pipelines.sps_scan.settings import ScanSettings
from birdbone.scan.domains import (
    DomainProfile,
    responses_of,
    sample_tokens,
    sampled_places,
    scan_label,
)
from birdbone.scan.record import modules_of, open_writer, token_texts
from birdbone.text.texts import LabelledTexts


def scan_domains(
    seed: Seed,
    texts: LabelledTexts,
    settings: DomainSettings,
    sps_scan: ScanSettings,
    work: Workplace,
) -> tuple[Path, DomainProfile]:
    """The ``.mscan`` of every label's windows, and what every node does on each label.

    Both grow in the node's scratch folder, so that an interrupted scan resumes where it stopped.
    """
    labels = texts.labels
    block = sps_scan.block
    windows = texts.scan
    sampled = sample_tokens(windows, settings.profile_tokens, work.random_seed)
    tokenizer = read_tokenizer(seed.tokenizer_folder)
    network = build(seed.model, work.place)
    shown = {label: [token_texts(tokenizer, row) for row in windows[label]] for label in labels}
    writer, written = open_writer(
        work.scratch / "domains.mscan",
        model=seed.about["name"],
        model_digest=seed.about["digest"],
        modules=modules_of(seed.model),
        block=block,
        chunks=[(label, row) for label in labels for row in shown[label]],
    )
    sums = {}
    with writer:
        for number, label in enumerate(labels):
            sums[label] = scan_label(
                network,
                seed.model.layout,
                windows[label],
                sampled[label],
                label,
                shown[label],
                writer,
                min(written, len(windows[label])),
                block,
                work.scratch / f"sums-{number}.safetensors",
            )
            written = max(0, written - len(windows[label]))
    tokens = {label: ids.shape[0] * (ids.shape[1] - 1) for label, ids in windows.items()}
    places = sampled_places(sampled)
    profile = DomainProfile(responses_of(sums), places, labels, tokens, seed.about["digest"])
    return work.scratch / "domains.mscan", profile
