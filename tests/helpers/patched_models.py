"""A seed and the models that pruning, healing and regrowing make of it, and a patch between any two."""

from pathlib import Path

import torch
from families import cut
from model_pairs import all_but, digests, healed, masked, tiny

from birdbone.diff.apply import patched, verify_patches
from birdbone.diff.patch import write_patches
from birdbone.diff.states import State
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.pruning.removal import return_nodes
from birdbone.model.units import Nodes

SEED = tiny()
UP = "model.layers.0.mlp.up_proj.weight"


def pruned() -> Checkpoint:
    """Neurons gone from layers 0 and 1, a key-value group from layer 1, then healed."""
    return healed(cut(SEED, {0: all_but(12, 3), 1: all_but(12, 0, 7, 11)}, {1: all_but(2, 0)}))


def further() -> Checkpoint:
    """More of the same, and a weight mask."""
    start = cut(pruned(), {0: all_but(11, 0, 10), 2: all_but(12, 5)}, {0: all_but(2, 1)})
    return healed(masked(start, UP, 5), 2)


def regrown() -> Checkpoint:
    columns = torch.randn(8, 2, generator=torch.Generator().manual_seed(4))
    return return_nodes(further(), SEED, Nodes("ffn", 1), torch.tensor([0, 11]), columns)


STATES = {
    "seed": lambda: SEED,
    "pruned": pruned,
    "further": further,
    "regrown": regrown,
    "healed": lambda: healed(SEED),
}


def there_and_back(old: State, new: State, seed: State | None, folder: Path) -> dict:
    """Write, verify, apply and revert; all is bit for bit."""
    summary = write_patches(old, new, seed, folder)
    assert verify_patches(folder)["old"] == old.digest and verify_patches(folder)["new"] == new.digest
    assert digests(patched(old, folder, seed)) == digests(new)
    assert digests(patched(new, folder, seed, revert=True)) == digests(old)
    return summary
