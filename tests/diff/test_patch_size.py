"""Patches: equal differences give equal bytes, and few bytes where little differs."""

import json
import os
import subprocess
import sys

import torch
from families import cut
from model_pairs import CONFIG, all_but, random_bits
from patched_models import SEED, STATES, UP, pruned, regrown, there_and_back
from safetensors.torch import save_file

from birdbone.datasets.folders import ModelFolder
from birdbone.diff.apply import apply_bundle
from birdbone.diff.patch import write_patches
from birdbone.diff.states import open_state, state_of
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.layout import Nodes
from birdbone.model.masks import Masks


def test_a_node_that_went_costs_nothing_where_the_rest_is_the_seeds(tmp_path):
    seed = state_of(SEED)
    new = state_of(cut(SEED, {i: all_but(12, i) for i in range(3)}, {0: all_but(2, 1)}))
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
    pruned = state_of(Checkpoint(config, new, Masks({Nodes("ffn", i): stays for i in range(2)})))
    summary = write_patches(seed, pruned, seed, tmp_path / "bundle")
    assert sum(summary["bytes"].values()) < 10_000
    assert apply_bundle(pruned, tmp_path / "bundle", seed, tmp_path / "back", revert=True) == seed.digest
