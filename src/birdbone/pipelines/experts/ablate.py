"""Does silencing an expert hurt its labelled domain more than random nodes or other domains do?"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from birdbone.algo.ablation import Effects, effects, judgement, verdict
from birdbone.algo.experts import Nodes, members_of, random_sets
from birdbone.errors import ArtifactError, ConfigError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.network import build
from birdbone.model.observing.ablation import ablated_losses
from birdbone.model.observing.activations import Experts
from birdbone.pipelines.experts.settings import ExpertSettings
from birdbone.pipelines.inputs import Compute
from birdbone.report.numbers import nats
from birdbone.text.texts import LabelledTexts

log = logging.getLogger("birdbone")


def ablate_experts(
    seed: Checkpoint,
    experts: Experts,
    experts_report: dict,
    domain_texts: LabelledTexts,
    settings: ExpertSettings,
    compute: Compute,
) -> dict:
    """Silence the most selective experts on held-out text, each beside random sets of its size.

    Every domain's most selective expert goes first, then every domain's second, ``experts.ablated``
    in all. Random sets have as many nodes in each layer. Changes of loss are in nats per token;
    effects and intervals are those of ``algo.ablation.effects``. Raises ArtifactError where the
    experts are another model's, ConfigError where too little text was held out.
    """
    if experts.model != seed.digest:
        raise ArtifactError(
            "experts were found in another model than seed_model: run pipelines domains and "
            "experts again"
        )
    labels = experts_report["labels"]
    windows, domain = _held_out(domain_texts, labels, settings.ablation_tokens)
    chosen = _chosen(experts_report, settings.ablated)
    summary = {
        "tokens": {
            label: int((domain == d).sum()) * (windows.shape[1] - 1)
            for d, label in enumerate(labels)
        },
        "windows": {label: int((domain == d).sum()) for d, label in enumerate(labels)},
        "random_sets": settings.random_sets,
        "labelled": sum(bool(e["labels"]) for e in experts_report["experts"]),
    }
    if not chosen:
        log.info("ablation: no expert has a label, nothing to silence")
        return {**summary, "experts": [], "verdict": "nothing to test"}
    widths = dict(enumerate(seed.counts("ffn")))
    sets: list[Nodes] = []
    for number, expert in enumerate(chosen):
        layer, _, label = expert["id"].rpartition(".")
        members = members_of(experts.labels, int(layer) if layer else None, int(label))
        sets += [
            members,
            *random_sets(
                widths, members, settings.random_sets, compute.random_seed * 1009 + number
            ),
        ]
    network = build(seed, compute.place)
    losses = ablated_losses(network, seed.layout, windows, sets, "ablation")
    changes = (losses[1:] - losses[0]) / (windows.shape[1] - 1)
    changes = changes.reshape(len(chosen), -1, len(windows))
    domains = [[labels.index(name) for name in expert["labels"]] for expert in chosen]
    measured, mean = effects(changes[:, 0], changes[:, 1:], domains, domain, compute.random_seed)
    result = {
        **summary,
        "loss": {
            d: float(losses[0][domain == i].mean()) / (windows.shape[1] - 1)
            for i, d in enumerate(labels)
        },
        "experts": [
            {
                "id": e["id"],
                "labels": e["labels"],
                "size": e["size"],
                "layers": e["layers"],
                **_figures(labels, m),
            }
            for e, m in zip(chosen, measured, strict=True)
        ],
        "mean": _figures(labels, mean),
        "verdict": verdict(measured, mean),
    }
    log.info(summary_line(result))
    return result


def summary_line(ablation: dict) -> str:
    """The ablation in one line for the terminal."""
    rows = ablation["experts"]
    mean = ablation["mean"]
    hurt = sum(row["effect"][1] > 0 for row in rows)
    selective = sum(row["selectivity"][1] > 0 for row in rows)
    return (
        f"ablation: {hurt} of {len(rows)} experts hurt their own domain more than random nodes do, "
        f"{selective} more than they hurt the others; on average {nats(mean['effect'])} and "
        f"{nats(mean['selectivity'])} nats per token. Labels: {ablation['verdict']}"
    )


def _held_out(domain_texts: LabelledTexts, labels: list[str], tokens: int) -> tuple[Tensor, Tensor]:
    """Windows of all domains [W, T], equally many of each, and their domain [W]."""
    length = domain_texts.heldout[labels[0]].shape[1]
    count = -(-tokens // length)
    for label in labels:
        windows = len(domain_texts.heldout[label])
        if windows < max(2, count):
            raise ConfigError(
                f"parameter experts.ablation_tokens: {tokens} need {max(2, count)} windows of "
                f"{length}, domain {label} holds out {windows}: lower it, or raise "
                "domains.heldout_tokens"
            )
    count = max(2, count)
    windows = torch.cat([domain_texts.heldout[label][:count] for label in labels])
    return windows, torch.arange(len(labels)).repeat_interleave(count)


def _chosen(report: dict, count: int) -> list[dict]:
    """Labelled experts, the most selective of each first label in turn."""
    queues = []
    for label in report["labels"]:
        mine = [e for e in report["experts"] if e["labels"][:1] == [label]]
        queues.append(sorted(mine, key=lambda e: (-e["excess"], e["id"])))
    rounds = [queue[i] for i in range(max(map(len, queues))) for queue in queues if i < len(queue)]
    return rounds[:count]


def _figures(labels: list[str], one: Effects) -> dict:
    """Each as [estimate, low, high], in nats per token."""
    return {
        "change": list(one.change),
        "effect": list(one.effect),
        "others": list(one.others),
        "selectivity": list(one.selectivity),
        "domains": dict(zip(labels, one.domains, strict=True)),
        "above_random": one.above,
        "judgement": judgement(one),
    }
