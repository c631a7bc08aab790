"""What a network answers to a plain question."""

from __future__ import annotations

from collections.abc import Collection

import torch
from jinja2 import TemplateError
from torch import nn

from birdbone.errors import TextError


@torch.no_grad()
def generate(network: nn.Module, tokenizer, prompt: str, ends: Collection[int], tokens: int = 48) -> str:
    """Greedy continuation of a prompt, to one of the tokens in ``ends`` or the end of the context.

    Raises TextError as ``prompt_ids`` does.
    """
    positions = network.config.max_position_embeddings
    question = prompt_ids(tokenizer, prompt, positions)
    ids = torch.tensor([question], device=next(network.parameters()).device)
    start = len(question)
    for _ in range(min(tokens, positions - start + 1)):
        following = network(ids, use_cache=False).logits[0, -1].argmax()
        if following.item() in ends:
            break
        ids = torch.cat([ids, following.view(1, 1)], dim=1)
    return tokenizer.decode(ids[0, start:], skip_special_tokens=True)


def prompt_ids(tokenizer, prompt: str, positions: int) -> list[int]:
    """The token ids of a plain question, through the chat template where the tokenizer has one.

    Raises TextError where the template refuses it, or where it is empty or does not fit the model's
    positions.
    """
    text = prompt
    if tokenizer.chat_template:
        try:
            text = tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise TextError(
                "parameter report.prompts: the model's chat template refuses a plain question "
                f"({error}). Mend or "
                "remove it in the model's folder, or set report.prompts: []"
            ) from error
    ids = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    if not 0 < len(ids) <= positions:
        raise TextError(
            f"parameter report.prompts: {prompt!r} comes to {len(ids)} tokens, the model has {positions} positions"
        )
    return ids
