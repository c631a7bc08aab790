"""A tokenizer trained on the spot for random models loses nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdbone.model.device import read_tokenizer
from birdbone.text.tokenizer import END, train_tokenizer

CORPUS = ["the quick brown fox jumps over the lazy dog " * 20]
TOKENIZER = train_tokenizer(CORPUS, 300)


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=40).filter(lambda text: END not in text))
def test_any_text_comes_back(text):
    ids = TOKENIZER(text, add_special_tokens=False).input_ids
    assert TOKENIZER.decode(ids, clean_up_tokenization_spaces=False) == text
    assert TOKENIZER.eos_token_id not in ids


def test_the_vocabulary_is_no_larger_than_asked():
    assert 257 < len(TOKENIZER) <= 300
    assert len(TOKENIZER(CORPUS[0]).input_ids) < len(CORPUS[0]) / 2


@pytest.mark.parametrize("name", ["bos_token", "eos_token"])
def test_the_end_is_one_token(name):
    assert getattr(TOKENIZER, name) == END
    assert TOKENIZER(END).input_ids == [TOKENIZER.eos_token_id]


def test_a_line_of_a_million_letters_is_learnt_in_no_time():
    found = train_tokenizer(["x" * 1_000_000], 300)
    assert 257 < len(found) <= 300 and len(found("x" * 1000).input_ids) < 10


def test_training_again_gives_the_same():
    assert train_tokenizer(CORPUS, 300).get_vocab() == TOKENIZER.get_vocab()


def test_a_saved_one_reads_back(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    assert (
        read_tokenizer(tmp_path)("the quick ünï").input_ids == TOKENIZER("the quick ünï").input_ids
    )
