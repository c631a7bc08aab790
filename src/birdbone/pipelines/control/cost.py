"""What the control costs, see ``run.cost``."""

from birdbone.parameters import Parameters
from birdbone.run.cost import CANARIES, HEAL, JUDGE, Work
from birdbone.sources.shape import ModelShape

AT_REST = 0.06
"""Share of the work where healing has nothing to do."""


def works(parameters: Parameters, shape: ModelShape) -> dict[str, Work]:
    """A row for the node."""
    text = parameters.text
    healing = parameters.micro_heal
    if not parameters.guard.control or healing.steps == 0:
        return {"control.heal_seed": Work()}
    healed = parameters.waves * healing.steps * healing.batch * text.window
    judged = len(text.guard_domains) * (text.guard_tokens + text.test_tokens)
    tokens = HEAL * healed + JUDGE * judged
    if healing.ce_weight == 0 and healing.base == "float32":
        tokens *= AT_REST  # the seed is already what it is healed towards
    return {"control.heal_seed": Work(tokens=tokens + CANARIES)}
