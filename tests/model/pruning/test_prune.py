"""One prune step: the budget, the caps, the protected, and the repair behind what went."""

from dataclasses import replace

import pytest
import torch
from families import FAMILIES, logits, shape_of, small, tokens

from birdbone.errors import ConfigError
from birdbone.model.network import build
from birdbone.model.observing.activations import Clusters
from birdbone.model.observing.gradients import node_moments
from birdbone.model.observing.moments import SecondMoments
from birdbone.model.pruning.prune import prune, sparsity_for, weights_to_go
from birdbone.model.pruning.removal import remove_nodes
from birdbone.model.pruning.settings import MaskSettings, PruneSettings
from birdbone.model.rounding.settings import RoundSettings
from birdbone.model.scores import Scores
from birdbone.model.units import Nodes

WINDOWS = tokens(rows=16, length=16)


def masks(
    method: str, sparsity: float, pattern: tuple[int, int] | None, budget: str = "uniform"
) -> MaskSettings:
    return MaskSettings(method=method, sparsity=sparsity, pattern=pattern, budget=budget)


NO_MASK = masks("none", 0.5, None)
SETTINGS = PruneSettings(
    score="taylor",
    step=0.02,
    clusters="layer",
    cluster_cap=0.5,
    attention=True,
    multiple=32,
    damping=0.01,
    weights=NO_MASK,
)


def measured(checkpoint) -> tuple[Scores, Clusters]:
    """Taylor scores of every node, and one cluster of each layer's even and odd neurons."""
    moments, fisher, weights = node_moments(build(checkpoint), checkpoint.layout, WINDOWS, "scan")
    scores = {
        (nodes, "taylor"): (m.taylor_absolute / m.tokens).float() for nodes, m in moments.items()
    }
    widths = [len(scores[Nodes("ffn", layer), "taylor"]) for layer in range(checkpoint.layers)]
    labels = [torch.arange(width) % 2 for width in widths]
    return Scores(scores, fisher, weights), Clusters(labels, None, [2] * len(labels))


def rescored(scores: Scores, unit: str, values: dict[int, torch.Tensor]) -> Scores:
    """The scores with those of one unit replaced: layer -> [nodes]."""
    replaced = {(Nodes(unit, layer), "taylor"): score for layer, score in values.items()}
    return replace(scores, nodes={**scores.nodes, **replaced})


def pruned(checkpoint, neurons: int, widths: str = "uneven", measures=None, **changes):
    scores, clusters = measures or measured(checkpoint)
    settings = SETTINGS.model_copy(update=changes)
    amount = neurons * checkpoint.cost("ffn")
    return prune(
        checkpoint, amount, scores, clusters, WINDOWS, SecondMoments(), settings, widths, "cpu"
    )


def with_twins(checkpoint):
    """Every neuron of the second half answers as one of the first, but writes elsewhere."""
    names = [
        f"{n}.weight" for layer in range(2) for n in checkpoint.layout.blocks[layer].ffn_inputs
    ]
    return checkpoint.evolve({n: checkpoint.weights[n][:64].repeat(2, 1) for n in names})


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("widths", ["uneven", "even"])
def test_it_removes_within_the_budget_and_the_result_runs(name, widths):
    checkpoint = small(name)
    result, report = pruned(checkpoint, 64, widths)
    gone = checkpoint.block_parameters - result.block_parameters
    assert 0 < gone <= 64 * checkpoint.cost("ffn")
    for block, (width, groups) in zip(result.layout.blocks, shape_of(result), strict=True):
        assert width % 32 == 0 and bool(groups) == block.attends
    if report["widths"] == "even":
        assert len(set(result.counts("ffn"))) == 1
    assert report["changed"] and logits(build(result), WINDOWS).isfinite().all()


def test_the_repair_brings_outputs_nearer_than_deletion():
    checkpoint = with_twins(small())
    scores, clusters = measured(checkpoint)
    scores = rescored(scores, "ffn", {layer: torch.arange(128, 0, -1.0) for layer in range(2)})
    result, report = pruned(checkpoint, 96, measures=(scores, clusters), attention=False)
    assert report["repair"] and all(
        row["repaired_error"] <= row["deleted_error"] for row in report["repair"]
    )
    deleted = remove_nodes(checkpoint, result.masks.nodes)
    whole = logits(build(checkpoint), WINDOWS)
    errors = [(logits(build(c), WINDOWS) - whole).square().mean() for c in (result, deleted)]
    assert errors[0] < 0.5 * errors[1]


