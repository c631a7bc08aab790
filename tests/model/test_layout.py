"""The units' table: a row of it is all that a new unit needs, wherever nodes go, come back, are
scored or told of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from model_pairs import all_but, digests, healed, masked, tiny
from torch import Tensor, nn

from birdbone.algo.scores import SCORES
from birdbone.algo.sps import NodeMoments
from birdbone.datasets.folders import ModelFolder
from birdbone.diff.apply import apply_bundle, patched, verify_patches
from birdbone.diff.changes import node_changes, node_words
from birdbone.diff.metrics import macs_per_token, parameters
from birdbone.diff.patch import write_patches
from birdbone.diff.states import open_state, state_of
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.layout import Layout
from birdbone.model.masks import Masks
from birdbone.model.observing.gradients import node_values
from birdbone.model.pruning.removal import padded, remove_nodes, return_nodes
from birdbone.model.scores import Scores
from birdbone.model.units import COLUMNS, ROWS, UNITS, Axis, Nodes, Unit
from birdbone.pipelines.sps_scan.nodes import node_scores
from birdbone.report.wave_rows import wave_row
from birdbone.scan.prompt import full_width
from birdbone.scan.record import modules_of

HIDDEN, COUNT, LAYERS = 8, 6, 3
FIRST, SECOND = Nodes("adapter", 0), Nodes("adapter", 2)


@dataclass(frozen=True)
class Case:
    """A unit of the test's own: bottleneck adapters, ``entries`` rows and columns a node."""

    entries: int

    @property
    def unit(self) -> Unit:
        """The row: all that anything knows of it."""
        return Unit(
            one="adapter node",
            many="adapter nodes",
            count=lambda block: block.config.get("adapter_nodes", 0),
            rows=lambda block: {block.part("adapter.down"): self.entries},
            columns=lambda block: {block.part("adapter.up"): self.entries},
            enters=lambda block: [block.part("adapter.down")],
            keys=lambda layout, count: {"adapter_nodes": count},
        )

    def checkpoint(self, seed: int = 0) -> Checkpoint:
        """A hand-made llama with adapters, biases and all."""
        generator = torch.Generator().manual_seed(seed)
        width = COUNT * self.entries
        shapes = {
            "down.weight": (width, HIDDEN),
            "down.bias": (width,),
            "up.weight": (HIDDEN, width),
        }
        adapters = {
            f"model.layers.{layer}.adapter.{name}": torch.randn(shape, generator=generator)
            for layer in range(LAYERS)
            for name, shape in shapes.items()
        }
        return tiny(seed, adapter_nodes=COUNT).evolve(adapters)

    def mask(self, *gone: int) -> Tensor:
        return all_but(COUNT, *gone).repeat_interleave(self.entries)


@pytest.fixture(params=[1, 2], ids=["a row a node", "two rows a node"], autouse=True)
def case(request, monkeypatch) -> Case:
    made = Case(request.param)
    monkeypatch.setitem(UNITS, "adapter", made.unit)
    return made


def down(layer: int, kind: str = "weight") -> str:
    return f"model.layers.{layer}.adapter.down.{kind}"


def up(layer: int) -> str:
    return f"model.layers.{layer}.adapter.up.weight"


def output(checkpoint: Checkpoint, layer: int) -> Tensor:
    """What the adapter gives to the residual stream."""
    x = torch.randn(5, HIDDEN, generator=torch.Generator().manual_seed(9))
    weights = checkpoint.weights
    return F.linear(
        torch.tanh(F.linear(x, weights[down(layer)], weights[down(layer, "bias")])),
        weights[up(layer)],
    )


def silenced(case: Case, checkpoint: Checkpoint, layer: int, *gone: int) -> Checkpoint:
    """At full width, with the outgoing columns of some nodes at zero."""
    return checkpoint.evolve({up(layer): checkpoint.weights[up(layer)] * case.mask(*gone)})


def assert_equal(ours: dict, theirs: dict) -> None:
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def assert_alike(ours: Checkpoint, theirs: Checkpoint, layers: range = range(LAYERS)) -> None:
    for layer in layers:
        torch.testing.assert_close(output(ours, layer), output(theirs, layer), atol=1e-5, rtol=1e-5)


