"""FP8 that the configuration describes is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from families import logits, tokens
from model_folders import edit, planned, retensor, saved, seed
from torch import Tensor
from transformers import AutoModelForCausalLM

from birdbone.errors import BirdboneError
from birdbone.model.network import build

FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic"}


def fp8(
    scale_of: Callable[[Tensor], Tensor],
    spread: Callable[[Tensor, Tensor], Tensor],
    end: str = "weight_scale_inv",
):
    """Every projection in eight bits, ``scale_of`` it beside it; ``spread`` lays a scale over the
    weight.
    """

    def change(name: str, weight: Tensor) -> dict[str, Tensor]:
        if not name.endswith("_proj.weight"):
            return {name: weight}
        scale = scale_of(weight)
        small = (weight / spread(scale, weight)).to(torch.float8_e4m3fn)
        return {name: small, f"{name.removesuffix('.weight')}.{end}": scale}

    return change


def blocks_of(height: int, width: int):
    """(change, quantization_config) of one scale a block."""

    def scale_of(weight: Tensor) -> Tensor:
        rows = [part.split(width, 1) for part in weight.split(height, 0)]
        return torch.tensor([[float(block.abs().max()) / 448 for block in row] for row in rows])

    def spread(scale: Tensor, weight: Tensor) -> Tensor:
        return scale.repeat_interleave(height, 0).repeat_interleave(width, 1)[
            : weight.shape[0], : weight.shape[1]
        ]

    return fp8(scale_of, spread), {**FP8, "weight_block_size": [height, width]}


LAYOUTS = {
    "one scale a block": blocks_of(48, 32),
    "one scale a matrix": (
        fp8(lambda w: w.abs().max() / 448, lambda s, w: s),
        {**FP8, "weight_block_size": None},
    ),
    "one scale a row": (fp8(lambda w: w.abs().amax(1, True) / 448, lambda s, w: s), FP8),
    "scales under the other name": (
        fp8(lambda w: w.abs().max() / 448, lambda s, w: s, "weight_scale"),
        FP8,
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fp8_with_its_configuration_is_what_it_was_rounded_from(
    layout: str, tmp_path: Path
) -> None:
    change, described = LAYOUTS[layout]
    model = saved(tmp_path)
    retensor(tmp_path, change)
    edit(tmp_path / "config.json", quantization_config=described)
    found, _ = seed(tmp_path)
    for name, weight in found.weights.items():
        wanted = model.state_dict()[name]
        assert weight.dtype == torch.float32
        torch.testing.assert_close(weight, wanted, rtol=2**-4, atol=float(wanted.abs().max()) / 448)
    assert "quantization_config" not in found.config
    assert planned(tmp_path).parameters == found.parameters
    assert (logits(build(found), tokens()) - logits(model, tokens())).std() < 0.1


def test_fp8_reads_as_stock_transformers_dequantizes_it(tmp_path: Path) -> None:
    change, described = blocks_of(32, 32)  # stock transformers wants blocks that divide
    saved(tmp_path)
    retensor(tmp_path, change)
    edit(tmp_path / "config.json", quantization_config=described)
    stock = AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float32, trust_remote_code=False
    ).state_dict()
    for name, weight in seed(tmp_path)[0].weights.items():
        torch.testing.assert_close(weight, stock[name].float(), rtol=1e-6, atol=0)


def test_fp8_without_a_configuration_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    retensor(tmp_path, LAYOUTS["one scale a block"][0])
    with pytest.raises(
        BirdboneError, match=r"is FP8 .*no quantization_config.*unquantized model, or its GGUF"
    ):
        planned(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda n, t: {} if n.endswith("up_proj.weight_scale_inv") else {n: t},
            r"up_proj\.weight is FP8 and has no",
        ),
        (
            lambda n, t: {
                n: t[:1, :1].repeat(3, 1) if n.endswith("up_proj.weight_scale_inv") else t
            },
            r"its blocks need",
        ),
        (
            lambda n, t: (
                {n: t, "model.norm.weight_scale_inv": torch.ones(1)}
                if n == "model.norm.weight"
                else {n: t}
            ),
            "model.norm.weight_scale_inv",
        ),
    ],
)
def test_fp8_whose_scales_do_not_fit_is_refused(change, said: str, tmp_path: Path) -> None:
    made, described = LAYOUTS["one scale a block"]
    saved(tmp_path)
    retensor(tmp_path, made)
    retensor(tmp_path, change)
    edit(tmp_path / "config.json", quantization_config=described)
    with pytest.raises(BirdboneError, match=said):
        seed(tmp_path)
