"""A smaller BPE vocabulary that encodes what it keeps as the whole one does."""

from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from birdbone.errors import ConfigError
from birdbone.text.merges import closed, derivation, read_merges, smaller

TEXT = "the cat then thought that other cats bathe there; another theory, naïve 東京 🙂 " * 3
OTHER = "zebras quit\tjumping\r\n over ß lazy — dogs 🦊 \x00\x7f"


def byte_level() -> Tokenizer:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|end|>"],
        show_progress=False,
    )
    backend.train_from_iterator([TEXT, OTHER, "quitting zebra jumps " * 5], trainer)
    return backend


def byte_fallback() -> Tokenizer:
    """As Gemma has it: several merges make the same token, and bytes stand for what is missing."""
    pieces = ["<pad>", "<unk>", *(f"<0x{i:02X}>" for i in range(256))]
    pieces += [
        *"▁abcdefghijklmnopqrstuvwxyz,;",
        "th",
        "he",
        "the",
        "▁t",
        "▁th",
        "▁the",
        "at",
        "cat",
    ]
    merges = [("t", "h"), ("h", "e"), ("th", "e"), ("t", "he"), ("▁", "t"), ("▁t", "h")]
    merges += [("▁", "th"), ("▁", "the"), ("▁t", "he"), ("▁th", "e"), ("a", "t"), ("c", "at")]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    backend = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    backend.normalizer = __import__("tokenizers").normalizers.Replace(" ", "▁")
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    backend.add_special_tokens(["<pad>"])
    return backend


@pytest.fixture(params=[byte_level, byte_fallback], ids=["byte-level", "byte-fallback"])
def whole(request) -> Tokenizer:
    return request.param()


def trimmed_to(whole: Tokenizer, text: str) -> tuple[Tokenizer, list[int]]:
    data = json.loads(whole.to_str())
    kept = closed(data, whole.encode(text, add_special_tokens=False).tokens)
    made, old = smaller(data, kept)
    return Tokenizer.from_str(json.dumps(made)), old


def test_the_given_text_encodes_to_the_same_sequence(whole):
    small, old = trimmed_to(whole, TEXT)
    assert len(old) < whole.get_vocab_size() and small.get_vocab_size() == len(old)
    assert [old[i] for i in small.encode(TEXT).ids] == whole.encode(TEXT).ids
    assert small.encode(TEXT).tokens == whole.encode(TEXT).tokens


@pytest.mark.parametrize("text", [OTHER, TEXT, "the the the", "\U0001f9a4 dodo"])
def test_any_text_still_round_trips(whole, text):
    small, _ = trimmed_to(whole, "the cat")
    assert small.decode(small.encode(text).ids, skip_special_tokens=False) == text


def test_special_tokens_keep_their_meaning(whole):
    small, old = trimmed_to(whole, "the cat")
    for token in json.loads(whole.to_str())["added_tokens"]:
        assert old[small.token_to_id(token["content"])] == token["id"]


def test_a_derivation_is_what_merging_passes_through():
    merges = {("t", "h"): 0, ("h", "e"): 1, ("th", "e"): 2, ("t", "he"): 3}
    assert derivation("the", merges) == ["t", "h", "e", "th", "the"]


def test_ids_in_a_post_processor_are_renumbered():
    whole = byte_level()
    data = json.loads(whole.to_str())
    last = whole.get_vocab_size() - 1
    token = whole.id_to_token(last)
    data["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": token, "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {token: {"id": token, "ids": [last], "tokens": [token]}},
    }
    made, old = smaller(data, closed(data, [token, "a"]))
    small = Tokenizer.from_str(json.dumps(made))
    assert [old[i] for i in small.encode("a").ids] == Tokenizer.from_str(json.dumps(data)).encode(
        "a"
    ).ids


def test_other_tokenizers_are_refused():
    data = json.loads(Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).to_str())
    with pytest.raises(ConfigError, match="WordLevel.*only BPE.*keep: all"):
        read_merges(data)
