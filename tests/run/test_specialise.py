"""``specialise`` stands for settings of text and vocabulary, in every way parameters come in."""

from __future__ import annotations

import pytest
from places import ROOT

from birdbone.errors import ConfigError
from birdbone.report.data import titled
from birdbone.run.config import ConfigLoader
from birdbone.run.specialise import job_of, specialised

TREE = {
    "specialise": {"code": "python"},
    "vocabulary": {"keep": "auto"},
    "text": {"source": "wikipedia", "guard_domains": ["news"], "elsewhere": [], "window": 8},
}


def test_the_jobs_text_is_learnt_from_and_judged():
    text = specialised(TREE)["text"]
    assert text == {
        "source": "python",
        "guard_domains": ["python"],
        "elsewhere": ["news", "reference"],
        "written_share": 0.0,
        "excerpts": True,
        "window": 8,
    }


@pytest.mark.parametrize(
    ("job", "keep", "kept"),
    [
        ({"code": "python"}, "auto", "text"),
        (None, "auto", "all"),
        ({"code": "python"}, "all", "all"),
    ],
)
def test_tokens_go_where_there_is_a_job(job, keep, kept):
    tree = {**TREE, "specialise": job, "vocabulary": {"keep": keep}}
    assert specialised(tree)["vocabulary"]["keep"] == kept


def test_domains_elsewhere_of_ones_own_stay():
    tree = {**TREE, "text": {**TREE["text"], "elsewhere": ["wikipedia"]}}
    assert specialised(tree)["text"]["elsewhere"] == ["wikipedia"]


def test_the_job_itself_is_not_elsewhere():
    named = specialised({**TREE, "specialise": {"news": "mine.txt"}})
    assert named["text"]["elsewhere"] == ["reference"]
    assert specialised({**TREE, "specialise": {"law": "news"}})["text"]["elsewhere"] == [
        "reference"
    ]


def test_a_model_for_a_job_says_so():
    assert titled("a model", job_of({"code": "python"})) == "a model for code"
    assert titled("a model", job_of(None)) == "a model"


def loaded(**runtime) -> ConfigLoader:
    ends = {"base_env": "base", "default_run_env": "local"}
    return ConfigLoader(str(ROOT / "conf"), "tiny", runtime, **ends)


def test_the_command_line_can_name_a_job():
    checked = loaded(specialise={"law": "news"}).checked
    assert checked.text.source == "news" and checked.text.guard_domains == ["news"]
    assert checked.vocabulary.trims and not loaded().checked.vocabulary.trims


@pytest.mark.parametrize("job", [{}, {"a": "news", "b": "code"}, "news"])
def test_one_job_at_a_time(job):
    with pytest.raises(ConfigError, match="parameter specialise"):
        loaded(specialise=job)
