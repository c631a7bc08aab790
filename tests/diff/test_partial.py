"""A part of a bundle: some layers, or what was removed without undoing the healing."""

import pytest
import torch
from families import cut
from model_pairs import CONFIG, all_but, digests, healed, masked, tiny

from birdbone.datasets.folders import ModelFolder
from birdbone.diff.apply import apply_bundle, patched
from birdbone.diff.patch import write_patches
from birdbone.diff.states import open_state, state_of
from birdbone.errors import BundleError
from birdbone.model.checkpoint import Checkpoint

SEED = tiny(bias=True)
OLD = healed(cut(SEED, {0: all_but(12, 5)}, {}), 7)
UP, DOWN, KEY = (f"model.layers.1.{n}_proj" for n in ("mlp.up", "mlp.down", "self_attn.k"))


def pruned_and_healed() -> Checkpoint:
    """From OLD: neurons 0 and 2 of layer 1 and one key-value group, a neuron of layer 0, a weight mask; then healed."""
    narrow = cut(OLD, {0: all_but(11, 0), 1: all_but(12, 0, 2)}, {1: all_but(2, 1)})
    return healed(masked(masked(narrow, f"{UP}.weight", 3), "model.layers.2.self_attn.q_proj.weight", 4))


NEW = pruned_and_healed()


@pytest.fixture
def bundle(tmp_path):
    write_patches(state_of(OLD), state_of(NEW), state_of(SEED), tmp_path / "bundle")

    def part(model: Checkpoint = NEW, revert: bool = True, **asked) -> Checkpoint:
        digest = apply_bundle(state_of(model), tmp_path / "bundle", state_of(SEED), tmp_path / "out", revert, **asked)
        result = ModelFolder(str(tmp_path / "out")).load()
        assert result.digest == digest == open_state(tmp_path / "out").digest
        again = patched(state_of(model), tmp_path / "bundle", state_of(SEED), revert, **asked)
        assert digests(again) == digests(state_of(result)) and again.digest == digest
        return result

    part.folder = tmp_path / "bundle"
    return part


def belongs(name: str, layer: int) -> bool:
    return f"layers.{layer}." in name or name in (f"ffn.{layer}", f"kv.{layer}")


def assert_same(found: dict, wanted: dict) -> None:
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[n], w) for n, w in wanted.items())


@pytest.mark.parametrize("revert", [True, False])
@pytest.mark.parametrize("layers", [{1}, {0, 2}, {0, 1, 2}])
def test_layers_are_one_sides_and_everything_else_the_others(bundle, layers, revert):
    base, target = (NEW, OLD) if revert else (OLD, NEW)
    result = bundle(base, revert, layers=layers)
    parts = ([model.weights, model.masks.to_tensors()] for model in (result, base, target))
    for found, stays, comes in zip(*parts, strict=True):
        inside = {n: t for n, t in comes.items() if any(belongs(n, i) for i in layers)}
        outside = {n: t for n, t in stays.items() if not any(belongs(n, i) for i in layers)}
        assert_same(found, inside | outside)


def test_no_layers_is_the_base(bundle):
    assert bundle(layers=set()).digest == NEW.digest


def test_removed_neurons_return_as_they_were_and_the_rest_stays_healed(bundle):
    result = bundle(masks_only=True)
    assert_same(result.masks.to_tensors(), OLD.masks.to_tensors())
    kept = NEW.masks.nodes["ffn", 1]
    rows = result.weights["model.layers.1.mlp.gate_proj.weight"]
    assert torch.equal(rows[~kept], OLD.weights["model.layers.1.mlp.gate_proj.weight"][~kept])
    assert torch.equal(rows[kept], NEW.weights["model.layers.1.mlp.gate_proj.weight"])
    columns = result.weights[f"{DOWN}.weight"]
    assert torch.equal(columns[:, ~kept], OLD.weights[f"{DOWN}.weight"][:, ~kept])
    assert torch.equal(columns[:, kept], NEW.weights[f"{DOWN}.weight"])
    assert torch.equal(result.weights[f"{DOWN}.bias"], NEW.weights[f"{DOWN}.bias"])
    assert torch.equal(result.weights[f"{UP}.bias"][~kept], OLD.weights[f"{UP}.bias"][~kept])


