"""Routers heal, and a killed heal of them goes on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from families import logits, tokens
from mixture_cases import mean_kl

from birdbone.mixture.model import (
    Mixture,
    stock_network,
)
from birdbone.mixture.routing import routing_student
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.healing.heal import heal
from birdbone.model.healing.recipe import Recipe
from birdbone.model.network import build

RECIPE = Recipe(steps=12, batch=4, learning_rate=0.3, checkpoint_every=4, compute="float32")


def test_healed_routers_follow_the_teacher_better_and_a_killed_heal_goes_on(
    dense: Checkpoint, mixture: Mixture, tmp_path: Path
) -> None:
    lost = dataclasses.replace(mixture, routers=[-r for r in mixture.routers])
    windows = tokens(16)

    def healed(
        workdir: Path | None = None, killed_at: int | None = None
    ) -> tuple[list[torch.Tensor], list[dict]]:
        def on_step(row: dict) -> None:
            if row["step"] == killed_at:
                raise KeyboardInterrupt

        student, routers = routing_student(lost, "cpu")
        found = heal(student, dense, windows, windows, RECIPE, workdir, on_step)
        assert found.kept > 0
        return routers(), found.curve

    routers, curve = healed()
    assert sum(row["kl"] for row in curve[-4:]) < 0.95 * sum(row["kl"] for row in curve[:4])
    better = dataclasses.replace(lost, routers=routers)
    wanted = logits(build(dense), windows)
    assert mean_kl(logits(stock_network(better), windows), wanted) < mean_kl(
        logits(stock_network(lost), windows), wanted
    )
    all_on = stock_network(better, active=6)
    assert mean_kl(logits(all_on, windows), wanted) < 1e-6  # the experts are still the dense ones
    with pytest.raises(KeyboardInterrupt):
        healed(tmp_path, killed_at=9)
    resumed, again = healed(tmp_path)
    assert again == curve
    assert all(torch.equal(a, b) for a, b in zip(routers, resumed, strict=True))
