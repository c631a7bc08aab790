"""A tiny model with an expert in it: neurons that fire on one half of the vocabulary and predict
that half.
"""

from __future__ import annotations

from pathlib import Path

import torch
from families import small, tokens

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.network import build
from birdbone.model.observing.gradients import gradients, node_values
from birdbone.scan.domains import DomainProfile, Responses
from birdbone.text.texts import LabelledTexts
from birdbone.text.tokenizer import train_tokenizer

LAYER, EXPERT = 1, torch.arange(40, 64)
LABELS = ["low", "high"]
SAMPLED = 120


def planted() -> Checkpoint:
    """Tokens under 48 lie on one side of a direction, the others on the other. The expert's neurons
    fire on the first side and write further along it, which makes low tokens likelier; no other
    neuron reads it, and attention hardly says anything.
    """
    checkpoint = small("llama", tie_word_embeddings=False)
    layout, generator = checkpoint.layout, torch.Generator().manual_seed(7)
    direction = torch.nn.functional.normalize(torch.randn(64, generator=generator), dim=0)
    side = torch.where(torch.arange(96) < 48, 1.0, -1.0)[:, None]
    weights = dict(checkpoint.weights)
    weights[layout.embedding] = weights[layout.embedding] + 0.4 * side * direction
    weights[layout.head] = weights[layout.head] + 0.15 * side * direction
    spread = 1 + 0.2 * torch.rand(len(EXPERT), generator=generator)
    for layer in range(2):
        attention = f"{layout.blocks[layer].output}.weight"
        weights[attention] = 0.01 * weights[attention]
        norm = weights[f"{layout.blocks[layer].part('post_attention_layernorm')}.weight"]
        read = torch.nn.functional.normalize(direction * norm, dim=0)
        for name in layout.blocks[layer].ffn_inputs:
            weight = weights[f"{name}.weight"]
            weights[f"{name}.weight"] = weight - torch.outer(weight @ read, read)
    for name, strength in zip(layout.blocks[LAYER].ffn_inputs, (2.0, 0.4), strict=True):
        weight = weights[f"{name}.weight"].clone()
        weight[EXPERT] = 0.05 * weight[EXPERT] + strength * spread[:, None] * direction
        weights[f"{name}.weight"] = weight
    down = f"{layout.blocks[LAYER].ffn_output}.weight"
    weights[down] = weights[down].clone()
    weights[down][:, EXPERT] = 0.05 * weights[down][:, EXPERT] + 0.02 * direction[:, None]
    return checkpoint.evolve(weights)


def domain_texts(windows: int = 8, length: int = 32) -> LabelledTexts:
    """Random tokens of one half of the vocabulary each."""
    scan = {}
    heldout = {}
    for number, (label, start) in enumerate(zip(LABELS, (0, 48), strict=True)):
        ids = (tokens(2 * windows, length, seed=number) % 48 + start).int()
        scan[label] = ids[:windows]
        heldout[label] = ids[windows:]
    return LabelledTexts(scan, heldout, dict.fromkeys(LABELS, "a source"), length)


def domain_profile(checkpoint: Checkpoint, texts: LabelledTexts) -> DomainProfile:
    """What the pipeline ``domains`` writes of the FFN nodes, measured on the scan windows."""
    network, layout = build(checkpoint), checkpoint.layout
    names = layout.linears
    places = torch.arange(SAMPLED // 2) * 4
    rows: list[dict[str, list]] = [{}, {}]
    for label in LABELS:
        seen: dict[str, list] = {}
        for ids in texts.scan[label]:
            pairs = gradients(network, names, ids)
            for key, (h, grad, _) in node_values(network, layout, pairs).items():
                seen.setdefault(key, []).append((h, grad))
        for layer in range(2):
            h, grad = (torch.cat(x) for x in zip(*seen["ffn", layer], strict=True))
            values = {"activity": h.abs().mean(0), "sensitivity": grad.abs().mean(0)}
            values |= {
                "fisher": h.square().mean(0) * grad.square().mean(0),
                "profile": h[places].T.half(),
            }
            for name, value in values.items():
                rows[layer].setdefault(name, []).append(value)
    neurons = [
        Responses(
            profile=torch.cat(parts["profile"], 1),
            activity=torch.stack(parts["activity"]),
            sensitivity=torch.stack(parts["sensitivity"]),
            fisher=torch.stack(parts["fisher"]),
            sps=torch.stack(parts["activity"]),
        )
        for parts in rows
    ]
    length = texts.scan["low"].shape[1] - 1
    sampled = {
        "domain": torch.arange(2).repeat_interleave(len(places)).int(),
        "window": (places // length).repeat(2).int(),
        "position": (places % length).repeat(2).int(),
    }
    return DomainProfile({"ffn": neurons}, sampled, LABELS, {}, checkpoint.digest)


def tokenizer_folder(folder: Path) -> Path:
    train_tokenizer(["a small tokenizer, trained on one line"], 300).save_pretrained(folder)
    return folder
