"""Stage 6: distil the seed into what is left."""

from __future__ import annotations

from birdbone.algo.stop_loss import why_not
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.healing.curve import curve_csv, live_log
from birdbone.model.healing.heal import heal
from birdbone.model.healing.trainable import student_of
from birdbone.pipelines.inputs import Lesson, Workplace
from birdbone.pipelines.waves.settings.heal import HealSettings


def heal_wave(
    pruned: Checkpoint,
    prune_report: dict,
    before: dict,
    lesson: Lesson,
    settings: HealSettings,
    work: Workplace,
) -> tuple[Checkpoint, dict, str]:
    """Distil the seed into what is left; skipped where nothing changed since an accepted state.

    The state with the lowest loss on check text is passed on, which may be the pruned one. Each
    wave starts in the healing text where the wave before it stopped.
    """
    wave = before["wave"] + 1
    unchanged = not prune_report["changed"] and before["status"] == "accepted"
    if before["stopped"] or settings.steps == 0 or unchanged:
        report = {"wave": wave, "steps": 0, "why": why_not(before) or "nothing to heal"}
        return pruned, report, curve_csv([])
    windows_read = (wave - 1) * settings.steps * settings.batch
    with live_log(work.scratch / "live") as on_step:
        healed = heal(
            student_of(pruned, settings.lora, work.random_seed + wave, work.place),
            lesson.seed,
            lesson.texts.heal.roll(-windows_read, 0),
            lesson.texts.check,
            settings.recipe,
            work.scratch,
            on_step,
            f"wave {wave}: heal",
        )
    report = {
        "wave": wave,
        "steps": len(healed.curve),
        "kept": healed.kept,
        "checks": healed.checks,
    }
    return healed.checkpoint, {**report, "curve": healed.curve}, curve_csv(healed.curve)
