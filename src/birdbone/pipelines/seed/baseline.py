"""How good the untouched model is."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from birdbone.algo.perplexity import perplexity
from birdbone.algo.stop_loss import START
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer, resolve_device
from birdbone.model.judging.canaries import score_canaries
from birdbone.model.judging.evaluate import losses
from birdbone.model.judging.judge import domains
from birdbone.model.judging.reference import Reference, final_states
from birdbone.model.network import build
from birdbone.text.canaries import load_canaries


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
