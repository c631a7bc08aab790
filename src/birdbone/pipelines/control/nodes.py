"""The control: the seed with the waves' healing. Without it a recovery proves nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from birdbone.model.device import read_tokenizer
from birdbone.model.healing.heal import heal
from birdbone.model.healing.trainable import student_of
from birdbone.model.judging.canaries import score_canaries
from birdbone.model.judging.judge import judge, judge_itself
from birdbone.model.judging.reference import Reference
from birdbone.model.network import build
from birdbone.pipelines.gathered import Together
from birdbone.pipelines.inputs import Compute
from birdbone.pipelines.waves.settings.heal import HealSettings
from birdbone.pipelines.yardstick import Yardstick
from birdbone.text.canaries import load_canaries
from birdbone.text.texts import Domain


@dataclass(frozen=True)
class Treatment(Together):
    """The healing that all waves give together; none where it is not enabled."""

    enabled: bool
    healing: HealSettings
    waves: int


def measure_control(
    yardstick: Yardstick,
    treatment: Treatment,
    canaries: str | None,
    compute: Compute,
    scratch: Path,
) -> dict:
    """Figures on guard and test text of the seed healed for as many steps as all waves together.

    Without cross-entropy the seed is its own target. Healing then changes nothing, and the control
    is the seed.
    """
    healing = treatment.healing
    if not treatment.enabled or healing.steps == 0:
        return {"measured": False}
    seed = yardstick.seed
    texts = yardstick.texts
    healed = heal(
        student_of(seed, healing.lora, compute.random_seed, compute.place),
        seed,
        texts.heal,
        texts.check,
        replace(healing.recipe, steps=healing.steps * treatment.waves),
        scratch,
        label="control: heal the seed",
    )
    network = build(healed.checkpoint, compute.place)

    def figures(split: str, domains: dict[str, Domain], reference: Reference) -> dict:
        if not healed.kept:
            return judge_itself(reference, domains, compute.random_seed)
        return judge(network, reference, domains, compute.random_seed, split)

    return {
        "measured": True,
        "steps": len(healed.curve),
        "kept": healed.kept,
        "domains": figures("guard", texts.guard, yardstick.guard),
        "test": figures("test", texts.test, yardstick.test),
        "canaries": score_canaries(
            network, read_tokenizer(yardstick.tokenizer_folder), load_canaries(canaries)
        ),
    }
