"""Stock llama.cpp computes PyTorch's logits from the files that write_gguf makes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from families import LLAMA3_ROPE, checkpoint_of, cut, linear_names, settings_of
from gguf_models import (
    FAMILIES,
    clear_top1_agreement,
    mean_kl,
    random_model,
    some_tokens,
    torch_logits,
)

from birdbone.algo.grids import GRIDS
from birdbone.errors import ExportError
from birdbone.gguf import llamacpp
from birdbone.gguf.header import read_gguf_header, tensor_types
from birdbone.gguf.writer import check_form, write_gguf
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.family import GgufForm, family_of, supports_uneven
from birdbone.model.network import build


def narrowed(checkpoint: Checkpoint, widths: list[int], groups: list[int]) -> Checkpoint:
    """Keep each layer's last neurons and last key-value groups."""

    def last(unit: str, counts: list[int]) -> dict[int, torch.Tensor]:
        return {i: torch.arange(n) >= n - counts[i] for i, n in enumerate(checkpoint.counts(unit))}

    return cut(checkpoint, last("ffn", widths), last("kv", groups))


def type_of_activation(network: torch.nn.Module) -> str:
    config, keys = (
        network.config.to_dict(),
        ("hidden_act", "hidden_activation", "activation_function"),
    )
    return next(config[key] for key in keys if key in config)


def limit_of(network: torch.nn.Module) -> float:
    """llama.cpp looks GELU up in a table of 16-bit floats; Gemma 4 does so in every branch."""
    if network.config.model_type == "gemma4_text":
        return 1e-5
    return 1e-7 if "gelu" in type_of_activation(network) else 1e-10


def assert_same_logits(path: Path, network: torch.nn.Module) -> None:
    tokens = some_tokens()
    ours, theirs = torch_logits(network, tokens), llamacpp.logits(path, tokens)
    assert ours.std() > 0.5
    assert mean_kl(ours, theirs) < limit_of(network)
    assert clear_top1_agreement(ours, theirs) == 1.0


@pytest.mark.parametrize("name", FAMILIES)
def test_an_f32_file_has_pytorchs_logits(name: str, byte_level: Path, tmp_path: Path) -> None:
    model = random_model(name)
    write_gguf(tmp_path / "m.gguf", checkpoint_of(model), byte_level)
    assert_same_logits(tmp_path / "m.gguf", model)


def test_an_untied_head_is_written_and_a_tied_one_is_not(byte_level: Path, tmp_path: Path) -> None:
    for tied in (True, False):
        checkpoint = checkpoint_of(random_model("llama", tie_word_embeddings=tied))
        write_gguf(tmp_path / "m.gguf", checkpoint, byte_level)
        assert ("output.weight" in tensor_types(tmp_path / "m.gguf")) != tied


def form_of(name: str) -> GgufForm:
    return family_of(settings_of(name)).gguf


def architecture(name: str, fewer_heads: bool) -> str | None:
    """What a family's file says of even widths; None: it has no form with fewer heads."""
    form = form_of(name)
    return form.uneven if fewer_heads and form.fixed_heads else form.arch


EVEN_ONLY = [name for name in FAMILIES if form_of(name).uneven is None]
NARROW = [
    (name, fewer)
    for name in FAMILIES
    for fewer in (False, True)
    if architecture(name, fewer) is not None
]


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in EVEN_ONLY])
def test_uneven_layers_go_into_the_uneven_architecture(
    name: str, byte_level: Path, tmp_path: Path
) -> None:
    checkpoint = narrowed(checkpoint_of(random_model(name)), [96, 128, 32], [1, 2, 1])
    arch = form_of(name).uneven
    assert supports_uneven(checkpoint.config)
    write_gguf(tmp_path / "m.gguf", checkpoint, byte_level)
    keys = read_gguf_header(tmp_path / "m.gguf").metadata
    assert keys["general.architecture"] == arch
    assert keys[f"{arch}.feed_forward_length"] == [96, 128, 32]
    assert keys[f"{arch}.attention.head_count"] == [2, 4, 2]
    assert keys[f"{arch}.attention.head_count_kv"] == [1, 2, 1]
    assert_same_logits(tmp_path / "m.gguf", build(checkpoint))


