"""What several stages judge a state by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.judging.reference import Reference, States
from birdbone.pipelines.gathered import Together
from birdbone.text.texts import Texts


@dataclass(frozen=True)
class Yardstick(Together):
    """The seed, its final states on guard and test text, its tokenizer, and all text."""

    seed: Checkpoint
    seed_states: States
    tokenizer_folder: Path
    texts: Texts

    @property
    def guard(self) -> Reference:
        """The seed on guard text."""
        return self.seed_states.of(self.seed, "guard")

    @property
    def test(self) -> Reference:
        """The seed on test text."""
        return self.seed_states.of(self.seed, "test")


YARDSTICK = ["seed_model", "seed_states", "tokenizer", "texts"]
"""The datasets of a ``Yardstick``, in its order."""
