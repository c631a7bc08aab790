"""Patches: every bit there and back, in the seed's coordinates where nodes differ."""

from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from families import cut
from hypothesis import given, settings
from hypothesis import strategies as st
from model_pairs import CONFIG, all_but, any_pairs, digests, healed, tiny
from patched_models import SEED, STATES, UP, further, pruned, regrown, there_and_back

from birdbone.datasets.folders import ModelFolder
from birdbone.diff import header
from birdbone.diff.apply import Bundle, apply_bundle, patched
from birdbone.diff.patch import write_patches
from birdbone.diff.states import open_state, state_of
from birdbone.model.checkpoint import Checkpoint


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
        sides.append(state_of(healed(cut(seed, *stays), len(sides))))
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
        cut(seed, {0: all_but(12, 1)}, {}),
        cut(other, {0: all_but(12, 4, 5)}, {1: all_but(2, 0)}),
    )
    there_and_back(state_of(old), state_of(new), state_of(seed), tmp_path)


def test_applying_writes_a_model_folder_and_reverting_gives_the_base_back(tmp_path):
    for name, make in STATES.items():
        ModelFolder(str(tmp_path / name)).save(make())
    seed, old, new = (open_state(tmp_path / n) for n in ("seed", "pruned", "regrown"))
    write_patches(old, new, seed, tmp_path / "bundle")
    assert apply_bundle(old, tmp_path / "bundle", seed, tmp_path / "out") == new.digest
    loaded = ModelFolder(str(tmp_path / "out")).load()
    assert loaded.digest == regrown().digest and torch.equal(loaded.weights[UP], regrown().weights[UP])
    assert (
        apply_bundle(open_state(tmp_path / "out"), tmp_path / "bundle", seed, tmp_path / "out", revert=True)
        == old.digest
    )
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


def test_healing_a_pruned_model_needs_no_seed(tmp_path):
    old, new = state_of(pruned()), state_of(healed(pruned()))
    assert there_and_back(old, new, None, tmp_path)["seed"] is None


def test_masks_old_and_new_are_read_without_a_model(tmp_path):
    write_patches(state_of(pruned()), state_of(further()), state_of(SEED), tmp_path)
    changes = Bundle(tmp_path).mask_changes
    assert set(changes) == {"ffn.0", "ffn.2", "kv.0", f"weight.{UP}"}
    for name, pair in changes.items():
        for found, model in zip(pair, (pruned(), further()), strict=True):
            masks = model.masks.to_tensors()
            assert found is None and name not in masks or torch.equal(found, masks[name])


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