def test_its_tensors_have_axes_and_its_module_is_read(case):
    layout = case.checkpoint().layout
    block = layout.blocks[1]
    nodes = Nodes("adapter", 1)
    assert block.axes_of("adapter") == {
        down(1): Axis(nodes, ROWS, case.entries),
        down(1, "bias"): Axis(nodes, ROWS, case.entries),
        up(1): Axis(nodes, COLUMNS, case.entries),
    }
    assert block.reader("adapter") == "model.layers.1.adapter.up"
    assert block.rows("model.layers.1.adapter.down") == COUNT * case.entries
    assert {axis.nodes.unit for axis in block.axes.values()} == {"ffn", "kv", "adapter"}


def test_its_modules_are_among_the_linear_ones_and_share_an_input_with_no_other(case):
    block = case.checkpoint().layout.blocks[0]
    modules = ["model.layers.0.adapter.down", "model.layers.0.adapter.up"]
    assert block.linears[-2:] == modules and len(block.linears) == 9
    assert [block.inputs[name] for name in modules] == [modules[:1], modules[1:]]
    assert [module.name for module in modules_of(case.checkpoint())[:9]] == block.linears


def test_a_model_has_the_units_that_it_has_nodes_of(case):
    assert case.checkpoint().layout.units == ["ffn", "kv", "adapter"]
    config = {"model_type": "gpt2", "n_embd": 8, "n_head": 2, "n_layer": 1, "num_hidden_layers": 1}
    assert Layout(config).units == ["ffn", "kv"]
    assert case.checkpoint().layout.nodes[-LAYERS:] == [
        Nodes("adapter", layer) for layer in range(LAYERS)
    ]


def test_its_nodes_are_counted_and_have_a_cost(case):
    seed = case.checkpoint()
    assert seed.counts("adapter") == [COUNT] * LAYERS and seed.layout.count(FIRST) == COUNT
    assert seed.cost("adapter") == 2 * case.entries * HIDDEN
    narrow = remove_nodes(seed, {FIRST: all_but(COUNT, 1, 4)})
    assert (
        narrow.counts("adapter") == [COUNT - 2, COUNT, COUNT]
        and narrow.count("adapter", 0) == COUNT - 2
    )
    assert seed.block_parameters - narrow.block_parameters == 2 * seed.cost("adapter")
    assert seed.macs_per_token - narrow.macs_per_token == 2 * seed.cost("adapter")
    assert seed.parameters - narrow.parameters == 2 * seed.cost("adapter") + 2 * case.entries
    for model in (seed, narrow):
        assert parameters(state_of(model)) == model.parameters
        assert macs_per_token(state_of(model)) == model.macs_per_token


def test_what_is_left_after_a_removal_computes_as_if_its_nodes_were_silent(case):
    seed = case.checkpoint()
    narrow = remove_nodes(seed, {FIRST: all_but(COUNT, 0, 3), SECOND: all_but(COUNT, 5)})
    assert narrow.weights[down(0)].shape == (4 * case.entries, HIDDEN)
    assert torch.equal(
        narrow.weights[down(0, "bias")], seed.weights[down(0, "bias")][case.mask(0, 3)]
    )
    assert_alike(narrow, silenced(case, silenced(case, seed, 0, 0, 3), 2, 5))
    cut = {down(layer, kind) for layer in (0, 2) for kind in ("weight", "bias")} | {up(0), up(2)}
    assert {
        name for name, weight in narrow.weights.items() if weight is not seed.weights[name]
    } == cut


def test_it_goes_beside_other_units_in_one_removal(case):
    seed = case.checkpoint()
    narrow = remove_nodes(
        seed,
        {FIRST: all_but(COUNT, 0), Nodes("ffn", 0): all_but(12, 3), Nodes("kv", 1): all_but(2, 0)},
    )
    assert [narrow.counts(unit) for unit in ("ffn", "kv", "adapter")] == [
        [11, 12, 12],
        [2, 1, 2],
        [5, 6, 6],
    ]
    assert set(narrow.masks.nodes) == {FIRST, ("ffn", 0), ("kv", 1)}


