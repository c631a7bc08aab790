"""Patches: a wrong base or seed is refused, a damaged one named, and nothing is written that cannot be read."""

import pytest
import torch
from model_pairs import CONFIG, all_but
from patched_models import SEED, STATES, further, pruned

from birdbone.datasets.folders import ModelFolder
from birdbone.diff.apply import apply_bundle, patched
from birdbone.diff.patch import write_patches
from birdbone.diff.states import open_state, state_of
from birdbone.errors import ArtifactError, BundleError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.layout import Nodes
from birdbone.model.masks import Masks


def test_a_wrong_base_is_refused_with_both_digests(tmp_path):
    old, new, seed = (state_of(m) for m in (pruned(), further(), SEED))
    write_patches(old, new, seed, tmp_path / "bundle")
    for base, revert, wanted in ((seed, False, old), (new, False, old), (old, True, new), (seed, True, new)):
        with pytest.raises(BundleError, match=f"{wanted.digest}.*{base.digest}"):
            apply_bundle(base, tmp_path / "bundle", seed, tmp_path / "out", revert)
    almost = pruned()
    almost.weights["model.norm.weight"][0] += 1e-6
    with pytest.raises(BundleError, match=f"{old.digest}.*{almost.digest}"):
        apply_bundle(state_of(almost), tmp_path / "bundle", seed, tmp_path / "out")
    with pytest.raises(BundleError, match="it is the model that applying gives"):
        apply_bundle(new, tmp_path / "bundle", seed, tmp_path / "out")
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
            apply_bundle(old, tmp_path / "bundle", seed, tmp_path / "out")
        with pytest.raises(ArtifactError, match=f"{path}: tensor model"):
            write_patches(old, new, seed, tmp_path / "again")
        path.write_bytes(whole)
    assert sorted(p.name for p in (tmp_path / "again").iterdir()) == []


def test_a_patch_that_cannot_be_read_back_is_not_written(tmp_path):
    new = state_of(Checkpoint(CONFIG, {**SEED.weights, "new\nline": torch.ones(1)}))
    with pytest.raises(ArtifactError, match="cannot name a tensor"):
        write_patches(state_of(SEED), new, None, tmp_path / "bundle")
    odd = state_of(Checkpoint(CONFIG, SEED.weights, Masks({Nodes("ffn", 0): torch.ones(12)})))
    with pytest.raises(ArtifactError, match="masks are bool"):
        write_patches(state_of(SEED), odd, None, tmp_path / "bundle")
    deep: dict = {}
    for _ in range(300):
        deep = {"more": deep}
    for config in (deep, {"name": "\ud800"}):
        with pytest.raises(ArtifactError, match="cannot hold this difference"):
            write_patches(state_of(SEED), state_of(Checkpoint(config, SEED.weights)), None, tmp_path / "bundle")
    masks = Masks(), Masks({Nodes("ffn", 0): all_but(12, 1)})
    nameless = [state_of(Checkpoint({"model_type": "llama"}, SEED.weights, each)) for each in masks]
    with pytest.raises(ArtifactError, match="does not tell the widths"):
        write_patches(*nameless, None, tmp_path / "bundle")
