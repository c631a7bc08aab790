"""Micro-heal: the pruned network distilled from the seed, merged under the mask.

The student is the pruned network with a peft LoRA (on a float32 or a bitsandbytes NF4 base) or all
its weights learning, the teacher the seed. Loss per position: KL(teacher || student) + ce_weight *
cross-entropy + state_weight * how far the hidden states between the blocks are from the teacher's.
Check text, which nothing learns from, says which state is kept: the one that came is among them.
A run can be killed at any moment: it continues from the last checkpoint in ``workdir``
and ends with the same bits.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from birdbone.errors import NumericalError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import compute_dtype
from birdbone.model.head import Head, hidden_states
from birdbone.model.healing.distil import distil, state_error
from birdbone.model.healing.recipe import Recipe
from birdbone.model.healing.trainable import Student
from birdbone.model.judging.reference import final_states
from birdbone.model.network import build
from birdbone.progress import track

PAIR = 2
"""Windows judged at once."""
FULL_RATE_LOSS = 0.25
"""Check loss (nats per token) from which on ``learning_rate`` holds as it is; measured at that of a
tenth pruned.
"""

WARMUP = 0.1
"""Of the steps, in which the rate rises to its peak."""

log = logging.getLogger("birdbone")


@dataclass(frozen=True)
class Healed:
    """What a heal gives. curve: one row per step with loss, kl, ce (nats per token), states, lr.

    checks: (steps done, loss on check text in nats per token), from 0 steps on; empty where nothing
    was healed.
    """

    checkpoint: Checkpoint
    curve: list[dict]
    checks: list[tuple[int, float]]

    @property
    def kept(self) -> int:
        """Steps after which the check loss was lowest: the checkpoint is of then. 0: as it came."""
        return best(self.checks)


def best(checks: list[tuple[int, float]]) -> int:
    """The steps of the lowest check loss, the fewest where several are as low; 0 where there is
    none.
    """
    return min(checks, key=lambda check: check[1])[0] if checks else 0


def heal(
    student: Student,
    seed: Checkpoint,
    windows: Tensor,
    check: Tensor,
    recipe: Recipe,
    workdir: Path | None = None,
    on_step: Callable[[dict], None] | None = None,
    label: str = "heal",
) -> Healed:
    """The state with the lowest loss on ``check`` [N, T], read every ``checkpoint_every`` steps and
    at the end.

    The student is trained in place; the head never learns. windows [N, T] are used in order,
    ``batch`` a step, again from the start when they run out; where each batch comes at least twice,
    the teacher's final states of it are kept in host memory. The rate is ``learning_rate`` times
    the root of the first check loss (in FULL_RATE_LOSS, 1 at most): the nearer the teacher, the
    smaller the steps. Without cross-entropy a student that is its own teacher has nothing to learn,
    and is handed back as it came. Every masked weight of the result is exactly 0. Raises
    NumericalError when the loss is not finite.
    """
    start = student.start
    if recipe.ce_weight == 0 and not student.rounded and start.digest == seed.digest:
        log.info(
            "%s: the student is its own teacher, and there is no cross-entropy: nothing to heal",
            label,
        )
        return Healed(start, [], [])
    trained = student.trained
    device = str(next(student.network.parameters()).device)
    dtype = compute_dtype(recipe.compute, device)
    teacher = build(seed, device, dtype)
    heads = Head.of(start).to(device, dtype), Head.of(seed).sharing(teacher)
    optimizer = torch.optim.AdamW(trained.values(), lr=recipe.learning_rate, weight_decay=0.0, fused=True)
    between = recipe.state_weight > 0
    loss_of = loss_on(check, start, seed, recipe.ce_weight, device)
    curve, checks, kept = _resume(workdir, trained, optimizer)
    if not checks:
        # Merged onto an NF4 base the student is not the state that came.
        checks = [(0, loss_of(build(start, device) if student.rounded else student.network))]
        kept = _copies(trained)
    peak = recipe.learning_rate * min(1.0, math.sqrt(checks[0][1] / FULL_RATE_LOSS))
    round_steps, odd = divmod(len(windows), recipe.batch)
    comes_again = not odd and not between and recipe.steps - len(curve) >= 2 * round_steps
    taught: dict[int, Tensor] = {}
    if curve:
        log.info("%s: goes on after step %d of %d", label, len(curve), recipe.steps)
    for step in track(range(len(curve), recipe.steps), label, unit="step"):
        rate = peak * _share(step, recipe.steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        ids = _batch(windows, step, recipe.batch).to(device).long()
        if comes_again and step % round_steps in taught:
            theirs = (taught[step % round_steps].to(device),)
        else:
            with torch.no_grad():
                theirs = hidden_states(teacher, ids, between)
            if comes_again:
                taught[step % round_steps] = theirs[-1].cpu()
        with torch.autocast(device.split(":")[0], dtype, enabled=dtype != torch.float32):
            ours = hidden_states(student.network, ids, between)
        kl, ce, gradient = distil(ours[-1], theirs[-1], ids, *heads, recipe.ce_weight)
        states = state_error(ours[:-1], theirs[:-1]) if between else torch.zeros(())
        loss = kl + recipe.ce_weight * ce + recipe.state_weight * states
        if not torch.isfinite(loss):
            raise NumericalError(f"{label}: the loss is not finite at step {step}; lower its learning_rate")
        optimizer.zero_grad()
        if between:
            torch.autograd.backward([ours[-1], recipe.state_weight * states], [gradient, None])
        else:
            torch.autograd.backward([ours[-1]], [gradient])
        nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimizer.step()
        row = {"step": step, "loss": loss.item(), "kl": kl.item(), "ce": ce.item()}
        row |= {"states": states.item(), "lr": rate}
        curve.append(row)
        due = (step + 1) % recipe.checkpoint_every == 0
        if due or step + 1 == recipe.steps:
            merged = build(student.merged(), device) if student.rounded else student.network
            checks.append((step + 1, loss_of(merged)))
            row["check"] = checks[-1][1]
            if best(checks) == step + 1:
                kept = _copies(trained)
        if on_step:
            on_step(row)
        if workdir and due:
            _save(workdir, trained, optimizer, curve, checks, kept)
    for name, parameter in trained.items():
        parameter.data.copy_(kept[name])
    steps = best(checks)
    lowest = min(loss for _, loss in checks)
    log.info("%s: check loss %.4f, after %d steps %.4f", label, checks[0][1], steps, lowest)
    return Healed(student.merged() if steps else start, curve, checks)


def loss_on(
    check: Tensor, checkpoint: Checkpoint, seed: Checkpoint, ce_weight: float, device: str
) -> Callable[[nn.Module], float]:
    """What gives the loss on ``check`` [N, T] of a network with the checkpoint's head: KL(seed ||
    network) + ce_weight·cross-entropy, nats per token. All in float32: bfloat16's own error is
    larger than what a wave costs.
    """
    heads = Head.of(checkpoint).to(device, torch.float32), Head.of(seed).to(device, torch.float32)
    theirs = final_states(build(seed, device), check, "check: the seed")

    @torch.no_grad()
    def loss(network: nn.Module) -> float:
        total = 0.0
        for ids, states in zip(check.split(PAIR), theirs.split(PAIR), strict=True):
            ids = ids.to(device).long()
            ours = hidden_states(network, ids)[-1].float()
            kl, ce, _ = distil(ours, states.to(device), ids, *heads)
            total += len(ids) * float(kl + ce_weight * ce)
        return total / len(check)

    return loss


def _copies(trained: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in trained.items()}


def _batch(windows: Tensor, step: int, size: int) -> Tensor:
    rows = torch.arange(step * size, (step + 1) * size) % len(windows)
    return windows[rows]


def _share(step: int, steps: int) -> float:
    """Of the peak rate: linear warm-up, then a cosine to a tenth."""
    warm = max(1, round(WARMUP * steps))
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return 0.55 + 0.45 * math.cos(math.pi * done)


def _save(
    workdir: Path,
    trained: dict[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    curve: list[dict],
    checks: list[tuple[int, float]],
    kept: dict[str, Tensor],
) -> None:
    """One safetensors file, replaced at once: weights, AdamW's two moments, the kept state, curve
    and checks.
    """
    tensors = {f"kept|{name}": tensor for name, tensor in kept.items()}
    for name, parameter in trained.items():
        state = optimizer.state[parameter]
        tensors |= {
            f"weight|{name}": parameter.detach(),
            f"first|{name}": state["exp_avg"],
            f"second|{name}": state["exp_avg_sq"],
        }
    workdir.mkdir(parents=True, exist_ok=True)
    temporary = workdir / ".heal.tmp"
    about = {"curve": json.dumps(curve), "checks": json.dumps(checks)}
    save_file({n: t.cpu().contiguous() for n, t in tensors.items()}, temporary, about)
    temporary.replace(workdir / "heal.safetensors")


def _resume(
    workdir: Path | None, trained: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> tuple[list[dict], list[tuple[int, float]], dict[str, Tensor]]:
    """Load the last checkpoint, if any: its curve, its checks and the state kept so far."""
    path = workdir / "heal.safetensors" if workdir else None
    if path is None or not path.is_file():
        return [], [], {}
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        curve, checks = (json.loads(file.metadata()[name]) for name in ("curve", "checks"))
    for name, parameter in trained.items():
        parameter.data.copy_(tensors[f"weight|{name}"])
        optimizer.state[parameter] = {
            "step": torch.tensor(float(len(curve)), device=parameter.device),
            "exp_avg": tensors[f"first|{name}"].to(parameter.device),
            "exp_avg_sq": tensors[f"second|{name}"].to(parameter.device),
        }
    return (
        curve,
        [tuple(check) for check in checks],
        {name: tensors[f"kept|{name}"] for name in trained},
    )
