"""Distil the seed into the routers."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from birdbone.ledger import workdir
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import resolve_device
from birdbone.model.evaluate import compare
from birdbone.model.heal import heal as heal_model
from birdbone.model.live import curve_csv, live_log
from birdbone.model.network import build
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
    """Routers ``<layer>.router`` [experts, hidden] distilled from the seed, and the curve as CSV.

    Those read are kept where the healed ones are no nearer the seed on the check text, which healing never sees;
    ``kl`` is [before, after] there, nats per token.
    """
    mixture, place = mixture_from(source, found), resolve_device(device)
    curve: list[dict] = []
    kept, kl = mixture.routers, None
    if recipe["steps"] and mixture.active < mixture.shape.experts:
        student, routers = routing_student(mixture, place)
        check = texts[0]["check"]
        wanted = seed_logits(seed, check, place)
        before = mean_kl(student.network, wanted, check)
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
        kl = [before, mean_kl(student.network, wanted, check)]
        kept = routers() if kl[1] < kl[0] else mixture.routers
    about = {"steps": len(curve), "kl": kl, "kept": kept is not mixture.routers}
    return ({f"{layer}.router": r for layer, r in enumerate(kept)}, about), curve_csv(curve)


def seed_logits(seed: Checkpoint, windows: Tensor, device: str) -> Callable[[slice], Tensor]:
    """The seed's logits [rows, T, V] of some of the windows, computed when asked for."""
    network = build(seed, device)
    return lambda rows: network(windows[rows].to(device).long(), use_cache=False).logits


def mean_kl(network: nn.Module, wanted: Callable[[slice], Tensor], windows: Tensor) -> float:
    """KL(seed || network) in nats per token."""
    found = compare(network, wanted, windows, "check the routers")["kl"]
    return float(found.sum()) / (windows.shape[0] * (windows.shape[1] - 1))
