"""What the nodes of the report cost, see ``run.cost``."""

from birdbone.parameters import Parameters
from birdbone.pipelines.export.cost import LLAMACPP_START, speed_tokens
from birdbone.run.cost import CANARIES, JUDGE, Work
from birdbone.sources.shape import ModelShape

DECODED = 20
"""Forward passes of a token in a batch that one token generated alone takes."""


def works(parameters: Parameters, shape: ModelShape) -> dict[str, Work]:
    """A row for each node."""
    text = parameters.text
    report = parameters.report
    domains = len(text.guard_domains)
    files = 3 + len(report.peers)
    export = parameters.export
    tokens_read = domains * export.perplexity_tokens + speed_tokens(export.speed_tokens)
    generated = 2 * DECODED * len(report.prompts) * report.generate_tokens
    return {
        "report.files": Work(host_tokens=files * tokens_read, seconds=2 * files * LLAMACPP_START),
        "report.final": Work(tokens=JUDGE * domains * text.test_tokens + CANARIES + generated),
        "report.page": Work(seconds=3),
    }