def test_masks_keep_the_seeds_numbering_over_two_removals(case):
    seed = case.checkpoint()
    first = remove_nodes(seed, {FIRST: all_but(COUNT, 1, 3)})
    second = remove_nodes(first, {FIRST: all_but(COUNT - 2, 1)})
    assert torch.equal(second.node_mask(FIRST), all_but(COUNT, 1, 2, 3))
    assert second.node_mask(SECOND).all() and len(second.node_mask(SECOND)) == COUNT
    assert torch.equal(second.weights[down(0)], seed.weights[down(0)][case.mask(1, 2, 3)])


def test_its_nodes_return_to_their_places(case):
    seed = case.checkpoint()
    narrow = remove_nodes(seed, {FIRST: all_but(COUNT, 1, 2, 4)})
    columns = torch.randn(HIDDEN, 2 * case.entries, generator=torch.Generator().manual_seed(1))
    grown = return_nodes(narrow, seed, FIRST, torch.tensor([1, 4]), columns)
    assert (
        torch.equal(grown.node_mask(FIRST), all_but(COUNT, 2))
        and grown.count("adapter", 0) == COUNT - 1
    )
    for kind in ("weight", "bias"):
        assert torch.equal(grown.weights[down(0, kind)], seed.weights[down(0, kind)][case.mask(2)])
    back = (case.mask(0, 2, 3, 5))[case.mask(2)]
    assert torch.equal(grown.weights[up(0)][:, back], columns)
    assert torch.equal(grown.weights[up(0)][:, ~back], narrow.weights[up(0)])


def test_all_that_went_can_return(case):
    seed = case.checkpoint()
    narrow = remove_nodes(seed, {FIRST: all_but(COUNT, 1, 2)})
    columns = seed.weights[up(0)][:, ~case.mask(1, 2)]
    whole = return_nodes(narrow, seed, FIRST, torch.tensor([1, 2]), columns)
    assert_equal(whole.weights, seed.weights)
    assert whole.node_mask(FIRST).all()


def test_weight_masks_go_and_return_with_their_nodes(case):
    seed = masked(masked(case.checkpoint(), up(0), 1), down(0), 2)
    narrow = remove_nodes(seed, {FIRST: all_but(COUNT, 1)})
    for name, axis in narrow.layout.blocks[0].axes_of("adapter").items():
        if name in seed.masks.weights:
            mask = axis.cut(seed.masks.weights[name], all_but(COUNT, 1))
            assert (
                torch.equal(narrow.masks.weights[name], mask)
                and not narrow.weights[name][~mask].any()
            )
    columns = torch.ones(HIDDEN, case.entries)
    grown = return_nodes(narrow, seed, FIRST, torch.tensor([1]), columns)
    kept = case.mask(1)
    assert grown.masks.weights[up(0)][:, ~kept].all() and grown.masks.weights[down(0)][~kept].all()
    assert torch.equal(grown.masks.weights[up(0)][:, kept], seed.masks.weights[up(0)][:, kept])


def test_padding_gives_one_width_and_the_same_function(case):
    seed = case.checkpoint()
    narrow = remove_nodes(
        seed,
        {
            FIRST: all_but(COUNT, 0, 3),
            Nodes("adapter", 1): all_but(COUNT, 2),
            SECOND: all_but(COUNT, 5),
        },
    )
    even, about = padded(narrow)
    assert (
        even.counts("adapter") == [COUNT - 1] * LAYERS and about["padded"] and not even.masks.nodes
    )
    assert_alike(even, narrow)


def test_padding_tells_the_configuration_how_many_there_are(case):
    narrow = remove_nodes(
        case.checkpoint(),
        {Nodes("adapter", layer): all_but(COUNT, 0, layer + 1) for layer in range(LAYERS)},
    )
    even, about = padded(narrow)
    assert even.config["adapter_nodes"] == COUNT - 2 and not about["padded"]
    assert even.config["intermediate_size"] == 12 and even.config["num_attention_heads"] == 4


def test_at_the_seeds_width_it_is_the_same_function(case):
    seed = case.checkpoint()
    whole = full_width(remove_nodes(seed, {FIRST: all_but(COUNT, 0, 3)}))
    assert whole.shapes == seed.shapes
    assert_alike(whole, silenced(case, seed, 0, 0, 3))
    assert not whole.weights[down(0)][~case.mask(0, 3)].any()