def test_a_cluster_across_layers_may_lose_its_share_in_one_of_them():
    """All neurons of layer 1 are worth less than any of layer 0: both clusters' caps are met
    there.
    """
    checkpoint = small()
    scores, clusters = measured(checkpoint)
    scores = rescored(
        scores, "ffn", {layer: torch.arange(128.0) - 1000 * layer for layer in range(2)}
    )
    clusters = replace(clusters, across=clusters.layers)
    asked = {"measures": (scores, clusters), "cluster_cap": 0.25, "attention": False}
    across, _ = pruned(checkpoint, 1000, **asked, clusters="model")
    within, _ = pruned(checkpoint, 1000, **asked)
    assert [width for width, _ in shape_of(across)] == [128, 64]
    assert [width for width, _ in shape_of(within)] == [96, 96]


def test_no_cluster_loses_more_than_its_cap():
    checkpoint = small()
    result, _ = pruned(checkpoint, 1000, cluster_cap=0.3, attention=False)
    for layer in range(2):
        gone = ~result.masks.nodes["ffn", layer]
        assert [int(gone[start::2].sum()) <= 0.3 * 64 for start in (0, 1)] == [True, True]
        assert gone.sum() == 32


def test_the_first_layers_groups_stay_and_every_layer_keeps_one():
    checkpoint = small()
    scores, clusters = measured(checkpoint)
    scores = rescored(scores, "kv", dict.fromkeys(range(2), torch.zeros(2)))
    result, report = pruned(checkpoint, 1000, measures=(scores, clusters))
    assert [groups for _, groups in shape_of(result)] == [2, 1]
    assert report["removed"]["kv"] == {"1": 1}


def test_even_widths_keep_every_group():
    scores, clusters = measured(small())
    scores = rescored(scores, "kv", {1: torch.zeros(2)})
    result, _ = pruned(small(), 1000, "even", (scores, clusters))
    assert [groups for _, groups in shape_of(result)] == [2, 2]


def test_a_second_step_goes_on_in_the_seeds_numbering():
    checkpoint = small()
    measures = measured(checkpoint)
    first, _ = pruned(checkpoint, 64, measures=measures, attention=False)
    second, _ = pruned(first, 32, measures=measures, attention=False)
    assert first.block_parameters - second.block_parameters == 32 * checkpoint.cost("ffn")
    assert second.masks.nodes
    for nodes, mask in second.masks.nodes.items():
        assert not (mask & ~first.node_mask(nodes)).any()
        rows = f"model.layers.{nodes.layer}.mlp.up_proj.weight"
        assert torch.equal(second.weights[rows], checkpoint.weights[rows][mask])


def test_a_budget_under_one_step_changes_nothing_and_says_why():
    checkpoint = small()
    result, report = pruned(checkpoint, 31, attention=False)
    assert (
        result is checkpoint
        and report["changed"] is False
        and "nothing could be removed" in report["why"]
    )


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
@pytest.mark.parametrize("pattern", [None, (2, 4)])
def test_weight_masks_cover_what_stays_and_zero_what_they_mask(method, pattern):
    weights = masks(method, 0.25, pattern)
    result, _ = pruned(small(), 64, weights=weights)
    for layer in range(2):
        for module in result.layout.blocks[layer].linears:
            name = f"{module}.weight"
            mask, weight = result.masks.weights[name], result.weights[name]
            assert mask.shape == weight.shape and (weight[~mask] == 0).all()
            assert (~mask).float().mean().item() == pytest.approx(
                0.5 if pattern else 0.25, abs=0.01
            )


@pytest.mark.parametrize("pattern", [None, (2, 4)])
def test_a_kept_weight_that_is_zero_is_not_masked(pattern):
    checkpoint = small()
    name = f"{checkpoint.layout.blocks[0].ffn_output}.weight"
    sparse = torch.where(checkpoint.weights[name] > 0, checkpoint.weights[name], 0.0)
    weights = masks("magnitude", 0.25, pattern)
    result, _ = pruned(checkpoint.evolve({name: sparse}), 0, weights=weights)
    assert (~result.masks.weights[name]).sum() == sparse.numel() * (0.5 if pattern else 0.25)


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
def test_budgets_by_sensitivity_spare_the_module_the_loss_minds_most(method):
    checkpoint = small()
    spared = checkpoint.layout.blocks[0].ffn_output
    scores, clusters = measured(checkpoint)
    scores = replace(scores, fisher={**scores.fisher, spared: 1e4 * scores.fisher[spared]})
    large = checkpoint.evolve({f"{spared}.weight": 30 * checkpoint.weights[f"{spared}.weight"]})
    start = large if method == "magnitude" else checkpoint
    weights = masks(method, 0.5, None, "sensitivity")
    result, _ = pruned(start, 0, measures=(scores, clusters), weights=weights)
    gone = {n: (~m).sum().item() for n, m in result.masks.weights.items()}
    total = sum(m.numel() for m in result.masks.weights.values())
    assert sum(gone.values()) / total == pytest.approx(0.5, abs=0.02)
    assert gone[f"{spared}.weight"] < 0.1 * result.masks.weights[f"{spared}.weight"].numel()


