"""Which benchmark tasks, and how they are asked."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated

from pydantic import Field

from birdbone.strict import Positive, Strict
from birdbone.text.benchmarks import TaskOptions, forms


class TaskFile(Strict):
    form: str
    test: str
    examples: str | None = None


class EvaluateSettings(Strict):
    tasks: list[str]
    files: dict[str, TaskFile]
    models: list[str]
    few_shot: Annotated[int, Field(ge=0)] | None
    limit: Positive | None
    batch: Positive

    @property
    def options(self) -> TaskOptions:
        files = {name: file.model_dump(exclude_unset=True) for name, file in self.files.items()}
        return TaskOptions(files, self.few_shot, self.limit, self.batch)

    def names(self) -> Iterator[tuple[str, str, Collection[str]]]:
        yield from ((f"files.{name}.form", file.form, forms()) for name, file in self.files.items())


SETTINGS = {"evaluate": EvaluateSettings}
