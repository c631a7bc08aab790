"""The mixture's pipeline: from activations and clusters to files that stock runtimes load, and what they cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from tiny_models import checkpoint_of, random_model, some_tokens
from transformers import AutoModelForCausalLM, AutoTokenizer

from birdbone.datasets.folders import FileFolder, JSONFile, TensorFolder, TextFile
from birdbone.errors import ConfigError, UnsupportedArchitectureError
from birdbone.gguf.header import tensor_types
from birdbone.mixture.page import card, sentences
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.judging.reference import final_states
from birdbone.model.network import build
from birdbone.parameters import validate
from birdbone.pipelines.moe.pipeline import create_pipeline
from birdbone.pipelines.moe.split import split

SPLIT = {"experts": 4, "shared_share": 0.33, "active": 2, "grouping": "topology", "tokens": 128, "damping": 0.1}
HEAL = {"steps": 2, "batch": 2, "learning_rate": 0.05, "compute": "float32", "checkpoint_every": 1}
COMPARE = {"shares": [0.25, 0.5, 1], "guard_tokens": 128, "referee_tokens": 64, "speed_tokens": 2}


def windows(count: int, seed: int) -> torch.Tensor:
    return torch.tensor(some_tokens(count * 32, seed), dtype=torch.int32).view(count, 32)


def inputs(seed: Checkpoint) -> dict:
    generator = torch.Generator().manual_seed(0)
    texts = {"calibration": windows(4, 1), "heal": windows(4, 2), "check": windows(4, 5)}
    for domain in ("code", "news"):
        texts |= {f"guard.{domain}": windows(4, 3), f"guard.{domain}.documents": torch.arange(4, dtype=torch.int32)}
    network, layers = build(seed), range(seed.layers)
    states = {n: final_states(network, texts[n], n) for n in ("guard.code", "guard.news")}
    profiles = {f"ffn.{i}.profile": torch.randn(192, 40, generator=generator).half() for i in layers}
    clusters = {f"ffn.{i}": torch.randint(0, 3, (192,), generator=generator).int() for i in layers}
    return {
        "seed_model": seed,
        "activations": (profiles, {}),
        "clusters": (clusters, {}),
        "texts": (texts, {}),
        "seed_states": (states, {}),
    }


def small_seed(name: str = "llama") -> Checkpoint:
    return checkpoint_of(random_model(name, intermediate_size=192, num_hidden_layers=2))


@pytest.fixture(scope="module")
def made(byte_level: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Everything the pipeline made of a tiny seed, read back."""
    folder = tmp_path_factory.mktemp("moe")
    parameters = {
        "params:moe.split": SPLIT,
        "params:moe.heal": HEAL,
        "params:moe.compare": COMPARE,
        "params:moe.type": "Q8_0",
        "params:device": "cpu",
        "params:random_seed": 0,
        "params:threads": 1,
    }
    given = {**inputs(small_seed()), **parameters, "tokenizer": byte_level}
    given["seed_about"] = {"name": "small", "licence": "mit", "digest": "5eed"}
    given["command"] = "kedro run --env=mine"
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in given.items()})
    kinds = {
        FileFolder: ("moe_folder", "moe_gguf"),
        TensorFolder: ("moe_split", "moe_healed"),
        JSONFile: ("moe_report", "moe_speed"),
        TextFile: ("moe_curve", "moe_page", "moe_summary"),
    }
    names = [name for group in kinds.values() for name in group]
    for kind, group in kinds.items():
        for name in group:
            catalog[name] = kind(str(folder / name))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # the healing curve is logged under the working directory
        SequentialRunner().run(create_pipeline(), catalog)
    return {name: catalog.load(name) for name in names}


def test_the_folder_is_a_model_with_its_tokenizer_and_card(made: dict) -> None:
    stock = AutoModelForCausalLM.from_pretrained(made["moe_folder"])
    assert (stock.config.model_type, stock.config.num_experts_per_tok) == ("glm4_moe", 2)
    ids = AutoTokenizer.from_pretrained(made["moe_folder"])("The quick", return_tensors="pt").input_ids
    assert torch.isfinite(stock(ids).logits).all()
    readme = (made["moe_folder"] / "README.md").read_text()
    assert "license: mit" in readme and "4 experts of 32" in readme and "float32 or bfloat16" in readme
    for text in (readme, made["moe_page"], made["moe_summary"]):
        assert "kedro run --env=mine\nkedro run --env=mine --pipelines=moe" in text and "# seed 5eed" in text


def test_no_licence_or_name_breaks_the_cards_front_matter() -> None:
    shape = {"shared": 64, "experts": 4, "width": 32, "grouping": "topology", "active": 2}
    about = {"name": "my-model[v2] é", "licence": "other: [see] #1", "digest": "5eed"}
    _, header, body = card(shape, about, "kedro run --env=base").split("---\n", 2)
    assert yaml.safe_load(header)["license"] == "other: [see] #1"
    assert "# my-model\\[v2\\] é as a mixture" in body


