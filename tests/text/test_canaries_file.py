"""The canaries that come with the project: complete, unambiguous, fair in length."""

from importlib.resources import files

import pytest
import yaml

CANARIES = yaml.safe_load((files("birdbone.text") / "canaries.yml").read_text(encoding="utf-8"))
ITEMS = [
    pytest.param(item, id=f"{domain}-{number}")
    for domain, items in CANARIES.items()
    for number, item in enumerate(items)
]


def test_six_domains_of_ten_prompts_each():
    assert list(CANARIES) == ["arithmetic", "geography", "code", "grammar", "common sense", "facts"]
    assert {len(items) for items in CANARIES.values()} == {10}


def test_no_prompt_comes_twice():
    prompts = [item["prompt"] for items in CANARIES.values() for item in items]
    assert len(set(prompts)) == len(prompts)


@pytest.mark.parametrize("item", ITEMS)
def test_an_item_has_one_right_answer_and_three_others(item):
    assert set(item) == {"prompt", "answer", "wrong"}
    answers = [item["answer"], *item["wrong"]]
    assert all(isinstance(text, str) and text.strip() for text in [item["prompt"], *answers])
    assert len(item["wrong"]) == 3
    assert len(set(answers)) == 4


@pytest.mark.parametrize("item", ITEMS)
def test_all_answers_join_the_prompt_in_the_same_way(item):
    answers = [item["answer"], *item["wrong"]]
    assert len({answer.startswith(" ") for answer in answers}) == 1
    assert not item["prompt"].endswith(" ")


@pytest.mark.parametrize("item", ITEMS)
def test_the_right_answer_has_about_as_many_words_as_the_others(item):
    words = [len(answer.split()) for answer in [item["answer"], *item["wrong"]]]
    assert max(words) - min(words) <= 1
