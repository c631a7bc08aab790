"""Benchmark tasks for lm-evaluation-harness: its own by name, and local files in a known form."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml

from birdbone.errors import TextError

FORMS = files("birdbone.text") / "tasks"
READERS = {".jsonl": "json", ".json": "json", ".csv": "csv"}


@dataclass(frozen=True)
class TaskOptions:
    """How tasks are run.

    files: name of a local task -> its entry in ``evaluate.files``. few_shot: examples in each
    prompt, None for the task's own number. limit: questions of each task, None for all. batch:
    questions at once.
    """

    files: dict[str, dict]
    few_shot: int | None
    limit: int | None
    batch: int


def forms() -> list[str]:
    """Names of the forms a local file may have."""
    return sorted(Path(f.name).stem for f in FORMS.iterdir() if f.name.endswith(".yml"))


def local_task(name: str, about: dict) -> dict:
    """A harness configuration for one entry of ``evaluate.files``: ``{form, test, examples}``.

    ``test`` and ``examples`` (optional, for few-shot prompts) are .jsonl, .json or .csv files.
    Raises TextError naming the entry and what is wrong with it.
    """
    where = f"parameter evaluate.files.{name}"
    if about["form"] not in forms():
        raise TextError(f"{where}.form: {about['form']!r} is none of {', '.join(forms())}")
    splits = [split for split in ("test", "examples") if about.get(split)]
    paths = {split: Path(os.path.expanduser(about[split])) for split in splits}
    for split, path in paths.items():
        if not path.is_file():
            raise TextError(f"{where}.{split}: no such file {path}")
        if path.suffix.lower() not in READERS:
            raise TextError(f"{where}.{split}: {path.name} must end in {', '.join(READERS)}")
    if len({READERS[p.suffix.lower()] for p in paths.values()}) > 1:
        raise TextError(f"{where}: test and examples must be of one kind, both JSON or both CSV")
    data_files = {split: str(path.resolve()) for split, path in paths.items()}
    return {
        "task": name,
        "dataset_path": READERS[paths["test"].suffix.lower()],
        "dataset_kwargs": {"data_files": data_files},
        "test_split": "test",
        **({"fewshot_split": "examples"} if "examples" in paths else {}),
        **yaml.safe_load((FORMS / f"{about['form']}.yml").read_text()),
    }
