"""Distil the seed into the routers."""

from __future__ import annotations

from torch import Tensor

from birdbone.ledger import workdir
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import resolve_device
from birdbone.model.heal import heal as heal_model
from birdbone.model.live import curve_csv, live_log
from birdbone.model.routing import routing_student
from birdbone.model.split import mixture_from
from birdbone.model.students import HealSettings

Tensors = tuple[dict[str, Tensor], dict]


def heal(
    source: Checkpoint,
    found: Tensors,
    seed: Checkpoint,
    texts: Tensors,
    recipe: dict,
    device: str,
    random_seed: int,
) -> tuple[Tensors, str]:
    """Routers ``<layer>.router`` [experts, hidden] distilled from the seed, and the curve as CSV."""
    mixture, place = mixture_from(source, found), resolve_device(device)
    curve: list[dict] = []
    if recipe["steps"] and mixture.active < mixture.shape.experts:
        student, routers = routing_student(mixture, place)
        fixed = {"rank": 1, "ce_weight": 0.0, "base": "float32", "merge_onto": "weights", "method": "routers"}
        with live_log("moe.heal") as on_step:
            _, curve = heal_model(
                mixture.dense,
                seed,
                texts[0]["heal"],
                HealSettings(**recipe, **fixed),
                random_seed,
                place,
                workdir(),
                on_step,
                "heal the routers",
                lambda *_: student,
            )
        healed = routers()
    else:
        healed = mixture.routers
    return ({f"{layer}.router": r for layer, r in enumerate(healed)}, {"steps": len(curve)}), curve_csv(curve)
