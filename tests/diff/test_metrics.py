"""Figures of a state are those of the checkpoint."""

from families import cut
from model_pairs import all_but, masked, tiny

from birdbone.diff.metrics import macs_per_token, parameters, sparsity
from birdbone.diff.states import state_of


def test_counts_are_those_of_the_checkpoint():
    pruned = masked(cut(tiny(), {0: all_but(12, 3)}, {}), "model.layers.0.mlp.down_proj.weight", 2)
    assert parameters(state_of(pruned)) == pruned.parameters
    assert macs_per_token(state_of(pruned)) == pruned.macs_per_token
    (share,) = sparsity(state_of(pruned)).values()
    layer = [w for n, w in pruned.weights.items() if "layers.0." in n and w.dim() == 2]
    gone = int((~pruned.masks.weights["model.layers.0.mlp.down_proj.weight"]).sum())
    assert share == gone / sum(w.numel() for w in layer)
