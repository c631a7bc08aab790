"""One prompt's scan: A·G is the norm of autograd's own weight gradient; bad prompts and models
leave nothing.
"""

import pytest
import torch
import torch.nn.functional as F
from families import cut
from small_scans import model, tokenizer

from birdbone.datasets.mscan_open import open_scan
from birdbone.errors import NumericalError, TextError
from birdbone.model.network import build
from birdbone.scan.prompt import full_width, scan_prompt

PROMPT = "3 + 5 = 8 and the sum"
ABOUT = {"name": "small", "digest": "d" * 64, "device": "cpu"}


def weight_gradients(network, name, ids):
    """Each token's own share of the loss gradient of one weight, [T-1, out, in], from autograd's
    weight gradient: the weight is given to every position apart, so that its gradient comes apart
    too.
    """
    module = network.get_submodule(name)
    copies = (
        module.weight.detach().expand(len(ids), *module.weight.shape).clone().requires_grad_(True)
    )

    def forward(x):
        return torch.einsum("bti,toi->bto", x, copies)

    module.forward = forward
    logits = network(ids[None], use_cache=False).logits[0, :-1]
    loss = F.cross_entropy(logits, ids[1:], reduction="sum")
    return torch.autograd.grad(loss, copies)[0][:-1]


def assert_blocks_are_gradient_norms(scan, network, name, ids, tolerance):
    shares = weight_gradients(network, name, ids)
    for token in (0, len(scan) - 1):
        found = scan.token(token)[name]
        for r in range(len(found.g)):
            for c in range(len(found.a)):
                block = shares[token, 64 * r : 64 * (r + 1), 64 * c : 64 * (c + 1)]
                assert float(found.a[c] * found.g[r]) == pytest.approx(
                    float(block.norm()), rel=tolerance
                )


@pytest.mark.parametrize("module", ["self_attn.v_proj", "mlp.down_proj"])
def test_a_times_g_is_each_tokens_weight_gradient_norm(tmp_path, module):
    checkpoint, words = model(), tokenizer()
    scan_prompt(PROMPT, checkpoint, words, tmp_path / "s.mscan", **ABOUT)
    scan, ids = open_scan(tmp_path / "s.mscan"), torch.tensor(words(PROMPT).input_ids)
    assert len(scan) == len(ids) - 1 and "".join(scan.tokens) == PROMPT[: len("".join(scan.tokens))]
    assert_blocks_are_gradient_norms(scan, build(checkpoint), f"model.layers.0.{module}", ids, 2e-3)


def test_the_shares_add_up_to_the_parameters_gradient(tmp_path):
    network, ids = build(model()), torch.tensor(tokenizer()(PROMPT).input_ids)
    name = "model.layers.0.mlp.up_proj"
    weight = network.get_submodule(name).weight.requires_grad_(True)
    loss = F.cross_entropy(
        network(ids[None], use_cache=False).logits[0, :-1], ids[1:], reduction="sum"
    )
    whole = torch.autograd.grad(loss, weight)[0]
    torch.testing.assert_close(
        weight_gradients(build(model()), name, ids).sum(0), whole, atol=1e-4, rtol=1e-3
    )


def test_a_pruned_model_is_scanned_at_the_seeds_width_and_is_the_same_function():
    checkpoint = model()
    stays, groups = torch.ones(160, dtype=torch.bool), torch.tensor([True, False])
    stays[10:74] = False
    narrow = cut(checkpoint, {0: stays}, {1: groups})
    ids = torch.arange(12)[None]
    with torch.no_grad():
        expected = build(narrow)(ids, use_cache=False).logits
        found = build(full_width(narrow))(ids, use_cache=False).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert {n: w.shape for n, w in full_width(narrow).weights.items()} == {
        n: w.shape for n, w in checkpoint.weights.items()
    }


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "0 tokens: give at least two"),
        ("3", "1 token: give at least two"),
        ("3 + 5 " * 40, "context of small is 48"),
    ],
)
def test_a_prompt_that_cannot_be_scanned_says_why_and_leaves_nothing(tmp_path, prompt, message):
    with pytest.raises(TextError, match=message):
        scan_prompt(prompt, model(), tokenizer(), tmp_path / "s.mscan", **ABOUT)
    assert list(tmp_path.iterdir()) == []


def test_gradients_that_are_not_finite_name_the_module_and_leave_nothing(tmp_path):
    checkpoint = model()
    checkpoint.weights["model.norm.weight"] = torch.full((64,), 1e38)
    with pytest.raises(NumericalError, match=r"model\.layers\.0.*not finite"):
        scan_prompt(PROMPT, checkpoint, tokenizer(), tmp_path / "s.mscan", **ABOUT)
    assert list(tmp_path.iterdir()) == []
