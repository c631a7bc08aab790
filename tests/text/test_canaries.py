"""One's own canaries are read strictly."""

import pytest

from birdbone.errors import TextError
from birdbone.text.canaries import Canary, load_canaries

GOOD = """
capitals:
  - {prompt: "The capital of France is", answer: " Paris", wrong: [" Rome", " Bonn"]}
numbers:
  - {prompt: "1 + 1 =", answer: 2, wrong: [3]}
"""


def written(tmp_path, text: str) -> str:
    path = tmp_path / "mine.yml"
    path.write_text(text)
    return str(path)


def test_the_right_answer_comes_first(tmp_path):
    assert load_canaries(written(tmp_path, GOOD)) == [
        Canary("capitals", "The capital of France is", (" Paris", " Rome", " Bonn")),
        Canary("numbers", "1 + 1 =", ("2", "3")),
    ]


def test_answers_are_text_as_it_is_written(tmp_path):
    entries = (
        "[{prompt: Is ice hot, answer: no, wrong: [yes, 1e2, 0o17, 1_0, 2024-01-01, null, .5]}]"
    )
    (found,) = load_canaries(written(tmp_path, f"on: {entries}\n"))
    assert found.domain == "on"
    assert found.answers == ("no", "yes", "1e2", "0o17", "1_0", "2024-01-01", "null", ".5")


def test_one_wrong_answer_may_stand_without_a_list(tmp_path):
    (found,) = load_canaries(
        written(tmp_path, 'a: [{prompt: Where, answer: " Paris", wrong: " London"}]\n')
    )
    assert found.answers == (" Paris", " London")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("{prompt: a, answer: b, wrong: [c], wrongs: [d]}", "has wrongs beside"),
        ("{prompt: a, answer: [b], wrong: [c]}", "must be text"),
        ("{prompt: a, answer: b, wrong: [[c]]}", "must be text"),
        ("{prompt: a, answer: b, wrong: [{c: d}]}", "must be text"),
        (
            "{prompt: a, answer: b, wrong: {c: d}}",
            "at least one wrong answer, more of them in a list",
        ),
        ("{prompt: ' ', answer: b, wrong: [c]}", "not empty"),
        ("{prompt: a, answer: b, wrong: [c, '']}", "not empty"),
        ("{prompt: a, answer: b, wrong: [c, b]}", "the same answer twice"),
        ("{prompt: a, answer: b, wrong: [c, c]}", "the same answer twice"),
    ],
)
def test_an_entry_that_cannot_be_judged_is_refused(tmp_path, entry, says):
    with pytest.raises(TextError, match=f"mine.yml, a entry 1: .*{says}"):
        load_canaries(written(tmp_path, f"a: [{entry}]\n"))


@pytest.mark.parametrize(
    "text", ["a: [{prompt: a, answer: b, answer: c, wrong: [d]}]\n", GOOD + GOOD]
)
def test_a_key_that_comes_twice_is_refused(tmp_path, text):
    with pytest.raises(TextError, match=r"mine\.yml: a key comes twice"):
        load_canaries(written(tmp_path, text))


def test_a_byte_order_mark_is_no_part_of_a_domain_and_other_encodings_are_named(tmp_path):
    (tmp_path / "mine.yml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_canaries(str(tmp_path / "mine.yml"))[0].domain == "capitals"
    (tmp_path / "mine.yml").write_bytes(GOOD.encode("utf-16"))
    with pytest.raises(TextError, match=r"mine\.yml: .*utf-8"):
        load_canaries(str(tmp_path / "mine.yml"))
    with pytest.raises(TextError, match="Is a directory"):
        load_canaries(str(tmp_path))


@pytest.mark.parametrize("text", ["", "[]", "3", "word", "{}"])
def test_a_file_of_another_form_is_named(tmp_path, text):
    with pytest.raises(TextError, match=r"mine\.yml: needs `domain"):
        load_canaries(written(tmp_path, text))


@pytest.mark.parametrize(
    "entry",
    [
        "{prompt: a, wrong: [b]}",
        "{answer: a, wrong: [b]}",
        "{prompt: a, answer: b}",
        "{prompt: a, answer: b, wrong: }",
        "word",
    ],
)
def test_a_bad_entry_is_named_by_domain_and_number(tmp_path, entry):
    with pytest.raises(
        TextError, match=r"mine\.yml, capitals entry 2: needs prompt, answer and wrong"
    ):
        load_canaries(
            written(tmp_path, f"capitals:\n  - {{prompt: a, answer: b, wrong: [c]}}\n  - {entry}\n")
        )


def test_without_a_wrong_answer_there_is_nothing_to_tell_apart(tmp_path):
    with pytest.raises(TextError, match="entry 1: needs at least one wrong answer"):
        load_canaries(written(tmp_path, "a:\n  - {prompt: a, answer: b, wrong: []}\n"))


@pytest.mark.parametrize("entries", ["", "3", "word", "[]", "{}"])
def test_a_domain_without_a_list_is_named(tmp_path, entries):
    with pytest.raises(TextError, match=r"mine\.yml.*capitals"):
        load_canaries(written(tmp_path, f"capitals: {entries}\n"))


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path):
    for path in (str(tmp_path / "gone.yml"), written(tmp_path, "a: [")):
        with pytest.raises(TextError, match=path):
            load_canaries(path)
