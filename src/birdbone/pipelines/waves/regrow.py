"""Stage 7: bring neurons back where the loss asks for them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from birdbone.algo.stop_loss import why_not
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.healing.heal import heal, loss_on
from birdbone.model.healing.trainable import student_of
from birdbone.model.judging.evaluate import losses
from birdbone.model.network import build
from birdbone.model.pruning.regrow import regrow
from birdbone.pipelines.gathered import Together
from birdbone.pipelines.inputs import Lesson, Workplace
from birdbone.pipelines.waves.settings.heal import HealSettings
from birdbone.pipelines.waves.settings.regrow import RegrowSettings


@dataclass(frozen=True)
class Growth(Together):
    """How what returns is healed, and the step that widths keep to."""

    healing: HealSettings
    multiple: int


def regrow_wave(
    healed: Checkpoint,
    before: dict,
    lesson: Lesson,
    settings: RegrowSettings,
    growth: Growth,
    work: Workplace,
) -> tuple[Checkpoint, dict]:
    """Bring back up to ``share`` of the removed neurons where the loss exceeds the accepted one.

    They stay only where they lower the loss on check text.
    """
    wave = before["wave"] + 1
    seed = lesson.seed
    healing = growth.healing
    place = work.place
    if before["stopped"] or settings.share == 0:
        return healed, {"wave": wave, "returned": {}, "why": why_not(before) or "regrow.share is 0"}
    check = lesson.texts.check
    loss = float(losses(build(healed, place), check, f"wave {wave}: check").sum()) / (
        check.numel() - len(check)
    )
    accepted = before["check_loss"]
    report = {"wave": wave, "check_loss": loss, "accepted_loss": accepted, "returned": {}}
    if loss <= accepted + settings.epsilon:
        return healed, {**report, "why": "the loss is within epsilon of its last accepted value"}
    rows = -(-settings.tokens // check.shape[1])
    grown, returned = regrow(
        healed, seed, lesson.texts.heal[:rows], settings.share, growth.multiple, place
    )
    if not returned:
        return healed, {
            **report,
            "why": f"{settings.share:.0%} of what is gone is less than one step of "
            f"{growth.multiple}",
        }
    again = heal(
        student_of(grown, healing.lora, work.random_seed + wave, place),
        seed,
        lesson.texts.heal.flip(0),
        check,
        replace(healing.recipe, steps=settings.heal_steps),
        work.scratch,
        label=f"wave {wave}: heal what returned",
    )
    before_kl = loss_on(check, healed, seed, healing.ce_weight, place)(build(healed, place))
    report["checks"] = [before_kl, min(value for _, value in again.checks)]
    if report["checks"][1] >= before_kl:
        return healed, {**report, "why": "what returned would not lower the loss on check text"}
    return again.checkpoint, {**report, "returned": returned, "kept": again.kept}
