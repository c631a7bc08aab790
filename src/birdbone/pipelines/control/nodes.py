"""The control: the seed, uncompressed, given the healing that the waves get. Without it a recovery proves nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer, resolve_device
from birdbone.model.healing.heal import heal
from birdbone.model.healing.trainable import student_of
from birdbone.model.judging.canaries import score_canaries
from birdbone.model.judging.judge import judge, judge_itself
from birdbone.model.judging.reference import Reference
from birdbone.model.network import build
from birdbone.pipelines.waves.settings.heal import HealSettings
from birdbone.text.canaries import load_canaries


def measure_control(
    seed: Checkpoint,
    seed_states: tuple[dict[str, Tensor], dict],
    tokenizer_folder: Path,
    texts: tuple[dict[str, Tensor], dict],
    canaries: str | None,
    wanted: bool,
    healing: HealSettings,
    waves: int,
    device: str,
    random_seed: int,
    scratch: Path,
) -> dict:
    """Figures on guard and test text of the seed healed for as many steps as all waves together.

    Without cross-entropy the seed is its own goal and healing leaves it as it is: the control is then the seed.
    """
    if not wanted or healing.steps == 0:
        return {"measured": False}
    place = resolve_device(device)
    healed = heal(
        student_of(seed, healing.lora, random_seed, place),
        seed,
        texts[0]["heal"],
        texts[0]["check"],
        replace(healing.recipe, steps=healing.steps * waves),
        scratch,
        label="control: heal the seed",
    )
    network, reference = build(healed.checkpoint, place), Reference(seed, seed_states[0])

    def figures(split: str) -> dict:
        if not healed.kept:
            return judge_itself(reference, texts[0], split, random_seed)
        return judge(network, reference, texts[0], split, random_seed)

    return {
        "measured": True,
        "steps": len(healed.curve),
        "kept": healed.kept,
        "domains": figures("guard"),
        "test": figures("test"),
        "canaries": score_canaries(network, read_tokenizer(tokenizer_folder), load_canaries(canaries)),
    }
