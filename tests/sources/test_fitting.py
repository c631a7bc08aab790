"""Every tensor of a seed's file is used, known to be no weight, or an error; the weights decide of
the head.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from families import FAMILIES, settings_of
from model_folders import add, assert_like_from_pretrained, edit, planned, retensor, saved, seed
from torch import Tensor
from transformers import AutoConfig

from birdbone.errors import BirdboneError

TIED = [n for n in FAMILIES if AutoConfig.for_model(**settings_of(n)).tie_word_embeddings]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("says", [True, False])
def test_a_head_of_its_own_is_kept_whatever_the_configuration_says(
    name: str, says: bool, tmp_path: Path
) -> None:
    model = saved(tmp_path, name, tie_word_embeddings=False)
    edit(tmp_path / "config.json", tie_word_embeddings=says)
    found, _ = seed(tmp_path)
    assert torch.equal(found.weights["lm_head.weight"], model.lm_head.weight)
    assert found.config["tie_word_embeddings"] is False
    assert planned(tmp_path).parameters == found.parameters
    assert_like_from_pretrained(tmp_path)


@pytest.mark.parametrize("says", [True, False])
def test_a_head_equal_to_the_embedding_is_left_out_and_said_to_be_tied(
    says: bool, tmp_path: Path
) -> None:
    model = saved(tmp_path, "llama", tie_word_embeddings=True)
    add(tmp_path, **{"lm_head.weight": model.lm_head.weight.detach().clone()})
    edit(tmp_path / "config.json", tie_word_embeddings=says)
    found, _ = seed(tmp_path)
    assert "lm_head.weight" not in found.weights and found.config["tie_word_embeddings"] is True
    assert planned(tmp_path).parameters == found.parameters
    assert_like_from_pretrained(tmp_path)


def test_a_tied_model_saved_under_its_heads_name_alone(tmp_path: Path) -> None:
    """safetensors' save_model keeps one name of two that share memory."""
    saved(tmp_path, "llama", tie_word_embeddings=True)
    retensor(
        tmp_path, lambda n, t: {"lm_head.weight" if n == "model.embed_tokens.weight" else n: t}
    )
    assert_like_from_pretrained(tmp_path)


def test_an_untied_model_without_its_head_is_incomplete(tmp_path: Path) -> None:
    saved(tmp_path, "llama", tie_word_embeddings=True)
    edit(tmp_path / "config.json", tie_word_embeddings=False)
    with pytest.raises(
        BirdboneError, match=r"lacks 1 tensors .*lm_head\.weight.*tie_word_embeddings"
    ):
        seed(tmp_path)


def test_a_file_of_the_bare_network_lacks_the_prefix(tmp_path: Path) -> None:
    """As GPT-2's own files do."""
    saved(tmp_path, "gpt2")
    retensor(tmp_path, lambda n, t: {n.removeprefix("transformer."): t})
    add(
        tmp_path,
        **{
            "h.0.attn.bias": torch.ones(1, 1, 64, 64).tril(),
            "h.1.attn.masked_bias": torch.tensor(-1e4),
        },
    )
    assert_like_from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.self_attn.rotary_emb.inv_freq",
        "model.rotary_emb.inv_freq",
        "model.embed_tokens.position_ids",
    ],
)
def test_what_is_no_weight_is_left_out(name: str, tmp_path: Path) -> None:
    saved(tmp_path)
    add(tmp_path, **{name: torch.arange(16)})
    assert_like_from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.layers.0.self_attn.q_proj.bias", "attention_bias"),
        ("model.layers.1.mlp.up_proj.bias", "mlp_bias"),
        ("model.layers.2.mlp.up_proj.weight", "num_hidden_layers"),
        ("model.layers.0.self_attn.q_norm.weight", "model_type"),
        ("model.layers.0.self_attn.k_scale", "quantization_config"),
        ("model.layers.0.mlp.experts.0.up_proj.weight", "mixture of experts"),
        ("model.layers.0.self_attn.q_proj.lora_A.default.weight", "adapter"),
        ("base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight", "adapter"),
        ("model.vision_tower.patch.weight", "pictures"),
        ("mtp.layers.0.mlp.up_proj.weight", "several tokens"),
        ("something", "another model"),
    ],
)
def test_a_tensor_without_a_place_is_refused_with_the_key_that_is_likely_wrong(
    name: str, said: str, tmp_path: Path
) -> None:
    saved(tmp_path)
    add(tmp_path, **{name: torch.ones(64)})
    for read in (seed, planned):
        with pytest.raises(BirdboneError, match=rf"{name.replace('.', '[.]')}.*{said}"):
            read(tmp_path)


