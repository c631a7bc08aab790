"""Types are priced, applied and packed without contradiction."""

import pytest
import torch
from families import FAMILIES, all_but, cut, linear_names, logits, random_masks, small
from rounding_cases import SETTINGS, WINDOWS, narrow, rounder, scores_of

from birdbone.algo.budget import assign
from birdbone.algo.grids import GRIDS
from birdbone.gguf.plan import priced_together
from birdbone.model.network import build
from birdbone.model.rounding.embedding import outer_matrices
from birdbone.model.rounding.rounder import WIDE, dequantized
from birdbone.model.scores import Scores


@pytest.fixture(scope="module", params=FAMILIES)
def case(request):
    checkpoint, scores = narrow(request.param)
    return checkpoint, {
        method: rounder(checkpoint, scores, method=method) for method in ("gptq", "nearest")
    }


def test_every_matrix_has_a_price_for_every_type(case):
    checkpoint, found = case[0], case[1]["gptq"].options
    assert list(found) == [*linear_names(checkpoint), *outer_matrices(checkpoint)]
    for name, options in found.items():
        assert [o.type for o in options] == SETTINGS.types
        costs = {o.type: o.cost for o in options}
        assert costs["Q4_0"] > costs["Q5_0"] > costs["Q8_0"] > 0
        assert {o.type: o.bytes for o in options} == {
            t: checkpoint.weights[name].numel() // 32 * GRIDS[t].unit_bytes for t in SETTINGS.types
        }


@pytest.mark.parametrize("method", ["gptq", "nearest"])
@pytest.mark.parametrize("kind", SETTINGS.types)
def test_packed_bytes_are_as_many_as_predicted_and_stand_for_the_weights(case, kind, method):
    checkpoint, rounding = case[0], case[1][method]
    options = rounding.options
    applied, packed = rounding.apply(dict.fromkeys(options, kind))
    for name, found in options.items():
        assert packed[name].numel() == next(o.bytes for o in found if o.type == kind)
        assert torch.equal(GRIDS[kind].dequantize(packed[name]), applied.weights[name])
        exact = rounding.checkpoint.weights[name]
        error = (applied.weights[name] - exact).norm() / exact.norm()
        assert error < {"Q4_0": 0.2, "IQ4_NL": 0.2, "Q5_0": 0.1, "Q8_0": 0.01}[kind]
    untouched = set(checkpoint.weights) - set(packed)
    assert all(torch.equal(applied.weights[n], checkpoint.weights[n]) for n in untouched)
    vectors = {n: packed[n] for n in set(packed) - set(options)}
    assert all(
        v.dim() == 1 and torch.equal(v, rounding.checkpoint.weights[n]) for n, v in vectors.items()
    )
    assert method == "gptq" or not vectors


def test_dequantizing_the_packed_bytes_gives_the_applied_checkpoint(case):
    checkpoint, rounding = case[0], case[1]["gptq"]
    names = list(rounding.options)
    types = {n: SETTINGS.types[i % 4] for i, n in enumerate(names)}
    applied, packed = rounding.apply(types)
    again = dequantized(checkpoint, packed, types)
    assert again.digest == applied.digest
    assert logits(build(applied), WINDOWS).isfinite().all()


def test_nearest_is_llama_cpps_own_rounding():
    checkpoint, scores = narrow("llama")
    applied, packed = rounder(checkpoint, scores, method="nearest").apply(
        dict.fromkeys(linear_names(checkpoint), "Q4_0")
    )
    for name in linear_names(checkpoint):
        assert torch.equal(packed[name], GRIDS["Q4_0"].reference(checkpoint.weights[name]))


def test_compensated_rounding_brings_the_layers_outputs_nearer():
    checkpoint, scores = narrow("llama")
    types, exact = (
        dict.fromkeys(linear_names(checkpoint), "Q4_0"),
        logits(build(checkpoint), WINDOWS),
    )
    errors = {
        method: (
            logits(build(rounder(checkpoint, scores, method=method).apply(types)[0]), WINDOWS)
            - exact
        )
        .square()
        .mean()
        for method in ("gptq", "nearest")
    }
    assert errors["gptq"] < errors["nearest"]


def test_masks_stay_exact_and_rule_out_grids_without_a_zero():
    checkpoint, scores = narrow("llama")
    masked = random_masks(checkpoint)
    rounders = {method: rounder(masked, scores, method=method) for method in ("gptq", "nearest")}
    options = rounders["gptq"].options
    assert all(
        [o.type for o in options[name]] == ["Q4_0", "Q5_0", "Q8_0"] for name in linear_names(masked)
    )
    for kind, method in (
        ("Q4_0", "gptq"),
        ("Q4_0", "nearest"),
        ("Q8_0", "gptq"),
        ("Q8_0", "nearest"),
    ):
        applied, _ = rounders[method].apply(dict.fromkeys(options, kind))
        for name in linear_names(masked):
            assert (applied.weights[name][~masked.masks.weights[name]] == 0).all()


