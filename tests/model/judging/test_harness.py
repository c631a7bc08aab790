"""The harness measures our narrow networks, and its figures are those of the log-likelihoods."""

import json
import math

import pytest
import torch
from families import checkpoint_of, cut, random_model

from birdbone.errors import ConfigError, TextError
from birdbone.model.judging.canaries import _answer_scores
from birdbone.model.judging.harness import fallen, guarded, run_tasks
from birdbone.model.network import build
from birdbone.text.benchmarks import local_task
from birdbone.text.tokenizer import train_tokenizer

QUESTIONS = [
    {
        "query": f"Question: the {a} fox jumps over the {b}?",
        "choices": ["dog", "lazy cat", "brown"],
        "gold": i % 3,
    }
    for i, (a, b) in enumerate(
        [("quick", "dog"), ("lazy", "fox"), ("brown", "cat"), ("slow", "hen"), ("red", "ant")]
    )
]


@pytest.fixture(scope="module")
def narrow():
    """A random model with fewer neurons in its first layer, and a tokenizer of its vocabulary's
    size.
    """
    checkpoint = checkpoint_of(random_model("llama", vocab_size=300))
    tokenizer = train_tokenizer(["the quick brown fox jumps over the lazy dog " * 20], 300)
    stays = torch.arange(checkpoint.count("ffn", 0)) >= 32
    return build(cut(checkpoint, {0: stays}, {})), tokenizer


@pytest.fixture
def task(tmp_path):
    path = tmp_path / "arc.jsonl"
    path.write_text("".join(json.dumps(q) + "\n" for q in QUESTIONS))
    return local_task("questions", {"form": "arc", "test": str(path)})


def test_multiple_choice_is_the_likeliest_answer(narrow, task):
    network, tokenizer = narrow
    figures = run_tasks(network, tokenizer, [task])["questions"]
    right = 0
    for question in QUESTIONS:
        sums = []
        for choice in question["choices"]:
            answer = f" {choice}"
            canary = type(
                "Canary", (), {"prompt": f"{question['query']}\nAnswer:", "answers": (answer,)}
            )
            mean = _answer_scores(network, tokenizer, canary, torch.device("cpu"))[0]
            sums.append(mean * len(tokenizer(answer, add_special_tokens=False).input_ids))
        right += sums.index(max(sums)) == question["gold"]
    assert figures["acc"] == pytest.approx(right / len(QUESTIONS))
    share = figures["acc"]
    assert figures["acc_stderr"] == pytest.approx(
        math.sqrt(share * (1 - share) / (len(QUESTIONS) - 1))
    )
    assert figures["samples"] == len(QUESTIONS)


def test_a_limit_asks_fewer_questions(narrow, task):
    assert run_tasks(*narrow, [task], limit=2)["questions"]["samples"] == 2


def test_an_unknown_task_is_named(narrow):
    with pytest.raises(TextError, match=r"evaluate\.tasks.*no task no_such_task"):
        run_tasks(*narrow, ["no_such_task"])


@pytest.mark.parametrize(
    ("seed", "now", "allowed", "lost"),
    [
        (0.60, 0.60, 0.0, {}),
        (0.60, 0.65, 0.0, {}),
        (0.75, 0.50, 0.25, {}),
        (0.75, 0.50, 0.24, {"mine": 0.25}),
        (0.60, float("nan"), 0.5, {"mine": pytest.approx(float("nan"), nan_ok=True)}),
    ],
)
@pytest.mark.parametrize("metric", ["acc", "exact_match"])
def test_a_task_has_fallen_once_it_lost_more_than_allowed(seed, now, allowed, lost, metric):
    assert fallen({"mine": {metric: seed}}, {"mine": {metric: now}}, {"mine": allowed}) == lost


def test_a_task_without_right_answers_cannot_be_guarded():
    with pytest.raises(
        ConfigError, match=r"guard\.tasks\.mine: the task has no acc or exact_match"
    ):
        fallen({"mine": {"perplexity": 3.0}}, {"mine": {"perplexity": 3.0}}, {"mine": 0.1})


def test_a_guard_that_watches_no_task_measures_none():
    assert guarded("wave 1", None, None, {}, "cpu", 0) == ({}, {})
