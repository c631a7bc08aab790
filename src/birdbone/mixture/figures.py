"""A mixture measured: quality and speed against the share of experts that are on."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from birdbone.algo.bootstrap import ratio_interval
from birdbone.algo.perplexity import domain_figures, without_documents
from birdbone.errors import ExportError
from birdbone.gguf import llamacpp
from birdbone.gguf.writer import write_gguf
from birdbone.mixture.gguf import USED, write_mixture
from birdbone.mixture.model import Mixture, set_active, stock_network
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.judging.evaluate import compare
from birdbone.model.judging.reference import Reference
from birdbone.text.texts import Domain

EXACT_KL = 1e-7
EXACT_MEDIAN = 1e-6
DENSE = "dense"


def shares(fractions: list[float], experts: int) -> list[int]:
    """Numbers of active experts for the shares of them, ascending, each once and at least 1."""
    return sorted({min(experts, max(1, round(share * experts))) for share in fractions})


def quality(
    network: nn.Module,
    reference: Reference,
    domains: dict[str, Domain],
    tokens: int,
    random_seed: int,
    label: str,
) -> dict:
    """``domain_figures`` over all guard domains together, and per domain under ``domains``.

    tokens: of each domain's windows, at most. Windows are cut at the network's context. Documents
    of different domains stay different documents.
    """
    device = next(network.parameters()).device
    figures = {}
    parts = []
    places = []
    first = 0
    context = network.config.max_position_embeddings
    for name, domain in domains.items():
        part = domain.first(max(2, tokens // domain.windows.shape[1]))
        documents = part.documents.long()
        windows = part.windows[:, :context]
        seed_logits = partial(_within, reference, name, device, context)
        seen = compare(network, seed_logits, windows, f"{label}: {name}")
        scored = windows.shape[1] - 1
        figures[name] = domain_figures(seen, documents, scored, random_seed)
        parts.append(seen)
        places.append(documents + first)
        first += int(documents.max()) + 1
    pooled = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    return {
        **domain_figures(pooled, torch.cat(places), scored, random_seed),
        "domains": without_documents(figures),
    }


def _within(
    reference: Reference, name: str, device: torch.device, context: int, rows: slice
) -> Tensor:
    return reference.logits(name, rows, device)[:, :context]


def active_shares(
    mixtures: dict[str, Mixture],
    healed_folder: Path,
    counts: list[int],
    grouping: str,
    reference: Reference,
    domains: dict[str, Domain],
    tokens: int,
    device: str,
    random_seed: int,
) -> list[dict]:
    """A row of ``quality`` for each unhealed grouping and the healed folder, at each number of
    experts.

    All experts on is one row, of ``grouping`` unhealed: routers have no effect there.
    """
    experts = mixtures[grouping].shape.experts
    rows = []
    for name in [*mixtures, "healed"]:
        if name == "healed":
            network = AutoModelForCausalLM.from_pretrained(
                healed_folder, dtype=torch.float32, trust_remote_code=False
            ).to(device)
        else:
            network = stock_network(mixtures[name], device=device)
        for active in counts:
            if active == experts and name != grouping:
                continue
            set_active(network, active)
            figures = quality(
                network, reference, domains, tokens, random_seed, f"{name}, {active} of {experts}"
            )
            of = grouping if name == "healed" else name
            rows.append(
                {
                    "grouping": of,
                    "healed": name == "healed",
                    "active": active,
                    "share": active / experts,
                    **figures,
                }
            )
    return rows


def against_others(rows: list[dict], random_seed: int) -> list[dict]:
    """Topology's perplexity against each other grouping's, unhealed, with equally many experts on.

    ``change`` is [change, low, high], paired over documents. All three below 0 mean that topology
    is better.
    """
    by = {(row["grouping"], row["active"]): row for row in rows if not row["healed"]}
    comparisons = []
    for (grouping, active), row in by.items():
        if grouping == "topology" or ("topology", active) not in by or row["share"] == 1:
            continue
        ours = by["topology", active]["document_nll"]
        change = ratio_interval(row["document_nll"], ours, row["document_tokens"], seed=random_seed)
        comparisons.append(
            {"against": grouping, "active": active, "share": row["share"], "change": list(change)}
        )
    return comparisons


def compare_runtimes(
    mixture: Mixture, tokenizer_folder: Path, ids: list[int], threads: int | None
) -> list[dict]:
    """llama.cpp's logits of an f32 file beside stock transformers', with all experts on and with
    ``mixture.active`` of them. ids are cut at the file's context.

    Raises ExportError where they differ. With some experts off the median token counts, since each
    runtime's rounding decides near ties between experts.
    """
    network = stock_network(mixture)
    rows = []
    with tempfile.TemporaryDirectory(prefix="birdbone-") as folder:
        path = Path(folder) / "f32.gguf"
        write_mixture(path, mixture, tokenizer_folder)
        ids = ids[: llamacpp.context_length(path)]
        for active in sorted({mixture.shape.experts, mixture.active}, reverse=True):
            set_active(network, active)
            with torch.no_grad():
                ours = network(torch.tensor([ids]), use_cache=False).logits[0]
            theirs = torch.from_numpy(
                llamacpp.logits(path, ids, kv="f32", threads=threads, overrides={USED: active})
            )
            # float32 is noisy at 1e-8
            p, q = (logits.double().log_softmax(-1) for logits in (ours, theirs))
            kl = (p.exp() * (p - q)).sum(-1)
            rows.append(
                {
                    "active": active,
                    "tokens": len(ids),
                    "kl": float(kl.mean()),
                    "kl_median": float(kl.median()),
                    "top1": float((ours.argmax(-1) == theirs.argmax(-1)).double().mean()),
                }
            )
            everything = active == mixture.shape.experts
            measured = rows[-1]["kl" if everything else "kl_median"]
            limit = EXACT_KL if everything else EXACT_MEDIAN
            if not measured < limit:
                raise ExportError(
                    f"llama.cpp's logits of the f32 mixture with {active} experts on differ from "
                    f"transformers': KL {measured:.2e} (limit {limit:.0e})"
                )
    return rows


def speeds(
    path: Path,
    dense: Checkpoint,
    tokenizer_folder: Path,
    kind: str,
    counts: list[int],
    generated: int,
    threads: int | None,
) -> dict:
    """llama.cpp's tokens per second at each number of experts, and of the dense model."""
    with tempfile.TemporaryDirectory(prefix="birdbone-") as folder:
        beside = Path(folder) / "dense.gguf"
        write_gguf(beside, dense, tokenizer_folder, default_type=kind)
        files = {DENSE: beside, **{str(active): path for active in counts}}
        used = {str(active): {USED: active} for active in counts}
        measured = llamacpp.speeds(files, threads, generated=generated, overrides=used)
        return {
            name: {**figures, "bytes": files[name].stat().st_size}
            for name, figures in measured.items()
        }
