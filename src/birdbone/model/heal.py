"""Micro-heal: the pruned network distilled from the seed, merged under the mask.

The student is the pruned network with a peft LoRA (on a float32 or a bitsandbytes NF4 base) or all
its weights learning, the teacher the seed. Loss per position: KL(teacher || student) + ce_weight *
cross-entropy + state_weight * how far the hidden states between the blocks are from the teacher's.
A run can be killed at any moment: it continues from the last checkpoint in ``workdir``
and ends with the same bits.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from birdbone.errors import NumericalError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import compute_dtype
from birdbone.model.distil import distil, state_error
from birdbone.model.head import Head, hidden_states
from birdbone.model.network import build
from birdbone.model.students import HealSettings, Student, student_of
from birdbone.progress import track

log = logging.getLogger("birdbone")


def heal(
    checkpoint: Checkpoint,
    seed: Checkpoint,
    windows: Tensor,
    settings: HealSettings,
    random_seed: int,
    device: str,
    workdir: Path | None = None,
    on_step: Callable[[dict], None] | None = None,
    label: str = "heal",
    make_student: Callable[[Checkpoint, HealSettings, str], Student] = student_of,
) -> tuple[Checkpoint, list[dict]]:
    """The healed checkpoint and the curve: one row per step with loss, kl, ce (nats per token), states, lr.

    windows [N, T] are used in order, ``batch`` a step, again from the start when they run out; where each batch
    comes at least twice, the teacher's final states of it are kept in host memory. Without cross-entropy a student
    that is its own teacher has nothing to learn, and is handed back as it came.
    make_student: what of the checkpoint learns, the head never does. Every masked weight of the result is exactly 0.
    Raises NumericalError when the loss is not finite.
    """
    if settings.ce_weight == 0 and settings.base != "nf4" and checkpoint.digest == seed.digest:
        log.info("%s: the student is its own teacher, and there is no cross-entropy: nothing to heal", label)
        return checkpoint, []
    torch.manual_seed(random_seed)
    dtype = compute_dtype(settings.compute, device)
    teacher = build(seed, device, dtype)
    student = make_student(checkpoint, settings, device)
    trained = student.trained
    heads = Head.of(checkpoint).to(device, dtype), Head.of(seed).sharing(teacher)
    optimizer = torch.optim.AdamW(trained.values(), lr=settings.learning_rate, weight_decay=0.0, fused=True)
    between = settings.state_weight > 0
    curve = _resume(workdir, trained, optimizer)
    round_steps, odd = divmod(len(windows), settings.batch)
    comes_again = not odd and not between and settings.steps - len(curve) >= 2 * round_steps
    taught: dict[int, Tensor] = {}
    if curve:
        log.info("%s: goes on after step %d of %d", label, len(curve), settings.steps)
    for step in track(range(len(curve), settings.steps), label, unit="step"):
        rate = _rate(step, settings)
        for group in optimizer.param_groups:
            group["lr"] = rate
        ids = _batch(windows, step, settings.batch).to(device).long()
        if comes_again and step % round_steps in taught:
            wanted = (taught[step % round_steps].to(device),)
        else:
            with torch.no_grad():
                wanted = hidden_states(teacher, ids, between)
            if comes_again:
                taught[step % round_steps] = wanted[-1].cpu()
        with torch.autocast(device.split(":")[0], dtype, enabled=dtype != torch.float32):
            found = hidden_states(student.network, ids, between)
        kl, ce, gradient = distil(found[-1], wanted[-1], ids, *heads, settings.ce_weight)
        states = state_error(found[:-1], wanted[:-1]) if between else torch.zeros(())
        loss = kl + settings.ce_weight * ce + settings.state_weight * states
        if not torch.isfinite(loss):
            raise NumericalError(f"{label}: the loss is not finite at step {step}; lower its learning_rate")
        optimizer.zero_grad()
        roots, slopes = [found[-1]], [gradient]
        if between:
            roots, slopes = [*roots, settings.state_weight * states], [*slopes, None]
        torch.autograd.backward(roots, slopes)
        nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimizer.step()
        row = {"step": step, "loss": loss.item(), "kl": kl.item(), "ce": ce.item()}
        row |= {"states": states.item(), "lr": rate}
        curve.append(row)
        if on_step:
            on_step(curve[-1])
        if workdir and (step + 1) % settings.checkpoint_every == 0:
            _save(workdir, trained, optimizer, curve)
    return student.merged(), curve


def _batch(windows: Tensor, step: int, size: int) -> Tensor:
    rows = torch.arange(step * size, (step + 1) * size) % len(windows)
    return windows[rows]


def _rate(step: int, settings: HealSettings) -> float:
    """Linear warm-up, then a cosine to a tenth."""
    warm = max(1, round(settings.warmup * settings.steps))
    if step < warm:
        return settings.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, settings.steps - warm)
    return settings.learning_rate * (0.55 + 0.45 * math.cos(math.pi * done))


def _save(workdir: Path, trained: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, curve: list[dict]) -> None:
    """One safetensors file, replaced at once: weights, AdamW's two moments, and the curve."""
    tensors = {}
    for name, parameter in trained.items():
        state = optimizer.state[parameter]
        tensors |= {
            f"weight|{name}": parameter.detach(),
            f"first|{name}": state["exp_avg"],
            f"second|{name}": state["exp_avg_sq"],
        }
    workdir.mkdir(parents=True, exist_ok=True)
    temporary = workdir / ".heal.tmp"
    save_file({n: t.cpu().contiguous() for n, t in tensors.items()}, temporary, {"curve": json.dumps(curve)})
    temporary.replace(workdir / "heal.safetensors")


def _resume(workdir: Path | None, trained: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> list[dict]:
    """Load the last checkpoint, if any, and return its curve."""
    path = workdir / "heal.safetensors" if workdir else None
    if path is None or not path.is_file():
        return []
    from safetensors import safe_open

    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        curve = json.loads(file.metadata()["curve"])
    for name, parameter in trained.items():
        parameter.data.copy_(tensors[f"weight|{name}"])
        optimizer.state[parameter] = {
            "step": torch.tensor(float(len(curve)), device=parameter.device),
            "exp_avg": tensors[f"first|{name}"].to(parameter.device),
            "exp_avg_sq": tensors[f"second|{name}"].to(parameter.device),
        }
    return curve
