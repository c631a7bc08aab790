"""Arguments that belong together are one for the function, and each its own for Kedro."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import get_type_hints

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner

from birdbone.pipelines.gathered import Together, gathered
from birdbone.run.code_digest import code_files


@dataclass(frozen=True)
class Place(Together):
    device: str
    seed: int


def work(text: str, place: Place, times: int) -> str:
    return f"{text} on {place.device} {place.seed}" * times


def test_kedro_sees_each_field_and_the_function_the_whole():
    node = Node(
        gathered(work), ["text", "params:device", "params:seed", "params:times"], "out", name="work"
    )
    values = {"text": "a", "params:device": "cpu", "params:seed": 3, "params:times": 1}
    catalog = DataCatalog({name: MemoryDataset(value) for name, value in values.items()})
    SequentialRunner().run(Pipeline([node]), catalog)
    assert catalog.load("out") == "a on cpu 3"


def test_names_types_and_code_are_those_of_the_function():
    call = gathered(work)
    assert list(inspect.signature(call).parameters) == ["text", "device", "seed", "times"]
    assert get_type_hints(call)["seed"] is int
    assert (
        call.__name__ == "work"
        and call(device="cpu", seed=1, text="b", times=2) == "b on cpu 1b on cpu 1"
    )


def test_code_is_that_of_the_functions_file():
    from birdbone.algo.perplexity import perplexity

    assert code_files(gathered(perplexity)) == code_files(perplexity)


def test_two_arguments_of_one_name_are_refused():
    def twice(device: str, place: Place) -> None: ...

    with pytest.raises(TypeError, match="device twice"):
        gathered(twice)


def test_what_is_taken_as_a_rest_stays_one():
    def join(place: Place, text: str, *more: str) -> str:
        return " ".join([place.device, text, *more])

    call = gathered(join)
    assert list(inspect.signature(call).parameters) == ["device", "seed", "text", "more"]
    assert call("cpu", 1, "a", "b", "c") == "cpu a b c" and call("cpu", 1, "a") == "cpu a"
