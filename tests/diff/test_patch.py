"""Patches: every bit there and back, in the seed's coordinates where nodes differ, and nothing on a wrong base."""

import json
import os
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_pairs import CONFIG, all_but, any_pairs, digests, healed, masked, random_bits, tiny
from safetensors.torch import save_file

from birdbone.datasets.folders import ModelFolder
from birdbone.diff import header
from birdbone.diff.apply import Bundle, apply, patched, verify
from birdbone.diff.patch import write_patches
from birdbone.diff.states import open_state, state_of
from birdbone.errors import ArtifactError, BundleError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.shrink import grow_neurons, remove_nodes

SEED = tiny()
UP = "model.layers.0.mlp.up_proj.weight"


def pruned() -> Checkpoint:
    """Neurons gone from layers 0 and 1, a key-value group from layer 1, then healed."""
    return healed(remove_nodes(SEED, {0: all_but(12, 3), 1: all_but(12, 0, 7, 11)}, {1: all_but(2, 0)}))


def further() -> Checkpoint:
    """More of the same, and a weight mask."""
    start = remove_nodes(pruned(), {0: all_but(11, 0, 10), 2: all_but(12, 5)}, {0: all_but(2, 1)})
    return healed(masked(start, UP, 5), 2)


def regrown() -> Checkpoint:
    columns = torch.randn(8, 2, generator=torch.Generator().manual_seed(4))
    return grow_neurons(further(), SEED, 1, torch.tensor([0, 11]), columns)


STATES = {
    "seed": lambda: SEED,
    "pruned": pruned,
    "further": further,
    "regrown": regrown,
    "healed": lambda: healed(SEED),
}


def there_and_back(old, new, seed, folder: Path) -> dict:
    """Write, verify, apply and revert; all is bit for bit."""
    summary = write_patches(old, new, seed, folder)
    assert verify(folder)["old"] == old.digest and verify(folder)["new"] == new.digest
    assert digests(patched(old, folder, seed)) == digests(new)
    assert digests(patched(new, folder, seed, revert=True)) == digests(old)
    return summary


@settings(deadline=None, max_examples=60)
@given(pair=any_pairs(), frame=st.sampled_from([16, 64, header.FRAME]))
def test_any_two_states_there_and_back(pair, frame):
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(header, "FRAME", frame)
        old, new = pair
        there_and_back(old, new, None, Path(folder))
        assert patched(old, Path(folder)).config == new.config


@pytest.mark.parametrize("names", list(permutations(STATES, 2)), ids="-".join)
def test_pruned_healed_and_regrown_models_there_and_back(names, tmp_path):
    old, new = (state_of(STATES[n]()) for n in names)
    summary = there_and_back(old, new, state_of(SEED), tmp_path / "bundle")
    assert {row["kind"] for row in summary["weights"].values()} == {"xor"}


@settings(deadline=None, max_examples=20)
@given(
    neurons=st.lists(st.tuples(*[st.lists(st.booleans(), min_size=12, max_size=12)] * 3), min_size=2, max_size=2),
    groups=st.lists(st.tuples(*[st.lists(st.booleans(), min_size=2, max_size=2)] * 3), min_size=2, max_size=2),
    bias=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.float64]),
)
def test_any_two_sets_of_nodes_there_and_back(neurons, groups, bias, dtype):
    seed = tiny(0, dtype, bias)
    sides = []
    for some, more in zip(neurons, groups, strict=True):
        stays = [{i: torch.tensor(m) for i, m in enumerate(masks)} for masks in (some, more)]
        sides.append(state_of(healed(remove_nodes(seed, *stays), len(sides))))
    with TemporaryDirectory() as folder:
        there_and_back(*sides, state_of(seed), Path(folder))


