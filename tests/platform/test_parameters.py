"""The parameter tree is checked whole, and names are those of the registries."""

import copy
from pathlib import Path

import pytest
import yaml

from birdbone.algo.grids import GRIDS
from birdbone.errors import ConfigError
from birdbone.parameters import validate

BASE = Path(__file__).resolve().parents[2] / "conf/base"


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
    assert score.startswith("parameter prune_wave.score: should be one of") and "random" in score and "'luck'" in score
    assert kind == f"parameter quantize.types: should be one of {', '.join(GRIDS)} (got 'Q4_1')"
    assert embedding.startswith("parameter quantize.embedding: should be one of auto") and "'Q2_K'" in embedding


def test_widths_that_no_type_fits_are_refused(tree):
    tree["quantize"]["types"] = ["Q3_K", "Q6_K"]
    with pytest.raises(ConfigError, match=r"prune_wave\.multiple: no type of quantize\.types fits multiples of 32"):
        validate(tree)
    tree["prune_wave"]["multiple"] = 256
    assert validate(tree).prune_wave.multiple == 256


def test_faults_of_type_and_range_come_together(tree):
    tree["waves"], tree["text"]["window"] = 0, "wide"
    with pytest.raises(ConfigError, match="(?s)waves.*text.window|text.window.*waves"):
        validate(tree)
