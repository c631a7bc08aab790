"""Distil the seed into the routers."""

from __future__ import annotations

from birdbone.mixture.routing import routing_student
from birdbone.mixture.split import Routers, Split, mixture_from
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.healing.curve import curve_csv, live_log
from birdbone.model.healing.heal import heal
from birdbone.pipelines.inputs import Lesson, Workplace
from birdbone.pipelines.moe.settings import RouterHealSettings


def heal_routers(
    source: Checkpoint,
    split: Split,
    lesson: Lesson,
    settings: RouterHealSettings,
    work: Workplace,
) -> tuple[Routers, str]:
    """Routers distilled from the seed, and the curve as CSV.

    Those with the lowest loss on check text are kept; the unhealed ones compete too.
    """
    mixture = mixture_from(source, split)
    if not settings.steps or mixture.active == mixture.shape.experts:
        return Routers(mixture.routers), curve_csv([])
    student, learnt = routing_student(mixture, work.place)
    with live_log(work.scratch / "live") as on_step:
        healed = heal(
            student,
            lesson.seed,
            lesson.texts.heal,
            lesson.texts.check,
            settings.recipe,
            work.scratch,
            on_step,
            "heal the routers",
        )
    kl = [healed.checks[0][1], min(loss for _, loss in healed.checks)]
    layers = learnt() if healed.kept else mixture.routers
    return Routers(layers, len(healed.curve), kl, healed.kept > 0), curve_csv(healed.curve)
