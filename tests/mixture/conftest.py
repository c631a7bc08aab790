"""A dense model and its mixture."""

from __future__ import annotations

import pytest
from families import small
from mixture_cases import split

from birdbone.mixture.model import (
    Mixture,
)
from birdbone.mixture.split import mixture_from
from birdbone.model.checkpoint import Checkpoint


@pytest.fixture(scope="module")
def dense() -> Checkpoint:
    return small("llama")


@pytest.fixture(scope="module")
def mixture(dense: Checkpoint) -> Mixture:
    return mixture_from(dense, split(dense))
