"""A model for one job beside what it would be without one of its means, at equal bytes, on the
job's test text.

Each row is rounded anew to the bytes of the export's tensors: without pruning, without trimming,
without either. The last is what the general job does, given the job's text. Healing without
cross-entropy leaves the seed as it is, so "without pruning" is also the control: the seed, healed
alike. llama.cpp rounds the export's model to the export's types with the importance matrix of the
same tokens. Changes of perplexity are from the seed with all its tokens, on the same text.
Needs a finished run of a profile that trims: ``--env=code``.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import torch
from importance_matrix import importance_matrix
from torch import Tensor
from workbench import Artifacts, arguments, save

from birdbone.algo.bootstrap import ratio_interval
from birdbone.algo.budget import assign
from birdbone.algo.grids import GRIDS
from birdbone.algo.perplexity import by_document
from birdbone.gguf.plan import joined, priced_together
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer, resolve_device
from birdbone.model.network import build
from birdbone.model.rounding.rounder import Rounder, dequantized
from birdbone.model.vocabulary import reread
from birdbone.pipelines.quantize.settings import QuantizeSettings
from birdbone.pipelines.seed.untrimmed import text_losses


class Job:
    """The finished run, its test text as every model reads it, and what the seed makes of it."""

    def __init__(self, env: str) -> None:
        self.found = found = Artifacts(env)
        self.device = resolve_device(found.parameters["device"])
        self.source, self.seed = found.source_model, found.seed_model
        self.accepted = getattr(found, f"wave_{found.parameters['waves']}.accepted")
        self.quantized, self.texts = found.quantized, found.texts
        self.settings = found.settings(QuantizeSettings, "quantize")
        (name,) = self.texts.domains
        self.domain = self.texts.test[name]
        whole, ours = read_tokenizer(found.source_tokenizer), read_tokenizer(found.tokenizer)
        self.encoded = reread(self.domain.windows, ours, whole)
        reading = found.seed_states.of(self.seed, "test").readings[name]
        self.before, self.counts = reading.nll, reading.tokens
        spelt = whole.get_vocab()
        self.kept = torch.empty(len(ours), dtype=torch.long)
        for token, number in ours.get_vocab().items():
            self.kept[number] = spelt[token]

    def calibration(self, model: Checkpoint) -> Tensor:
        """The calibration text in the tokens of a model, trimmed or not."""
        windows = self.texts.calibration.long()
        return windows if self.trimmed(model) else self.kept[windows]

    def trimmed(self, model: Checkpoint) -> bool:
        return model.weights[model.layout.embedding].shape[0] == len(self.kept)

    def change(self, state: Checkpoint, label: str) -> list[float]:
        """Of perplexity on test text: [change, low, high]."""
        windows = list(self.domain.windows.long()) if self.trimmed(state) else self.encoded
        after = text_losses(build(state, self.device), windows, label)
        documents = self.domain.documents
        columns = (by_document(v, documents) for v in (self.before, after, self.counts))
        return list(ratio_interval(*columns))

    def whole(self, model: Checkpoint) -> Checkpoint:
        """A trimmed model with all tokens again."""
        names = (model.layout.embedding, model.layout.head)
        rows = {n: self.source.weights[n] for n in names if n in model.weights}
        sizes = {"vocab_size": self.source.config["vocab_size"]}
        return Checkpoint({**model.config, **sizes}, model.weights | rows, model.masks)

    def rounded(self, model: Checkpoint, size: int) -> tuple[Checkpoint, int]:
        """A model whose tensors take ``size`` bytes at most."""
        scores, moments = self.found.node_scores, self.found.second_moments
        text = self.calibration(model)
        rounder = Rounder(model, text, moments, scores, self.settings, self.device)
        options, members = priced_together(model, rounder.options)
        fixed = sum(4 * w.numel() for n, w in model.weights.items() if n not in rounder.options)
        chosen = assign(options, max_bytes=size - fixed)
        types = {n: kind for first, kind in chosen.items() for n in members[first]}
        state, packed = rounder.apply(types)
        return state, fixed + sum(p.numel() for n, p in packed.items() if n in types)


def main() -> None:
    asked = arguments(__doc__)
    job = Job(asked.env)
    export = dequantized(job.accepted, job.quantized.packed, job.quantized.types)
    size = job.found.quantize_report["tensor_bytes"]
    rows: list[dict] = []

    def row(name: str, state: Checkpoint, taken: int) -> None:
        found = job.change(state, name)
        rows.append({"what": name, "bytes": taken, "macs": state.macs_per_token, "change": found})
        low, high = (f"{100 * x:+.2f}" for x in found[1:])
        print(
            f"{name:40} {taken / 1e6:6.1f} MB  MACs "
            f"{state.macs_per_token / job.source.macs_per_token - 1:+.1%}  "
            f"perplexity {found[0]:+.2%} [{low}, {high}]",
            flush=True,
        )

    row("the export", export, size)
    row("llama.cpp's rounding, importance matrix", _by_llamacpp(job), size)
    for name, model in (
        ("without pruning", job.seed),
        ("without trimming", job.whole(job.accepted)),
        ("without either", job.source),
    ):
        row(name, *job.rounded(model, size))
    save("one_job", asked, rows, _picture(rows))


def _by_llamacpp(job: Job) -> Checkpoint:
    """The accepted model on the export's types, each block matrix by ggml with the importance of
    its columns.
    """
    model, types = job.accepted, job.quantized.types
    importance = importance_matrix(model, job.calibration(model), job.device)
    names = {part: name for name, parts in joined(model).items() for part in parts}
    weights = {}
    for name, kind in types.items():
        if kind in GRIDS:
            packed = GRIDS[kind].reference(model.weights[name], importance.get(names[name]))
            weights[name] = GRIDS[kind].dequantize(packed)
    return dequantized(model, {}, types).evolve(weights)


def _picture(rows: list[dict]) -> plt.Figure:
    figure, axis = plt.subplots(figsize=(7, 3.5))
    names = [r["what"] for r in rows]
    values = [100 * r["change"][0] for r in rows]
    spans = [[100 * (r["change"][0] - r["change"][1]) for r in rows]]
    spans.append([100 * (r["change"][2] - r["change"][0]) for r in rows])
    axis.barh(names, values, xerr=spans)
    axis.invert_yaxis()
    axis.set(xlabel="perplexity change on the job's test text, %")
    return figure


if __name__ == "__main__":
    main()
