"""Inputs that several stages take together: a seed, what a model learns from, where to work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import resolve_device
from birdbone.pipelines.gathered import Together
from birdbone.text.texts import Texts


@dataclass(frozen=True)
class Seed(Together):
    """The model as it came: its weights, where it is from, its tokenizer."""

    model: Checkpoint
    about: dict
    tokenizer_folder: Path


SEED = ["seed_model", "seed_about", "tokenizer"]
"""The datasets of a ``Seed``, in its order."""


@dataclass(frozen=True)
class Lesson(Together):
    """What a healed model learns from: the seed, and the text it is asked about."""

    seed: Checkpoint
    texts: Texts


LESSON = ["seed_model", "texts"]
"""The datasets of a ``Lesson``, in its order."""


@dataclass(frozen=True)
class Accepted(Together):
    """The last accepted model, and the verdict of the wave it is from."""

    model: Checkpoint
    verdict: dict


@dataclass(frozen=True)
class Compute(Together):
    """On which device a node computes, and its random numbers."""

    device: str
    random_seed: int

    @property
    def place(self) -> str:
        """The device, ``auto`` resolved."""
        return resolve_device(self.device)


COMPUTE = ["params:device", "params:random_seed"]
"""The parameters of a ``Compute``, in its order."""


@dataclass(frozen=True)
class Workplace(Compute):
    """The same for a node that resumes: its scratch folder outlives a kill."""

    scratch: Path


WORKPLACE = [*COMPUTE, "scratch"]
"""The inputs of a ``Workplace``, in its order."""
