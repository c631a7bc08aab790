"""What trimming costs, see ``run.cost``."""

from birdbone.parameters import Parameters
from birdbone.run.cost import Work
from birdbone.sources.shape import ModelShape

COUNT_SECONDS = 60
"""Of a processor that encodes the built-in text ``python``."""


def works(parameters: Parameters, shape: ModelShape) -> dict[str, Work]:
    """A row for each node; none where every token stays."""
    if not parameters.vocabulary.trims:
        return {}
    text = parameters.text
    counted = len(text.guard_domains)
    tokens = counted * (text.guard_tokens + text.test_tokens)
    tokens += len(text.elsewhere) * text.test_tokens
    return {
        "vocabulary.trim": Work(seconds=COUNT_SECONDS),
        "vocabulary.read": Work(tokens=tokens),
    }