@pytest.mark.parametrize(("name", "fewer_heads"), NARROW)
def test_even_narrow_layers_have_the_architecture_that_the_file_says(
    name: str, fewer_heads: bool, byte_level: Path, tmp_path: Path
) -> None:
    """Where llama.cpp loads no file with fewer heads, the family's ``fixed_heads`` is missing."""
    seed = checkpoint_of(random_model(name))
    checkpoint = narrowed(seed, [64] * 3, [1] * 3 if fewer_heads else seed.counts("kv"))
    write_gguf(tmp_path / "m.gguf", checkpoint, byte_level)
    keys = read_gguf_header(tmp_path / "m.gguf").metadata
    assert keys["general.architecture"] == architecture(name, fewer_heads)
    assert_same_logits(tmp_path / "m.gguf", build(checkpoint))


@pytest.mark.parametrize("name", EVEN_ONLY)
def test_uneven_layers_of_other_families_are_refused(
    name: str, byte_level: Path, tmp_path: Path
) -> None:
    seed = checkpoint_of(random_model(name))
    checkpoint = narrowed(seed, [96, 128, 32], seed.counts("kv"))
    assert not supports_uneven(checkpoint.config)
    with pytest.raises(ExportError, match="even widths"):
        write_gguf(tmp_path / "m.gguf", checkpoint, byte_level)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [name for name in EVEN_ONLY if form_of(name).fixed_heads])
def test_some_families_must_keep_their_heads(name: str, byte_level: Path, tmp_path: Path) -> None:
    checkpoint = narrowed(checkpoint_of(random_model(name)), [128] * 3, [1] * 3)
    assert not supports_uneven(checkpoint.config)
    with pytest.raises(ExportError, match="heads"):
        write_gguf(tmp_path / "m.gguf", checkpoint, byte_level)


def test_smollm3_leaves_rotary_positions_out_of_every_fourth_layer(
    byte_level: Path, tmp_path: Path
) -> None:
    model = random_model("smollm3", num_hidden_layers=5)
    assert model.config.no_rope_layers == [1, 1, 1, 0, 1]
    write_gguf(tmp_path / "m.gguf", checkpoint_of(model), byte_level)
    assert_same_logits(tmp_path / "m.gguf", model)
    with pytest.raises(ExportError, match=r"no_rope_layers is \[1, 0, 1\].*every layer 4"):
        check_form(checkpoint_of(random_model("smollm3", no_rope_layers=[1, 0, 1])), byte_level)


def test_olmo2_has_a_head_of_its_own_in_the_file_where_it_is_tied_too(
    byte_level: Path, tmp_path: Path
) -> None:
    model = random_model("olmo2", tie_word_embeddings=True)
    write_gguf(tmp_path / "m.gguf", checkpoint_of(model), byte_level)
    assert "output.weight" in tensor_types(tmp_path / "m.gguf")
    assert_same_logits(tmp_path / "m.gguf", model)


def test_a_window_that_llama_cpp_ignores_ends_the_context(byte_level: Path, tmp_path: Path) -> None:
    write_gguf(
        tmp_path / "m.gguf", checkpoint_of(random_model("mistral", sliding_window=100)), byte_level
    )
    assert read_gguf_header(tmp_path / "m.gguf").metadata["llama.context_length"] == 100


@pytest.mark.parametrize(
    ("name", "setting", "positions"),
    [
        ("mistral", {"sliding_window": 32}, 32),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 32, "max_window_layers": 1}, 32),
        ("qwen2", {"use_sliding_window": False, "sliding_window": 32}, 512),
        ("gemma3_text", {"sliding_window": 32}, 512),
        ("phi3", {"sliding_window": 32}, 32),
    ],
)
def test_within_its_context_a_file_is_the_windowed_model(
    name: str, setting: dict, positions: int, byte_level: Path, tmp_path: Path
) -> None:
    model = random_model(name, **setting)
    write_gguf(tmp_path / "m.gguf", checkpoint_of(model), byte_level)
    assert llamacpp.context_length(tmp_path / "m.gguf") == positions
    tokens = some_tokens()[:positions]
    assert mean_kl(torch_logits(model, tokens), llamacpp.logits(tmp_path / "m.gguf", tokens)) < 1e-7