def test_the_file_has_the_type_asked_for(made: dict) -> None:
    types = tensor_types(made["moe_gguf"] / "model.gguf")
    assert types["blk.1.ffn_up_exps.weight"] == "Q8_0" and types["blk.1.ffn_gate_inp.weight"] == "F32"


def test_every_grouping_is_measured_at_every_share_and_all_on_is_the_seed(made: dict) -> None:
    report = made["moe_report"]
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    rows = {(r["grouping"], r["healed"], r["active"]): r for r in report["rows"]}
    assert rows.keys() == {
        *((grouping, False, active) for grouping in ("topology", "kmeans", "random") for active in (1, 2)),
        *(("topology", healed, active) for healed in (True,) for active in (1, 2)),
        ("topology", False, 4),
    }
    assert rows["topology", False, 4]["kl"] < 1e-6 < 1e-4 < rows["topology", False, 1]["kl"]
    assert all(row["documents"] == 8 and set(row["domains"]) == {"code", "news"} for row in report["rows"])
    healing = made["moe_healed"][1]
    assert healing["steps"] == 2 and made["moe_curve"].count("\n") == 3
    assert healing["kept"] == (healing["kl"][1] < healing["kl"][0]) and report["healing"] == healing
    assert [row["active"] for row in report["referee"]] == [4, 2]
    assert made["moe_speed"].keys() == {"dense", "1", "2", "4"}


def test_page_and_table_hold_the_same_figures(made: dict) -> None:
    for row in made["moe_report"]["rows"]:
        assert f"{row['perplexity']:.2f}" in made["moe_page"] and f"{row['perplexity']:.2f}" in made["moe_summary"]
    assert "https://" not in made["moe_page"].split('id="plotly-gzip"')[0]
    assert "beat random grouping" in made["moe_summary"] or "beats random grouping" in made["moe_summary"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (([-0.2, -0.3, -0.1], [-0.1, -0.2, -0.01]), "Topology grouping beats random grouping (perplexity"),
        (([-0.2, -0.3, -0.1], [-0.1, -0.2, 0.01]), "beats random grouping with 25\u202f% of the experts on, and not"),
        (([0.0, -0.3, 0.1], [-0.1, -0.2, 0.01]), "Topology grouping does not beat random grouping (perplexity"),
        (([0.2, 0.1, 0.3], [0.1, 0.05, 0.2]), "does not beat random grouping: it is worse"),
    ],
)
def test_the_verdict_on_topology_follows_from_the_intervals(changes: tuple, said: str) -> None:
    rows = [
        {"against": "random", "active": 2 * i, "share": 0.25 * i, "change": change}
        for i, change in enumerate(changes, start=1)
    ]
    shape = {"active": 2, "experts": 8, "grouping": "topology"}
    found = sentences({"comparisons": rows, "rows": [], "shape": shape, "healing": {"steps": 0, "kl": None}})
    assert said in found[0]


@pytest.mark.parametrize(("after", "said"), [(0.4, "perplexity 50.00 before, 40.00 after"), (0.6, "not kept")])
def test_routers_that_healing_made_worse_are_said_not_to_be_kept(after: float, said: str) -> None:
    rows = [
        {"grouping": "topology", "healed": healed, "active": 2, "share": 0.25, "perplexity": perplexity}
        for healed, perplexity in ((False, 50.0), (True, 40.0))
    ]
    shape = {"active": 2, "experts": 8, "grouping": "topology"}
    healing = {"steps": 3, "kl": [0.5, after], "kept": after < 0.5}
    (found, _) = sentences({"comparisons": [], "rows": rows, "shape": shape, "healing": healing})
    assert found.startswith("3 steps of healing the routers, with 2 of 8 on") and said in found


def test_faults_are_named_before_anything_is_computed() -> None:
    given = inputs(small_seed())
    known = [given[name] for name in ("seed_model", "activations", "clusters", "texts")]
    with pytest.raises(ConfigError, match=r"moe\.split\.experts: 192 nodes .* multiples of 32.* these fit: 2, 4\b"):
        split(*known, {**SPLIT, "experts": 8}, "Q8_0", "cpu", 0)
    with pytest.raises(ConfigError, match="500 experts, but a layer has 192 nodes"):
        split(*known, {**SPLIT, "experts": 500}, "Q8_0", "cpu", 0)
    with pytest.raises(ConfigError, match=r"moe\.type: Q6_K needs rows of multiples of 256, \S+q_proj\.weight has"):
        split(*known, SPLIT, "Q6_K", "cpu", 0)
    with pytest.raises(UnsupportedArchitectureError, match="model_type is 'qwen3'"):
        split(small_seed("qwen3"), *known[1:], SPLIT, "Q8_0", "cpu", 0)
    tree = {
        "moe": {"source": "seed", "type": "Q8_0", "split": {**SPLIT, "active": 5}, "heal": HEAL, "compare": COMPARE}
    }
    with pytest.raises(ConfigError, match=r"moe\.split: active is 5, more than the 4 experts"):
        validate(tree)
