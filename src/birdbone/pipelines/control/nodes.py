"""The control: the seed with the waves' healing. Without it a recovery proves nothing."""

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
from birdbone.model.judging.reference import Reference, States
from birdbone.model.network import build
from birdbone.pipelines.waves.settings.heal import HealSettings
from birdbone.text.canaries import load_canaries
from birdbone.text.texts import Domain, Texts


def measure_control(
    seed: Checkpoint,
    seed_states: States,
    tokenizer_folder: Path,
    texts: Texts,
    canaries: str | None,
    enabled: bool,
    healing: HealSettings,
    waves: int,
    device: str,
    random_seed: int,
    scratch: Path,
) -> dict:
    """Figures on guard and test text of the seed healed for as many steps as all waves together.

    Without cross-entropy the seed is its own target. Healing then changes nothing, and the control
    is the seed.
    """
    if not enabled or healing.steps == 0:
        return {"measured": False}
    place = resolve_device(device)
    healed = heal(
        student_of(seed, healing.lora, random_seed, place),
        seed,
        texts.heal,
        texts.check,
        replace(healing.recipe, steps=healing.steps * waves),
        scratch,
        label="control: heal the seed",
    )
    network = build(healed.checkpoint, place)

    def figures(split: str, domains: dict[str, Domain], states: dict[str, Tensor]) -> dict:
        reference = Reference(seed, states)
        if not healed.kept:
            return judge_itself(reference, domains, random_seed)
        return judge(network, reference, domains, random_seed, split)

    return {
        "measured": True,
        "steps": len(healed.curve),
        "kept": healed.kept,
        "domains": figures("guard", texts.guard, seed_states.guard),
        "test": figures("test", texts.test, seed_states.test),
        "canaries": score_canaries(
            network, read_tokenizer(tokenizer_folder), load_canaries(canaries)
        ),
    }
