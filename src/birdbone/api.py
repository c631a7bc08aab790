"""What people script: take a model, score its parts on text, prune it, save it. The rest is the
pipeline's.

A model of 2 layers with random weights stands for yours; ``birdbone.load("folder")`` reads one from
disk.

>>> import birdbone, torch
>>> from transformers import AutoModelForCausalLM, LlamaConfig
>>> torch.manual_seed(0)  # doctest: +ELLIPSIS
<...>
>>> config = LlamaConfig(vocab_size=96, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
...                      num_attention_heads=4, initializer_range=0.2)
>>> model = birdbone.from_transformers(AutoModelForCausalLM.from_config(config))
>>> model.counts("ffn")
[128, 128]
>>> text = torch.randint(0, 96, (8, 16))

Every score of every node comes from one pass, and ``Pruner`` removes what has the lowest:

>>> scores = birdbone.Scanner(model).scan(text)
>>> scores.of("ffn", layer=1, score="fisher").shape
torch.Size([128])
>>> pruned, report = birdbone.Pruner(model, text, scores).prune(share=0.2)
>>> sum(report["removed"]["ffn"].values()) == 2 * 128 - sum(pruned.counts("ffn"))
True
>>> pruned.block_parameters < model.block_parameters
True

A model is frozen: pruning gives another one. It runs as any of transformers' does:

>>> birdbone.build(pruned)(text).logits.shape
torch.Size([8, 16, 96])
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from birdbone.errors import ConfigError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import resolve_device
from birdbone.model.folder import write_folder
from birdbone.model.network import as_checkpoint, build, canonical
from birdbone.model.observing.activations import Clusters
from birdbone.model.observing.gradients import node_moments
from birdbone.model.observing.moments import SecondMoments
from birdbone.model.observing.node_scores import node_scores
from birdbone.model.pruning.prune import prune
from birdbone.model.pruning.settings import PruneSettings
from birdbone.model.scores import Scores
from birdbone.sources.load import load as load_source
from birdbone.sources.locate import locate

__all__ = ["Pruner", "Scanner", "build", "from_transformers", "load", "save"]

PRUNING: dict[str, Any] = {
    "score": "fisher_max",
    "step": 0.5,
    "clusters": "layer",
    "cluster_cap": 0.5,
    "attention": False,
    "multiple": 32,
    "damping": 0.1,
    "weights": {"method": "none", "sparsity": 0.5, "budget": "uniform", "pattern": None},
}
"""What ``Pruner.prune`` goes by where it is not told otherwise; ``prune_wave`` in the parameters
explains each.
"""


def load(model: str | Path) -> Checkpoint:
    """A model from a folder with config.json and safetensors, a .gguf file, or a hub id.

    Raises SourceError where there is none, UnsupportedArchitectureError for an unknown family.
    """
    return load_source(locate(str(model), {}), random_seed=0, corpus=list)[0]


def from_transformers(network: PreTrainedModel) -> Checkpoint:
    """A model that is in memory. Raises UnsupportedArchitectureError for an unknown family."""
    config = network.config.to_dict()
    return as_checkpoint(canonical(network.state_dict(), config), config)


def save(checkpoint: Checkpoint, folder: str | Path, dtype: torch.dtype = torch.float16) -> None:
    """Write a folder that stock ``from_pretrained`` loads; layers of uneven width are padded with
    zeros.

    The tokenizer is the seed's: copy it beside. Raises ExportError for weights beyond the range of
    ``dtype``.
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    write_folder(checkpoint, path, dtype)


class Scanner:
    """Scores of a model's nodes on text: one forward and one backward pass per window."""

    def __init__(self, checkpoint: Checkpoint, device: str = "auto") -> None:
        self.checkpoint = checkpoint
        self.device = resolve_device(device)

    def scan(self, windows: Tensor, random_seed: int = 0) -> Scores:
        """Every registered score of every node on token windows [N, T]; ``algo.scores`` says what
        each means.

        Raises NumericalError naming the module whose gradients are not finite, or all zero.
        """
        network = build(self.checkpoint, self.device)
        moments, fisher, tokens = node_moments(network, self.checkpoint.layout, windows, "scan")
        return Scores(
            node_scores(self.checkpoint, moments, random_seed),
            fisher,
            tokens,
            {"tokens": windows.numel()},
        )


class Pruner:
    """Removes a model's cheapest nodes and repairs what reads them, by least squares on the text.

    scores: of a scan of the same ``windows`` [N, T]; scanned here where there are none.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        windows: Tensor,
        scores: Scores | None = None,
        device: str = "auto",
    ) -> None:
        self.checkpoint = checkpoint
        self.windows = windows
        self.device = resolve_device(device)
        self.scores = scores or Scanner(checkpoint, device).scan(windows)

    def prune(
        self, share: float, widths: str = "uneven", **settings: Any
    ) -> tuple[Checkpoint, dict]:
        """The narrower model and a report, with ``share`` of the weights in the blocks gone at
        most.

        settings: over ``PRUNING``. Raises ConfigError for a share that is none; pydantic says which
        setting is wrong.
        """
        if not 0 < share < 1:
            raise ConfigError(
                f"share is {share}: between 0 and 1, 0.1 for a tenth of the blocks' weights"
            )
        chosen = PruneSettings.model_validate({**PRUNING, **settings})
        alone = [torch.zeros(count, dtype=torch.int32) for count in map(len, self._neurons())]
        clusters = Clusters(alone, None, [1] * len(alone))
        weights = int(share * self.checkpoint.block_parameters)
        return prune(
            self.checkpoint,
            weights,
            self.scores,
            clusters,
            self.windows,
            SecondMoments(),
            chosen,
            widths,
            self.device,
        )

    def _neurons(self) -> list[Tensor]:
        """One score of each layer's neurons, the removed ones included, as clusters count them."""
        return [
            self.scores.of("ffn", layer, PRUNING["score"])
            for layer in range(self.checkpoint.layers)
        ]
