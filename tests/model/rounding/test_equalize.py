"""Equal columns: the same function, rounded no worse, and better where a few columns are large."""

import pytest
import torch
from families import FAMILIES, logits, random_masks, small
from rounding_cases import WINDOWS, narrow, rounder, scores_of

from birdbone.algo.gptq import compensation
from birdbone.model.network import build
from birdbone.model.observing.moments import moments
from birdbone.model.rounding.equalize import Scales, equalize
from birdbone.model.rounding.rounder import dequantized


def lopsided(checkpoint):
    """The same function with columns of unequal size, of query, key and value, or where no norm can
    make up for it of what attention hands on: what equalizing has to undo.
    """
    generator = torch.Generator().manual_seed(3)
    norm = checkpoint.layout.family.norms.attention
    new = {}
    for block in checkpoint.layout.blocks:
        scales = Scales()
        if norm:
            readers = block.attention_inputs
            width = checkpoint.weights[f"{readers[0]}.weight"].shape[1]
            s = torch.randn(width, generator=generator).exp()
            scales.columns |= dict.fromkeys(readers, s)
            scales.norms[block.part(norm)] = 1 / s
        else:
            s = torch.randn(block.kv_heads, 1, block.head_size, generator=generator).exp()
            heads = s.expand(-1, block.heads // block.kv_heads, -1)
            scales.columns[block.output] = heads.flatten()
            scales.rows[block.value] = 1 / s.flatten()
        new |= scales.changed(checkpoint)
    return checkpoint.evolve(new)


def found_scales(checkpoint, scores) -> list[Scales]:
    layers = moments(checkpoint, WINDOWS, scores.tokens, "cpu")
    return [
        equalize(checkpoint, layer, {n: [compensation(m)] for n, m in fit.items()}, check, ["Q4_0"])
        for layer, fit, check in layers
    ]


@pytest.mark.parametrize("name", FAMILIES)
def test_lopsided_columns_are_found_and_the_function_stays(name):
    checkpoint = small(name)
    other, new = lopsided(checkpoint), {}
    norm = checkpoint.layout.family.norms.attention
    for block, scales in zip(
        checkpoint.layout.blocks, found_scales(other, scores_of(checkpoint)), strict=True
    ):
        assert block.part(norm) in scales.norms if norm else block.value in scales.rows
        new |= scales.changed(other)
    ours = logits(build(other.evolve(new)), WINDOWS)
    torch.testing.assert_close(ours, logits(build(checkpoint), WINDOWS), atol=2e-4, rtol=1e-3)


VALUES_SCALE = {"gemma4_text": (), "qwen3_5_text": (1,)}
"""Layers whose values may be scaled: no norm stands behind them, and there is attention at all."""


@pytest.mark.parametrize("name", FAMILIES)
def test_every_source_takes_the_inverse(monkeypatch, name):
    """All groups at once, whatever rounds better: norms, value rows, up rows."""
    import birdbone.model.rounding.equalize as module

    errors = iter(range(1, 1000))  # the scaled matrices are asked first
    monkeypatch.setattr(module, "rounding_errors", lambda *_: torch.tensor([float(next(errors))]))
    checkpoint, scores = narrow(name)
    gated = len(checkpoint.layout.blocks[0].ffn_inputs) > 1
    new = {}
    for layer, fit, check in moments(checkpoint, WINDOWS, scores.tokens, "cpu"):
        scales = equalize(
            checkpoint, layer, {n: [compensation(m)] for n, m in fit.items()}, check, ["Q4_0"]
        )
        assert len(scales.norms) == (2 if checkpoint.layout.family.norms.attention else 0)
        assert len(scales.rows) == gated + (layer in VALUES_SCALE.get(name, (0, 1)))
        new |= scales.changed(checkpoint)
    other = checkpoint.evolve(new)
    torch.testing.assert_close(
        logits(build(other), WINDOWS), logits(build(checkpoint), WINDOWS), atol=2e-4, rtol=1e-3
    )
    down = f"{checkpoint.layout.blocks[0].ffn_output}.weight"
    if gated:
        sizes = other.weights[down].norm(dim=0)
        torch.testing.assert_close(sizes, sizes[:1].expand_as(sizes))


def test_unequal_columns_round_as_well_as_equal_ones():
    checkpoint, scores = narrow("llama")
    other = lopsided(checkpoint)
    types = {n: o[0].type for n, o in rounder(checkpoint, scores).options.items()}
    exact = logits(build(checkpoint), WINDOWS)

    def error(state, equal: bool) -> float:
        made = rounder(state, scores, equalize=equal)
        applied, packed = made.apply(types)
        assert dequantized(state, packed, types).digest == applied.digest
        assert (len(packed) > len(types)) is bool(made.checkpoint.digest != state.digest)
        return float((logits(build(applied), WINDOWS) - exact).square().mean())

    plain, equal = error(other, False), error(other, True)
    assert equal < 0.7 * plain
    assert equal < 1.5 * error(checkpoint, False)


def test_masked_weights_that_have_no_grid_are_left_as_they_are():
    checkpoint, scores = narrow("llama")
    masked = random_masks(lopsided(checkpoint))
    made = rounder(masked, scores, types=["IQ4_NL"])
    assert made.checkpoint.digest == masked.digest
    masked_rounder = rounder(masked, scores)
    applied, _ = masked_rounder.apply({n: o[0].type for n, o in masked_rounder.options.items()})
    assert masked.masks.weights
    for name, mask in masked.masks.weights.items():
        assert (applied.weights[name][~mask] == 0).all()
