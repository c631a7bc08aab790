"""Local files become harness tasks by form, or a message that says what to give."""

import pytest

from birdbone.errors import TextError
from birdbone.text.benchmarks import forms, local_task


@pytest.fixture
def arc(tmp_path):
    path = tmp_path / "arc.jsonl"
    path.write_text('{"query": "Question: 1+1?", "choices": ["2", "3"], "gold": 0}\n')
    return path


def test_a_form_is_laid_under_the_files(arc, tmp_path):
    examples = tmp_path / "dev.jsonl"
    examples.write_text(arc.read_text())
    task = local_task("mine", {"form": "arc", "test": str(arc), "examples": str(examples)})
    assert task["task"] == "mine" and task["dataset_path"] == "json"
    assert task["dataset_kwargs"]["data_files"] == {"test": str(arc), "examples": str(examples)}
    assert (task["test_split"], task["fewshot_split"]) == ("test", "examples")
    assert task["output_type"] == "multiple_choice"


def test_without_examples_there_is_no_split_to_draw_them_from(arc):
    assert "fewshot_split" not in local_task(
        "mine", {"form": "arc", "test": str(arc), "examples": None}
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"form": "quiz"}, r"evaluate\.files\.mine\.form: 'quiz' is none of arc, lambada, mmlu"),
        ({"test": "nowhere.jsonl"}, r"evaluate\.files\.mine\.test: no such file nowhere\.jsonl"),
        ({"examples": "nowhere.csv"}, r"evaluate\.files\.mine\.examples: no such file"),
    ],
)
def test_a_wrong_entry_is_named(arc, change, said):
    with pytest.raises(TextError, match=said):
        local_task("mine", {"form": "arc", "test": str(arc), **change})


def test_other_kinds_of_files_are_refused(tmp_path):
    (tmp_path / "arc.parquet").write_text("")
    (tmp_path / "arc.csv").write_text("query\n")
    (tmp_path / "arc.jsonl").write_text("{}\n")
    with pytest.raises(TextError, match=r"arc\.parquet must end in"):
        local_task("mine", {"form": "arc", "test": str(tmp_path / "arc.parquet")})
    with pytest.raises(TextError, match="of one kind"):
        files = {"test": str(tmp_path / "arc.csv"), "examples": str(tmp_path / "arc.jsonl")}
        local_task("mine", {"form": "arc", **files})


def test_an_ending_in_capitals_is_the_same_kind(tmp_path):
    (tmp_path / "ARC.JSONL").write_text("{}\n")
    assert (
        local_task("mine", {"form": "arc", "test": str(tmp_path / "ARC.JSONL")})["dataset_path"]
        == "json"
    )


def test_every_form_scores_something():
    assert forms() == ["arc", "lambada", "mmlu"]
