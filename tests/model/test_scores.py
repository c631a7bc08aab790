"""What a scan says of a model: by its names in files, and as a narrower model needs it."""

import pytest
import torch
from families import FAMILIES, all_but, cut, shape_of, small

from birdbone.model.scores import Scores, joint_norms
from birdbone.model.units import Nodes

UP = "model.layers.0.mlp.up_proj"


def scores() -> Scores:
    return Scores(
        {
            (Nodes("ffn", 0), "taylor"): torch.rand(4),
            (Nodes("kv", 11), "fisher_max"): torch.rand(2),
        },
        {UP: torch.rand(4)},
        {UP: torch.rand(2, 3)},
        {"tokens": 6, "scores": ["taylor", "fisher_max"]},
    )


def test_they_go_by_their_names_in_files_and_back():
    given = scores()
    tensors, about = given.to_tensors()
    assert set(tensors) == {"ffn.0.taylor", "kv.11.fisher_max", f"fisher.{UP}", f"tokens.{UP}"}
    back = Scores.from_tensors(tensors, about)
    for ours, theirs in (
        (back.nodes, given.nodes),
        (back.fisher, given.fisher),
        (back.tokens, given.tokens),
    ):
        assert ours.keys() == theirs.keys() and all(
            torch.equal(ours[n], t) for n, t in theirs.items()
        )
    assert back.about == given.about
    assert torch.equal(back.of("kv", 11, "fisher_max"), given.nodes[("kv", 11), "fisher_max"])


@pytest.mark.parametrize(
    "name", ["", "taylor", "ffn.taylor", "ffn.x.taylor", "head.0.taylor", "ffn.0"]
)
def test_a_name_of_no_score_is_refused(name):
    with pytest.raises(ValueError, match=f"^{name} is the name of no score"):
        Scores.from_tensors({"ffn.0.taylor": torch.rand(4), name: torch.rand(4)}, {})


@pytest.mark.parametrize("name", FAMILIES)
def test_fisher_information_follows_the_outputs_that_are_left(name):
    seed = small(name)
    width, groups = shape_of(seed)[1]
    fisher = {
        module: torch.arange(float(len(seed.weights[f"{module}.weight"])))
        for module in seed.layout.linears
    }
    whole = Scores(fisher=fisher)
    assert all(
        torch.equal(left, fisher[module]) for module, left in whole.fisher_left(seed).items()
    )
    narrow = cut(seed, {0: all_but(width, 3)}, {1: all_but(groups, 0)})
    left = whole.fisher_left(narrow)
    assert left.keys() == fisher.keys()
    assert all(
        len(values) == len(narrow.weights[f"{module}.weight"]) for module, values in left.items()
    )
    first, second = seed.layout.blocks
    assert left[first.ffn_inputs[0]].tolist() == [i for i in range(width) if i != 3]
    assert left[second.value].tolist() == list(range(second.head_size, groups * second.head_size))
    assert left[second.output].tolist() == fisher[second.output].tolist()


def test_the_norm_of_a_row_is_over_all_matrices():
    matrices = [torch.randn(3, 4), torch.randn(3, 2)]
    torch.testing.assert_close(joint_norms(matrices), torch.cat(matrices, 1).norm(dim=1))