def test_a_norm_over_all_of_its_nodes_makes_up_for_those_that_went(case, monkeypatch):
    gain = "model.layers.0.adapter.norm.weight"
    normed = replace(case.unit, gains=lambda block: {block.part("adapter.norm"): case.entries})
    monkeypatch.setitem(UNITS, "adapter", normed)
    seed = case.checkpoint().evolve({gain: torch.rand(COUNT * case.entries) + 0.5})
    x = torch.randn(4, COUNT * case.entries)
    quiet = x * case.mask(1, 2)
    narrow = remove_nodes(seed, {FIRST: all_but(COUNT, 1, 2)})

    def norm(x: Tensor, weight: Tensor) -> Tensor:
        return weight * x / x.square().mean(-1, keepdim=True).sqrt()

    expected = norm(quiet, seed.weights[gain])
    torch.testing.assert_close(
        norm(x[:, case.mask(1, 2)], narrow.weights[gain]), expected[:, case.mask(1, 2)]
    )
    torch.testing.assert_close(norm(quiet, full_width(narrow).weights[gain]), expected)


def test_masks_go_by_their_names_in_files_and_back(case, tmp_path):
    narrow = masked(
        remove_nodes(case.checkpoint(), {FIRST: all_but(COUNT, 2), SECOND: all_but(COUNT, 0)}),
        up(1),
        3,
    )
    tensors = narrow.masks.to_tensors()
    assert set(tensors) == {"adapter.0", "adapter.2", f"weight.{up(1)}"}
    assert Nodes.parse("adapter.2") == SECOND and SECOND.name == "adapter.2"
    back = Masks.from_tensors(tensors)
    assert back.nodes.keys() == narrow.masks.nodes.keys()
    assert_equal(back.to_tensors(), tensors)
    ModelFolder(str(tmp_path / "model")).save(narrow)
    loaded = ModelFolder(str(tmp_path / "model")).load()
    assert loaded.digest == narrow.digest == open_state(tmp_path / "model").digest
    assert torch.equal(loaded.node_mask(FIRST), all_but(COUNT, 2))


def test_without_its_row_a_file_with_its_masks_is_refused(monkeypatch):
    tensors = {"adapter.0": all_but(COUNT, 1)}
    assert Masks.from_tensors(tensors).nodes.keys() == {FIRST}
    monkeypatch.delitem(UNITS, "adapter")
    with pytest.raises(ValueError, match=r"adapter\.0 is the name of no mask"):
        Masks.from_tensors(tensors)


def moments_of(seed: Checkpoint) -> dict[Nodes, NodeMoments]:
    generator = torch.Generator().manual_seed(4)
    moments = {}
    for nodes in seed.layout.nodes:
        count = seed.layout.count(nodes)
        h, grad = torch.randn(2, 7, count, generator=generator)
        moments[nodes] = NodeMoments.zero(count).add(h, grad)
    return moments


def test_every_score_scores_it(case):
    seed = case.checkpoint()
    scores = Scores(node_scores(seed, moments_of(seed), 0))
    assert {score for nodes, score in scores.nodes if nodes == FIRST} == set(SCORES)
    assert all(scores.of("adapter", 1, score).shape == (COUNT,) for score in SCORES)
    incoming = torch.stack([rows.norm() for rows in seed.weights[down(0)].split(case.entries)])
    outgoing = torch.stack(
        [columns.norm() for columns in seed.weights[up(0)].split(case.entries, dim=1)]
    )
    torch.testing.assert_close(scores.of("adapter", 0, "magnitude"), incoming * outgoing)


def test_scores_go_by_their_names_in_files_and_back(case):
    seed = case.checkpoint()
    modules = seed.layout.linears
    fisher = {module: torch.rand(len(seed.weights[f"{module}.weight"])) for module in modules}
    scores = Scores(node_scores(seed, moments_of(seed), 0), fisher, {}, {"tokens": 7})
    tensors, about = scores.to_tensors()
    assert "adapter.2.taylor" in tensors and "fisher.model.layers.0.adapter.up" in tensors
    back = Scores.from_tensors(tensors, about)
    assert_equal(back.nodes, scores.nodes)
    assert_equal(back.fisher, fisher)
    assert back.about == {"tokens": 7}