def test_a_masks_name_in_another_family_is_no_mask(tmp_path: Path) -> None:
    saved(tmp_path)
    add(tmp_path, **{"model.layers.0.attn.bias": torch.ones(64)})
    with pytest.raises(BirdboneError, match=r"layers\.0\.attn\.bias"):
        seed(tmp_path)


def test_a_tensor_of_another_shape_is_refused_with_both_shapes(tmp_path: Path) -> None:
    saved(tmp_path)
    edit(tmp_path / "config.json", intermediate_size=96)
    with pytest.raises(
        BirdboneError, match=r"mlp\.gate_proj\.weight is of shape \[128, 64\].*\[96, 64\]"
    ):
        planned(tmp_path)


INTEGERS, BYTES = torch.zeros(8, 8, dtype=torch.int32), torch.zeros(64, dtype=torch.uint8)


FORMATS: dict[str, tuple[str, dict[str, Tensor]]] = {
    "gptq": (
        "GPTQ",
        {"qweight": INTEGERS, "qzeros": INTEGERS, "scales": torch.ones(2), "g_idx": INTEGERS},
    ),
    "awq": ("AWQ", {"qweight": INTEGERS, "qzeros": INTEGERS, "scales": torch.ones(2)}),
    "compressed-tensors": (
        "compressed-tensors",
        {
            "weight_packed": INTEGERS,
            "weight_scale": torch.ones(2),
            "weight_shape": torch.tensor([8, 8]),
        },
    ),
    "hqq": ("HQQ", {"W_q": BYTES, "scale": torch.ones(2), "zero": torch.ones(2)}),
    "eetq": ("EETQ", {"weight": BYTES.to(torch.int8), "weight_scales": torch.ones(2)}),
    "quanto": ("quanto", {"weight._data": BYTES.to(torch.int8), "weight._scale": torch.ones(2)}),
    "aqlm": (
        "AQLM",
        {"codes": BYTES.to(torch.int8), "codebooks": torch.ones(2), "scales": torch.ones(2)},
    ),
    "higgs": ("HIGGS", {"weight": BYTES, "tables": torch.ones(2), "tables2": torch.ones(2)}),
    "torchao": ("torchao", {"weight_qdata": BYTES.to(torch.int8), "weight_scale": torch.ones(2)}),
    "mxfp4": ("MXFP4", {"weight_blocks": BYTES, "weight_scales": BYTES}),
    "unheard of": ("not known here|unheard of", {"weight": BYTES}),
}


BITSANDBYTES = {
    8: {
        "weight": BYTES.to(torch.int8),
        "SCB": torch.ones(64),
        "weight_format": torch.tensor(0, dtype=torch.uint8),
    },
    4: {
        "weight": BYTES,
        "weight.absmax": BYTES,
        "weight.quant_map": torch.ones(16),
        "weight.quant_state.bitsandbytes__nf4": BYTES,
    },
}


def stored_as(tensors: dict[str, Tensor]) -> Callable[[str, Tensor], dict[str, Tensor]]:
    def change(name: str, tensor: Tensor) -> dict[str, Tensor]:
        module = name.removesuffix(".weight")
        return (
            {f"{module}.{n}": t for n, t in tensors.items()}
            if name.endswith("_proj.weight")
            else {name: tensor}
        )

    return change


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize("method", FORMATS)
def test_a_quantized_seed_is_refused_by_its_formats_name(
    method: str, described: bool, tmp_path: Path
) -> None:
    said, tensors = FORMATS[method]
    saved(tmp_path)
    retensor(tmp_path, stored_as(tensors))
    if described:
        edit(tmp_path / "config.json", quantization_config={"quant_method": method, "bits": 4})
    for read in (seed, planned):
        with pytest.raises(
            BirdboneError, match=rf"quantized already.*({said}).*unquantized model, or its GGUF"
        ):
            read(tmp_path)


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize("bits", BITSANDBYTES)
def test_bitsandbytes_is_refused_with_its_bits(bits: int, described: bool, tmp_path: Path) -> None:
    saved(tmp_path)
    retensor(tmp_path, stored_as(BITSANDBYTES[bits]))
    if described:
        edit(
            tmp_path / "config.json",
            quantization_config={"quant_method": "bitsandbytes", f"load_in_{bits}bit": True},
        )
    with pytest.raises(BirdboneError, match=rf"quantized already \(bitsandbytes {bits}-bit"):
        planned(tmp_path)
