"""Narrow models with their scores, and a rounder of them."""

from families import all_but, cut, shape_of, small, tokens

from birdbone.model.network import build
from birdbone.model.observing.gradients import node_moments
from birdbone.model.observing.moments import SecondMoments
from birdbone.model.rounding.rounder import Rounder
from birdbone.model.rounding.settings import RoundSettings
from birdbone.model.scores import Scores

SETTINGS = RoundSettings(
    types=["Q4_0", "IQ4_NL", "Q5_0", "Q8_0"],
    embedding="auto",
    damping=0.01,
    method="gptq",
    orders=["natural"],
    equalize=True,
)
WINDOWS = tokens(rows=16, length=16)


def scores_of(seed) -> Scores:
    _, fisher, weights = node_moments(build(seed), seed.layout, WINDOWS, "scan")
    return Scores(fisher=fisher, tokens=weights)


def narrow(name: str):
    seed = small(name)
    width, groups = shape_of(seed)[1]
    gone = {1: all_but(groups, 0)} if name != "gpt2" else {1: all_but(4, 0, 1)}
    return cut(seed, {0: all_but(width, *range(32))}, gone), scores_of(seed)


def rounder(checkpoint, scores, windows=WINDOWS, **changes) -> Rounder:
    """``changes``: of the settings."""
    settings = SETTINGS.model_copy(update=changes)
    return Rounder(checkpoint, windows, SecondMoments(), scores, settings, "cpu")