def test_fisher_information_follows_the_nodes_that_are_left(case):
    seed = case.checkpoint()
    fisher = {
        module: torch.rand(len(seed.weights[f"{module}.weight"])) for module in seed.layout.linears
    }
    narrow = remove_nodes(seed, {FIRST: all_but(COUNT, 1, 4)})
    left = Scores(fisher=fisher).fisher_left(narrow)
    module = "model.layers.0.adapter.down"
    assert torch.equal(left[module], fisher[module][case.mask(1, 4)])
    assert all(
        len(values) == len(narrow.weights[f"{name}.weight"]) for name, values in left.items()
    )


def test_what_its_nodes_hand_on_is_met_at_the_module_that_reads_them(case):
    """As autograd has it: the gradient at the nodes, by the gradient at the output of the module
    behind them.
    """
    seed = case.checkpoint()
    network = nn.Module()
    for name, weight in seed.weights.items():
        *path, kind = name.split(".")
        place = network
        for part in path:
            place = place._modules.setdefault(part, nn.Module())
        place.register_parameter(kind, nn.Parameter(weight))
    generator = torch.Generator().manual_seed(2)
    pairs = {}
    for module in seed.layout.linears:
        rows, columns = seed.weights[f"{module}.weight"].shape
        pairs[module] = (
            torch.randn(4, columns, generator=generator),
            torch.randn(4, rows, generator=generator),
        )
    values = node_values(network, seed.layout, pairs)
    assert values.keys() == set(seed.layout.nodes)
    h, grad, count = values[SECOND]
    module = "model.layers.2.adapter.up"
    nodes = pairs[module][0].clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(
        (F.linear(nodes, seed.weights[up(2)]) * pairs[module][1]).sum(), nodes
    )
    torch.testing.assert_close(grad, expected)
    assert count == COUNT and torch.equal(h, pairs[module][0])


def words(old: Checkpoint, new: Checkpoint, seed: Checkpoint) -> list[str]:
    return node_words(node_changes(state_of(old), state_of(new), state_of(seed)))


def test_lists_of_changes_call_it_by_its_name(case):
    seed = case.checkpoint()
    narrow = remove_nodes(
        seed,
        {FIRST: all_but(COUNT, 1, 4), SECOND: all_but(COUNT, 0), Nodes("ffn", 2): all_but(12, 3)},
    )
    assert words(seed, narrow, seed) == [
        "layer 0: 2 adapter nodes removed",
        "layer 2: 1 adapter node removed; 1 FFN neuron removed",
    ]
    (change,) = node_changes(
        state_of(seed), state_of(remove_nodes(seed, {FIRST: all_but(COUNT, 1)})), None
    )
    assert change.nodes == FIRST and torch.equal(~change.removed, all_but(COUNT, 1))


def test_lists_call_a_unit_of_few_nodes_by_their_numbers(case, monkeypatch):
    monkeypatch.setitem(UNITS, "adapter", replace(case.unit, few=True))
    seed = case.checkpoint()
    narrow = remove_nodes(seed, {FIRST: all_but(COUNT, 1, 4)})
    assert words(seed, narrow, seed) == ["layer 0: adapter nodes 1, 4 removed"]


def test_reports_of_a_wave_call_it_by_its_name(case):
    assert UNITS["adapter"].counted(1) == "1 adapter node"
    verdict = {"status": "accepted", "sparsity": 0.1, "ffn_widths": [1], "kv_groups": [1]}
    removed = {"ffn": {"0": 32, "1": 64}, "adapter": {"0": 1}}
    report = {"wave": 1, "verdict": verdict, "prune": {"removed": removed}, "regrow": {}}
    assert wave_row(report)["note"] == "96 FFN neurons and 1 adapter node removed"


