"""Micro-heal: a LoRA distilled from the seed, merged under the mask.

The student is the pruned network with a peft LoRA (on a float32 or a bitsandbytes NF4 base), the
teacher the seed. Loss per position: KL(teacher || student) + ce_weight * cross-entropy. A run can be
killed at any moment: it continues from the last checkpoint in ``workdir`` and ends with the same bits.
"""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from birdbone.errors import ConfigError, NumericalError
from birdbone.model.architecture import architecture_of
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import compute_dtype
from birdbone.model.evaluate import kl_divergence
from birdbone.model.network import build
from birdbone.progress import track

ADAPTER = "heal"
AT_REST = 1e-6
"""Nats per token: a student this near to its teacher has nothing left to learn from it."""
log = logging.getLogger("birdbone")


@dataclass(frozen=True)
class HealSettings:
    """Recipe of one heal; the fields are the keys of ``micro_heal`` in the parameters."""

    steps: int
    batch: int
    rank: int
    learning_rate: float
    ce_weight: float
    base: str
    merge_onto: str
    compute: str
    checkpoint_every: int
    warmup: float = 0.1


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
) -> tuple[Checkpoint, list[dict]]:
    """The healed checkpoint and the curve: one row per step with loss, kl, ce (nats per token), lr.

    windows [N, T] are used in order, ``batch`` a step, again from the start when they run out. Ends
    early, saying so, where the loss is at rest: a student that is its own teacher is handed back as it came.
    Every masked weight of the result is exactly 0. Raises NumericalError when the loss is not finite.
    """
    torch.manual_seed(random_seed)
    dtype = compute_dtype(settings.compute, device)
    teacher = build(seed, device, dtype)
    student = _with_lora(build(checkpoint, device), checkpoint, settings)
    trained = {n: p for n, p in student.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=settings.learning_rate, weight_decay=0.0)
    curve = _resume(workdir, trained, optimizer)
    if curve:
        log.info("%s: goes on after step %d of %d", label, len(curve), settings.steps)
    for step in track(range(len(curve), settings.steps), label, unit="step"):
        rate = _rate(step, settings)
        for group in optimizer.param_groups:
            group["lr"] = rate
        ids = _batch(windows, step, settings.batch).to(device).long()
        with torch.no_grad():
            wanted = teacher(ids, use_cache=False).logits
        with torch.autocast(device.split(":")[0], dtype, enabled=dtype != torch.float32):
            logits = student(ids, use_cache=False).logits
        kl, ce = _distillation(logits, wanted, ids)
        loss = kl + settings.ce_weight * ce
        if not torch.isfinite(loss):
            raise NumericalError(f"{label}: the loss is not finite at step {step}; lower micro_heal.learning_rate")
        if loss.item() < AT_REST:
            log.info("%s: the student is its teacher (%.1e nats): ends after %d steps", label, loss.item(), step)
            break
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimizer.step()
        curve.append({"step": step, "loss": loss.item(), "kl": kl.item(), "ce": ce.item(), "lr": rate})
        if on_step:
            on_step(curve[-1])
        if workdir and (step + 1) % settings.checkpoint_every == 0:
            _save(workdir, trained, optimizer, curve)
    return (merge(checkpoint, student, settings) if curve else checkpoint), curve


@torch.no_grad()
def merge(checkpoint: Checkpoint, student: nn.Module, settings: HealSettings) -> Checkpoint:
    """W + s·(BA ⊙ M) in float32 for every adapted layer: on the checkpoint's own weights, or with
    ``merge_onto: base`` on the de-quantized NF4 base. Masked weights come out exactly 0.
    """
    merged = {}
    for name, module in student.base_model.model.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        weight = checkpoint.weights[f"{name}.weight"]
        if settings.base == "nf4" and settings.merge_onto == "base":
            weight = _dequantized(module.base_layer).cpu()
        change = module.scaling[ADAPTER] * (
            module.lora_B[ADAPTER].weight.float() @ module.lora_A[ADAPTER].weight.float()
        )
        mask = checkpoint.masks.get(f"weight.{name}.weight")
        new = weight.float() + change.cpu()
        merged[f"{name}.weight"] = (new if mask is None else torch.where(mask, new, 0.0)).to(weight.dtype)
    return checkpoint.evolve(merged)


