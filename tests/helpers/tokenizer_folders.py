"""Tokenizers trained on the spot, as folders."""

from __future__ import annotations

from pathlib import Path

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

VOCABULARY = 512
CORPUS = Path(__file__).read_text().splitlines() * 3 + [
    "The quick brown fox jumps over the lazy dog, said the man who had it all.",
    "In 1969 the crew of Apollo 11 travelled 384,400 km to the Moon and back again.",
]


def byte_level(folder: Path) -> Path:
    """GPT-2's kind of tokenizer, with a chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _train(tokenizer, folder)


def llama3_split(folder: Path) -> Path:
    """Split by llama 3's regular expression, beginning token added."""
    regex = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(regex), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = _starting("<|end|>", 0)
    return _train(tokenizer, folder)


def byte_fallback(folder: Path) -> Path:
    """Gemma's kind of tokenizer: SentencePiece-style BPE, spaces as a letter, bytes as a last
    resort.
    """
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    specials = ["<pad>", "<eos>", "<bos>", "<unk>"]
    pieces = specials + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 12, special_tokens=pieces, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    learned = sorted(tokenizer.get_vocab(), key=tokenizer.token_to_id)[len(pieces) :]
    every = {token: i for i, token in enumerate(pieces + learned)}
    merges = [
        (token[:cut], token[cut:])
        for token in learned
        for cut in range(1, len(token))
        if token[:cut] in every and token[cut:] in every
    ]
    exact = Tokenizer(
        models.BPE(every, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    )
    exact.normalizer, exact.decoder = tokenizer.normalizer, tokenizer.decoder
    exact.add_special_tokens(specials)
    exact.post_processor = _starting("<bos>", 2)
    PreTrainedTokenizerFast(
        tokenizer_object=exact,
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        pad_token="<pad>",
    ).save_pretrained(folder)
    return folder


def _starting(token: str, token_id: int) -> processors.TemplateProcessing:
    return processors.TemplateProcessing(single=f"{token} $A", special_tokens=[(token, token_id)])


def _train(tokenizer: Tokenizer, folder: Path) -> Path:
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 12,
        special_tokens=["<|end|>", "<|user|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|end|>", eos_token="<|end|>"
    )
    fast.chat_template = "{% for message in messages %}<|user|>{{ message['content'] }}{% endfor %}"
    fast.save_pretrained(folder)
    return folder
