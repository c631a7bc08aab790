"""Families are known by their files."""

import shutil

import pytest
from transformers import AutoConfig

from birdbone.errors import UnsupportedArchitectureError
from birdbone.model import family
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.network import build, check_described


def test_an_unknown_family_names_the_file_that_would_add_it():
    with pytest.raises(UnsupportedArchitectureError, match=r"families/mamba\.yml"):
        build(Checkpoint({"model_type": "mamba"}, {}))


def test_every_known_family_is_one_of_transformers():
    assert all(AutoConfig.for_model(kind) for kind in family.families())


@pytest.fixture
def described(tmp_path, monkeypatch):
    """Writes a family file beside the project's own, and reads them all."""
    shutil.copytree(family.FOLDER, tmp_path / "families")
    monkeypatch.setattr(family, "FOLDER", tmp_path / "families")

    def described(text: str) -> family.Family:
        (tmp_path / "families/mine.yml").write_text(text)
        family.families.cache_clear()
        return family.families()["mine"]

    yield described
    family.families.cache_clear()


MINE = "extends: llama\nmodel_types: [mine]\n"


def test_a_family_that_extends_another_says_only_what_differs(described):
    mine = described(
        MINE
        + "head: other_head\ngguf: {arch: mine, block: {mlp.gate_proj: null, mlp.more: more}}\n"
    )
    llama = family.families()["llama"]
    assert (mine.head, mine.gguf.arch, mine.ffn) == ("other_head", "mine", llama.ffn)
    own = {**llama.gguf.block, "mlp.more": "more"}
    del own["mlp.gate_proj"]
    assert mine.gguf.block == own and mine.gguf.sizes == llama.gguf.sizes
    assert family.family_of({"model_type": "mine"}) is mine
    assert described(MINE).gguf == llama.gguf


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (MINE + "gguf: null\n", "gguf"),
        (MINE + "gguf: {arch: null}\n", r"gguf\.arch"),
        (MINE + "gguf: {arch: mine, colour: red}\n", r"gguf\.colour"),
        (MINE + "gguf: {unrotated: {key: layers}}\n", r"gguf\.unrotated\.every"),
        (MINE + "colour: red\n", "colour"),
        (MINE + "norms: {attention: a, ffn: b, before: c}\n", r"norms\.before"),
        (MINE + "head_norms: {query: q, key: k, over: some}\n", r"head_norms\.over"),
        (MINE + "attention: {query: q, key: null}\n", r"attention\.key"),
        ("model_types: [mine]\n", "gguf"),
    ],
)
def test_a_family_file_that_is_not_whole_is_named_with_its_key(described, text, fault):
    with pytest.raises(
        UnsupportedArchitectureError, match=rf"families/mine\.yml: [\s\S]*\n{fault}\n"
    ):
        described(text)


@pytest.mark.parametrize(
    ("model_type", "fault"),
    [
        ("phi", r"does not say what model\.final_layernorm\.(weight|bias) is"),
        ("arcee", r"names model\.layers\.0\.mlp\.gate_proj, which arcee does not have"),
        ("stablelm", "names rms_norm_eps under gguf, which the configuration of stablelm does not"),
    ],
)
def test_a_family_file_that_does_not_fit_the_stock_class_is_named(described, model_type, fault):
    described("extends: llama\nmodel_types: [mine, " + model_type + "]\n")
    config = AutoConfig.for_model(model_type, num_hidden_layers=1).to_dict()
    with pytest.raises(UnsupportedArchitectureError, match=rf"families/mine\.yml {fault}"):
        check_described(config)


def test_the_uneven_form_and_its_pairs_are_the_familys_own():
    forms = {name: family.families()[name].gguf for name in ("llama", "phi3", "qwen2")}
    assert forms["llama"].pairs("llama") and forms["llama"].pairs("deci")
    assert not forms["phi3"].pairs("phi3") and forms["phi3"].pairs("deci")
    block = family.families()["phi3"].gguf
    assert block.names("phi3")["mlp.gate_up_proj.gate"] == "ffn_up"
    assert block.names("deci")["mlp.gate_up_proj.gate"] == "ffn_gate"
    assert not forms["qwen2"].pairs("qwen2")
