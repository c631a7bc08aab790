"""Routers read off a layer, and the choice that routers make."""

import torch

from birdbone.algo.mixture import chosen_experts, expert_norms, read_router


def test_a_router_ranks_the_experts_by_the_output_they_give() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 16, generator=generator)
    secret = 0.3 * torch.randn(4, 16, generator=generator)
    norms = (x @ secret.T + 2).exp()
    router = read_router(x[:300], norms[:300], damping=1e-3)
    assert router.shape == (4, 16)
    z = x[300:] @ router.T
    assert (z.argmax(1) == norms[300:].argmax(1)).float().mean() > 0.95
    assert abs((x[:300] @ router.T).pow(2).mean().sqrt() - 1) < 1e-4


def test_a_router_of_experts_that_give_nothing_is_finite() -> None:
    router = read_router(torch.zeros(10, 4), torch.zeros(10, 2), damping=0.1)
    assert torch.isfinite(router).all() and router.abs().max() < 1e3


def test_an_experts_norm_is_that_of_its_own_output() -> None:
    generator = torch.Generator().manual_seed(0)
    h, down = torch.randn(5, 6, generator=generator), torch.randn(3, 6, generator=generator)
    norms = expert_norms(h, down, [torch.tensor([0, 1]), torch.tensor([2, 5])])
    alone = h.clone()
    alone[:, [0, 1, 3, 4]] = 0
    assert torch.allclose(norms[:, 1], (alone @ down.T).norm(dim=1))


def test_the_largest_outputs_choose_and_an_expert_left_out_can_come_in() -> None:
    z = torch.tensor([[0.3, -1.0, 0.2, 0.1]], requires_grad=True)
    chosen = chosen_experts(z, 2)
    assert chosen.tolist() == [[1, 0, 1, 0]]
    chosen[0, 3].backward()  # more of expert 3 wanted: its output should rise
    assert z.grad[0, 3] > 0 and z.grad[0, 0] == 0
    assert chosen_experts(z, 4).tolist() == [[1, 1, 1, 1]]
