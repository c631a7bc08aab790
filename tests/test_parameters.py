"""The parameter tree is checked whole, and names are those of the registries."""

import copy

import pytest
import yaml
from places import CONF

from birdbone.algo.grids import GRIDS
from birdbone.errors import ConfigError
from birdbone.parameters import validate

BASE = CONF / "base"


@pytest.fixture
def tree() -> dict:
    parts = [yaml.safe_load(path.read_text()) for path in sorted(BASE.glob("parameters*.yml"))]
    return copy.deepcopy({key: value for part in parts for key, value in part.items()})


def test_the_checked_in_settings_are_right(tree):
    assert validate(tree).quantize.types == tree["quantize"]["types"]


def test_every_name_outside_its_registry_is_told_with_those_in_it(tree):
    tree["prune_wave"]["score"] = "luck"
    tree["quantize"] |= {"types": ["Q4_0", "Q4_1"], "embedding": "Q2_K"}
    with pytest.raises(ConfigError) as error:
        validate(tree)
    score, kind, embedding = str(error.value).splitlines()
    assert (
        score.startswith("parameter prune_wave.score: should be one of")
        and "random" in score
        and "'luck'" in score
    )
    assert kind == f"parameter quantize.types: should be one of {', '.join(GRIDS)} (got 'Q4_1')"
    assert (
        embedding.startswith("parameter quantize.embedding: should be one of auto")
        and "'Q2_K'" in embedding
    )


def test_widths_that_no_type_fits_are_refused(tree):
    tree["quantize"]["types"] = ["Q3_K", "Q6_K"]
    with pytest.raises(
        ConfigError, match=r"prune_wave\.multiple: no type of quantize\.types fits multiples of 32"
    ):
        validate(tree)
    tree["prune_wave"]["multiple"] = 256
    assert validate(tree).prune_wave.multiple == 256


def test_faults_of_type_and_range_come_together(tree):
    tree["waves"], tree["text"]["window"] = 0, "wide"
    with pytest.raises(ConfigError, match="(?s)waves.*text.window|text.window.*waves"):
        validate(tree)


def changed(tree: dict, key: str, value) -> dict:
    *groups, name = key.split(".")
    group = tree
    for part in groups:
        group = group[part]
    group[name] = value
    return tree


def test_nodes_get_what_was_given_right(tree):
    assert validate(tree).values() == tree


@pytest.mark.parametrize(
    ("key", "given", "got"),
    [
        ("guard.control", "false", False),
        ("guard.control", 1, True),
        ("micro_heal.steps", 4.0, 4),
        ("text.heal_tokens", 1e3, 1000),
        ("threads", "4", 4),
        ("prune_wave.weights.pattern", [2.0, "4"], [2, 4]),
        ("guard.tasks", {"arc": "0.02"}, {"arc": 0.02}),
        ("moe.compare.shares", ["0.5", 1], [0.5, 1.0]),
        ("models.mine", {"hub": "a/b", "package": None}, {"hub": "a/b"}),
        (
            "evaluate.files",
            {"arc": {"form": "arc", "test": "x"}},
            {"arc": {"form": "arc", "test": "x"}},
        ),
        ("model", {"name": "a"}, "a"),
        ("model", {"name": "a", "adapter": None}, "a"),
        ("model", {"name": "a", "adapter": "b"}, {"name": "a", "adapter": "b"}),
    ],
)
def test_nodes_get_values_of_the_keys_own_type(tree, key, given, got):
    value = validate(changed(tree, key, given)).values()
    for part in key.split("."):
        value = value[part]
    assert value == got and repr(value) == repr(got)


@pytest.mark.parametrize(
    ("key", "given", "says"),
    [
        ("text.window", 64.5, "parameter text.window: .*valid integer.*64.5"),
        ("micro_heal.steps", True, r"parameter micro_heal.steps: should be a number.*\(got True\)"),
        ("target_bytes", True, "parameter target_bytes: should be a number"),
        ("moe.compare.shares", [0.5, True], "parameter moe.compare.shares: should be a number"),
        ("guard.tasks", {"arc": False}, "parameter guard.tasks: should be a number"),
        ("max_loss", float("nan"), "parameter max_loss: .*finite"),
        ("export.perplexity_tokens", float("inf"), "parameter export.perplexity_tokens: .*finite"),
        ("prune_wave.damping", float("inf"), "parameter prune_wave.damping: .*finite"),
        ("guard.control", "perhaps", "parameter guard.control: .*boolean"),
        ("model", 123, "parameter model.name: .*string: quote it .got 123"),
        ("model", None, "parameter model.name: .*string .got None"),
        ("model", {"adapter": "b"}, "parameter model.name: Field required"),
        (
            "report.prompts",
            ["yes", False],
            r"parameter report.prompts.1: .*string: quote it \(got False\)",
        ),
        ("text.source", "", "parameter text.source: .*at least 1 character"),
        ("report.prompts", [""], "parameter report.prompts.0: .*at least 1 character"),
        ("report.peers", "Q8_0", "parameter report.peers: .*list"),
        ("text.windw", 64, r"parameter text.windw: no such parameter \(text.window\? see conf"),
        ("heal_tokens", 64, r"no such parameter \(text.heal_tokens\? see conf"),
        ("xyz", 64, r"no such parameter \(see conf"),
    ],
)
def test_what_is_no_value_of_its_key_is_refused(tree, key, given, says):
    with pytest.raises(ConfigError, match=says):
        validate(changed(tree, key, given))