def test_rows_that_no_block_divides_are_half_precision():
    seed = small()
    checkpoint = cut(seed, {0: all_but(128, *range(28))}, {})
    rounding = rounder(checkpoint, scores_of(seed))
    options = rounding.options
    down = "model.layers.0.mlp.down_proj.weight"
    assert [o.type for o in options[down]] == [WIDE] and options[down][0].bytes == 2 * 64 * 100
    applied, packed = rounding.apply({n: found[0].type for n, found in options.items()})
    assert down not in packed
    assert torch.equal(applied.weights[down], checkpoint.weights[down].half().float())
    large = checkpoint.evolve({down: checkpoint.weights[down] + 1e5})
    assert [(o.type, o.bytes) for o in rounder(large, scores_of(seed)).options[down]] == [
        ("F32", 4 * 64 * 100)
    ]


def test_the_price_is_the_fisher_weighted_error_per_token_on_held_out_windows():
    from birdbone.algo.gptq import round_nearest
    from birdbone.model.blockwise import walk

    checkpoint, scores = narrow("llama")
    fisher = scores.fisher_left(checkpoint)
    options = rounder(checkpoint, scores, method="nearest").options
    name = "model.layers.0.mlp.down_proj"
    inputs = next(iter(walk(build(checkpoint), checkpoint.layout, WINDOWS[12:], "walk")))[1]
    x = torch.cat([batch[name] for batch in inputs])
    change = (
        round_nearest(checkpoint.weights[f"{name}.weight"], GRIDS["Q4_0"]).weight
        - checkpoint.weights[f"{name}.weight"]
    )
    weights = scores.tokens[name][12:].flatten()[:, None]
    expected = 0.5 * (fisher[name] * (weights * (x @ change.T).square()).mean(0)).sum().item()
    assert options[f"{name}.weight"][0].cost == pytest.approx(expected, rel=1e-3)


def test_the_price_of_little_text_is_per_token_too():
    checkpoint, scores = narrow("llama")
    prices = []
    for repeats in (1, 4):
        weights = {n: t[:4].repeat(repeats, 1) for n, t in scores.tokens.items()}
        seen = Scores(fisher=scores.fisher, tokens=weights)
        found = rounder(checkpoint, seen, WINDOWS[:4].repeat(repeats, 1), method="nearest")
        prices.append(sum(options[0].cost for options in found.options.values()))
    assert prices[0] == pytest.approx(prices[1], rel=1e-3)


def test_fisher_information_follows_the_nodes_that_are_left():
    checkpoint, scores = narrow("qwen3")
    for name, fisher in scores.fisher_left(checkpoint).items():
        assert len(fisher) == checkpoint.weights[f"{name}.weight"].shape[0]
    up = "model.layers.0.mlp.up_proj"
    assert torch.equal(scores.fisher_left(checkpoint)[up], scores.fisher[up][32:])


def test_super_blocks_are_offered_where_they_divide_the_rows():
    checkpoint = small("llama", hidden_size=256, intermediate_size=256)
    types = ["Q3_K", "IQ4_XS", "Q4_0"]
    found = rounder(checkpoint, scores_of(checkpoint), types=types, orders=["natural", "power"])
    for name, options in found.options.items():
        costs = {o.type: o.cost for o in options}
        assert list(costs) == (["Q4_0"] if name.endswith("o_proj.weight") else types)
        assert "Q3_K" not in costs or costs["Q3_K"] > costs["IQ4_XS"] > 0
    chosen = {n: options[0].type for n, options in found.options.items()}
    applied, packed = found.apply(chosen)
    for name, kind in chosen.items():
        assert torch.equal(GRIDS[kind].dequantize(packed[name]), applied.weights[name])
        exact = found.checkpoint.weights[name]
        assert (
            applied.weights[name] - exact
        ).norm() < 0.35 * exact.norm()  # three bits, few tokens


def test_tensors_that_gguf_joins_take_one_type_where_a_free_choice_would_part_them():
    checkpoint = small("gpt2", n_embd=256)
    types = ["Q3_K", "IQ4_XS", "Q4_0", "Q5_0", "Q8_0"]
    options = rounder(checkpoint, scores_of(checkpoint), types=types).options
    together, members = priced_together(checkpoint, options)
    least = sum(min(o.bytes for o in found) for found in options.values())
    parted = 0
    for share in (1.2, 1.4, 1.6, 1.8):
        free, chosen = (assign(each, max_bytes=int(share * least)) for each in (options, together))
        parted += sum(len({free[n] for n in parts}) > 1 for parts in members.values())
        sizes = (next(o.bytes for o in together[n] if o.type == t) for n, t in chosen.items())
        assert least <= sum(sizes) <= share * least
    assert parted and any(len(parts) == 3 for parts in members.values())


def test_the_order_that_wins_on_the_coarsest_type_is_the_finer_types_only_one(monkeypatch):
    import birdbone.model.rounding.rounder as module

    tried, best = [], module.round_best
    monkeypatch.setattr(
        module,
        "round_best",
        lambda w, given, c, grid, m: tried.append((grid.name, given)) or best(w, given, c, grid, m),
    )
    changes = {
        "types": ["Q5_0", "IQ4_NL", "Q8_0"],
        "orders": ["natural", "power"],
        "equalize": False,
    }
    checkpoint = small("llama")
    rounder(checkpoint, scores_of(checkpoint), **changes)
    assert [name for name, _ in tried] == ["IQ4_NL", "Q5_0"] * 14
    pairs = list(zip(tried[::2], tried[1::2], strict=True))
    for (_, first), (_, second) in pairs:
        assert len(first) == 2 and all(any(each is one for one in first) for each in second)
    assert any(
        len(second) == 1 for _, (_, second) in pairs
    )  # both again where neither beat the plain rounding