def test_a_tensor_of_another_unit_is_refused(case, monkeypatch):
    values = replace(case.unit, rows=lambda block: {block.value: 2})
    monkeypatch.setitem(UNITS, "adapter", values)
    with pytest.raises(ValueError, match=r"kv and adapter both claim .*v_proj.*one unit"):
        case.checkpoint().layout.blocks[0].axes  # noqa: B018


def test_lists_tell_revived_nodes_from_regrown_ones(case):
    seed = case.checkpoint()
    narrow = remove_nodes(seed, {FIRST: all_but(COUNT, 1, 2)})
    columns = seed.weights[up(0)][:, ~case.mask(1, 2)].clone()
    columns[:, -case.entries :] += 1
    grown = return_nodes(narrow, seed, FIRST, torch.tensor([1, 2]), columns)
    assert words(narrow, grown, seed) == ["layer 0: 1 adapter node regrown, 1 revived"]


def test_patches_lead_there_and_back(case, tmp_path):
    seed = case.checkpoint()
    old = healed(remove_nodes(seed, {FIRST: all_but(COUNT, 1)}))
    new = healed(remove_nodes(old, {FIRST: all_but(COUNT - 1, 0), SECOND: all_but(COUNT, 2, 3)}), 2)
    sides = state_of(old), state_of(new)
    write_patches(*sides, state_of(seed), tmp_path / "bundle")
    assert verify_patches(tmp_path / "bundle")["new"] == new.digest
    assert digests(patched(sides[0], tmp_path / "bundle", state_of(seed))) == digests(sides[1])
    assert digests(patched(sides[1], tmp_path / "bundle", state_of(seed), revert=True)) == digests(
        sides[0]
    )
    assert (
        apply_bundle(sides[0], tmp_path / "bundle", state_of(seed), tmp_path / "out") == new.digest
    )
    assert ModelFolder(str(tmp_path / "out")).load().digest == new.digest


def test_a_node_that_went_costs_nothing_where_the_rest_is_the_seeds(case, tmp_path):
    seed = case.checkpoint()
    summary = write_patches(
        state_of(seed),
        state_of(remove_nodes(seed, {FIRST: all_but(COUNT, 1)})),
        state_of(seed),
        tmp_path,
    )
    assert set(summary["weights"]) == {down(0), down(0, "bias"), up(0)} and set(
        summary["masks"]
    ) == {"adapter.0"}
    assert all(
        row["kind"] == "xor" and row["changed"] == row["bytes"] == 0
        for row in summary["weights"].values()
    )


def test_its_masks_alone_can_be_taken_back(case, tmp_path):
    """What was removed returns as it was, and the rest stays healed."""
    seed = case.checkpoint()
    new = healed(remove_nodes(seed, {FIRST: all_but(COUNT, 1, 4), SECOND: all_but(COUNT, 0)}))
    write_patches(state_of(seed), state_of(new), state_of(seed), tmp_path)
    part = patched(
        state_of(new), tmp_path, state_of(seed), revert=True, layers={0}, masks_only=True
    )
    kept = case.mask(1, 4)
    rows = part.weights[down(0)]
    assert torch.equal(rows[kept], new.weights[down(0)]) and torch.equal(
        rows[~kept], seed.weights[down(0)][~kept]
    )
    columns = part.weights[up(0)]
    assert torch.equal(columns[:, kept], new.weights[up(0)])
    assert torch.equal(columns[:, ~kept], seed.weights[up(0)][:, ~kept])
    assert set(part.masks) == {"adapter.2"} and torch.equal(
        part.weights[down(2)], new.weights[down(2)]
    )


def test_the_same_nodes_of_the_seed_have_the_same_places_in_every_tensor(case):
    """Cutting, widening and pasting agree: what is widened and cut again is what it was."""
    seed = case.checkpoint()
    stays = all_but(COUNT, 0, 4)
    for name, axis in seed.layout.blocks[0].axes_of("adapter").items():
        narrow = axis.cut(seed.weights[name], stays)
        assert (
            axis.count(narrow.shape) == COUNT - 2 and axis.count(seed.weights[name].shape) == COUNT
        )
        assert torch.equal(axis.cut(axis.widened(narrow, stays), stays), narrow)
        assert torch.equal(axis.paste(narrow, stays, seed.weights[name]), seed.weights[name])
