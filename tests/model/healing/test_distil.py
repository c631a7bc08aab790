"""The distillation's closed form is what autograd says of whole logits."""

import pytest
import torch
import torch.nn.functional as F

from birdbone.model.head import Head
from birdbone.model.healing import distil as module
from birdbone.model.healing.distil import distil, state_error

B, T, H, V = 3, 9, 8, 50


def drawn(*shape, scale=1.0):
    return scale * torch.randn(
        *shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float32
    )


def by_autograd(states, wanted, ids, head, teacher, ce_weight):
    states = states.clone().requires_grad_(True)
    ours, theirs = (
        head.logits(states)[:, :-1].log_softmax(-1),
        teacher.logits(wanted)[:, :-1].log_softmax(-1),
    )
    kl = F.kl_div(ours, theirs, log_target=True, reduction="none").sum(-1).mean()
    ce = F.nll_loss(ours.flatten(0, 1), ids[:, 1:].flatten())
    (kl + ce_weight * ce).backward()
    return kl.detach(), ce.detach(), states.grad


@pytest.mark.parametrize("positions", [1, 7, 1000])
@pytest.mark.parametrize("cap", [None, 2.0])
@pytest.mark.parametrize("ce_weight", [0.0, 0.7])
def test_loss_and_gradient_equal_autograds(monkeypatch, positions, cap, ce_weight):
    monkeypatch.setitem(module.POSITIONS, "cpu", positions)
    states, wanted = drawn(B, T, H), drawn(B, T, H + 1)
    heads = Head(drawn(V, H), cap), Head(drawn(V, H + 1, scale=0.5), cap)
    ids = torch.randint(V, (B, T), generator=torch.Generator().manual_seed(1))
    expected = by_autograd(states, wanted, ids, *heads, ce_weight)
    for found, right in zip(distil(states, wanted, ids, *heads, ce_weight), expected, strict=True):
        torch.testing.assert_close(found, right)
    assert expected[2].abs().max() > 1e-3


def test_the_last_position_predicts_nothing_and_a_student_like_its_teacher_has_nothing_to_learn():
    states, head = drawn(B, T, H), Head(drawn(V, H))
    ids = torch.zeros(B, T, dtype=torch.int64)
    kl, _, gradient = distil(states, states, ids, head, head)
    assert kl == 0 and (gradient == 0).all()
    kl, _, gradient = distil(states + 1, states, ids, head, head)
    assert kl > 0 and (gradient[:, -1] == 0).all() and (gradient[:, :-1] != 0).all()


def test_half_precision_heads_give_the_states_own_dtype():
    states, head = drawn(B, T, H), Head(drawn(V, H))
    ids = torch.randint(V, (B, T), generator=torch.Generator().manual_seed(1))
    exact = distil(states, drawn(B, T, H).flip(0), ids, head, head)
    rough = distil(states, drawn(B, T, H).flip(0), ids, *(head.to("cpu", torch.bfloat16),) * 2)
    assert rough[2].dtype == torch.float32
    torch.testing.assert_close(rough[0], exact[0], rtol=0.05, atol=0)
    assert F.cosine_similarity(rough[2].flatten(), exact[2].flatten(), dim=0) > 0.99


def test_the_error_of_states_weighs_every_token_by_its_own_power():
    wanted = [drawn(B, T, H), drawn(T, B, H).view(B, T, H)]
    wanted[0][:, 0] *= 1e4
    states = [1.1 * w for w in wanted]
    assert state_error(states, wanted) == pytest.approx(0.01, rel=1e-3)
    states[1] = states[1].clone().requires_grad_(True)
    state_error(states, wanted).backward()
    assert (states[1].grad != 0).all()
