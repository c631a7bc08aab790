"""The real default model through the whole pipeline, with little text and few steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer
from workspace import Workspace, lay_out

from birdbone.datasets.folders import ModelFolder
from birdbone.datasets.mscan_open import open_scan
from birdbone.gguf import llamacpp
from birdbone.gguf.header import read_gguf_header
from birdbone.model.network import build
from birdbone.scan.prompt import scan_prompt

LIGHT = {
    "model": "smollm2",
    "waves": 1,
    "max_loss": 0.5,
    "target_sparsity": 0.05,
    "text": {
        "window": 128,
        "calibration_tokens": 2048,
        "heal_tokens": 1024,
        "guard_tokens": 512,
        "test_tokens": 512,
    },
    "activation_log": {"profile_tokens": 256},
    "sps_scan": {"record_tokens": 256},
    "topology": {"min_cluster": 20, "landmarks": 500, "stability_resamples": 0},
    "prune_wave": {"step": 0.02},
    "micro_heal": {"steps": 3, "checkpoint_every": 10},
    "regrow": {"tokens": 512, "heal_steps": 1},
    "guard": {
        "control": False,
        "wave_share": 0.5,
    },  # on so little text a host's own rounding moves it by points
    "quantize": {"trials": 1, "types": ["Q4_0"], "embedding": "Q8_0"},
    "export": {"referee_tokens": 256, "perplexity_tokens": 256, "speed_tokens": 8},
    "report": {
        "peers": ["Q4_0"],
        "prompts": ["What is the capital of France?"],
        "generate_tokens": 8,
    },
}
LAST_SPLIT = "A list:\n 1. one\n\n  2. two\t\tand 1,234.5 more... `code()` — café 東京 🙂"
CANARIES = """
geography:
  - {prompt: "The capital of France is", answer: " Paris", wrong: [" London", " seven"]}
  - {prompt: "Tokyo is a city in", answer: " Japan", wrong: [" France", " water"]}
"""


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The project after a light run on the default model."""
    found = lay_out(tmp_path_factory.mktemp("smollm2") / "project")
    (found.root / "canaries.yml").write_text(CANARIES)
    found.profile("light", LIGHT, {"text": {"canaries": "canaries.yml"}})
    run = found.run("kedro", "run", "--env=light", timeout=900)
    assert run.code == 0, run.stderr
    print("\n".join(line for line in run.stderr.splitlines() if "done in" in line))
    print(run.stdout)
    return found


@pytest.mark.slow
def test_the_default_model_loses_neurons_and_stays_a_language_model(smollm2: Workspace) -> None:
    verdict, removed = (smollm2.json("light", f"wave_1/{name}") for name in ("verdict", "prune"))
    assert sum(removed["removed"]["ffn"].values()) > 0
    assert 0 < verdict["sparsity"] <= 0.02
    assert min(verdict["ffn_widths"]) < 1536
    assert all(width % 32 == 0 for width in verdict["ffn_widths"])
    assert verdict["status"] == "accepted"
    for domain, found in smollm2.json("light", "final_metrics")["domains"].items():
        assert 1 < found["seed_perplexity"] < 60, domain
        assert found["perplexity"] < 1.5 * found["seed_perplexity"], domain
        assert 0 < found["kl"] < 0.8, domain


@pytest.mark.slow
def test_llama_cpp_agrees_with_pytorch_on_the_default_model(smollm2: Workspace) -> None:
    referee = smollm2.json("light", "referee")
    assert referee["exact"]["tokens"] == 256
    assert referee["exact"]["kl"] < 1e-7
    assert referee["exact"]["top1_clear"] == 1
    assert referee["exact"]["clear"] > 200
    assert abs(referee["difference"]) < 0.01


@pytest.mark.slow
def test_llama_cpp_reads_text_as_the_seeds_tokenizer_does(smollm2: Workspace) -> None:
    (file,) = (smollm2.root / "models/light/export/gguf").glob("*.gguf")
    keys = read_gguf_header(file).metadata
    assert keys["tokenizer.ggml.pre"] == "smollm"
    assert "<|im_start|>" in keys["tokenizer.chat_template"]
    tokenizer = AutoTokenizer.from_pretrained(smollm2.root / "models/light/tokenizer")
    for sample in (Path(torch.__file__).read_text()[:4000], LAST_SPLIT):
        (found,) = llamacpp.tokenize(file, [sample])
        assert found == tokenizer.encode(sample, add_special_tokens=False)


@pytest.mark.slow
def test_the_export_is_as_small_as_planned_and_near_llama_cpps_own(smollm2: Workspace) -> None:
    planned, files = smollm2.json("light", "quantize"), smollm2.json("light", "files")
    roles = {found["role"]: found for found in files.values() if isinstance(found, dict)}
    ours, seed, peer = roles["ours"], roles["seed"], roles["peer"]
    tokenizer_and_header = ours["bytes"] - planned["tensor_bytes"]
    assert 0 < tokenizer_and_header < 3_000_000
    assert ours["bytes"] < 0.4 * seed["bytes"]
    assert ours["substituted"] == {}
    for domain, perplexity in ours["perplexity"].items():
        print(
            domain,
            "seed",
            seed["perplexity"][domain],
            "ours",
            perplexity,
            "Q4_0",
            peer["perplexity"][domain],
        )
        assert perplexity < 1.25 * peer["perplexity"][domain]
    print("bytes: seed", seed["bytes"], "ours", ours["bytes"], "Q4_0", peer["bytes"])
    assert ours["bytes"] < peer["bytes"]
    assert ours["kl"] < 2 * peer["kl"]


@pytest.mark.slow
@torch.no_grad()
def test_the_exported_folder_speaks(smollm2: Workspace) -> None:
    folder: Path = smollm2.root / "models/light/export/transformers"
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    assert tokenizer.decode(model(ids).logits[0, -1].argmax()) == " Paris"


@pytest.mark.slow
def test_a_scanned_block_is_the_norm_of_its_weight_gradient(
    smollm2: Workspace, tmp_path: Path
) -> None:
    """Of two tokens one is scored: its share of a weight's gradient is then the whole of
    autograd's.
    """
    seed = ModelFolder(str(smollm2.root / "models/light/seed")).load()
    tokenizer = AutoTokenizer.from_pretrained(smollm2.root / "models/light/tokenizer")
    scan_prompt(
        "3+", seed, tokenizer, tmp_path / "s.mscan", name="seed", digest=seed.digest, device="cpu"
    )
    network, ids = build(seed), tokenizer("3+", return_tensors="pt").input_ids
    assert ids.shape == (1, 2)
    for name in ("model.layers.3.self_attn.v_proj", "model.layers.29.mlp.down_proj"):
        weight = network.get_submodule(name).weight.requires_grad_(True)
        loss = F.cross_entropy(network(ids).logits[0, :1], ids[0, 1:])
        (gradient,) = torch.autograd.grad(loss, weight)
        found = open_scan(tmp_path / "s.mscan").token(0)[name]
        for row, column in ((0, 0), (2, 8)):
            block = gradient[64 * row : 64 * (row + 1), 64 * column : 64 * (column + 1)]
            assert float(found.g[row] * found.a[column]) == pytest.approx(
                float(block.norm()), rel=2e-3
            )
