"""What the nodes of stage 9's export cost, see ``run.cost``."""

from birdbone.parameters import Parameters
from birdbone.run.cost import Work
from birdbone.sources.shape import ModelShape

WEIGHTS_A_SECOND = 60e6
"""Packed, digested and written."""
LLAMACPP_START = 1.5
"""Seconds until llama.cpp runs in its own process."""
DECODE = 4
"""Tokens of a batch in the time of one that llama.cpp decodes alone."""
TURNS = 4
"""Of a speed measurement: three, and one that warms up."""


def works(parameters: Parameters, shape: ModelShape) -> dict[str, Work]:
    """A row for each node."""
    settings = parameters.export
    written = shape.parameters / WEIGHTS_A_SECOND
    perplexity_tokens = len(parameters.text.guard_domains) * settings.perplexity_tokens
    tokens_read = 2 * (settings.referee_tokens + perplexity_tokens)
    referee = Work(
        host_tokens=tokens_read + speed_tokens(settings.speed_tokens),
        seconds=3 * LLAMACPP_START + written,
    )
    return {
        "export.form": Work(seconds=1 + LLAMACPP_START),
        "export.gguf": Work(seconds=1 + written),
        "export.referee": referee,
        "export.folder": Work(seconds=1 + written),
    }


def speed_tokens(generated: int) -> float:
    """Tokens that measuring one file's speed in llama.cpp takes."""
    return TURNS * (128 + DECODE * generated)
