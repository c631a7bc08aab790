"""What the node of stage 9's rounding costs, see ``run.cost``."""

from birdbone.algo.grids import GRIDS, fitting
from birdbone.model.rounding.embedding import COMPENSATED_BITS, PRICED_TOKENS, outer_types
from birdbone.parameters import Parameters
from birdbone.run.cost import JUDGE, MOMENTS, STATES, Work
from birdbone.sources.shape import ModelShape

OPERATIONS = 60e3
"""Of the forward pass's, in the time that one weight takes to be rounded with error
compensation.
"""


def works(parameters: Parameters, shape: ModelShape) -> dict[str, Work]:
    """A row for the node."""
    text = parameters.text
    settings = parameters.quantize
    kinds = outer_types(settings.types, settings.embedding)
    trials = settings.trials if parameters.target_bytes is None else 1
    judged = trials * len(text.guard_domains) * text.guard_tokens
    priced = len(fitting(kinds, shape.hidden)) * PRICED_TOKENS
    read = (MOMENTS + STATES) * text.calibration_tokens
    rounded = (
        OPERATIONS / shape.flops * _rounded(parameters, shape) if settings.method == "gptq" else 0
    )
    trace = Work(tokens=JUDGE * 2 * parameters.guard.trace_tokens, seconds=2)
    return {
        "quantize.trace": trace,
        "quantize.round": Work(tokens=read + JUDGE * (judged + priced) + rounded, seconds=2),
    }


def _rounded(parameters: Parameters, shape: ModelShape) -> int:
    """Weights rounded with error compensation.

    All orders are tried on the coarsest type, and the better one is used on the others.
    """
    settings = parameters.quantize
    rounded = _coarse(outer_types(settings.types, settings.embedding), shape.hidden) * shape.outer
    for columns, weights in shape.inner.items():
        if coarse := _coarse(settings.types, columns):
            rounded += (coarse - 1 + len(settings.orders)) * weights
    return rounded


def _coarse(types: list[str], columns: int) -> int:
    return sum(GRIDS[t].bits_per_weight <= COMPENSATED_BITS for t in fitting(types, columns))
