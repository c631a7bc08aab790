"""Texts of a model's own."""

import torch

from birdbone.model.judging.prompts import generate
from birdbone.text.tokenizer import train_tokenizer


class _Says(torch.nn.Module):
    """A network that says one token after another, whatever it is given."""

    def __init__(self, words, positions):
        super().__init__()
        self.words, self.weight = iter(words), torch.nn.Parameter(torch.zeros(1))
        self.config = type("Config", (), {"max_position_embeddings": positions})

    def forward(self, ids, use_cache):
        assert ids.shape[1] <= self.config.max_position_embeddings
        logits = torch.nn.functional.one_hot(torch.tensor(next(self.words)), 280).view(1, 1, -1)
        return type("Output", (), {"logits": logits})


def test_our_own_texts_stop_at_any_end_token_and_at_the_contexts_end():
    tokenizer = train_tokenizer(["a few words"], 280)
    a, b = (tokenizer(letter).input_ids[0] for letter in "ab")
    for last in (0, 2):
        assert generate(_Says([a, b, last, a], 64), tokenizer, "a", {0, 2}, 10) == "ab"
    assert generate(_Says([a] * 10, 4), tokenizer, "a", {0}, 10) == "aaaa"