@pytest.mark.parametrize("layers", [["full_attention"] * 3, ["sliding_attention"] * 3])
def test_a_softcap_of_the_logits_is_written_whatever_the_layers_are(
    layers: list[str], byte_level: Path, tmp_path: Path
) -> None:
    capped = random_model("gemma3_text", final_logit_softcapping=2.0, layer_types=layers)
    assert torch_logits(capped, some_tokens()).max() < 2
    write_gguf(tmp_path / "m.gguf", checkpoint_of(capped), byte_level)
    assert_same_logits(tmp_path / "m.gguf", capped)


@pytest.mark.parametrize(
    ("name", "setting", "wanted"),
    [
        ("gemma3_text", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ("gemma3_text", {"attn_logit_softcapping": 5.0}, "attn_logit_softcapping"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("qwen2", {"rope_parameters": LLAMA3_ROPE}, "rope_type 'llama3'"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
            "rope_type 'dynamic'",
        ),
        (
            "llama",
            {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}},
            "partial_rotary_factor",
        ),
        ("qwen3", {"attention_bias": True}, "wrong number of tensors"),
        ("gemma3_text", {"attention_bias": True}, "wrong number of tensors"),
        ("smollm3", {"attention_bias": True}, "wrong number of tensors"),
        ("olmo2", {"attention_bias": True}, "wrong number of tensors"),
        ("smollm3", {"rope_parameters": LLAMA3_ROPE}, "rope_type 'llama3'"),
        ("olmo2", {"rope_parameters": LLAMA3_ROPE}, "rope_type 'llama3'"),
    ],
)
def test_a_setting_that_would_not_reach_llama_cpp_is_refused(
    name: str, setting: dict, wanted: str, byte_level: Path
) -> None:
    with pytest.raises(ExportError, match=wanted):
        check_form(checkpoint_of(random_model(name, **setting)), byte_level)


@pytest.mark.parametrize(("name", "kind"), [*(("llama", kind) for kind in GRIDS), ("gpt2", "Q4_0")])
def test_packed_blocks_reach_llama_cpp_as_given(
    name: str, kind: str, byte_level: Path, tmp_path: Path
) -> None:
    grid = GRIDS[kind]
    wide = (
        {"hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 8}
        if grid.unit == 256
        else {}
    )
    checkpoint = checkpoint_of(random_model(name, **wide))
    packed = {n: (kind, grid.reference(checkpoint.weights[n])) for n in linear_names(checkpoint)}
    asked = write_gguf(tmp_path / "m.gguf", checkpoint, byte_level, packed=packed)
    assert tensor_types(tmp_path / "m.gguf") == asked
    assert sum(found == kind for found in asked.values()) == (21 if name == "llama" else 12)
    seen = checkpoint.evolve({n: grid.dequantize(p) for n, (_, p) in packed.items()})
    window = some_tokens()
    logp = torch.from_numpy(torch_logits(build(seen), window)).log_softmax(-1)
    ours = -logp[:-1].gather(1, torch.tensor(window[1:])[:, None]).sum().item()
    ((theirs, count),) = llamacpp.perplexity(tmp_path / "m.gguf", [window])
    assert count == len(window) - 1
    assert theirs / count == pytest.approx(ours / count, abs=0.02)


def test_types_round_as_packed_bytes_do(byte_level: Path, tmp_path: Path) -> None:
    checkpoint, name = (
        checkpoint_of(random_model("llama")),
        "model.layers.0.self_attn.k_proj.weight",
    )
    grid = GRIDS["Q4_0"]
    write_gguf(
        tmp_path / "a.gguf", checkpoint, byte_level, types={name: "q4_0"}, default_type="f16"
    )
    packed = {name: ("Q4_0", grid.reference(checkpoint.weights[name]).numpy())}
    write_gguf(tmp_path / "b.gguf", checkpoint, byte_level, packed=packed, default_type="f16")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
    types = tensor_types(tmp_path / "a.gguf")
    assert (types["blk.0.attn_k.weight"], types["blk.0.attn_q.weight"]) == ("Q4_0", "F16")
    assert types["blk.0.attn_norm.weight"] == "F32"


@pytest.mark.parametrize("name", FAMILIES)
def test_what_can_be_written_has_a_form(name: str, byte_level: Path) -> None:
    form = check_form(checkpoint_of(random_model(name)), byte_level)
    assert form["block_count"] == 3 and form["tokenizer"] == "gpt-2"


def test_wrong_requests_name_the_tensor(byte_level: Path, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(random_model("llama"))
    name = "model.layers.0.mlp.up_proj.weight"
    with pytest.raises(ExportError, match="nothing.weight"):
        write_gguf(tmp_path / "m.gguf", checkpoint, byte_level, types={"nothing.weight": "F16"})
    with pytest.raises(ExportError, match="Q9_9"):
        write_gguf(tmp_path / "m.gguf", checkpoint, byte_level, types={name: "Q9_9"})
    with pytest.raises(ExportError, match="up_proj"):
        write_gguf(
            tmp_path / "m.gguf",
            checkpoint,
            byte_level,
            packed={name: ("Q4_0", torch.zeros(128, 8))},
        )
    relu = checkpoint_of(random_model("llama", hidden_act="relu"))
    with pytest.raises(ExportError, match="hidden_act"):
        write_gguf(tmp_path / "m.gguf", relu, byte_level)
    with pytest.raises(ExportError, match="hidden_act"):
        check_form(relu, byte_level)
    narrow, down = narrowed(checkpoint, [48] * 3, [2] * 3), "model.layers.1.mlp.down_proj.weight"
    with pytest.raises(ExportError, match=r"layers\.1\.mlp\.down_proj.*multiples of 32"):
        write_gguf(tmp_path / "m.gguf", narrow, byte_level, types={down: "Q4_0"})
    odd = checkpoint.evolve({name: torch.full_like(checkpoint.weights[name], 1e6)})
    with pytest.raises(ExportError, match="up_proj"):
        write_gguf(tmp_path / "m.gguf", odd, byte_level, default_type="f16")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(
    byte_level: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = checkpoint_of(random_model("llama"))
    write_gguf(tmp_path / "m.gguf", checkpoint, byte_level, metadata={"name": "first"})
    before = (tmp_path / "m.gguf").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ExportError, match="No space left"):
        write_gguf(tmp_path / "m.gguf", checkpoint, byte_level, metadata={"name": "second"})
    assert [p.name for p in tmp_path.iterdir()] == ["m.gguf"]
    assert (tmp_path / "m.gguf").read_bytes() == before
    assert read_gguf_header(tmp_path / "m.gguf").metadata["general.name"] == "first"


PARTIAL_ROPE = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.75}
WINDOWS = ["sliding_attention", "sliding_attention", "full_attention"]
LAYERS = {
    "embeddings by layer, shared keys and values, wide networks": (
        "gemma4_text",
        {"num_hidden_layers": 6, "layer_types": WINDOWS * 2, "num_kv_shared_layers": 3}
        | {"use_double_wide_mlp": True},
    ),
    "values that are the keys": (
        "gemma4_text",
        {"attention_k_eq_v": True, "num_global_key_value_heads": 1},
    ),
    "no embeddings by layer": ("gemma4_text", {"hidden_size_per_layer_input": 0}),
    "as many key heads as value heads": ("qwen3_5_text", {"linear_num_value_heads": 2}),
    "a part of each head turns": (
        "phi3",
        {"rope_parameters": PARTIAL_ROPE},
    ),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layers_of_several_kinds_have_pytorchs_logits(
    case: str, byte_level: Path, tmp_path: Path
) -> None:
    name, changes = LAYERS[case]
    model = random_model(name, **changes)
    write_gguf(tmp_path / "m.gguf", checkpoint_of(model), byte_level)
    assert_same_logits(tmp_path / "m.gguf", model)


def test_layers_whose_keys_and_values_others_read_keep_their_groups() -> None:
    case = "embeddings by layer, shared keys and values, wide networks"
    name, changes = LAYERS[case]
    layout = checkpoint_of(random_model(name, **changes)).layout
    assert [nodes.layer for nodes in layout.nodes if nodes.unit == "kv"] == [0]
    assert [block.ffn_width for block in layout.blocks] == [128, 128, 128, 256, 256, 256]


def test_fewer_heads_with_a_part_of_each_turning_are_refused(
    byte_level: Path, tmp_path: Path
) -> None:
    name, changes = LAYERS["a part of each head turns"]
    checkpoint = checkpoint_of(random_model(name, **changes))
    assert not supports_uneven(checkpoint.config)
    widths = checkpoint.counts("ffn")
    groups = [1] * checkpoint.layers
    with pytest.raises(ExportError, match="partial_rotary_factor is not 1.*deci"):
        write_gguf(tmp_path / "m.gguf", narrowed(checkpoint, widths, groups), byte_level)
