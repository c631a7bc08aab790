"""Earlier runs speak through their timings and the parameters in their ledger."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from birdbone.cli import earlier
from birdbone.cli.earlier import earlier_runs, laid_over, recorded
from birdbone.errors import ConfigError, SourceError
from birdbone.run.cost import Work
from birdbone.run.timings import add_timing

TREE = {"model": "a", "text": {"window": 64, "tokens": 100}}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder of a run of model b on 200 tokens; any tree is valid."""
    monkeypatch.setattr(earlier, "validate", lambda tree: tree)
    add_timing(tmp_path, "seed.load", 5.0, 0.5, resumed=False)
    add_timing(tmp_path, "wave_1.heal", 7.0, 0.5, resumed=True)
    add_timing(tmp_path, "other.node", 7.0, 0.8, resumed=False)
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    record(ledger / "seed.load.json", {"params:model": "b"})
    record(
        ledger / "seed.text.json",
        {"params:text": {"window": 64, "tokens": 200}, "params:text.window": 32},
    )
    (ledger / "torn.json").write_text('{"parameters": {"params:mod')
    return tmp_path


def record(path: Path, parameters: dict) -> None:
    path.write_text(json.dumps({"parameters": parameters}))


def works(tree: dict) -> tuple[float, dict[str, Work]]:
    rows = {
        name: Work(tokens=tree["text"]["tokens"])
        for name in ("seed.load", "wave_1.heal", "other.node")
    }
    return {"a": 10.0, "b": 20.0}[tree["model"]], rows


def test_the_parameters_of_the_run_are_laid_over_those_in_force(state: Path) -> None:
    assert laid_over(TREE, recorded(state)) == {"model": "b", "text": {"window": 32, "tokens": 200}}
    assert TREE == {"model": "a", "text": {"window": 64, "tokens": 100}}
    assert laid_over(TREE, {"parameters": {"model": "c"}}) == TREE


def test_a_timing_comes_with_the_work_it_was(state: Path) -> None:
    (timed,) = earlier_runs([state, state / "none"], TREE, works)["seed.load"]
    assert (timed.timing.seconds, timed.work.tokens, timed.flops) == (5.0, 200, 20.0)


def test_a_resumed_node_and_one_on_a_crowded_machine_say_nothing(state: Path) -> None:
    assert earlier_runs([state], TREE, works).keys() == {"seed.load"}


@pytest.mark.parametrize("error", [ConfigError("a key is gone"), SourceError("the model is gone")])
def test_a_run_that_is_no_longer_valid_says_nothing(state: Path, error: Exception) -> None:
    def gone(_: dict) -> tuple[float, dict[str, Work]]:
        raise error

    assert earlier_runs([state], TREE, gone) == {}