def test_masking_again_keeps_the_old_masks_zero():
    weights = masks("magnitude", 0.25, None)
    first, _ = pruned(small(), 32, weights=weights)
    again, _ = pruned(first, 32, measures=measured(small()), weights=NO_MASK)
    assert again.masks.weights.keys() == first.masks.weights.keys()
    for name, mask in again.masks.weights.items():
        assert (again.weights[name][~mask] == 0).all()


def test_a_pattern_that_does_not_divide_names_the_setting():
    weights = masks("magnitude", 0.5, (3, 7))
    with pytest.raises(ConfigError, match=r"prune_wave\.weights\.pattern: 7 does not divide"):
        pruned(small(), 32, weights=weights)


def test_a_wave_removes_its_step_or_what_is_left_to_the_target():
    assert weights_to_go(1000, 1000, step=0.02, target=0.05) == 20
    assert weights_to_go(960, 1000, step=0.02, target=0.05) == 10
    assert weights_to_go(940, 1000, step=0.02, target=0.05) == 0


CHUNKS = SETTINGS.model_copy(update={"attention": False})


def rounding(types: list[str], embedding: str) -> RoundSettings:
    return RoundSettings(
        types=types,
        embedding=embedding,
        method="gptq",
        orders=["natural"],
        equalize=True,
        damping=0.01,
    )


def test_a_size_asks_for_the_sparsity_that_reaches_it():
    checkpoint = small()
    quantize = rounding(["Q4_0", "Q8_0"], "Q8_0")
    blocks = checkpoint.block_parameters
    outside = (checkpoint.parameters - blocks) * 8.5 / 8
    assert sparsity_for(None, checkpoint, blocks, quantize, CHUNKS, "uneven") == 0
    assert sparsity_for(10**9, checkpoint, blocks, quantize, CHUNKS, "uneven") == 0
    half = sparsity_for(
        int(outside + blocks * 4.5 / 8 / 2), checkpoint, blocks, quantize, CHUNKS, "uneven"
    )
    assert half == pytest.approx(0.5, abs=0.01)
    assert sparsity_for(1, checkpoint, blocks, quantize, CHUNKS, "uneven") == 0.99


def test_a_size_counts_each_matrix_at_the_fewest_bits_its_rows_may_have():
    checkpoint = small("llama", hidden_size=256, intermediate_size=256)
    blocks, embedding = checkpoint.block_parameters, 96 * 256
    narrowing = 2 * 256 * (256 + 128)  # the FFN's and the attention's output: any width, 128 inputs
    least = (blocks - narrowing) * 3.4375 / 8 + narrowing * 4.5 / 8
    outside = (checkpoint.parameters - blocks) * 3.4375 / 8
    quantize = rounding(["Q3_K", "Q4_0"], "auto")
    assert checkpoint.parameters - blocks - embedding < 0.1 * embedding  # norms
    assert sparsity_for(
        int(outside + least / 2), checkpoint, blocks, quantize, CHUNKS, "uneven"
    ) == pytest.approx(0.5, abs=0.01)


def test_a_size_counts_the_attention_output_as_narrow_as_pruning_may_make_it():
    checkpoint = small("llama", hidden_size=256, intermediate_size=256, head_dim=64)
    blocks = checkpoint.block_parameters
    quantize = rounding(["Q3_K", "Q4_0"], "auto")
    kept = sparsity_for(60_000, checkpoint, blocks, quantize, CHUNKS, "uneven")
    narrowed, even = (
        sparsity_for(60_000, checkpoint, blocks, quantize, SETTINGS, w) for w in ("uneven", "even")
    )
    assert 0 < even == kept < narrowed < 0.99