def _with_lora(network: nn.Module, checkpoint: Checkpoint, settings: HealSettings) -> nn.Module:
    from peft import LoraConfig, get_peft_model

    architecture = architecture_of(checkpoint.config)
    names = [n for layer in range(checkpoint.layers) for n in architecture.linears(layer)]
    if settings.base == "nf4":
        for name in names:
            network.set_submodule(name, _nf4(network.get_submodule(name)))
    config = LoraConfig(r=settings.rank, lora_alpha=2 * settings.rank, lora_dropout=0.0, target_modules=names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for a name that it has renamed
        student = get_peft_model(network, config, adapter_name=ADAPTER)
    student.eval()  # no dropout: the teacher has none, and a resumed run could not repeat its draws
    for name in names:
        layer, mask = student.base_model.model.get_submodule(name), checkpoint.masks.get(f"weight.{name}.weight")
        if settings.base == "nf4":
            layer.base_layer.train()  # in evaluation bitsandbytes repacks a CPU weight, and it cannot be read again
        if mask is not None:
            _mask_lora(layer, mask)
    return student


def _mask_lora(layer: nn.Module, mask: Tensor) -> None:
    """Make a peft layer compute x(W + s·(BA ⊙ M))ᵀ, so that training sees what the merge will keep."""
    a, b = layer.lora_A[ADAPTER], layer.lora_B[ADAPTER]
    keep = mask.to(a.weight.device, a.weight.dtype)

    def forward(x: Tensor) -> Tensor:
        change = layer.scaling[ADAPTER] * (b.weight @ a.weight) * keep
        return layer.base_layer(x) + F.linear(x, change.to(x.dtype))

    layer.forward = forward


def _nf4(linear: nn.Linear) -> nn.Module:
    """The layer in 4 bits. Blocks must not straddle rows: bitsandbytes 0.50 reads them wrongly on a CPU."""
    import bitsandbytes as bnb

    device, block = linear.weight.device, next((b for b in (64, 32) if linear.in_features % b == 0), None)
    if block is None:
        raise ConfigError(
            f"parameter micro_heal.base: nf4 needs inputs in multiples of 32, not {linear.in_features}: use float32"
        )
    quantized = bnb.nn.Linear4bit(
        linear.in_features, linear.out_features, linear.bias is not None, compute_dtype=torch.float32, quant_type="nf4"
    )
    weight = linear.weight.detach().clone()
    quantized.weight = bnb.nn.Params4bit(
        weight, requires_grad=False, quant_type="nf4", blocksize=block, module=quantized
    )
    if linear.bias is not None:
        quantized.bias = nn.Parameter(linear.bias.detach().clone(), requires_grad=False)
    quantized = quantized.to(device)
    if quantized.weight.quant_state is None:
        quantized.weight = quantized.weight._quantize(device)
    return quantized


def _dequantized(layer: nn.Module) -> Tensor:
    import bitsandbytes.functional as bnb

    return bnb.dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()


def _distillation(logits: Tensor, wanted: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Mean KL to the teacher and mean cross-entropy over all scored positions, from logits [B, T, V]."""
    logits, wanted, target = logits[:, :-1].float(), wanted[:, :-1].float(), ids[:, 1:]
    kl = kl_divergence(logits, wanted).mean()
    ce = F.cross_entropy(logits.flatten(0, 1), target.flatten())
    return kl, ce


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
            "step": torch.tensor(float(len(curve))),
            "exp_avg": tensors[f"first|{name}"].to(parameter.device),
            "exp_avg_sq": tensors[f"second|{name}"].to(parameter.device),
        }
    return curve
