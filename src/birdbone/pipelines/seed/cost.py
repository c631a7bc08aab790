"""What the nodes of stage 1 cost, see ``run.cost``."""

from birdbone.parameters import Parameters
from birdbone.run.cost import CANARIES, STATES, WRITE, Work
from birdbone.sources.shape import ModelShape

WEIGHTS_A_SECOND = 20e6
"""Read, digested and written by ``seed.load``."""
COUNT = 60
"""Seconds in which the tokens of the built-in text ``python`` are counted."""
HEAD = 0.15
"""Forward passes of a token whose final states go through the head alone."""


def works(parameters: Parameters, shape: ModelShape) -> dict[str, Work]:
    """A row for each node. The questions of ``guard.tasks`` are not counted: only their files say
    how many.
    """
    text = parameters.text
    domains = len(text.guard_domains)
    guard = domains * text.guard_tokens
    test = (domains + len(text.elsewhere)) * text.test_tokens
    written = text.written_share * (text.calibration_tokens + text.heal_tokens)
    rows = {
        "seed.load": Work(seconds=2 + shape.parameters / WEIGHTS_A_SECOND),
        "seed.tasks": Work(),
        "seed.text": Work(seconds=5),
        "seed.write": Work(tokens=WRITE * written),
        "seed.baseline": Work(tokens=STATES * (guard + test) + HEAD * guard + CANARIES),
    }
    if parameters.vocabulary.trims:
        rows["seed.trim"] = Work(seconds=COUNT)
        rows["seed.untrimmed"] = Work(tokens=guard + test)
    return rows
