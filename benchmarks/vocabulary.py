"""What fewer tokens cost on a job's guard text: by how often a token has to occur in what the job
learns from.

For each count: tokens kept, megabytes saved at the bits that the default spends on its embedding,
share of the guard text's tokens that went, and the change of perplexity against the untrimmed seed
on the same text, nothing healed. The control keeps as many tokens by their number, which is how
often they occurred in the tokenizer's own text. Needs a profile that trims: ``--env=code``.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from workbench import Artifacts, arguments, save

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer, resolve_device
from birdbone.model.network import build
from birdbone.model.vocabulary import TOKENIZER, kept_ids, reread, with_tokens, write_tokenizer
from birdbone.pipelines.seed.settings.text import TextSettings
from birdbone.pipelines.seed.trim import count_tokens
from birdbone.pipelines.seed.untrimmed import text_losses
from birdbone.text.merges import closed

BITS = 5.5
"""Per weight of the embedding, as the default rounds it at 3 %."""


def main() -> None:
    asked = arguments(__doc__, counts="1,2,4,8,16,32", windows=16)
    found = Artifacts(asked.env)
    source, folder = found.source_model, found.source_tokenizer
    device = resolve_device(found.parameters["device"])
    whole, ours = read_tokenizer(folder), read_tokenizer(found.tokenizer)
    (domain,) = found.texts.guard.values()
    encoded = reread(domain.windows[: asked.windows], ours, whole)
    strings = whole.batch_decode(encoded)
    scored = sum(len(ids) - 1 for ids in encoded)
    before = text_losses(build(source, device), encoded, "untrimmed")
    counted = count_tokens(
        whole, found.settings(TextSettings, "text"), found.parameters["random_seed"]
    )
    data = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))
    numbered = sorted(whole.get_vocab(), key=whole.get_vocab().__getitem__)

    def row(name: str, tokens: list[str]) -> dict:
        kept = closed(data, tokens)
        ids = kept_ids(folder, kept)
        model: Checkpoint = with_tokens(source, ids)
        with tempfile.TemporaryDirectory() as place:
            write_tokenizer(folder, Path(place), kept)
            small = read_tokenizer(Path(place))
        again = [torch.tensor(small(s, add_special_tokens=False).input_ids) for s in strings]
        after = text_losses(build(model, device), again, f"{name}: {len(ids):,} tokens")
        every = torch.cat(encoded)
        return {
            "tokens": name,
            "kept": len(ids),
            "megabytes": (source.parameters - model.parameters) * BITS / 8e6,
            "macs": model.macs_per_token / source.macs_per_token - 1,
            "lost": 1 - float(torch.isin(every, ids).double().mean()),
            "change": math.exp(float((after - before).sum()) / scored) - 1,
        }

    rows = []
    for least in map(int, asked.counts.split(",")):
        rows.append(row(f">= {least}", [t for t, n in counted.items() if n >= least]))
        rows.append(row("control", numbered[: rows[-1]["kept"]]))
        _print(rows[-2:])
    save("vocabulary", asked, rows, _picture(rows))


def _print(rows: list[dict]) -> None:
    for r in rows:
        print(
            f"{r['tokens']:>8}  {r['kept']:>7,} kept  {r['megabytes']:5.1f} MB saved  "
            f"MACs {r['macs']:+.1%}  {r['lost']:.3%} lost  perplexity {r['change']:+.2%}",
            flush=True,
        )


def _picture(rows: list[dict]) -> plt.Figure:
    figure, axis = plt.subplots(figsize=(6, 4))
    for control, label in ((False, "by the job's text"), (True, "control: by number")):
        mine = [r for r in rows if (r["tokens"] == "control") == control]
        axis.plot([r["kept"] for r in mine], [100 * r["change"] for r in mine], "o-", label=label)
    axis.set(xlabel="tokens kept", ylabel="perplexity change, %", yscale="symlog")
    axis.legend()
    return figure


if __name__ == "__main__":
    main()
