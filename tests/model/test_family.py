"""Families are known by their files."""

import pytest
from transformers import AutoConfig

from birdbone.errors import UnsupportedArchitectureError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.network import build


def test_an_unknown_family_names_the_file_that_would_add_it():
    with pytest.raises(UnsupportedArchitectureError, match=r"families/mamba\.yml"):
        build(Checkpoint({"model_type": "mamba"}, {}))


def test_every_known_family_is_one_of_transformers():
    from birdbone.model.family import families

    assert all(AutoConfig.for_model(kind) for kind in families())
