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
    with pytest.raises(TextError, match=r"mine\.yml, capitals entry 2: needs prompt, answer and wrong"):
        load_canaries(written(tmp_path, f"capitals:\n  - {{prompt: a, answer: b, wrong: [c]}}\n  - {entry}\n"))


def test_without_a_wrong_answer_there_is_nothing_to_tell_apart(tmp_path):
    with pytest.raises(TextError, match="entry 1: needs at least one wrong answer"):
        load_canaries(written(tmp_path, "a:\n  - {prompt: a, answer: b, wrong: []}\n"))


@pytest.mark.parametrize("entries", ["", "3", "word"])
def test_a_domain_without_a_list_is_named(tmp_path, entries):
    with pytest.raises(TextError, match=r"mine\.yml.*capitals"):
        load_canaries(written(tmp_path, f"capitals: {entries}\n"))


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path):
    for path in (str(tmp_path / "gone.yml"), written(tmp_path, "a: [")):
        with pytest.raises(TextError, match=path):
            load_canaries(path)
