"""What the nodes of the waves cost, see ``run.cost``."""

from birdbone.parameters import Parameters
from birdbone.run.cost import CANARIES, HEAL, JUDGE, MOMENTS, Work
from birdbone.sources.shape import ModelShape


def works(parameters: Parameters, shape: ModelShape) -> dict[str, Work]:
    """A row for each node of each wave. The first takes the second moments of the seed as they are;
    nothing is counted for healing what returns, which seldom happens.
    """
    text = parameters.text
    healing = parameters.micro_heal
    guard = len(text.guard_domains) * text.guard_tokens
    steps = {
        "prune": Work(tokens=MOMENTS * text.calibration_tokens, seconds=2),
        "heal": Work(tokens=HEAL * healing.steps * healing.batch * text.window, seconds=2),
        "regrow": Work(tokens=parameters.regrow.tokens),
        "guard": Work(tokens=JUDGE * guard + CANARIES),
        "trace": Work(tokens=JUDGE * 2 * parameters.guard.trace_tokens),
        "report": Work(),
    }
    waves = range(1, parameters.waves + 1)
    rows = {f"wave_{i}.{step}": work for i in waves for step, work in steps.items()}
    at_random = Work(tokens=JUDGE * 3 * parameters.guard.trace_tokens, seconds=4)
    return {**rows, "wave_1.prune": Work(seconds=2), "wave_1.trace": at_random}
