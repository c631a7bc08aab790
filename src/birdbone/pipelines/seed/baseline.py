"""How good the untouched model is."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from birdbone.algo.perplexity import perplexity
from birdbone.algo.stop_loss import START
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer, resolve_device
from birdbone.model.judging.canaries import score_canaries
from birdbone.model.judging.evaluate import losses
from birdbone.model.judging.judge import trimmed_change
from birdbone.model.judging.reference import Readings, States, final_states
from birdbone.model.network import build
from birdbone.model.sizes import sizes
from birdbone.text.canaries import load_canaries
from birdbone.text.texts import Domain, Texts


def measure_baseline(
    seed: Checkpoint,
    tokenizer_folder: Path,
    texts: Texts,
    canaries: str | None,
    device: str,
    readings: Readings | None = None,
    vocabulary_report: dict | None = None,
) -> tuple[dict, States, Checkpoint, Checkpoint, dict]:
    """What every later state is judged against, and wave 0.

    Returns metrics; the seed's final states on guard and test text; the seed as wave 0's model and
    as its accepted model; wave 0's verdict. readings: the untrimmed seed's, which losses count from
    where tokens went; vocabulary_report: what that did. Only the report and the control read the
    test text: no choice is made by it.
    """
    place = resolve_device(device)
    network = build(seed, place)

    def states_on(split: str, domains: dict[str, Domain]) -> dict[str, Tensor]:
        return {
            name: final_states(network, domain.windows, f"seed: {split}.{name}")
            for name, domain in domains.items()
        }

    states = States(
        states_on("guard", texts.guard), states_on("test", texts.test), readings or Readings()
    )
    reference = states.of(seed, "guard")
    scored = texts.check.shape[1] - 1
    figures = {}
    for name, domain in texts.guard.items():
        nll = reference.losses(name, domain.windows, place)
        figures[name] = {"perplexity": perplexity(nll, len(nll) * scored)}
    check_nll = losses(network, texts.check, "seed: check")
    check = perplexity(check_nll, len(texts.check) * scored)
    metrics = {
        "domains": figures,
        "check_perplexity": check,
        "canaries": score_canaries(
            network, read_tokenizer(tokenizer_folder), load_canaries(canaries)
        ),
        "parameters": seed.parameters,
        "block_parameters": seed.block_parameters,
        "macs_per_token": seed.macs_per_token,
        "bytes_f16": 2 * seed.parameters,
        "trace": (vocabulary_report or {"trace": []})["trace"],
    }
    verdict = {
        **START,
        "accepted_change": trimmed_change(reference, texts.guard, 0),
        "check_loss": float(torch.tensor(check).log()),
        **sizes(seed, seed.block_parameters),
    }
    return metrics, states, seed, seed, verdict
