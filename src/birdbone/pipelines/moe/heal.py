"""Distil the seed into the routers."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from birdbone.mixture.routing import routing_student
from birdbone.mixture.split import mixture_from
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import resolve_device
from birdbone.model.healing.curve import curve_csv, live_log
from birdbone.model.healing.heal import heal as heal_model
from birdbone.pipelines.moe.settings import RouterHealSettings

Tensors = tuple[dict[str, Tensor], dict]


def heal(
    source: Checkpoint,
    found: Tensors,
    seed: Checkpoint,
    texts: Tensors,
    settings: RouterHealSettings,
    device: str,
    scratch: Path,
) -> tuple[Tensors, str]:
    """Routers ``<layer>.router`` [experts, hidden] distilled from the seed, and the curve as CSV.

    Those that check text likes best are kept, the ones read off included; ``kl`` is [before, after] there, nats
    per token.
    """
    mixture = mixture_from(source, found)
    about: dict = {"steps": 0, "kl": None, "kept": False}
    routers, curve = mixture.routers, []
    if settings.steps and mixture.active < mixture.shape.experts:
        student, learnt = routing_student(mixture, resolve_device(device))
        with live_log(scratch / "live") as on_step:
            healed = heal_model(
                student,
                seed,
                texts[0]["heal"],
                texts[0]["check"],
                settings.recipe,
                scratch,
                on_step,
                "heal the routers",
            )
        routers, curve = learnt() if healed.kept else mixture.routers, healed.curve
        kl = [healed.checks[0][1], min(loss for _, loss in healed.checks)]
        about = {"steps": len(curve), "kl": kl, "kept": healed.kept > 0}
    return ({f"{layer}.router": r for layer, r in enumerate(routers)}, about), curve_csv(curve)
