"""Nodes as experts: each in one place, and narrow layers filled up."""

from __future__ import annotations

import torch
from families import all_but, cut, logits, tokens
from mixture_cases import mean_kl, split

from birdbone.mixture.model import (
    stock_network,
)
from birdbone.mixture.split import mixture_from
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.network import build


def test_every_node_is_in_one_place_and_groupings_share_the_shared_expert(
    dense: Checkpoint,
) -> None:
    whole = split(dense)
    for layer in range(2):
        one, other = (whole.groupings[name][layer].order.long() for name in ("topology", "random"))
        assert one.sort().values.tolist() == other.sort().values.tolist() == list(range(128))
        assert torch.equal(one[: whole.shared], other[: whole.shared]) and not torch.equal(
            one, other
        )
        assert whole.groupings["random"][layer].router.shape == (6, 64)


def test_narrower_layers_get_nodes_of_no_weight(dense: Checkpoint) -> None:
    narrow = cut(dense, {1: all_but(128, *range(0, 64, 2))}, {})
    network = stock_network(mixture_from(narrow, split(narrow)), active=6)
    assert mean_kl(logits(network, tokens()), logits(build(narrow), tokens())) < 1e-6
