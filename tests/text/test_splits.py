"""Splits are whole documents, apart and stable; windows have the shapes that were asked for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdbone.errors import TextError
from birdbone.text.sources import Document
from birdbone.text.splits import (
    document_windows,
    excerpt_windows,
    job_parts,
    packed_windows,
    share_of,
    split_documents,
)

SHARES = {"train": 0.6, "guard": 0.2, "test": 0.2}
MANY = [Document(f"title {i}", f"text {i}") for i in range(400)]


def encode(text: str) -> list[int]:
    """A token per letter."""
    return [ord(c) for c in text]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(max_size=5), unique=True, max_size=40), st.integers(0, 99))
def test_every_document_is_in_exactly_one_part(titles, seed):
    found = [Document(title, title) for title in titles]
    parts = split_documents(found, seed, SHARES)
    assert list(parts) == list(SHARES)
    assert sorted(d.title for part in parts.values() for d in part) == sorted(titles)


def test_parts_have_about_their_shares():
    sizes = {name: len(part) / len(MANY) for name, part in split_documents(MANY, 0, SHARES).items()}
    assert sizes == pytest.approx(SHARES, abs=0.06)


def test_a_documents_part_does_not_depend_on_the_others_or_their_order():
    whole, few = split_documents(MANY, 3, SHARES), split_documents(MANY[200:][::-1], 3, SHARES)
    for name in SHARES:
        assert set(few[name]) == set(whole[name]) & set(MANY[200:])
        assert few[name] == [d for d in whole[name] if d in few[name]]


def test_another_seed_splits_otherwise_and_the_same_does_not():
    assert (
        split_documents(MANY, 0, SHARES)
        == split_documents(MANY, 0, SHARES)
        != split_documents(MANY, 1, SHARES)
    )
    assert all(0 <= share_of(d.title, 0) < 1 for d in MANY)


def test_few_documents_of_a_job_too_have_about_their_shares():
    parts = job_parts(MANY[:10], 0)
    assert {name: len(part) for name, part in parts.items()} == {"heal": 6, "guard": 2, "test": 2}
    assert sorted(d.title for part in parts.values() for d in part) == sorted(
        d.title for d in MANY[:10]
    )
    assert job_parts(MANY[:10][::-1], 0) == parts != job_parts(MANY[:10], 1)


def test_a_document_that_names_its_part_goes_there():
    found = [Document("a", "a", "test"), Document("b", "b", "heal"), Document("c", "c", "guard")]
    parts = job_parts(found, 0)
    assert parts == {"heal": found[1:2], "guard": found[2:], "test": found[:1]}


TEXTS = [Document(c, c * 50) for c in "abcdef"]


def test_packed_windows_hold_the_stream_in_order():
    found = packed_windows(TEXTS, encode, tokens=120, window=40, label="heal")
    assert found.shape == (3, 40) and found.dtype == torch.int32
    assert bytes(found.flatten().tolist()).decode() == "a" * 50 + "b" * 50 + "c" * 20


def test_a_separator_stands_between_documents():
    found = packed_windows(TEXTS, encode, tokens=102, window=51, label="heal", separator=0)
    assert bytes(found.flatten().tolist()).decode() == "a" * 50 + "\0" + "b" * 50 + "\0"


def test_skipped_windows_are_passed_over():
    whole = packed_windows(TEXTS, encode, 200, 40, "heal")
    assert torch.equal(packed_windows(TEXTS, encode, 80, 40, "heal", skip=2), whole[2:4])


def test_an_uneven_count_is_rounded_up_to_whole_windows():
    assert packed_windows(TEXTS, encode, 41, 40, "heal").shape == (2, 40)


def test_too_little_text_names_the_setting_and_both_counts():
    with pytest.raises(TextError, match=r"heal: 320 tokens asked, 300 there.*text\.heal_tokens"):
        packed_windows(TEXTS, encode, 300, 40, "heal")
    with pytest.raises(TextError, match="0 there"):
        packed_windows([], encode, 10, 10, "calibration")


def test_document_windows_never_cross_a_document_and_take_turns():
    ids, numbers = document_windows(
        TEXTS, encode, tokens=160, window=20, label="guard", domain="code"
    )
    assert ids.shape == (8, 20) and ids.dtype == numbers.dtype == torch.int32
    assert all(len(set(row.tolist())) == 1 for row in ids)
    assert [chr(row[0]) for row in ids] == [TEXTS[d].title for d in numbers]
    assert numbers.tolist()[:6] == [0, 1, 2, 3, 4, 5]


def test_documents_shorter_than_a_window_are_passed_over():
    found = [Document("s", "s" * 5), *TEXTS]
    ids, numbers = document_windows(found, encode, 60, 20, "guard", "code")
    assert 0 not in numbers and len(numbers) == 3


def test_too_few_windows_name_the_settings():
    with pytest.raises(
        TextError, match=r"guard: 20 windows of 20 tokens asked, 12 there.*text\.guard_tokens"
    ):
        document_windows(TEXTS, encode, 400, 20, "guard", "code")


def test_one_document_alone_is_too_few():
    with pytest.raises(TextError, match="at least two documents of 20 tokens"):
        document_windows([Document("a", "a" * 400)], encode, 100, 20, "guard", "code")
    with pytest.raises(TextError, match="at least two documents"):
        document_windows(TEXTS, encode, 20, 20, "guard", "code")


def test_excerpts_come_from_the_middle_of_each_document_in_turn():
    found = [Document("a", "x" * 10), Document("b", "y" * 3), Document("c", "z" * 4)]
    ids = {"x": list(range(10)), "y": [50, 51, 52], "z": [70, 71, 72, 73]}
    windows = excerpt_windows(found, lambda text: ids[text[0]], 8, 2, "scan", separator=99)
    assert windows.tolist() == [[4, 5], [50, 51], [72, 73], [6, 7]]


def test_documents_shorter_than_a_window_follow_each_other():
    found = [Document(str(i), "x" * 3) for i in range(4)]
    windows = excerpt_windows(found, lambda text: [1, 2, 3], 10, 5, "scan", separator=9)
    assert windows.tolist() == [[1, 2, 3, 9, 1], [2, 3, 9, 1, 2]]


def test_too_little_text_for_excerpts_names_the_setting():
    with pytest.raises(
        TextError, match="short for domains.scan_tokens of code: 100 tokens asked, 3 there"
    ):
        excerpt_windows(
            [Document("a", "x")], lambda text: [1, 2, 3], 100, 5, "domains.scan_tokens of code"
        )