def test_special_bit_patterns_survive_the_seeds_coordinates(tmp_path):
    seed, other = tiny(), tiny(1)
    specials = torch.tensor([0x7FC00001, 0x7F800001, -1, -(2**31), 1, 0, 0x7F800000, -0x800000], dtype=torch.int32)
    for model in (seed, other):
        for name, weight in model.weights.items():
            model.weights[name] = specials.repeat(-(-weight.numel() // 8))[: weight.numel()].view(weight.shape).float()
            model.weights[name] = (
                specials.roll(len(name)).repeat(99)[: weight.numel()].view(torch.float32).view_as(weight)
            )
    old, new = (
        remove_nodes(seed, {0: all_but(12, 1)}, {}),
        remove_nodes(other, {0: all_but(12, 4, 5)}, {1: all_but(2, 0)}),
    )
    there_and_back(state_of(old), state_of(new), state_of(seed), tmp_path)


def test_applying_writes_a_model_folder_and_reverting_gives_the_base_back(tmp_path):
    for name, make in STATES.items():
        ModelFolder(str(tmp_path / name)).save(make())
    seed, old, new = (open_state(tmp_path / n) for n in ("seed", "pruned", "regrown"))
    write_patches(old, new, seed, tmp_path / "bundle")
    assert apply(old, tmp_path / "bundle", seed, tmp_path / "out") == new.digest
    loaded = ModelFolder(str(tmp_path / "out")).load()
    assert loaded.digest == regrown().digest and torch.equal(loaded.weights[UP], regrown().weights[UP])
    assert apply(open_state(tmp_path / "out"), tmp_path / "bundle", seed, tmp_path / "out", revert=True) == old.digest
    assert digests(open_state(tmp_path / "out")) == digests(old)


def test_hugging_face_folders_in_one_file_and_in_shards(tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    for i, size in enumerate(("1KB", "1GB")):
        torch.manual_seed(i)
        config = LlamaConfig(**{k: v for k, v in CONFIG.items() if k != "model_type"}, tie_word_embeddings=True)
        LlamaForCausalLM(config).save_pretrained(tmp_path / str(i), max_shard_size=size)
    old, new = open_state(tmp_path / "0"), open_state(tmp_path / "1")
    there_and_back(old, new, None, tmp_path / "bundle")
    assert "lm_head.weight" not in old.weights and "lm_head.weight" not in new.weights


def test_a_node_that_went_costs_nothing_where_the_rest_is_the_seeds(tmp_path):
    seed = state_of(SEED)
    new = state_of(remove_nodes(SEED, {i: all_but(12, i) for i in range(3)}, {0: all_but(2, 1)}))
    summary = there_and_back(seed, new, seed, tmp_path)
    rows = summary["weights"].values()
    assert len(rows) == 9 + 4 and all(r["kind"] == "xor" and r["changed"] == r["bytes"] == 0 for r in rows)
    assert set(summary["masks"]) == {"ffn.0", "ffn.1", "ffn.2", "kv.0"}


def test_the_summary_counts_what_differs(tmp_path):
    changed = SEED.weights[UP].clone()
    changed[2, 3:6] = -changed[2, 3:6]
    new = Checkpoint(CONFIG, {**SEED.weights, UP: changed, "more": torch.ones(3, 2)})
    summary = there_and_back(state_of(SEED), state_of(new), None, tmp_path)
    rows = summary["weights"]
    assert {n: (r["kind"], r["elements"], r["changed"]) for n, r in rows.items()} == {
        UP: ("xor", 96, 3),
        "more": ("added", 6, 6),
    }
    assert summary["bytes"] == {p.name: p.stat().st_size for p in tmp_path.iterdir()} and summary["seed"] is None


def test_healing_a_pruned_model_needs_no_seed(tmp_path):
    old, new = state_of(pruned()), state_of(healed(pruned()))
    assert there_and_back(old, new, None, tmp_path)["seed"] is None


def test_masks_old_and_new_are_read_without_a_model(tmp_path):
    write_patches(state_of(pruned()), state_of(further()), state_of(SEED), tmp_path)
    changes = Bundle(tmp_path).mask_changes
    assert set(changes) == {"ffn.0", "ffn.2", "kv.0", f"weight.{UP}"}
    for name, pair in changes.items():
        for found, model in zip(pair, (pruned(), further()), strict=True):
            assert found is None and name not in model.masks or torch.equal(found, model.masks[name])


def test_a_wrong_base_is_refused_with_both_digests(tmp_path):
    old, new, seed = (state_of(m) for m in (pruned(), further(), SEED))
    write_patches(old, new, seed, tmp_path / "bundle")
    for base, revert, wanted in ((seed, False, old), (new, False, old), (old, True, new), (seed, True, new)):
        with pytest.raises(BundleError, match=f"{wanted.digest}.*{base.digest}"):
            apply(base, tmp_path / "bundle", seed, tmp_path / "out", revert)
    almost = pruned()
    almost.weights["model.norm.weight"][0] += 1e-6
    with pytest.raises(BundleError, match=f"{old.digest}.*{almost.digest}"):
        apply(state_of(almost), tmp_path / "bundle", seed, tmp_path / "out")
    with pytest.raises(BundleError, match="it is the model that applying gives"):
        apply(new, tmp_path / "bundle", seed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_or_wrong_seed_is_refused(tmp_path):
    old, new, seed = (state_of(m) for m in (pruned(), further(), SEED))
    with pytest.raises(BundleError, match="ffn.0, ffn.2, kv.0 keep other nodes.*give the seed"):
        write_patches(old, new, None, tmp_path / "bundle")
    with pytest.raises(BundleError, match="has not the width that mask ffn.0"):
        write_patches(old, new, old, tmp_path / "bundle")
    write_patches(old, new, seed, tmp_path / "bundle")
    with pytest.raises(BundleError, match=f"{seed.digest}.*none was given"):
        patched(old, tmp_path / "bundle")
    with pytest.raises(BundleError, match=f"{seed.digest}.*{new.digest}"):
        patched(old, tmp_path / "bundle", new)


def test_a_damaged_base_or_seed_is_named(tmp_path):
    for name in ("seed", "pruned", "further"):
        ModelFolder(str(tmp_path / name)).save(STATES[name]())
    seed, old, new = (open_state(tmp_path / n) for n in ("seed", "pruned", "further"))
    write_patches(old, new, seed, tmp_path / "bundle")
    for name in ("seed", "pruned"):
        path = tmp_path / name / "model.safetensors"
        whole = path.read_bytes()
        start = 8 + int.from_bytes(whole[:8], "little")
        path.write_bytes(whole[:start] + bytes(b ^ 1 for b in whole[start:]))
        with pytest.raises(ArtifactError, match=f"{path}: tensor model"):
            apply(old, tmp_path / "bundle", seed, tmp_path / "out")
        with pytest.raises(ArtifactError, match=f"{path}: tensor model"):
            write_patches(old, new, seed, tmp_path / "again")
        path.write_bytes(whole)
    assert sorted(p.name for p in (tmp_path / "again").iterdir()) == []


def test_a_patch_that_cannot_be_read_back_is_not_written(tmp_path):
    new = state_of(Checkpoint(CONFIG, {**SEED.weights, "new\nline": torch.ones(1)}))
    with pytest.raises(ArtifactError, match="cannot name a tensor"):
        write_patches(state_of(SEED), new, None, tmp_path / "bundle")
    odd = state_of(Checkpoint(CONFIG, SEED.weights, {"ffn.0": torch.ones(12)}))
    with pytest.raises(ArtifactError, match="masks are bool"):
        write_patches(state_of(SEED), odd, None, tmp_path / "bundle")
    deep: dict = {}
    for _ in range(300):
        deep = {"more": deep}
    for config in (deep, {"name": "\ud800"}):
        with pytest.raises(ArtifactError, match="cannot hold this difference"):
            write_patches(state_of(SEED), state_of(Checkpoint(config, SEED.weights)), None, tmp_path / "bundle")
    nameless = [state_of(Checkpoint({"model_type": "llama"}, SEED.weights, m)) for m in ({}, {"ffn.0": all_but(12, 1)})]
    with pytest.raises(ArtifactError, match="does not tell the widths"):
        write_patches(*nameless, None, tmp_path / "bundle")


def test_any_configuration_there_and_back(tmp_path):
    odd = {
        "a": 1e22,
        "b": -0.0,
        "c": 10**30,
        "d": float("inf"),
        "e": [None, True, {"é\n": "\x00"}],
        "f": 5e-324,
        "": {},
    }
    there_and_back(state_of(SEED), state_of(Checkpoint(odd, SEED.weights)), None, tmp_path)
    assert patched(state_of(SEED), tmp_path).config == odd


def test_the_same_difference_gives_the_same_bytes(tmp_path):
    old, new, seed = (state_of(m) for m in (pruned(), regrown(), SEED))
    backwards = state_of(Checkpoint(CONFIG, dict(reversed(regrown().weights.items())), regrown().masks))
    for folder, target in (("a", new), ("b", new), ("c", backwards)):
        write_patches(old, target, seed, tmp_path / folder)
    for name in ("weights.patch", "masks.patch"):
        assert len({(tmp_path / f / name).read_bytes() for f in "abc"}) == 1


def test_another_process_gives_the_same_bytes(tmp_path):
    for name in ("seed", "pruned", "regrown"):
        ModelFolder(str(tmp_path / name)).save(STATES[name]())
    old, new, seed = (open_state(tmp_path / n) for n in ("pruned", "regrown", "seed"))
    write_patches(old, new, seed, tmp_path / "here")
    write = (
        "import sys; from pathlib import Path; from birdbone.diff.states import open_state;"
        "from birdbone.diff.patch import write_patches; t = Path(sys.argv[1]);"
        "write_patches(*(open_state(t / n) for n in ('pruned', 'regrown', 'seed')), t / 'there')"
    )
    subprocess.run([sys.executable, "-c", write, tmp_path], env={**os.environ, "PYTHONHASHSEED": "77"}, check=True)
    for name in ("weights.patch", "masks.patch"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_tensors_longer_than_a_frame(tmp_path):
    long = random_bits((9_000_001,), torch.float32, 0)
    other = long.clone()
    other[8_999_000:] = 0
    old, new = (state_of(Checkpoint(CONFIG, {"w": w})) for w in (long, other))
    summary = there_and_back(old, new, None, tmp_path)
    assert 800 < summary["weights"]["w"]["changed"] <= 1001 and summary["bytes"]["weights.patch"] < 6000


def test_removed_nodes_of_a_large_model_make_a_small_patch(tmp_path):
    config = {**CONFIG, "hidden_size": 512, "intermediate_size": 5000, "num_hidden_layers": 2}
    shapes = {"gate_proj": (5000, 512), "up_proj": (5000, 512), "down_proj": (512, 5000)}
    weights = {
        f"model.layers.{i}.mlp.{n}.weight": random_bits(s, torch.float32, i)
        for i in range(2)
        for n, s in shapes.items()
    }
    folder = tmp_path / "seed"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights, folder / "model.safetensors")
    assert (folder / "model.safetensors").stat().st_size > 60_000_000
    seed = open_state(folder)
    stays = torch.rand(5000, generator=torch.Generator().manual_seed(0)) > 0.1
    new = {n: w[:, stays].contiguous() if "down" in n else w[stays] for n, w in weights.items()}
    pruned = state_of(Checkpoint(config, new, {"ffn.0": stays, "ffn.1": stays}))
    summary = write_patches(seed, pruned, seed, tmp_path / "bundle")
    assert sum(summary["bytes"].values()) < 10_000
    assert apply(pruned, tmp_path / "bundle", seed, tmp_path / "back", revert=True) == seed.digest