def test_removed_groups_return_with_their_heads(bundle):
    result = bundle(masks_only=True, layers={1})
    for name, entries in ((KEY, 2), ("model.layers.1.self_attn.q_proj", 4)):
        rows, old, new = (m.weights[f"{name}.weight"] for m in (result, OLD, NEW))
        assert torch.equal(rows[:entries], new) and torch.equal(rows[entries:], old[entries:])
    columns, old, new = (m.weights["model.layers.1.self_attn.o_proj.weight"] for m in (result, OLD, NEW))
    assert torch.equal(columns[:, :4], new) and torch.equal(columns[:, 4:], old[:, 4:])


def test_weights_that_were_masked_return_as_they_were(bundle):
    result = bundle(masks_only=True)
    name = "model.layers.2.self_attn.q_proj.weight"
    mask = NEW.masks.weights[name]
    assert torch.equal(result.weights[name], torch.where(mask, NEW.weights[name], OLD.weights[name]))
    kept, mask = NEW.masks.nodes["ffn", 1], NEW.masks.weights[f"{UP}.weight"]
    rows, old = result.weights[f"{UP}.weight"], OLD.weights[f"{UP}.weight"]
    assert torch.equal(rows[kept], torch.where(mask, NEW.weights[f"{UP}.weight"], old[kept]))
    assert torch.equal(rows[~kept], old[~kept])


def test_masks_of_one_layer_leave_the_others_alone(bundle):
    result = bundle(masks_only=True, layers={1})
    assert_same(
        {n: w for n, w in result.weights.items() if not belongs(n, 1)},
        {n: w for n, w in NEW.weights.items() if not belongs(n, 1)},
    )
    assert set(result.masks.to_tensors()) == {"ffn.0", "weight.model.layers.2.self_attn.q_proj.weight"}
    assert torch.equal(result.masks.nodes["ffn", 0], NEW.masks.nodes["ffn", 0])


def test_masks_alone_can_go_forward_too(bundle):
    result = bundle(OLD, revert=False, masks_only=True)
    assert_same(result.masks.to_tensors(), NEW.masks.to_tensors())
    kept, mask = NEW.masks.nodes["ffn", 1], NEW.masks.weights[f"{UP}.weight"]
    rows = result.weights[f"{UP}.weight"]
    assert torch.equal(rows, OLD.weights[f"{UP}.weight"][kept] * mask)
    assert (rows == 0).sum() == (~mask).sum() > 0


def test_nodes_that_moved_without_a_change_of_shape(tmp_path):
    """Neuron 1 for neuron 0, the biases equal bit for bit: each keeps its own place."""
    bias = "model.layers.0.mlp.up_proj.bias"
    seed = SEED.evolve({bias: torch.tensor([5.0, 5.0, *range(10)])})
    old, new = (cut(seed, {0: all_but(12, i)}, {}) for i in (0, 1))
    assert torch.equal(old.weights[bias], new.weights[bias])
    write_patches(state_of(old), state_of(new), state_of(seed), tmp_path)
    result = patched(state_of(new), tmp_path, state_of(seed), revert=True, masks_only=True)
    assert result.digest == old.digest


def test_the_wrong_base_is_refused_for_a_part_too(bundle):
    with pytest.raises(BundleError, match=NEW.digest):
        bundle(OLD, layers={1})
    with pytest.raises(BundleError, match=OLD.digest):
        bundle(NEW, False, masks_only=True)


@pytest.mark.parametrize("layers", [{3}, {0, -1}])
def test_a_layer_that_is_not_there_is_refused(bundle, layers):
    with pytest.raises(BundleError, match=f"no layer {min(layers - {0})}"):
        bundle(layers=layers)


def test_masks_alone_are_refused_where_the_tensor_changed_otherwise(tmp_path):
    name = f"{UP}.weight"
    base = tiny()
    half = masked(base, name, 1)
    half.weights[name] = half.weights[name].half()
    write_patches(state_of(base), state_of(half), None, tmp_path)
    with pytest.raises(BundleError, match=f"masks alone do not fit tensor {name}"):
        patched(state_of(half), tmp_path, revert=True, masks_only=True)
    assert patched(state_of(half), tmp_path, revert=True).digest == base.digest


def test_masks_of_a_part_keep_the_configuration_of_the_base(tmp_path):
    other = Checkpoint({**CONFIG, "rope_theta": 2.0}, healed(tiny()).weights)
    write_patches(state_of(tiny()), state_of(other), None, tmp_path)
    assert patched(state_of(other), tmp_path, revert=True).config == CONFIG
    assert patched(state_of(other), tmp_path, revert=True, layers={0}).config == other.config
