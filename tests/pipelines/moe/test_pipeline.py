"""The mixture's pipeline: from activations and clusters to files that stock runtimes load, and what
they cost.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from base_parameters import base_parameters
from families import checkpoint_of
from gguf_models import random_model, some_tokens
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from transformers import AutoModelForCausalLM, AutoTokenizer

from birdbone.datasets.folders import FileFolder, JSONFile, ObjectFolder, TextFile
from birdbone.errors import ConfigError, UnsupportedArchitectureError
from birdbone.gguf.header import tensor_types
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.judging.reference import States, final_states
from birdbone.model.network import build
from birdbone.model.observing.activations import Activations, Activity, Clusters
from birdbone.parameters import validate
from birdbone.pipelines.inputs import Compute
from birdbone.pipelines.moe.pipeline import create_pipeline
from birdbone.pipelines.moe.settings import CompareSettings, RouterHealSettings, SplitSettings
from birdbone.pipelines.moe.split import Seen, split_model
from birdbone.text.texts import Domain, Texts

SPLIT = {
    "experts": 4,
    "shared_share": 0.33,
    "active": 2,
    "grouping": "topology",
    "tokens": 128,
    "damping": 0.1,
}
HEAL = {"steps": 2, "batch": 2, "learning_rate": 0.05, "compute": "float32", "checkpoint_every": 1}
COMPARE = {"shares": [0.25, 0.5, 1], "guard_tokens": 128, "referee_tokens": 64, "speed_tokens": 2}


def windows(count: int, seed: int) -> torch.Tensor:
    return torch.tensor(some_tokens(count * 32, seed), dtype=torch.int32).view(count, 32)


def inputs(seed: Checkpoint) -> dict:
    generator = torch.Generator().manual_seed(0)
    domain = Domain(windows(4, 3), torch.arange(4, dtype=torch.int32))
    guard = {"code": domain, "news": domain}
    texts = Texts(
        windows(4, 1), windows(4, 2), windows(4, 5), guard, {}, list(guard), "a source", 32
    )
    network, layers = build(seed), range(seed.layers)
    states = {name: final_states(network, domain.windows, name) for name in guard}
    profiles = [torch.randn(192, 40, generator=generator).half() for _ in layers]
    labels = [torch.randint(0, 3, (192,), generator=generator).int() for _ in layers]
    neurons = [Activity(*torch.zeros(3, 192), profile) for profile in profiles]
    return {
        "seed_model": seed,
        "activations": Activations({"ffn": neurons}, 128, 40),
        "clusters": Clusters(labels, None, [3] * len(labels)),
        "texts": texts,
        "seed_states": States(states, {}),
    }


def small_seed(name: str = "llama") -> Checkpoint:
    return checkpoint_of(random_model(name, intermediate_size=192, num_hidden_layers=2))


@pytest.fixture(scope="module")
def made(byte_level: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Everything the pipeline made of a tiny seed, read back."""
    folder = tmp_path_factory.mktemp("moe")
    parameters = {
        "params:moe.split": SplitSettings(**SPLIT),
        "params:moe.heal": RouterHealSettings(**HEAL),
        "params:moe.compare": CompareSettings(**COMPARE),
        "params:moe.type": "Q8_0",
        "params:device": "cpu",
        "params:random_seed": 0,
        "params:threads": 1,
    }
    given = {**inputs(small_seed()), **parameters, "tokenizer": byte_level}
    given["seed_about"] = {"name": "small", "licence": "mit", "digest": "5eed"}
    given["command"] = "kedro run --env=mine"
    given["scratch"] = folder / "scratch"
    catalog = DataCatalog(
        {name: MemoryDataset(value, copy_mode="assign") for name, value in given.items()}
    )
    kinds = {
        FileFolder: ("moe_folder", "moe_gguf"),
        JSONFile: ("moe_report", "moe_speed"),
        TextFile: ("moe_curve", "moe_page", "moe_summary"),
    }
    names = [name for group in kinds.values() for name in group]
    for kind, group in kinds.items():
        for name in group:
            catalog[name] = kind(str(folder / name))
    for name, holds in {"moe_split": "Split", "moe_healed": "Routers"}.items():
        catalog[name] = ObjectFolder(str(folder / name), f"birdbone.mixture.split.{holds}")
        names.append(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # the healing curve is logged under the working directory
        SequentialRunner().run(create_pipeline(base_parameters()), catalog)
    return {name: catalog.load(name) for name in names}


def test_the_folder_is_a_model_with_its_tokenizer_and_card(made: dict) -> None:
    stock = AutoModelForCausalLM.from_pretrained(made["moe_folder"])
    assert (stock.config.model_type, stock.config.num_experts_per_tok) == ("glm4_moe", 2)
    ids = AutoTokenizer.from_pretrained(made["moe_folder"])(
        "The quick", return_tensors="pt"
    ).input_ids
    assert torch.isfinite(stock(ids).logits).all()
    readme = (made["moe_folder"] / "README.md").read_text()
    assert (
        "license: mit" in readme and "4 experts of 32" in readme and "float32 or bfloat16" in readme
    )
    for text in (readme, made["moe_page"], made["moe_summary"]):
        assert (
            "kedro run --env=mine\nkedro run --env=mine --pipelines=moe" in text
            and "# seed 5eed" in text
        )


def test_the_file_has_the_type_asked_for(made: dict) -> None:
    types = tensor_types(made["moe_gguf"] / "model.gguf")
    assert (
        types["blk.1.ffn_up_exps.weight"] == "Q8_0" and types["blk.1.ffn_gate_inp.weight"] == "F32"
    )


def test_every_grouping_is_measured_at_every_share_and_all_on_is_the_seed(made: dict) -> None:
    report = made["moe_report"]
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    rows = {(r["grouping"], r["healed"], r["active"]): r for r in report["rows"]}
    assert rows.keys() == {
        *(
            (grouping, False, active)
            for grouping in ("topology", "kmeans", "random")
            for active in (1, 2)
        ),
        *(("topology", healed, active) for healed in (True,) for active in (1, 2)),
        ("topology", False, 4),
    }
    assert rows["topology", False, 4]["kl"] < 1e-6 < 1e-4 < rows["topology", False, 1]["kl"]
    assert all(
        row["documents"] == 8 and set(row["domains"]) == {"code", "news"} for row in report["rows"]
    )
    healing = made["moe_healed"].about
    assert healing["steps"] == 2 and made["moe_curve"].count("\n") == 3
    assert healing["kept"] == (healing["kl"][1] < healing["kl"][0]) and report["healing"] == healing
    assert [row["active"] for row in report["referee"]] == [4, 2]
    assert made["moe_speed"].keys() == {"dense", "1", "2", "4"}


def test_page_and_table_hold_the_same_figures(made: dict) -> None:
    for row in made["moe_report"]["rows"]:
        assert (
            f"{row['perplexity']:.2f}" in made["moe_page"]
            and f"{row['perplexity']:.2f}" in made["moe_summary"]
        )
    assert "https://" not in made["moe_page"].split('id="plotly-gzip"')[0]
    assert (
        "beat random grouping" in made["moe_summary"]
        or "beats random grouping" in made["moe_summary"]
    )


def test_faults_are_named_before_anything_is_computed() -> None:
    given = inputs(small_seed())
    seed, seen = given["seed_model"], Seen(given["activations"], given["clusters"])

    def split(kind: str = "Q8_0", model: Checkpoint = seed, **changed: int) -> None:
        settings = SplitSettings(**SPLIT | changed)
        split_model(model, seen, given["texts"], settings, kind, Compute("cpu", 0))

    with pytest.raises(
        ConfigError, match=r"moe\.split\.experts: 192 nodes .* multiples of 32.* these fit: 2, 4\b"
    ):
        split(experts=8)
    with pytest.raises(ConfigError, match="500 experts, but a layer has 192 nodes"):
        split(experts=500)
    with pytest.raises(
        ConfigError, match=r"moe\.type: Q6_K needs rows of multiples of 256, \S+q_proj\.weight has"
    ):
        split("Q6_K")
    with pytest.raises(UnsupportedArchitectureError, match="model_type is 'qwen3'"):
        split(model=small_seed("qwen3"))
    tree = {
        "moe": {
            "source": "seed",
            "type": "Q8_0",
            "split": {**SPLIT, "active": 5},
            "heal": HEAL,
            "compare": COMPARE,
        }
    }
    with pytest.raises(ConfigError, match=r"moe\.split: active is 5, more than the 4 experts"):
        validate(tree)
