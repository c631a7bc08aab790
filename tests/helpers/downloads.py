"""Random models with tokenizers trained on the spot, as folders one could have downloaded."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from pydoc_data.topics import topics

import families
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

VOCABULARY = 600
END = "<|endoftext|>"
SIZES = {
    **families.SIZES,
    "intermediate_size": 384,
    "n_inner": 384,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 256,
    "sliding_window": 256,
}
"""Wide enough to lose some neurons of a multiple of 32."""
CHAT = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"


@cache
def corpus() -> list[str]:
    """Sixty pages of Python's language reference."""
    return [topics[title] for title in sorted(topics)][:60]


def save_model(family: str, folder: Path, shard_size: str | None = None, **changes: object) -> Path:
    """A random model of a family and its tokenizer, saved as a hub model is."""
    tokenizer = byte_fallback() if family.startswith("gemma") else byte_level()
    roles = ("bos_token_id", "eos_token_id", "pad_token_id")
    ids = {role: getattr(tokenizer, role) for role in roles}
    model = families.random_model(family, 0, SIZES, **ids, **changes)
    model.save_pretrained(folder, **({"max_shard_size": shard_size} if shard_size else {}))
    tokenizer.save_pretrained(folder)
    return folder


@cache
def byte_level() -> PreTrainedTokenizerFast:
    """GPT-2's kind of tokenizer, with a chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END)
    fast.chat_template = CHAT
    return fast


@cache
def byte_fallback() -> PreTrainedTokenizerFast:
    """Gemma's kind of tokenizer: SentencePiece-style BPE, spaces as a letter, bytes as a last
    resort.
    """
    specials = ["<pad>", "<eos>", "<bos>", "<unk>"]
    pieces = specials + [f"<0x{byte:02X}>" for byte in range(256)]
    learner = Tokenizer(models.BPE(unk_token="<unk>"))
    learner.normalizer = normalizers.Replace(" ", "\u2581")
    learner.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=pieces, show_progress=False)
    learner.train_from_iterator(corpus(), trainer)
    model = json.loads(learner.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(
        models.BPE(model["vocab"], merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    )
    tokenizer.normalizer = learner.normalizer
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(specials)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        pad_token="<pad>",
    )
