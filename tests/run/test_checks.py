"""What a run would be refused for is said at its start, by `kedro run` and `birdbone plan`
alike.
"""

from __future__ import annotations

import pytest
import yaml
from places import ROOT
from transformers import AutoConfig

from birdbone.errors import BirdboneError, TextError
from birdbone.parameters import validate
from birdbone.run.checks import check_model, check_outside
from birdbone.text.tokenizer import train_tokenizer


def parameters(**groups: dict) -> dict:
    """The base profile's, some groups changed."""
    tree = {}
    for path in sorted((ROOT / "conf/base").glob("parameters*.yml")):
        tree |= yaml.safe_load(path.read_text())
    return {**tree, **{name: {**tree[name], **values} for name, values in groups.items()}}


def config(family: str = "llama", **changes: object) -> dict:
    return AutoConfig.for_model(family, vocab_size=300, **changes).to_dict()


def tokenizer(template: str | None = None):
    made = train_tokenizer(["a few words"], 300)
    made.chat_template = template
    return made


REFUSES = "{{ raise_exception('a system message comes first') }}"


@pytest.mark.parametrize(
    ("changed", "nodes", "model", "template", "wanted"),
    [
        (
            {},
            (),
            config("gpt2", n_positions=128),
            None,
            "parameter text.window: 256 tokens.*128 positions",
        ),
        (
            {"text": {"window": 64}},
            ["domains.texts"],
            config(max_position_embeddings=64),
            None,
            "domains.window",
        ),
        (
            {"report": {"prompts": ["word " * 3000]}},
            (),
            config(),
            None,
            "report.prompts.*2048 positions",
        ),
        ({}, (), config(), REFUSES, "chat template refuses a plain question .*system message"),
        ({"text": {"chat": True}}, (), config(), None, "text.chat.*no chat template"),
        ({}, (), config(hidden_act="relu"), None, "hidden_act is 'relu'"),
        ({}, (), config("gemma3_text", attn_logit_softcapping=5.0), None, "attn_logit_softcapping"),
        (
            {"prune_wave": {"weights": {"method": "wanda", "pattern": [2, 5]}}},
            (),
            config(),
            None,
            "5 does not divide",
        ),
    ],
)
def test_a_model_that_the_parameters_do_not_suit_is_refused(
    changed, nodes, model, template, wanted
) -> None:
    with pytest.raises(BirdboneError, match=wanted):
        check_model(parameters(**changed), nodes, model, tokenizer(template))


def test_a_model_that_suits_them_is_not() -> None:
    check_model(parameters(), (), config(), tokenizer("{{ messages[0]['content'] }}"))
    check_model(parameters(text={"window": 64}), (), config("gpt2", n_positions=64), tokenizer())


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        (
            {"evaluate": {"files": {"mine": {"form": "arc", "test": "gone.jsonl"}}}},
            "evaluate.files.mine.test.*gone",
        ),
        ({"evaluate": {"models": ["nowhere"]}}, "unknown model 'nowhere'"),
        ({"guard": {"tasks": {"arc_esay": 0.02}}}, "guard.tasks.*(arc_esay|lm-evaluation-harness)"),
    ],
)
def test_a_file_model_or_task_that_is_not_there_is_refused(changed, wanted) -> None:
    with pytest.raises(BirdboneError, match=wanted):
        check_outside(parameters(**changed))


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({"report": {"peers": ["Q8_0", "Q4_K"]}}, "report.peers.*Q4_K_M.*'Q4_K'"),
        (
            {"evaluate": {"files": {"mine": {"form": "quiz", "test": "x.jsonl"}}}},
            "evaluate.files.mine.form.*'quiz'",
        ),
    ],
)
def test_a_name_that_is_none_is_refused(changed, wanted) -> None:
    with pytest.raises(BirdboneError, match=wanted):
        validate(parameters(**changed))


def test_a_domain_elsewhere_that_is_none_is_said_before_any_compute():
    with pytest.raises(TextError, match="'nowhere'"):
        check_outside(parameters(text={"elsewhere": ["nowhere"]}))


def test_too_few_documents_for_a_job_are_said_before_any_compute(tmp_path):
    for number in range(9):
        (tmp_path / f"{number}.txt").write_text("one")
    job = {"source": str(tmp_path), "guard_domains": [str(tmp_path)], "excerpts": True}
    with pytest.raises(TextError, match="has 9 documents, too few.*give 10 or more"):
        check_outside(parameters(text=job))
    (tmp_path / "9.txt").write_text("one")
    check_outside(parameters(text=job))


def test_a_source_that_is_none_is_said_before_any_compute():
    with pytest.raises(TextError, match=r"parameter domains\.sets\.code: .*nowhere"):
        check_outside({"domains": {"sets": {"talk": "seed_chat", "code": "nowhere"}}})
